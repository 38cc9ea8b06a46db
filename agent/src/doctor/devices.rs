//! Camera, lamps and screen.

use std::time::Duration;

use didar_agent::board::{self, BoardError};
use didar_agent::camera::offer::Need;
use didar_agent::camera::v4l2::card;
use didar_agent::config::{Board, CameraDevice, ColourSensor, Config, LampsDevice};
use didar_agent::edge::Screen;
use didar_agent::measure::pulse::{EARLIEST_US, LEAST_LIGHT, median};
use didar_agent::measure::{Bench, MeasureError, Run};
use didar_agent::screen::Area;
use didar_protocol::light_code::Light;
use didar_vision::{Models, Rect};
use serde_json::{Value, json};

use super::cures::{EARLY, LATE, NO_LIGHT, NO_LINE, NO_PAIRS, failed};
use super::{Finding, known, rate};

/// The lamps by name.
const LAMPS: [(&str, Light); 2] = [("left lamp", Light::Left), ("right lamp", Light::Right)];
/// How long a lamp is lit that no camera sees: a part of its budget, and long enough for somebody who looks.
const BLINK: Duration = Duration::from_millis(300);

/// Frames that tell a camera's rate: two seconds.
const SECONDS: u32 = 2;
/// A rate farther from the board's is wrong, as a share.
const RATE_SLACK: f64 = 0.05;
/// Pulses for each lamp.
const PULSES: usize = 4;

/// What is examined of a sensor: its name, how it is reached, and the longest exposure that it must be able to keep.
#[derive(Clone, Copy)]
struct Sensor<'a>(&'static str, &'a CameraDevice, u32);

/// The camera; of two sensors each by itself, then both together. The first finding is of the one that the lamps are seen by.
pub(super) fn cameras(bench: &mut Bench, board: &Board) -> Result<Vec<Finding>, BoardError> {
    let sensor = Sensor("camera", &board.camera, board.facts.exposure_us);
    let Some(colour) = &board.colour else { return Ok(vec![camera(bench, board, sensor)]) };
    let infrared = board::one(board, &board.camera, &bench.clock, &bench.meter)?;
    let pair = std::mem::replace(&mut bench.camera, infrared);
    let infrared = camera(bench, board, sensor);
    let exposure_us = match &colour.device {
        CameraDevice::V4l2(settings) => settings.exposure_us,
        CameraDevice::Nokhwa { .. } | CameraDevice::Bridge(_) => board.facts.exposure_us,
    };
    bench.camera = board::one(board, &colour.device, &bench.clock, &bench.meter)?;
    let beside = camera(bench, board, Sensor("colour camera", &colour.device, exposure_us));
    bench.camera = pair;
    let together = together(bench, board, colour);
    Ok(vec![infrared, beside, together])
}

fn together(bench: &mut Bench, board: &Board, colour: &ColourSensor) -> Finding {
    const NAME: &str = "both sensors";
    let promised = rate(board);
    let allowed_us = u64::try_from(colour.apart.as_micros()).unwrap_or(u64::MAX);
    match bench.pairs((promised * SECONDS) as usize, promised) {
        Ok(found) => {
            let figures = json!({
                "pairs": found.pairs, "alone": found.alone, "apart_us": found.apart_us, "allowed_us": allowed_us,
            });
            let says = format!(
                "{} pairs of frames at most {} us apart ({allowed_us} allowed), {} frames alone",
                found.pairs, found.apart_us, found.alone
            );
            if found.alone > 0 {
                Finding::doubtful(NAME, says, NO_PAIRS, figures)
            } else {
                Finding::good(NAME, says, figures)
            }
        }
        Err(error) => Finding { figures: json!({ "allowed_us": allowed_us }), ..failed(&error, NAME, NAME) },
    }
}

fn camera(bench: &mut Bench, board: &Board, sensor: Sensor<'_>) -> Finding {
    let Sensor(name, device, _) = sensor;
    let (about, mut figures) = describe(device);
    let promised = rate(board);
    let run = match bench.frames((promised * SECONDS) as usize, promised) {
        Ok(run) => run,
        Err(error) => {
            let found = failed(&error, name, name);
            return Finding { says: found.says + &about, figures, ..found };
        }
    };
    figures["rate"] = json!((run.rate * 100.0).round() / 100.0);
    figures["frames"] = json!(run.counts.taken);
    figures["lost_frames"] = json!(run.counts.lost);
    figures["refused_frames"] = json!(run.counts.refused);
    figures["copied_frames"] = json!(run.counts.copied);
    figures["latency_us"] = json!(run.latency_us);
    figures["brightness"] = json!([run.brightness.least, run.brightness.most]);
    judge_run(&run, promised, sensor, &about, figures)
}

fn judge_run(
    run: &Run,
    promised: u32,
    Sensor(name, _, exposure_us): Sensor<'_>,
    about: &str,
    figures: Value,
) -> Finding {
    let promised = f64::from(promised);
    let says = format!("{:.2} frames a second, {} lost{about}", run.rate, run.counts.lost);
    let bad = |says: String, cure, figures| Finding::bad(name, says, cure, figures);
    if run.brightness.is_black() {
        return bad(format!("black all over; {says}"), "is the lens covered, or the room dark?", figures);
    }
    if run.brightness.is_white() {
        let cure = "does a lamp shine into the lens, or is the exposure fixed too long?";
        return bad(format!("white all over; {says}"), cure, figures);
    }
    if (run.rate - promised).abs() > promised * RATE_SLACK {
        let cure = "check sensor.rate, the light (a camera may slow down in the dark) and the cable";
        return bad(format!("{says}; the board's file says {promised}"), cure, figures);
    }
    if let Some(least_us) = figures["exposure_us"][0].as_i64().filter(|least_us| *least_us > i64::from(exposure_us)) {
        let cure = "use another camera, or raise exposure_us where the code's slots are long enough for it";
        let says = format!("cannot expose for less than {least_us} us, exposure_us is {exposure_us}; {says}");
        return bad(says, cure, figures);
    }
    if run.counts.lost > 0 || run.counts.refused > 0 {
        let cure = "use another port or a shorter cable, or raise camera.buffers";
        return Finding::doubtful(name, format!("{says}, {} refused", run.counts.refused), cure, figures);
    }
    Finding::good(name, says, figures)
}

/// What a device says of itself, for people and as figures.
fn describe(device: &CameraDevice) -> (String, Value) {
    match device {
        CameraDevice::V4l2(settings) => match card(settings) {
            Ok(card) => {
                let formats: Vec<_> = card
                    .offers
                    .iter()
                    .map(|offer| String::from_utf8_lossy(&offer.code).trim_end().to_owned())
                    .collect();
                let exposure = card.exposure.map(|(least, most, _)| [least * 100, most * 100]);
                let range =
                    exposure.map_or("cannot be set".to_owned(), |[least, most]| format!("{least} to {most} us"));
                let about = format!("; {} ({}), {}, exposure {range}", card.name, card.driver, formats.join(" "));
                let figures = json!({
                    "device": settings.device, "name": card.name, "driver": card.driver, "formats": formats,
                    "exposure_us": exposure,
                });
                (about, figures)
            }
            Err(_) => (String::new(), json!({ "device": settings.device })),
        },
        CameraDevice::Nokhwa { index, need } => (wanted(need), json!({ "index": index })),
        CameraDevice::Bridge(socket) => ("; the simulated kiosk".to_owned(), json!({ "device": socket })),
    }
}

fn wanted(need: &Need) -> String {
    format!("; {need} wanted")
}

/// The lamps' lines, and their light where they are `seen` by a camera.
pub(super) fn lamps(bench: &mut Bench, config: &Config, seen: bool) -> Vec<Finding> {
    let board = &config.board;
    if board.lamps == LampsDevice::None {
        let cure = "name the lamps in the board's file";
        return vec![Finding::doubtful("lamps", "the board has none: nobody can be let in", cure, json!({}))];
    }
    // Before any picture is taken: a line that is taken needs no camera to be seen.
    if let Err(error) = bench.lamps.set(Light::Off) {
        return vec![Finding::bad("lamps", error.to_string(), NO_LINE, json!({}))];
    }
    if !seen {
        return LAMPS.map(|(name, light)| blink(bench, name, light)).into();
    }
    let mut findings = Vec::new();
    let face = Models::load(&config.models).map_err(Into::into).and_then(|models| bench.face(&models, rate(board)));
    let mut seen_at = Some(match face {
        Ok(Some(face)) => (Some(face), "on the face"),
        Ok(None) => (None, "in the picture's middle, as nobody looks into the camera"),
        Err(error) => {
            findings.push(failed(&error, "camera", "lamps"));
            (None, "in the picture's middle, as no face could be looked for")
        }
    });
    for of in LAMPS {
        let measured = seen_at.map(|place| lamp(bench, board, of, place));
        match measured {
            Some(Ok(finding)) => findings.push(finding),
            Some(Err(error)) => {
                let found = failed(&error, "camera", of.0);
                let is_lamp = found.device == of.0;
                findings.push(found);
                if !is_lamp {
                    seen_at = None;
                    findings.push(blink(bench, of.0, of.1));
                }
            }
            None => findings.push(blink(bench, of.0, of.1)),
        }
    }
    findings
}

/// Lights a lamp whose light no camera can measure.
fn blink(bench: &mut Bench, name: &'static str, light: Light) -> Finding {
    let lit = bench.lamps.set(light).and_then(|_| {
        pause(BLINK);
        bench.lamps.set(Light::Off)
    });
    match lit {
        Ok(_) => {
            let says = format!("its line was switched on for {} ms; no camera measured its light", BLINK.as_millis());
            Finding::doubtful(name, says, "mend the camera; a telephone's camera shows infrared as well", json!({}))
        }
        Err(error) => Finding::bad(name, error.to_string(), NO_LINE, json!({})),
    }
}

#[expect(clippy::disallowed_methods, reason = "doctor tries devices, and somebody looks at this one")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

fn lamp(
    bench: &mut Bench,
    board: &Board,
    (name, light): (&'static str, Light),
    (area, place): (Option<Rect>, &str),
) -> Result<Finding, MeasureError> {
    let (response, delays) = bench.respond(light, area, known(board), PULSES)?;
    Ok(judge_lamp(board, name, place, response, median(delays)))
}

fn judge_lamp(board: &Board, name: &'static str, place: &str, response: f32, delay: Option<(i64, i64)>) -> Finding {
    let figures = json!({
        "lit_minus_dark": (response * 10.0).round() / 10.0,
        "delay_us": delay.map(|(delay, _)| delay),
        "spread_us": delay.map(|(_, spread)| spread),
    });
    let timed = delay.map_or("not timed".to_owned(), |(delay, _)| format!("{delay} us after the order"));
    let says = format!("{response:.1} code values of light {place}, {timed}");
    let frame_us = i64::from(board.facts.frame_us);
    if response < LEAST_LIGHT {
        return Finding::bad(name, says, NO_LIGHT, figures);
    }
    if delay.is_some_and(|(delay, _)| delay < EARLIEST_US) {
        return Finding::bad(name, format!("{says}: light before it was ordered"), EARLY, figures);
    }
    if delay.is_some_and(|(delay, _)| delay - i64::from(board.facts.delay_us) >= frame_us) {
        return Finding::bad(name, format!("{says}: more than a frame later than known"), LATE, figures);
    }
    Finding::good(name, says, figures)
}

pub(super) fn screen(screen: Option<Box<dyn Screen>>) -> Finding {
    let Some(mut screen) = screen else {
        return Finding::good("screen", "the board has none; the kiosk's application shows what is told", json!({}));
    };
    let (width, height) = screen.size();
    let figures = json!({ "width": width, "height": height });
    let white = vec![u16::MAX; usize::from(width) * usize::from(height)];
    match screen.show(&white, Area { x: 0, y: 0, width, height }) {
        Ok(()) => Finding::good("screen", format!("{width}x{height}, white now"), figures),
        Err(error) => {
            let cure = "check its cable and screen in the board's file; the kiosk serves without, by its local API";
            Finding::bad("screen", error.to_string(), cure, figures)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use didar_agent::camera::meter::Counts;
    use didar_vision::Brightness;

    use super::*;

    /// What is said of a camera that promised 30 frames a second.
    fn said(least: u8, most: u8, rate: f64, lost: u64, exposure_us: Value) -> String {
        let brightness = Brightness { least, most, mean: 0.0 };
        let counts = Counts { lost, ..Counts::default() };
        let figures = json!({ "exposure_us": exposure_us });
        let device = CameraDevice::Bridge("sensor".into());
        let sensor = Sensor("camera", &device, 12_000);
        judge_run(&Run { rate, counts, brightness, latency_us: 0 }, 30, sensor, "", figures).text()
    }

    #[test]
    fn a_lamp_without_light_and_light_that_comes_early_or_late_is_wrong() {
        let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware-config/agent.toml");
        let board = Config::read(&shipped).unwrap().board;
        let said = |light, delay_us| judge_lamp(&board, "left lamp", "on the face", light, delay_us).text();
        for timed in [None, Some((-300, 100)), Some((EARLIEST_US, 0)), Some((30_000, 100))] {
            assert!(said(30.0, timed).starts_with("ok "), "{timed:?}");
        }
        for (light, delay_us, cure) in
            [(1.0, 400, NO_LIGHT), (30.0, EARLIEST_US - 1, EARLY), (30.0, -20_000, EARLY), (30.0, 34_000, LATE)]
        {
            let said = said(light, Some((delay_us, 100)));
            assert!(said.starts_with("wrong") && said.contains(cure), "{said}");
        }
    }

    #[test]
    fn a_camera_that_shows_nothing_or_is_slow_or_loses_frames_is_named_with_a_cure() {
        for exposure_us in [json!(null), json!([100, 50_000]), json!([12_000, 50_000])] {
            assert!(said(0, 255, 30.0, 0, exposure_us).starts_with("ok "));
        }
        for ((least, most, rate, lost), exposure_us, verdict, words) in [
            ((0, 5, 30.0, 0), json!(null), "wrong", "black all over"),
            ((250, 255, 30.0, 0), json!(null), "wrong", "white all over"),
            ((0, 255, 15.0, 0), json!(null), "wrong", "the board's file says 30"),
            ((0, 255, 30.0, 0), json!([12_100, 50_000]), "wrong", "cannot expose for less than 12100 us"),
            ((0, 255, 30.0, 4), json!(null), "doubtful", "4 lost"),
        ] {
            let said = said(least, most, rate, lost, exposure_us);
            assert!(said.starts_with(verdict) && said.contains(words) && said.contains("do: "), "{said}");
        }
    }
}
