//! A device's identity over its life, as processes: enrolment with a code and by approval, renewal, revocation.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use didar_agent::config::Config;
use didar_agent::est::{self, Answer, EstError, Question};
use didar_agent::identity::Identity;
use didar_agent::identity::key::{self, Holder};
use didar_agent::time::SystemClock;
use didar_agent::uplink::trust::TrustAnchor;
use didar_agent::{enrol, renew};
use didar_matcher::ca::{Ca, Validity};
use didar_protocol::id::DeviceId;
use didar_tests::kiosk_app::KioskApp;
use didar_tests::process::Process;
use didar_tests::site::{INITIATOR, KioskSite, Site};

const PATIENCE: Duration = Duration::from_secs(60);

fn manifest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/manifest.toml")
}

/// A centre, and a kiosk that has a configuration and the site's CA, and nothing else.
fn bare(folder: &Path, id: &str) -> Result<(Site, KioskSite)> {
    let site = Site::open(&folder.join("run"), &manifest())?;
    let kiosk = site.bare_kiosk(id, &manifest(), folder)?;
    Ok((site, kiosk))
}

fn dir(site: &Site) -> Result<String> {
    Ok(site.centre().to_str().context("a UTF-8 path")?.to_owned())
}

/// What the agent's library needs to speak to the enrolment server as this kiosk.
struct Caller {
    config: Config,
    trust: Arc<TrustAnchor>,
}

impl Caller {
    fn new(kiosk: &KioskSite) -> Result<Self> {
        let config = Config::read(&kiosk.config)?;
        let trust = Arc::new(TrustAnchor::open(&config.site, Arc::new(SystemClock::new(0)))?);
        Ok(Self { config, trust })
    }

    async fn ask(&self, csr: &[u8], code: Option<(&DeviceId, &str)>) -> Result<Answer, EstError> {
        let at = self.config.enrolment.as_ref().expect("the kiosk's configuration names the server");
        est::simple_enrol(at, &self.trust, Question { csr, code }).await
    }

    async fn renew(&self, identity: &Arc<Identity>) -> Result<(), EstError> {
        let at = self.config.enrolment.as_ref().expect("the kiosk's configuration names the server");
        renew::renew(at, &self.trust, identity).await
    }
}

#[tokio::test]
async fn a_one_time_code_gets_one_key_its_certificate_and_renewal_follows() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (site, kiosk) = bare(folder.path(), "kiosk-0001")?;
    let dir = dir(&site)?;
    let code = site.matcher(&["device", "invite", "kiosk-0001", "--initiator", INITIATOR, "--dir", &dir])?;
    kiosk.write_code(code.trim())?;
    assert!(kiosk.enrol()?.contains("enrolled     kiosk-0001"));
    assert!(!kiosk.code_file().exists(), "a spent code is deleted");
    assert!(kiosk.check_identity()?, "the certificate is the device's");
    assert!(site.matcher(&["device", "list", "--dir", &dir])?.contains("kiosk-0001  active"));

    // The code counts for that key only; the same key may ask again, because an answer can be lost.
    let caller = Caller::new(&kiosk)?;
    let device: DeviceId = "kiosk-0001".parse()?;
    let key = key::open(&caller.config.site, &device)?;
    let csr = enrol::request_der(&device, key.as_ref())?;
    assert!(matches!(caller.ask(&csr, Some((&device, code.trim()))).await?, Answer::Issued(_)));
    let elsewhere = folder.path().join("thief");
    enrol::request(&device, &elsewhere, Holder::File)?;
    let stolen = enrol::request_der(&device, key::open(&elsewhere, &device)?.as_ref())?;
    let refused = caller.ask(&stolen, Some((&device, code.trim()))).await;
    assert!(matches!(&refused, Err(EstError::Refused { status, .. }) if status.as_u16() == 401), "{refused:?}");
    let refused = caller.ask(&csr, Some((&device, "guessed"))).await;
    assert!(matches!(&refused, Err(EstError::Refused { status, .. }) if status.as_u16() == 401), "{refused:?}");
    site.wait_for_alarm("enrolment refused: the one-time code")?;

    // Renewal: the new certificate is used at once, by signatures and by the next handshake, and survives a restart.
    let identity = Arc::new(Identity::open(&caller.config.site, &device)?);
    let before = identity.facts();
    caller.renew(&identity).await?;
    assert_ne!(identity.facts().thumbprint, before.thumbprint);
    assert_eq!(Identity::open(&caller.config.site, &device)?.facts(), identity.facts());
    caller.renew(&identity).await.context("with the new certificate")?;

    // Revoked: not even the enrolment server hears it any more.
    site.matcher(&["device", "revoke", "kiosk-0001", "--dir", &dir])?;
    let refused = caller.renew(&identity).await;
    assert!(matches!(&refused, Err(EstError::Refused { words, .. }) if words.contains("revoked")), "{refused:?}");
    site.wait_for_alarm("gives no right to renew")?;
    site.close()
}

#[tokio::test]
async fn without_a_code_the_operator_approves_the_fingerprint_that_the_device_shows() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (site, kiosk) = bare(folder.path(), "kiosk-0002")?;
    let dir = dir(&site)?;
    let waiting: Process = kiosk.start_enrolment()?;
    let shown = waiting.wait_for_line(PATIENCE, |line| line.starts_with("fingerprint"))?;
    let shown = shown.trim_start_matches("fingerprint").trim().to_owned();
    let pending = site.matcher(&["device", "pending", "--dir", &dir])?;
    assert!(pending.contains("kiosk-0002") && pending.contains(&shown), "{pending}");

    let approve = |print: &str| {
        let arguments = ["device", "approve", "kiosk-0002", "--fingerprint", print, "--initiator", INITIATOR];
        site.matcher(&[&arguments[..], &["--dir", &dir]].concat())
    };
    assert!(approve(&"0".repeat(64)).is_err(), "another key's fingerprint");
    approve(&shown)?;
    waiting.wait_for_line(PATIENCE, |line| line.starts_with("enrolled     kiosk-0002"))?;
    assert!(kiosk.check_identity()?);
    site.close()
}

#[tokio::test]
async fn a_server_of_another_authority_is_told_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (site, kiosk) = bare(folder.path(), "kiosk-0003")?;
    let other = Site::open(&folder.path().join("other"), &manifest())?;
    kiosk.trust(&other.centre().join("ca/ca.pem"))?;
    kiosk.write_code("secret")?;
    let said = kiosk.enrol().expect_err("a foreign server").to_string();
    assert!(said.contains("not issued by the pinned CA"), "{said}");
    assert!(kiosk.code_file().exists(), "the code is unspent");
    other.close()?;
    site.close()
}

/// Looks every 100 ms, for a minute at most.
async fn until<T, F: Future<Output = Result<Option<T>>>>(what: &str, look: impl Fn() -> F) -> Result<T> {
    for _ in 0..600 {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        pause().await;
    }
    anyhow::bail!("{what}: not within a minute")
}

#[expect(clippy::disallowed_methods, reason = "real processes live in real time")]
async fn pause() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Starts the agent, waits until the centre holds the record of that start, and stops it.
async fn start_and_tell(kiosk: &KioskSite) -> Result<()> {
    let mut agent = kiosk.start()?;
    let app = KioskApp::new(&kiosk.api);
    until("the centre holds every record", || async {
        let state = app.state().await?.body;
        Ok((state["connected"] == true && state["unconfirmed_records"] == 0).then_some(()))
    })
    .await?;
    agent.process.stop()?;
    Ok(())
}

/// The numbers of this device's records, as they stand in the ledger, and the certificates that it was given.
fn chain(site: &Site, device: &str) -> Result<(Vec<u64>, usize)> {
    site.matcher(&["ledger", "verify", "--dir", &dir(site)?])?;
    let (mut numbers, mut certificates) = (Vec::new(), 0);
    for line in site.matcher(&["ledger", "export", "--dir", &dir(site)?])?.lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        let entry = &line["entry"];
        // A kiosk without a camera says so, and why; an alarm about its chain gives no such reason.
        let alarming = entry["what"] == "alarm" && entry["device"] == device && entry["reason"].is_null();
        anyhow::ensure!(!alarming, "an alarm: {entry}");
        if entry["device"] == device && entry["what"] == "audited" {
            numbers.push(entry["number"].as_u64().context("a number")?);
        }
        certificates += usize::from(entry["device"] == device && entry["what"] == "device-added");
    }
    Ok((numbers, certificates))
}

#[tokio::test]
async fn a_new_signing_key_and_a_device_that_expired_break_no_chain() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::open(&folder.path().join("run"), &manifest())?;
    let dir = dir(&site)?;
    let kiosk = site.kiosk("kiosk-0004", &manifest(), folder.path(), site.broker().port(), 365)?;
    start_and_tell(&kiosk).await?;

    // Receipts by the new key count as those by the old one did.
    let certificate = site.centre().join("matcher/matcher.pem");
    let before = std::fs::read(&certificate)?;
    assert!(site.matcher(&["keys", "rotate", "--signing", "--dir", &dir])?.contains("a new signing key"));
    assert_ne!(std::fs::read(&certificate)?, before);
    start_and_tell(&kiosk).await?;

    // The certificate has ended: the device says so and is not heard, and keeps what it has to tell.
    let device: DeviceId = kiosk.id().parse()?;
    let keys = kiosk.folder().join("site");
    let issued_ms = didar_matcher::time::now_ms() - 10 * 86_400_000;
    let request = std::fs::read_to_string(keys.join("device.csr"))?;
    let ended = Ca::open(&site.centre().join("ca"))?.sign_device(&request, &device, Validity { issued_ms, days: 1 })?;
    std::fs::write(keys.join("device.pem"), ended)?;
    let pem = keys.join("device.pem").display().to_string();
    site.matcher(&["device", "add", "--certificate", &pem, "--initiator", INITIATOR, "--dir", &dir])?;
    let mut agent = kiosk.start()?;
    let log = kiosk.folder().join("agent.log");
    until("the agent names its certificate", || async {
        Ok(std::fs::read_to_string(&log)?.contains("refused our certificate (expired").then_some(()))
    })
    .await?;
    agent.process.stop()?;

    // Enrolled again with the operator's code, it goes on where it was.
    let code = site.matcher(&["device", "invite", kiosk.id(), "--initiator", INITIATOR, "--dir", &dir])?;
    kiosk.write_code(code.trim())?;
    kiosk.enrol()?;
    start_and_tell(&kiosk).await?;
    assert_eq!(chain(&site, kiosk.id())?, (vec![1, 2, 3, 4], 3));
    site.close()
}
