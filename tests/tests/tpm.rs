//! A kiosk whose key is in a TPM 2.0: the shipped programs, and swtpm in the place of the chip.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use didar_tests::kiosk_app::KioskApp;
use didar_tests::process::Process;
use didar_tests::site::{INITIATOR, KioskSite, Site};
use didar_tests::stage::consent;

/// A software TPM: what it keeps lies in a folder, as a chip keeps its seeds over a power cut.
struct Chip {
    state: PathBuf,
    port: u16,
    process: Process,
}

impl Chip {
    fn new(state: &Path) -> Result<Self> {
        std::fs::create_dir_all(state)?;
        let port = two_free_ports()?;
        Ok(Self { state: state.to_owned(), port, process: start(state, port)? })
    }

    /// The power fails and returns.
    fn power_cut(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process = start(&self.state, self.port)?;
        Ok(())
    }

    /// What an agent at this chip finds in its environment.
    fn environment(&self) -> Vec<String> {
        vec![format!("TPM2TOOLS_TCTI=swtpm:host=127.0.0.1,port={}", self.port)]
    }
}

fn start(state: &Path, port: u16) -> Result<Process> {
    let place = format!("dir={}", state.display());
    let [server, control] = [port, port + 1].map(|port| format!("type=tcp,bindaddr=127.0.0.1,port={port}"));
    let arguments = ["socket", "--tpm2", "--tpmstate", &place, "--server", &server, "--ctrl", &control];
    let flags = ["--flags", "not-need-init,startup-clear"];
    let process = Process::start("swtpm", "swtpm".as_ref(), &[&arguments[..], &flags].concat(), &state.join("log"))?;
    for _ in 0..600 {
        if std::net::TcpStream::connect(("127.0.0.1", port + 1)).is_ok() {
            return Ok(process);
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    anyhow::bail!("swtpm does not answer at port {}", port + 1)
}

/// The first of two ports in a row that nobody uses.
fn two_free_ports() -> Result<u16> {
    for _ in 0..100 {
        let first = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        if first < u16::MAX && TcpListener::bind(("127.0.0.1", first + 1)).is_ok() {
            return Ok(first);
        }
    }
    anyhow::bail!("no two free ports in a row")
}

/// The ledger holds this device's record that `wanted` accepts, at the latest two minutes later.
async fn wait_for_record(site: &Site, wanted: impl Fn(&serde_json::Value) -> bool) -> Result<()> {
    let centre = site.centre().display().to_string();
    for _ in 0..600 {
        for line in site.matcher(&["ledger", "export", "--dir", &centre])?.lines() {
            let line: serde_json::Value = serde_json::from_str(line)?;
            if line["entry"]["what"] == "audited" && wanted(&line["entry"]) {
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    anyhow::bail!("no such record in the ledger")
}

#[tokio::test]
async fn a_key_made_in_the_chip_enrols_connects_signs_and_works_in_no_other_chip() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/manifest.toml");
    let site = Site::open(&folder.path().join("run"), &manifest)?;
    let centre = site.centre().display().to_string();
    let mut chip = Chip::new(&folder.path().join("chip"))?;
    let mut kiosk = site.bare_kiosk("kiosk-0001", &manifest, folder.path())?;
    kiosk.environment = chip.environment();
    let code = site.matcher(&["device", "invite", "kiosk-0001", "--initiator", INITIATOR, "--dir", &centre])?;
    kiosk.write_code(code.trim())?;
    assert!(kiosk.enrol_in_the_chip()?.contains("enrolled     kiosk-0001"));
    let file = kiosk.folder().join("site/device.key");
    assert!(std::fs::read_to_string(&file)?.starts_with("-----BEGIN TSS2 PRIVATE KEY-----\n"));

    // The chip signs in the handshake and in every record.
    let mut agent = kiosk.start()?;
    wait_for_record(&site, |entry| entry["device"] == "kiosk-0001" && entry["number"] == 1).await?;
    // A chip that lost power has forgotten the key that was loaded; it is loaded again.
    chip.power_cut()?;
    let subject = didar_tests::people::iin("900101", 3, 1).context("a number")?;
    let request = serde_json::json!({
        "subject": subject.as_str(), "initiator": INITIATOR, "reference": "test", "purpose": "sign", "consent": consent("sign"),
    });
    let asked = KioskApp::new(&kiosk.api).ask(&request).await?;
    assert_eq!(asked.status, 201, "{}", asked.body);
    let request = asked.body["id"].as_str().context("the request's id")?.to_owned();
    wait_for_record(&site, |entry| entry["request"] == request.as_str()).await?;
    agent.process.stop()?;
    site.matcher(&["ledger", "verify", "--dir", &centre])?;

    // The file alone is worth nothing: not in another chip, not without one, not damaged.
    let said = |kiosk: &KioskSite| kiosk.check().err().map(|error| error.to_string());
    let other = Chip::new(&folder.path().join("other"))?;
    kiosk.environment = other.environment();
    let foreign = said(&kiosk).context("another chip")?;
    assert!(foreign.contains("works only in the chip that made it"), "{foreign}");
    drop(other);
    let absent = said(&kiosk).context("no chip")?;
    assert!(absent.contains("cannot be loaded into the TPM at swtpm"), "{absent}");
    kiosk.environment = chip.environment();
    let whole = std::fs::read_to_string(&file)?;
    std::fs::write(&file, whole.replacen("\nMIH", "\nMIG", 1).replacen("\nMIIB", "\nMIIC", 1))?;
    assert_ne!(std::fs::read_to_string(&file)?, whole, "the file was damaged");
    let damaged = said(&kiosk).context("a damaged file")?;
    assert!(damaged.contains("device.key"), "{damaged}");
    site.close()
}
