//! A device's chain of records over its life, as processes: new keys, an expired certificate, a new disk, a damaged one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use didar_agent::config::Config;
use didar_agent::edge::Outbox as _;
use didar_agent::identity::Identity;
use didar_agent::outbox::DiskOutbox;
use didar_matcher::ca::{Ca, Validity};
use didar_protocol::id::DeviceId;
use didar_protocol::message::AuditEntry;
use didar_tests::kiosk_app::KioskApp;
use didar_tests::site::{INITIATOR, KioskSite, Site};
use serde_json::Value;

fn manifest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/manifest.toml")
}

fn dir(site: &Site) -> Result<String> {
    Ok(site.centre().to_str().context("a UTF-8 path")?.to_owned())
}

/// The kiosk's own outbox, while its agent is stopped.
fn outbox(kiosk: &KioskSite) -> Result<DiskOutbox> {
    let config = Config::read(&kiosk.config)?;
    let device: DeviceId = kiosk.id().parse()?;
    let identity = Arc::new(Identity::open(&config.site, &device)?);
    Ok(DiskOutbox::open(&config.state.join("outbox"), device, identity, 1000)?)
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

/// What the ledger, which is verified, says of this device.
fn ledger(site: &Site, device: &str) -> Result<Vec<Value>> {
    site.matcher(&["ledger", "verify", "--dir", &dir(site)?])?;
    let mut entries = Vec::new();
    for line in site.matcher(&["ledger", "export", "--dir", &dir(site)?])?.lines() {
        let mut line: Value = serde_json::from_str(line)?;
        entries.push(line["entry"].take());
    }
    entries.retain(|entry| entry["device"] == device);
    Ok(entries)
}

/// Number and chain of each record; of a chain that is begun, what the one before it had reached.
fn records(entries: &[Value]) -> Vec<(&str, u64, u64)> {
    let of_chain = |entry: &&Value| entry["what"] == "audited" || entry["what"] == "chain-begun";
    let number = |entry: &Value, name: &str| entry[name].as_u64().unwrap_or(1);
    let told = entries.iter().filter(of_chain);
    told.map(|entry| (entry["what"].as_str().unwrap_or(""), number(entry, "number"), number(entry, "chain"))).collect()
}

/// Alarms about the chain: that a kiosk without a camera says so has a reason, and is none.
fn alarms(entries: &[Value]) -> Vec<&str> {
    let of_chain = entries.iter().filter(|entry| entry["what"] == "alarm" && entry["reason"].is_null());
    of_chain.filter_map(|entry| entry["note"].as_str()).collect()
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
    let entries = ledger(&site, kiosk.id())?;
    assert_eq!(records(&entries), [1, 2, 3, 4].map(|number| ("audited", number, 1)));
    assert_eq!(entries.iter().filter(|entry| entry["what"] == "device-added").count(), 3);
    assert_eq!(alarms(&entries), [""; 0]);
    site.close()
}

#[tokio::test]
async fn a_new_disk_keeps_its_records_until_the_operator_begins_a_new_chain() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::open(&folder.path().join("run"), &manifest())?;
    let dir = dir(&site)?;
    let kiosk = site.kiosk("kiosk-0006", &manifest(), folder.path(), site.broker().port(), 365)?;
    start_and_tell(&kiosk).await?;
    start_and_tell(&kiosk).await?;

    // The key was restored on the new disk, the records were not, and another one waits there: signed in another boot, or
    // it would be the old chain's first, byte by byte. The operator adds the device again.
    let config = Config::read(&kiosk.config)?;
    std::fs::remove_dir_all(config.state.join("outbox"))?;
    outbox(&kiosk)?.append(&AuditEntry::Started { version: "0.1.0".to_owned(), boot: [9; 16] })?;
    let pem = kiosk.folder().join("site/device.pem").display().to_string();
    site.matcher(&["device", "add", "--certificate", &pem, "--initiator", INITIATOR, "--dir", &dir])?;
    let mut agent = kiosk.start()?;
    site.wait_for_alarm("audit chain forks at record 1")?;
    let app = KioskApp::new(&kiosk.api);
    assert_eq!(app.state().await?.body["unconfirmed_records"], 2);
    assert!(site.matcher(&["device", "new-chain", kiosk.id(), "--dir", &dir])?.contains("chain 2 begins"));
    until("the records are receipted", || async {
        Ok((app.state().await?.body["unconfirmed_records"] == 0).then_some(()))
    })
    .await?;
    agent.process.stop()?;
    let expected = [("audited", 1, 1), ("audited", 2, 1), ("chain-begun", 2, 2), ("audited", 1, 2), ("audited", 2, 2)];
    assert_eq!(records(&ledger(&site, kiosk.id())?), expected);
    site.close()
}

#[tokio::test]
async fn a_backlog_with_holes_arrives_and_the_ledger_says_what_will_not() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::open(&folder.path().join("run"), &manifest())?;
    let kiosk = site.kiosk("kiosk-0007", &manifest(), folder.path(), site.broker().port(), 365)?;
    start_and_tell(&kiosk).await?;

    // Records 2 to 121 wait, and damage takes some: more in a row than a window holds, too.
    let mut waiting = outbox(&kiosk)?;
    for _ in 0..120 {
        waiting.append(&AuditEntry::Started { version: "0.1.0".to_owned(), boot: [9; 16] })?;
    }
    drop(waiting);
    let letters = Config::read(&kiosk.config)?.state.join("outbox/letters");
    // The store's own threads may hold its lock a little longer than its handle.
    std::fs::File::open(letters.join("db"))?.lock()?;
    let store = sled::open(letters)?;
    for number in (3..=4_u64).chain(40..=109) {
        let letter = [b"L".as_slice(), &number.to_be_bytes()].concat();
        anyhow::ensure!(store.remove(letter)?.is_some(), "record {number} was not there");
    }
    drop(store);
    start_and_tell(&kiosk).await?;

    // Besides what was left: the loss, the agent's start, and what the centre missed.
    let entries = ledger(&site, kiosk.id())?;
    let expected = [1, 2].into_iter().chain(5..=39).chain(110..=125);
    let mut told = records(&entries);
    told.sort_unstable();
    assert_eq!(told, expected.map(|number| ("audited", number, 1)).collect::<Vec<_>>());
    assert!(alarms(&entries).contains(&"audit records 3 to 4 are missing"), "{:?}", alarms(&entries));
    let audited = entries.iter().filter(|entry| entry["what"] == "audited");
    let notes: Vec<_> = audited.filter_map(|entry| entry["note"].as_str()).collect();
    for note in [
        "72 records lost on the device",
        "records 3 to 4 are lost on the device",
        "records 40 to 109 are lost on the device",
    ] {
        assert!(notes.contains(&note), "{notes:?}");
    }
    site.close()
}
