//! The product's whole story in the terminal: real faces, real models, a real broker with mutual TLS, a real matcher, and
//! the shipped agent before a simulated kiosk. Pictures and `story.json` go to target/demo.
#![allow(clippy::print_stdout, reason = "telling the story in the terminal is what this program is for")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use didar_protocol::light_code::CodeShape;
use didar_tests::cable::Cable;
use didar_tests::people::{self, ASTRONAUT, HOPPER};
use didar_tests::scene::{CameraModel, Kiosk, Presentation, Room, Subject, trial};
use didar_tests::site::{INITIATOR, RunningAgent, Site};
use didar_tests::stage::{Ending, Stage};
use didar_tests::story::Story;
use didar_vision::{Models, Perceiver};
use serde_json::json;

/// Tells the product's story, attempt by attempt.
#[derive(Parser)]
struct Arguments {
    /// Portrait of the right person; head and shoulders, looking at the camera.
    #[arg(long)]
    picture: Option<PathBuf>,
    /// Portrait of another person.
    #[arg(long)]
    other: Option<PathBuf>,
    /// The project's folder.
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// Where pictures and story.json go; emptied first.
    #[arg(long, default_value = "target/demo")]
    out: PathBuf,
}

/// The kiosk of the story.
const KIOSK: &str = "kiosk-0001";
/// Seed of the recorded transcripts.
const TRANSCRIPT_SEED: u64 = 42;
/// Resident memory that the agent may use, MB.
const RESIDENT_MAX_MB: f64 = 96.0;
/// Time from start to ready that the agent may take, ms.
const READY_MAX_MS: u64 = 2_000;
/// How long the audit record may take after the cable is back.
const AUDIT_WAIT: Duration = Duration::from_secs(40);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            told = tell(&arguments) => told,
            _ = tokio::signal::ctrl_c() => bail!("stopped; every process of the demo is ended"),
        }
    })
}

async fn tell(arguments: &Arguments) -> Result<()> {
    let root = std::path::absolute(&arguments.root)?;
    let out = std::path::absolute(&arguments.out)?;
    let manifest = root.join("models/manifest.toml");
    let right = arguments.picture.clone().unwrap_or_else(|| people::portrait(&root, ASTRONAUT));
    let other = arguments.other.clone().unwrap_or_else(|| people::portrait(&root, HOPPER));
    let mut story = Story::begin(&out)?;

    story.chapter("The centre: certificate authority, Mosquitto with mutual TLS, matcher, one enrolled person");
    let subjects = subjects(&manifest, &right, &other)?;
    let site = Site::open(&out.join("run"), &manifest)?;
    story.say(&format!("broker and matcher serve on {}", site.broker()));
    let person = people::iin("900101", 4, 17).context("no lawful number")?;
    site.enrol(&person, &right)?;
    story.say("a person is enrolled from a portrait, as from an identity document");
    let watch = site.watch()?;

    story.chapter("The kiosk: its own key, a certificate for it, a cable to the broker, a camera and two lamps");
    let cable = Cable::lay(site.broker())?;
    let sockets = tempfile::tempdir()?;
    let kiosk = site.kiosk(KIOSK, &manifest, sockets.path(), cable.port(), 365)?;
    let mut stage = Stage::open(&kiosk, Arc::clone(&subjects.right), &out.join("pictures"))?;
    let agent = kiosk.start()?;
    story.say(&format!("didar-agent was ready after {} ms", agent.ready_ms));
    story.say(kiosk.check()?.trim());
    stage.wait_until_connected().await?;

    let ask = |purpose: &str| request(person.as_str(), purpose, true);
    story.chapter("(a) The right person");
    stage.start_recording();
    story.scene(
        "a-right-person-first-time",
        stage.attempt("a-right-person-first-time", &ask("open-account")).await?,
        Ending::GRANT,
    )?;
    let recording = stage.stop_recording();
    story.scene("a-right-person-again", stage.attempt("a-right-person-again", &ask("sign")).await?, Ending::GRANT)?;

    story.chapter("(b) Another person claims this identification number");
    stage.step_up(Arc::clone(&subjects.other));
    story.scene("b-another-person", stage.attempt("b-another-person", &ask("sign")).await?, Ending::DENY)?;

    story.chapter("(c) A print of the right person");
    stage.step_up(Arc::clone(&subjects.right));
    stage.present(Presentation::Print);
    story.scene("c-print", stage.attempt("c-print", &ask("sign")).await?, Ending::SPOOF)?;

    story.chapter("(d) The recording of (a), played back to the camera");
    stage.present(Presentation::Recording(recording));
    story.scene("d-recording", stage.attempt("d-recording", &ask("sign")).await?, Ending::SPOOF)?;

    story.chapter("(e) The cable to the broker is pulled");
    stage.present(Presentation::Live);
    cable.pull();
    story.scene("e-cable-pulled", stage.attempt("e-cable-pulled", &ask("sign")).await?, Ending::OFFLINE)?;
    story.events(&watch.lines_so_far());
    cable.plug();
    let waited = stage.clock();
    let audited = |line: &str| line.contains("audited") && line.contains("offline");
    let line = watch.wait_for_line(AUDIT_WAIT, audited).context("the audit record of the offline attempt")?;
    story.events(&[line]);
    story.note("e-audit-record-arrives", "audited", "none", waited.elapsed());
    stage.wait_until_connected().await?;
    story.scene("e-after-the-cable", stage.attempt("e-after-the-cable", &ask("sign")).await?, Ending::GRANT)?;

    story.chapter("(f) Bad input");
    let no_consent = request(person.as_str(), "sign", false);
    story.scene("f-no-consent", stage.attempt("f-no-consent", &no_consent).await?, Ending::REFUSED)?;
    let wrong = request(&wrong_checksum(person.as_str()), "sign", true);
    story.scene("f-wrong-iin-checksum", stage.attempt("f-wrong-iin-checksum", &wrong).await?, Ending::REFUSED)?;
    expired_certificate(&mut story, &site, &manifest, sockets.path(), cable.port())?;
    story.events(&watch.lines_so_far());

    judge_again(&story, &site, &manifest, &out.join("transcripts"), &subjects.right)?;
    measure(&mut story, &agent)?;
    end(story, site, agent, watch, stage)
}

struct Subjects {
    right: Arc<Subject>,
    other: Arc<Subject>,
}

fn subjects(manifest: &Path, right: &Path, other: &Path) -> Result<Subjects> {
    let mut perceiver = Perceiver::new(&Models::load(manifest)?)?;
    Ok(Subjects {
        right: Arc::new(Subject::load(right, &mut perceiver)?),
        other: Arc::new(Subject::load(other, &mut perceiver)?),
    })
}

/// What the kiosk's application sends.
fn request(subject: &str, purpose: &str, with_consent: bool) -> serde_json::Value {
    let mut body = json!({
        "subject": subject,
        "initiator": INITIATOR,
        "reference": format!("demo-{purpose}"),
        "purpose": purpose,
        "language": "en",
    });
    if with_consent {
        body["consent"] = didar_tests::stage::consent(purpose);
    }
    body
}

/// The number with another check digit.
fn wrong_checksum(iin: &str) -> String {
    let last = iin.as_bytes()[iin.len() - 1] - b'0';
    format!("{}{}", &iin[..iin.len() - 1], (last + 1) % 10)
}

/// A second kiosk whose certificate has expired: the check says so, and the broker lets nobody in.
fn expired_certificate(story: &mut Story, site: &Site, manifest: &Path, sockets: &Path, port: u16) -> Result<()> {
    let kiosk = site.kiosk("kiosk-0002", manifest, sockets, port, 0)?;
    let begun = story.clock();
    match kiosk.check() {
        Ok(said) => bail!("an expired certificate passed the check: {said}"),
        Err(error) => {
            let text = format!("{error:#}");
            if !text.contains("expired") {
                bail!("the check does not say that the certificate has expired: {text}");
            }
            story.say(text.lines().find(|line| line.contains("expired")).unwrap_or(&text));
            story.note("f-expired-device-certificate", "refused", "device-refused", begun.elapsed());
        }
    }
    Ok(())
}

/// Two recorded transcripts, a living face's and a print's, judged again offline: what an auditor does.
fn judge_again(story: &Story, site: &Site, manifest: &Path, folder: &Path, subject: &Arc<Subject>) -> Result<()> {
    story.chapter("Recorded transcripts, judged again offline (didar-matcher judge FILE)");
    std::fs::create_dir_all(folder)?;
    let mut perceiver = Perceiver::new(&Models::load(manifest)?)?;
    let mut kiosk = Kiosk::new(Arc::clone(subject), Room::default(), CameraModel::default(), TRANSCRIPT_SEED);
    for (name, presentation) in [("live", Presentation::Live), ("print", Presentation::Print)] {
        kiosk.present(presentation);
        let recording = trial::attempt(&mut kiosk, &mut perceiver, CodeShape::AT_30, TRANSCRIPT_SEED)?;
        let path = folder.join(format!("{name}.json"));
        std::fs::write(&path, recording.context("no face in the simulated camera")?.to_json())?;
        let said = site.judge(&path)?;
        story.say(&format!("{name}: {}", said.lines().next().unwrap_or_default()));
        std::fs::write(folder.join(format!("{name}.txt")), said)?;
    }
    Ok(())
}

fn measure(story: &mut Story, agent: &RunningAgent) -> Result<()> {
    let (resident, peak) = agent.process.resident_mb()?;
    story.chapter("The agent itself");
    story.say(&format!("resident {resident:.1} MB, at most {peak:.1} MB (limit {RESIDENT_MAX_MB} MB)"));
    story.say(&format!("ready after {} ms (limit {READY_MAX_MS} ms)", agent.ready_ms));
    story.agent(agent.ready_ms, resident, peak)?;
    if peak > RESIDENT_MAX_MB || agent.ready_ms > READY_MAX_MS {
        bail!("the agent is over its limits");
    }
    Ok(())
}

fn end(
    story: Story,
    site: Site,
    mut agent: RunningAgent,
    mut watch: didar_tests::process::Process,
    stage: Stage,
) -> Result<()> {
    let status = agent.process.stop()?;
    if !status.success() {
        bail!("didar-agent ended with {status}");
    }
    drop(stage);
    watch.stop()?;
    let centre = site.centre();
    let ledger = site.matcher(&["ledger", "verify", "--dir", centre.to_str().context("path")?])?;
    story.say(&format!("ledger: {}", ledger.trim()));
    site.close()?;
    story.finish()
}
