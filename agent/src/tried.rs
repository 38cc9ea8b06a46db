//! `didar-agent trial`: the real edges, words for the tester, and a file for each presentation.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use didar_agent::attempt::event::Hint;
use didar_agent::camera::meter::Meter;
use didar_agent::config::{Config, LampsDevice};
use didar_agent::edge::Clock;
use didar_agent::measure::calibration::Calibration;
use didar_agent::perception;
use didar_agent::time::SystemClock;
use didar_agent::trial::folder::{Folder, PRESENTATIONS_MAX};
use didar_agent::trial::record::{Ambient, Circumstances, Device, Distance, Record, Species};
use didar_agent::trial::{Presented, Session};
use didar_vision::Models;
use tokio::sync::mpsc;

use crate::start::{Edges, edges};

/// What the tester says.
#[derive(Args)]
pub(crate) struct TrialArguments {
    /// The configuration.
    #[arg(long, default_value = "/etc/didar/agent.toml")]
    config: PathBuf,
    /// What is presented: live, flat-print, tilted-print, bent-print, folded-print, print-with-eye-holes,
    /// print-over-head, print-with-nose, phone, tablet, screen, paper-mask, rigid-mask, soft-mask or other-NAME.
    #[arg(long)]
    species: Species,
    /// Presentations that there shall be, those that the folder already holds included: the same command goes on where
    /// it was stopped.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=PRESENTATIONS_MAX as i64))]
    n: u16,
    /// The folder that takes the evidence; it is made where there is none.
    #[arg(long)]
    out: PathBuf,
    /// Number of the person, or of the person whom the instrument shows; who that is stays in the tester's own list.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    subject: Option<u16>,
    /// From the lens: near (to 450 mm), middle (to 600 mm) or far.
    #[arg(long)]
    distance: Option<Distance>,
    /// The light of the place.
    #[arg(long)]
    ambient: Option<Ambient>,
}

/// Events that may wait for the trial.
const EVENTS_MAX: usize = 256;

/// Presents until the folder holds as many presentations as asked for.
pub(crate) fn trial(arguments: &TrialArguments, out: &mut (impl Write + Send)) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime")?;
    runtime.block_on(run(arguments, out))
}

async fn run(arguments: &TrialArguments, out: &mut (impl Write + Send)) -> Result<()> {
    let mut config = Config::read(&arguments.config)?;
    if config.board.lamps == LampsDevice::None {
        bail!("board {} has no lamps: there is nothing to try", config.board.name);
    }
    if let Some(calibration) = Calibration::read(&config.state, &config.board)? {
        calibration.apply(&mut config.board);
    }
    let circumstances = Circumstances {
        species: arguments.species.clone(),
        subject: arguments.subject,
        distance: arguments.distance,
        ambient: arguments.ambient,
    };
    let models = Models::load(&config.models)?;
    let mut folder = Folder::open(&arguments.out, device(&config, &models))?;
    let (wanted, there) = (usize::from(arguments.n), folder.count(&circumstances));
    begin(&circumstances, (there, wanted), &arguments.out, out)?;
    if there < wanted {
        let _guard = crate::start::guard(&arguments.config, &config)?;
        let mut session = open(&config, &models)?;
        for number in there + 1..=wanted {
            if !ask(number, wanted, out)? {
                break;
            }
            let mut told = |hint: Hint| {
                // Nobody reads what cannot be written.
                let _ = writeln!(out, "             {}", advice(hint));
            };
            let presented = session.present(&mut told).await.context("the presentation does not count")?;
            let made_at = session.clock.unix_ms(session.clock.now()) / 1000;
            let name = folder.keep(&circumstances, &presented, made_at)?;
            writeln!(out, "kept         {name}: {}", found(&presented, folder.records().last()))?;
        }
    }
    end(&folder, &circumstances, &arguments.out, out)
}

fn device(config: &Config, models: &Models) -> Device {
    let models = perception::references(models);
    let models = models.iter().map(|model| format!("{:?} {}", model.role, hex::encode(model.sha256)).to_lowercase());
    Device { device: config.device.clone(), board: config.board.name.clone(), models: models.collect() }
}

/// Opens the edges; the screen is used where there is one.
fn open(config: &Config, models: &Models) -> Result<Session> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(crate::start::BUILT_MS));
    let meter = Arc::<Meter>::default();
    let (events, heard) = mpsc::channel(EVENTS_MAX);
    let Edges { lamps, perception, display } = edges(config, models, &clock, &meter, &events)?;
    Ok(Session {
        device: config.device.clone(),
        shape: config.board.code,
        slot: config.board.slot(),
        limits: config.limits,
        clock,
        lamps,
        eyes: Box::new(perception),
        events: heard,
        display: display.map(|display| (display, config.language)),
    })
}

fn begin(of: &Circumstances, (there, wanted): (usize, usize), folder: &Path, out: &mut impl Write) -> Result<()> {
    let kind = if of.species.is_live() { "living people, bona fide" } else { "an attack" };
    writeln!(out, "trial        {} ({kind}); {}", of.species, conditions(of))?;
    writeln!(out, "folder       {}: {there} of {wanted} are there", folder.display())?;
    writeln!(out, "kept         12 x 12 cells a frame and the judge's figures: no picture, no template, no name")?;
    if there < wanted {
        let what = if of.species.is_live() { "the person stands" } else { "the instrument is held" };
        writeln!(out, "how          {what} before the camera like somebody who wants to be let in, looks at it and")?;
        writeln!(out, "             keeps still while the lamps flash (a second); then away, and anew for the next")?;
    }
    Ok(out.flush()?)
}

fn conditions(of: &Circumstances) -> String {
    let told =
        |name: &str, value: Option<String>| value.map_or(format!("{name} not stated"), |v| format!("{name} {v}"));
    let word = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
    [
        told("subject", of.subject.map(|number| number.to_string())),
        told("distance", of.distance.as_ref().map(|distance| word(distance))),
        told("ambient light", of.ambient.as_ref().map(|ambient| word(ambient))),
    ]
    .join(", ")
}

/// Waits for the tester, where one sits at a terminal; `false` where he ends the trial.
fn ask(number: usize, wanted: usize, out: &mut impl Write) -> Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        writeln!(out, "{:<13}now", format!("{number} of {wanted}"))?;
        return Ok(true);
    }
    write!(out, "{:<13}Enter when it is ready, q to stop here: ", format!("{number} of {wanted}"))?;
    out.flush()?;
    let mut line = String::new();
    let read = input.lock().read_line(&mut line).context("reading what you typed")?;
    Ok(read > 0 && line.trim() != "q")
}

fn found(presented: &Presented, record: Option<&Record>) -> String {
    let said = record.map_or(String::new(), |record| match record.answer.as_str() {
        "live" => "live".to_owned(),
        answer => format!("{answer}, {}", record.reason),
    });
    match presented {
        Presented::Captured(_) => said,
        Presented::Missed(_) => format!("{said}: no proof came about; it counts as a presentation without an answer"),
    }
}

fn end(folder: &Folder, of: &Circumstances, path: &Path, out: &mut impl Write) -> Result<()> {
    let count = |answer: &str| folder.records().iter().filter(|r| r.is_of(of) && r.answer == answer).count();
    let [live, spoof, inconclusive] = ["live", "spoof", "inconclusive"].map(count);
    let n = folder.count(of);
    writeln!(out, "done         {n} presentations: {live} live, {spoof} spoof, {inconclusive} inconclusive")?;
    writeln!(out, "next         make liveness TRIAL={}", path.display())?;
    Ok(())
}

/// What the tester should change.
const fn advice(hint: Hint) -> &'static str {
    match hint {
        Hint::LookForFace => "no face is seen: hold it before the camera",
        Hint::Closer => "closer",
        Hint::Farther => "farther away",
        Hint::ToTheMiddle => "to the middle of the picture",
        Hint::LookStraight => "straight: the face is turned",
        Hint::TakeOffMask => "something covers mouth or nose",
        Hint::TooDark => "too dark",
        Hint::TooBright => "too bright",
        Hint::OnePersonOnly => "one face only",
        Hint::HoldStill => "hold it still",
        Hint::StepBack => "a little back: the picture ends too close around the face",
    }
}
