//! `didar-agent doctor`: every device, tried, with what is wrong and what to do. `didar-agent calibrate`: what the device
//! is measured to be.
//!
//! Both use the camera and the lamps, so the agent must not be running. Nothing that a camera sees leaves this process but
//! means of brightness.

mod cures;
mod devices;
mod surroundings;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use didar_agent::board::{self, Devices};
use didar_agent::camera::meter::Meter;
use didar_agent::config::{Board, Config, LampsDevice};
use didar_agent::edge::{Clock, Screen};
use didar_agent::lamps::guard::Guard;
use didar_agent::measure::calibration::Calibration;
use didar_agent::measure::pulse::{EARLIEST_US, Exposure, LEAST_LIGHT, median};
use didar_agent::measure::{Bench, Known, Pairs};
use didar_agent::time::SystemClock;
use didar_protocol::light_code::Light;
use didar_vision::Unpacker;
use serde_json::{Value, json};

/// How `doctor` answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Json,
}

/// What was found of one device.
pub(crate) struct Finding {
    device: &'static str,
    verdict: Verdict,
    says: String,
    /// What to do; empty where nothing is to be done.
    cure: &'static str,
    figures: Value,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Doubtful,
    Bad,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Doubtful => "doubtful",
            Self::Bad => "wrong",
        }
    }
}

impl Finding {
    fn good(device: &'static str, says: impl Into<String>, figures: Value) -> Self {
        Self { device, verdict: Verdict::Good, says: says.into(), cure: "", figures }
    }

    fn doubtful(device: &'static str, says: impl Into<String>, cure: &'static str, figures: Value) -> Self {
        Self { device, verdict: Verdict::Doubtful, says: says.into(), cure, figures }
    }

    fn bad(device: &'static str, says: impl Into<String>, cure: &'static str, figures: Value) -> Self {
        Self { device, verdict: Verdict::Bad, says: says.into(), cure, figures }
    }

    fn text(&self) -> String {
        let cure = if self.cure.is_empty() { String::new() } else { format!("\n          do: {}", self.cure) };
        format!("{:<9} {}: {}{cure}", self.verdict.word(), self.device, self.says)
    }

    fn json(&self) -> Value {
        json!({
            "device": self.device,
            "verdict": self.verdict.word(),
            "says": self.says,
            "do": self.cure,
            "figures": self.figures,
        })
    }
}

/// Examines the kiosk of the configuration at `path`; writes the findings to `out`.
pub(crate) fn doctor(path: &Path, form: Form, out: &mut impl Write) -> ExitCode {
    let findings = match Config::read(path) {
        Ok(config) => examine(path, config),
        Err(error) => {
            vec![Finding::bad("configuration", error.to_string(), "mend the file, then `didar-agent check`", json!({}))]
        }
    };
    let sound = findings.iter().all(|finding| finding.verdict != Verdict::Bad);
    let report = match form {
        Form::Text => findings.iter().map(|finding| finding.text() + "\n").collect(),
        Form::Json => {
            let findings: Vec<_> = findings.iter().map(Finding::json).collect();
            format!("{}\n", json!({ "sound": sound, "findings": findings }))
        }
    };
    // Nobody reads a report that cannot be written; the exit code still tells.
    let written = out.write_all(report.as_bytes());
    if sound && written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn examine(path: &Path, mut config: Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    match Calibration::read(&config.state, &config.board) {
        Ok(Some(calibration)) => {
            calibration.apply(&mut config.board);
            findings.push(calibrated(&calibration, &config.board));
        }
        Ok(None) => findings.push(Finding::doubtful(
            "calibration",
            format!("none; the board's file says {} us from order to light", config.board.facts.delay_us),
            "run `didar-agent calibrate` with somebody before the camera",
            json!({ "delay_us": config.board.facts.delay_us }),
        )),
        Err(error) => {
            findings.push(Finding::bad("calibration", error.to_string(), "run `didar-agent calibrate`", json!({})))
        }
    }
    match Table::open(path, &config) {
        Ok(mut table) => match devices::cameras(&mut table.bench, &config.board) {
            Ok(cameras) => {
                let seen = cameras.iter().all(|camera| camera.verdict != Verdict::Bad);
                let lamps = devices::lamps(&mut table.bench, &config, seen);
                findings.extend(cameras);
                findings.extend(lamps);
                table.bench.camera.rest();
                findings.push(devices::screen(table.screen.take()));
            }
            Err(error) => findings.push(Finding::bad("board", error.to_string(), "change the board's file", json!({}))),
        },
        Err(error) => findings.push(Finding::bad("board", format!("{error:#}"), "change the board's file", json!({}))),
    }
    findings.push(surroundings::clock());
    findings.push(surroundings::storage(&config));
    findings.extend(surroundings::certificate_and_broker(&config));
    findings
}

/// What a calibration says of itself.
fn calibrated(found: &Calibration, board: &Board) -> Finding {
    let day = didar_agent::identity::day(i64::try_from(found.measured_at).unwrap_or(i64::MAX));
    let rate = f64::from(found.rate_milli) / 1000.0;
    let says = format!(
        "delay {} us, measured on {day} by {} pulses at most {} us apart, at {rate:.2} frames a second",
        found.delay_us, found.pulses, found.spread_us
    );
    let figures = json!({
        "delay_us": found.delay_us, "spread_us": found.spread_us, "pulses": found.pulses,
        "rate_milli": found.rate_milli, "measured_at": found.measured_at,
    });
    if found.is_of_rate(board) {
        return Finding::good("calibration", says, figures);
    }
    let cure = "run `didar-agent calibrate` again: the camera or sensor.rate is another one since";
    Finding::doubtful("calibration", says, cure, figures)
}

/// The devices of a board. The guard goes last: it takes the lamps' lines then.
struct Table {
    bench: Bench,
    screen: Option<Box<dyn Screen>>,
    _guard: Option<Guard>,
}

impl Table {
    fn open(path: &Path, config: &Config) -> Result<Self> {
        let _guard = crate::start::guard(path, config)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(0));
        let meter = Arc::<Meter>::default();
        let Devices { camera, lamps, screen } = board::open(&config.board, &clock, &meter)?;
        Ok(Self { bench: Bench { camera, lamps, clock, meter, unpacker: Unpacker::new() }, screen, _guard })
    }
}

/// How frames of `board` are exposed in the picture's middle.
fn exposure(board: &Board) -> Exposure {
    let facts = &board.facts;
    Exposure { exposure_us: facts.exposure_us, row_us: facts.readout_us / 2, gamma_milli: facts.gamma_milli }
}

/// Frames a second that the board promises.
fn rate(board: &Board) -> u32 {
    1_000_000 / board.facts.frame_us.max(1)
}

/// What the board's file and an earlier calibration tell of camera and lamps.
fn known(board: &Board) -> Known {
    Known { exposure: exposure(board), rate: rate(board), delay_us: board.facts.delay_us }
}

/// Pulses that a calibration is made of: they are aimed at the middle of a frame, and three that hit it are enough.
const PULSES: usize = 16;
/// Delays that a calibration needs.
const DELAYS_LEAST: usize = 3;

/// Measures the delay from the order to the light, and keeps it in the state folder.
pub(crate) fn calibrate(path: &Path, out: &mut impl Write) -> Result<()> {
    let config = Config::read(path)?;
    let board = &config.board;
    if board.lamps == LampsDevice::None {
        bail!("board {} has no lamps: there is nothing to calibrate", board.name);
    }
    let mut table = Table::open(path, &config)?;
    let bench = &mut table.bench;
    let run = bench.frames(PULSES * 2, rate(board)).context("taking frames")?;
    let pairs = board.colour.as_ref().map(|_| bench.pairs(PULSES * 2, rate(board))).transpose().context("pairing")?;
    let (light, delays) = bench.respond(Light::Both, None, known(board), PULSES)?;
    bench.camera.rest();
    if light < LEAST_LIGHT {
        bail!("the lamps change the picture by {light:.1} code values: {}", cures::NO_LIGHT);
    }
    let found = delays.len();
    let (delay, spread) = judge_delays(delays, i64::from(board.facts.frame_us))?;
    let calibration = Calibration {
        board: board.name.clone(),
        // A little below nothing is the measurement's own error.
        delay_us: u32::try_from(delay.max(0))?,
        spread_us: u32::try_from(spread)?,
        pulses: u32::try_from(found)?,
        rate_milli: (run.rate * 1000.0).round() as u32,
        measured_at: bench.clock.unix_ms(bench.clock.now()) / 1000,
    };
    let kept = calibration.write(&config.state)?;
    writeln!(out, "delay     {delay} us from the order to the light, {found} of {PULSES} pulses, {spread} us apart")?;
    writeln!(out, "light     {light:.1} code values")?;
    writeln!(out, "rate      {:.2} frames a second, {} lost", run.rate, run.counts.lost)?;
    if let Some(Pairs { pairs, alone, apart_us }) = pairs {
        writeln!(out, "sensors   {pairs} pairs at most {apart_us} us apart, {alone} frames alone")?;
    }
    writeln!(out, "kept      {}", kept.display())?;
    Ok(())
}

/// The delay that the judgement can reckon with, and how far the measured ones are apart.
fn judge_delays(delays: Vec<i64>, frame_us: i64) -> Result<(i64, i64)> {
    let found = delays.len();
    let Some((delay, spread)) = median(delays).filter(|_| found >= DELAYS_LEAST) else {
        bail!("only {found} of {PULSES} pulses could be timed; is sensor.exposure_us right, and does the rate hold?");
    };
    if delay < EARLIEST_US {
        bail!("light comes {} us before it is ordered: {}", -delay, cures::EARLY);
    }
    if delay >= frame_us || spread >= frame_us {
        bail!(
            "light comes {delay} us after the order, the pulses {spread} us apart: more than one frame ({frame_us} us). {}",
            cures::LATE
        );
    }
    Ok((delay, spread))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_that_cannot_be_is_refused_with_a_cure() {
        let judge = |delays: &[i64]| judge_delays(delays.to_vec(), 33_333).map_err(|error| error.to_string());
        assert_eq!(judge(&[900, 700, 400]), Ok((700, 500)));
        assert_eq!(judge(&[-300, -200, -400]), Ok((-300, 200)));
        for (delays, words) in [
            (&[400, 400][..], "only 2 of 16 pulses"),
            (&[-19_600, -19_900, -20_000], "19900 us before it is ordered"),
            (&[34_000, 34_000, 34_000], "34000 us after the order"),
            (&[0, 400, 33_400], "33400 us apart"),
        ] {
            let why = judge(delays).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
    }

    #[test]
    fn a_calibration_says_how_good_it_is_and_is_doubtful_at_another_rate() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware-config/agent.toml");
        let board = Config::read(&shipped).unwrap().board;
        let of = |rate_milli| Calibration {
            board: board.name.clone(),
            delay_us: 900,
            spread_us: 300,
            pulses: 9,
            rate_milli,
            measured_at: 1_800_000_000,
        };
        let good = calibrated(&of(29_970), &board);
        assert!(good.text().starts_with("ok ") && good.text().contains("9 pulses at most 300 us apart"));
        assert_eq!((&good.figures["pulses"], &good.figures["rate_milli"]), (&json!(9), &json!(29_970)));
        assert!(calibrated(&of(15_000), &board).text().starts_with("doubtful"));
    }
}
