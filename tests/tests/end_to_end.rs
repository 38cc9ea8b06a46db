//! The whole chain as processes: the shipped agent, the shipped matcher, a real broker, a face in front of the camera.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use didar_tests::people::{self, ASTRONAUT, HOPPER};
use didar_tests::scene::{Presentation, Subject};
use didar_tests::site::{INITIATOR, KioskSite, Site};
use didar_tests::stage::{Attempted, Stage, consent};
use didar_vision::{Models, Perceiver};
use serde_json::{Value, json};

/// Longest wait for something that a busy machine does in its own time.
const PATIENCE: Duration = Duration::from_secs(120);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn request(subject: &str) -> Value {
    json!({ "subject": subject, "initiator": INITIATOR, "reference": "test", "purpose": "sign", "consent": consent("sign") })
}

fn ended(attempted: &Attempted) -> (&str, &str) {
    (&attempted.outcome, &attempted.reason)
}

/// Every file below `folder` that holds `needle`.
fn files_with(folder: &Path, needle: &[u8]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_with(&path, needle)?);
        } else if path.is_file() && std::fs::read(&path)?.windows(needle.len()).any(|window| window == needle) {
            found.push(path);
        }
    }
    Ok(found)
}

/// The doctor finds every device, and the light of each lamp on the face; what was calibrated is what is used.
fn examine(kiosk: &KioskSite) -> Result<()> {
    let report = kiosk.doctor()?;
    let finding = |device: &str| {
        let mut findings = report["findings"].as_array().into_iter().flatten();
        findings.find(|finding| finding["device"] == device).with_context(|| format!("no {device} in {report}"))
    };
    for device in ["calibration", "camera", "screen", "clock", "storage", "certificate", "broker"] {
        finding(device)?;
    }
    assert_eq!(finding("broker")?["verdict"], "ok", "{report}");
    for lamp in ["left lamp", "right lamp"] {
        let light = finding(lamp)?["figures"]["lit_minus_dark"].as_f64();
        assert!(light.is_some_and(|light| light > 3.0), "{lamp}: {report}");
    }
    match kiosk.calibrate() {
        Ok(said) => {
            assert!(said.contains("kept"), "{said}");
            assert!(kiosk.check()?.contains("is used"));
        }
        // A machine that is too busy to keep time is told so, and nothing is kept.
        Err(error) => {
            let error = format!("{error:#}");
            assert!(error.contains("could be timed") || error.contains("more than one frame"), "{error}");
            assert!(kiosk.check()?.contains("calibration: none"));
        }
    }
    Ok(())
}

/// Listens as a supervisor does: at once to everything, for whoever tells must not wait.
fn supervise(socket: &Path) -> Result<Receiver<String>> {
    let listener = UnixDatagram::bind(socket)?;
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 256];
        while let Ok(length) = listener.recv(&mut bytes) {
            if tell.send(String::from_utf8_lossy(&bytes[..length]).trim().to_owned()).is_err() {
                return;
            }
        }
    });
    Ok(told)
}

/// The agent said that it serves, that it is alive, and at last that it stops.
fn check_told(told: &Receiver<String>) -> Result<()> {
    let mut said = Vec::new();
    while said.last().is_none_or(|last| last != "STOPPING=1") {
        said.push(told.recv_timeout(PATIENCE).with_context(|| format!("the supervisor was told {said:?}"))?);
    }
    assert_eq!(said.iter().filter(|word| *word == "READY=1").count(), 1, "{said:?}");
    assert!(said.iter().any(|word| word == "WATCHDOG=1"), "{said:?}");
    Ok(())
}

/// What stands in for an agent that keeps failing: the centre raises an alarm, even where nothing can be written.
fn stand_in(site: &Site, kiosk: &mut KioskSite) -> Result<()> {
    let mut stand_in = kiosk.stand_in()?;
    site.wait_for_alarm("program-fault")?;
    assert!(stand_in.stop()?.success(), "SIGTERM ends the stand-in gracefully");
    // The store may be what broke the agent.
    let store = kiosk.folder().join("state");
    let aside = kiosk.folder().join("aside");
    if mounts_are_allowed() {
        let lock = r#"mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@""#;
        let state = store.to_str().context("path")?;
        kiosk.environment =
            ["unshare", "--map-root-user", "--mount", "sh", "-c", lock, state].map(str::to_owned).to_vec();
        check_read_only(kiosk)?;
    } else {
        // No read-only disk without leave to mount one: a file stands where the store belongs.
        std::fs::rename(&store, &aside)?;
        std::fs::write(&store, "no folder")?;
    }
    let mut stand_in = kiosk.stand_in()?;
    site.wait_for_alarm("storage-fault")?;
    assert!(stand_in.stop()?.success());
    kiosk.environment.clear();
    if aside.exists() {
        std::fs::remove_file(&store)?;
        std::fs::rename(&aside, &store)?;
    }
    Ok(())
}

/// Whether this user may have file systems of its own.
fn mounts_are_allowed() -> bool {
    let tried = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).output();
    tried.is_ok_and(|output| output.status.success())
}

/// Where the kernel has made the store's file system read-only, as it does with a damaged one, the agent ends and names
/// folder and cause, and `doctor` says what to do.
fn check_read_only(kiosk: &KioskSite) -> Result<()> {
    assert!(kiosk.start().is_err(), "an agent that can record nothing serves");
    let log = std::fs::read_to_string(kiosk.folder().join("agent.log"))?;
    let last = log.lines().last().context("a word")?;
    assert!(last.contains("Read-only file system") && last.contains("state"), "{last}");
    let report = kiosk.doctor()?;
    let findings = report["findings"].as_array().context("findings")?;
    let storage = findings.iter().find(|finding| finding["device"] == "storage").context("storage")?;
    assert_eq!(storage["verdict"], "wrong", "{storage}");
    assert!(storage["says"].to_string().contains("Read-only file system"), "{storage}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_person_is_granted_and_everybody_else_is_not() -> Result<()> {
    let manifest = root().join("models/manifest.toml");
    let mut perceiver = Perceiver::new(&Models::load(&manifest)?)?;
    let [right, other] = [ASTRONAUT, HOPPER].map(|name| people::portrait(&root(), name));
    let right_subject = Arc::new(Subject::load(&right, &mut perceiver)?);
    let other_subject = Arc::new(Subject::load(&other, &mut perceiver)?);
    drop(perceiver);

    let folder = tempfile::tempdir()?;
    let sockets = tempfile::tempdir()?;
    let site = Site::open(&folder.path().join("run"), &manifest)?;
    let person = people::iin("900101", 4, 17).context("a lawful number")?;
    site.enrol(&person, &right)?;
    let mut kiosk = site.kiosk("kiosk-0001", &manifest, sockets.path(), site.broker().port(), 365)?;
    kiosk.check()?;
    let mut stage = Stage::open(&kiosk, Arc::clone(&right_subject), &folder.path().join("pictures"))?;
    let told = supervise(&sockets.path().join("notify"))?;
    let mut agent = kiosk.start_supervised(&sockets.path().join("notify"))?;
    stage.wait_until_connected().await?;
    let ask = request(person.as_str());

    stage.start_recording();
    assert_eq!(ended(&stage.attempt("first", &ask).await?), ("grant", "none"));
    let recording = stage.stop_recording();
    assert_eq!(ended(&stage.attempt("again", &ask).await?), ("grant", "none"));

    stage.step_up(other_subject);
    assert_eq!(ended(&stage.attempt("other", &ask).await?), ("deny", "not-same-person"));
    stage.step_up(right_subject);
    stage.present(Presentation::Print);
    assert_eq!(stage.attempt("print", &ask).await?.outcome, "spoof");
    stage.present(Presentation::Recording(recording));
    assert_eq!(stage.attempt("recording", &ask).await?.outcome, "spoof");
    stage.present(Presentation::Live);

    assert_eq!(
        stage.attempt("stranger", &request(people::iin("850505", 3, 99).context("number")?.as_str())).await?.outcome,
        "refused"
    );
    let busy = stage.interrupted(&ask).await?;
    assert_eq!(busy, ("cancelled".to_owned(), 409), "a second request waits its turn, and a cancelled one is over");
    stage.pull_camera();
    assert_eq!(ended(&stage.attempt("no-camera", &ask).await?), ("fault", "camera-fault"));
    stage.plug_camera().await?;
    assert_eq!(ended(&stage.attempt("camera-back", &ask).await?), ("grant", "none"));

    assert!(agent.process.stop()?.success(), "SIGTERM ends the agent gracefully");
    check_told(&told)?;
    stand_in(&site, &mut kiosk)?;
    examine(&kiosk)?;
    drop(stage);
    let centre = site.centre();
    let ledger = site.matcher(&["ledger", "verify", "--dir", centre.to_str().context("path")?])?;
    assert!(ledger.contains("hold"), "{ledger}");
    site.close()?;
    let traces = files_with(folder.path(), person.as_str().as_bytes())?;
    assert!(traces.is_empty(), "the person's number is readable in {traces:?}");
    Ok(())
}
