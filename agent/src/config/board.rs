//! Facts of a board: what its camera, lamps and screen are, and how they are reached. Never guessed from a name.

mod camera;
mod screen;

use std::path::{Path, PathBuf};
use std::time::Duration;

use didar_protocol::id::Env;
use didar_protocol::light_code::CodeShape;
use didar_protocol::transcript::{CameraFacts, Spectrum};
use serde::Deserialize;

use super::{ConfigError, range, read_toml};
use crate::buzzer::BuzzerLine;
use crate::lamps::pins::{Active, Lines};
pub use camera::{CameraDevice, ColourSensor};
use camera::{CameraText, ColourText, check_exposure, check_focal};
pub use screen::ScreenDevice;
use screen::ScreenText;

/// A board: its devices, and the facts of them that the judgement needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    /// Its name: `boards/NAME.toml`.
    pub name: String,
    /// The camera; of two sensors the infrared one, which the light code is judged on.
    pub camera: CameraDevice,
    /// The colour sensor beside an infrared one.
    pub colour: Option<ColourSensor>,
    /// The lamps.
    pub lamps: LampsDevice,
    /// The screen.
    pub screen: ScreenDevice,
    /// The buzzer's line, where there is one.
    pub buzzer: Option<BuzzerLine>,
    /// Facts of camera and lamps that the judgement needs.
    pub facts: CameraFacts,
    /// The light code that this camera can show.
    pub code: CodeShape,
    /// How long the camera may be silent before it counts as broken.
    pub stall: Duration,
}

/// How the lamps are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LampsDevice {
    /// Two GPIO lines.
    Lines(Lines),
    /// The bridge that the camera is reached by.
    Bridge,
    /// There are none: guidance can be tried, and no attempt can be granted. In the test environment only.
    None,
}

impl Board {
    /// Length of one slot of the code.
    pub fn slot(&self) -> Duration {
        Duration::from_micros(u64::from(self.facts.frame_us)) * u32::from(self.code.frames_per_slot)
    }

    /// Reads and checks `path`, the file of the board `name`.
    ///
    /// # Errors
    /// Names file, line or key, what it says and what is lawful.
    pub(super) fn read(path: &Path, name: String, env: Env) -> Result<Self, ConfigError> {
        let file: BoardFile = read_toml(path)?;
        check_kinds(path, &file, env)?;
        check_sensor(path, &file.sensor)?;
        let camera = camera::read(path, file.camera, &file.sensor)?;
        let colour = match (file.colour, file.sensor.spectrum) {
            (Some(text), SpectrumText::ColourAndInfrared) => {
                Some(camera::read_colour(path, text, &camera, &file.sensor)?)
            }
            (None, SpectrumText::ColourNoFilter | SpectrumText::Infrared) => None,
            (Some(_), _) => return Err(range(path, "[colour]", "there", TWO_SENSORS)),
            (None, SpectrumText::ColourAndInfrared) => return Err(range(path, "[colour]", "missing", TWO_SENSORS)),
        };
        let (lamps, delay_us, baseline_mm) = match file.lamps {
            LampsText::Chardev { chip, left, right, active, delay_us, baseline_mm } => {
                check_apart(path, left, right)?;
                let lines = Lines::Chardev { chip, left, right, active: active.into() };
                (LampsDevice::Lines(lines), delay_us, baseline_mm)
            }
            LampsText::Rppal { left, right, active, delay_us, baseline_mm } => {
                check_apart(path, left.into(), right.into())?;
                (LampsDevice::Lines(Lines::Rppal { left, right, active: active.into() }), delay_us, baseline_mm)
            }
            LampsText::Bridge { delay_us, baseline_mm } => (LampsDevice::Bridge, delay_us, baseline_mm),
            LampsText::None {} => (LampsDevice::None, 0, BASELINE_LEAST_MM),
        };
        let screen = screen::read(path, file.screen)?;
        let SensorText { rate, gamma_milli, exposure_us, readout_us, focal_px, noise_milli, spectrum, stall_ms } =
            file.sensor;
        let frame_us = 1_000_000 / rate;
        if !(BASELINE_LEAST_MM..=100).contains(&baseline_mm) {
            let lawful = "60 to 100: less gives no relief, more leaves the face";
            return Err(range(path, "lamps.baseline_mm", baseline_mm, lawful));
        }
        if delay_us >= frame_us {
            return Err(range(path, "lamps.delay_us", delay_us, "less than one frame at sensor.rate"));
        }
        let keys = ["sensor.exposure_us", "sensor.readout_us"];
        check_exposure(path, keys, (exposure_us, readout_us), rate)?;
        Ok(Self {
            name,
            camera,
            colour,
            lamps,
            screen,
            buzzer: file.buzzer.map(|BuzzerText { chip, line }| BuzzerLine { chip, line }),
            facts: CameraFacts {
                gamma_milli,
                frame_us,
                exposure_us,
                readout_us,
                delay_us,
                baseline_mm,
                focal_px10: 10 * focal_px,
                noise_milli,
                spectrum: spectrum.into(),
            },
            code: code(path, &file.code)?,
            stall: Duration::from_millis(stall_ms),
        })
    }
}

/// Least distance of a lamp from the lens, millimetres: less gives no relief.
const BASELINE_LEAST_MM: u16 = 60;
/// What goes with two sensors.
const TWO_SENSORS: &str = "a table [colour] with sensor.spectrum = \"colour-and-infrared\", and none with any other";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BoardFile {
    camera: CameraText,
    colour: Option<ColourText>,
    sensor: SensorText,
    lamps: LampsText,
    code: CodeText,
    screen: ScreenText,
    buzzer: Option<BuzzerText>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum LampsText {
    Chardev { chip: PathBuf, left: u32, right: u32, active: ActiveText, delay_us: u32, baseline_mm: u16 },
    Rppal { left: u8, right: u8, active: ActiveText, delay_us: u32, baseline_mm: u16 },
    Bridge { delay_us: u32, baseline_mm: u16 },
    None {},
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ActiveText {
    High,
    Low,
}

impl From<ActiveText> for Active {
    fn from(text: ActiveText) -> Self {
        match text {
            ActiveText::High => Self::High,
            ActiveText::Low => Self::Low,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BuzzerText {
    chip: PathBuf,
    line: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SensorText {
    rate: u32,
    gamma_milli: u16,
    exposure_us: u32,
    readout_us: u32,
    focal_px: u32,
    noise_milli: u16,
    spectrum: SpectrumText,
    stall_ms: u64,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SpectrumText {
    ColourNoFilter,
    ColourAndInfrared,
    Infrared,
}

impl From<SpectrumText> for Spectrum {
    fn from(text: SpectrumText) -> Self {
        match text {
            SpectrumText::ColourNoFilter => Self::ColourNoFilter,
            SpectrumText::ColourAndInfrared => Self::ColourAndInfrared,
            SpectrumText::Infrared => Self::Infrared,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CodeText {
    slots: u8,
    frames_per_slot: u8,
    wrong_allowed: u8,
}

/// Which kinds go together, and which are for trials only.
fn check_kinds(path: &Path, file: &BoardFile, env: Env) -> Result<(), ConfigError> {
    let test = env == Env::Test;
    let bridged = matches!(file.camera, CameraText::Bridge { .. });
    let rules = [
        (test || !bridged, "camera.kind", "bridge", "`bridge` with env = \"test\" only: it is a camera made of bytes"),
        (
            test || !matches!(file.camera, CameraText::Nokhwa { .. }),
            "camera.kind",
            "nokhwa",
            "`nokhwa` with env = \"test\" only: its frames are stamped on arrival; use v4l2",
        ),
        (
            bridged || !matches!(file.lamps, LampsText::Bridge { .. }),
            "lamps.kind",
            "bridge",
            "`bridge` with camera.kind = \"bridge\" only",
        ),
        (
            test || !matches!(file.lamps, LampsText::None {}),
            "lamps.kind",
            "none",
            "`none` with env = \"test\" only: without lamps nobody is proved live, and nobody is let in",
        ),
        (
            bridged || !matches!(file.screen, ScreenText::Bridge { .. }),
            "screen.kind",
            "bridge",
            "`bridge` with camera.kind = \"bridge\" only",
        ),
    ];
    for (holds, key, found, lawful) in rules {
        if !holds {
            return Err(range(path, key, found, lawful));
        }
    }
    Ok(())
}

fn check_apart(path: &Path, left: u32, right: u32) -> Result<(), ConfigError> {
    if left != right {
        return Ok(());
    }
    Err(range(path, "lamps.left and lamps.right", left, "two different lines: one lamp alone gives no relief"))
}

fn check_sensor(path: &Path, sensor: &SensorText) -> Result<(), ConfigError> {
    let SensorText { rate, gamma_milli, focal_px, noise_milli, stall_ms, .. } = *sensor;
    if !(10..=200).contains(&rate) {
        return Err(range(path, "sensor.rate", rate, "10 to 200 frames a second"));
    }
    if !(1..=4000).contains(&gamma_milli) {
        return Err(range(path, "sensor.gamma_milli", gamma_milli, "1 to 4000; 1000 is linear"));
    }
    check_focal(path, "sensor.focal_px", focal_px)?;
    if noise_milli > 20_000 {
        return Err(range(path, "sensor.noise_milli", noise_milli, "0 to 20000; 0 is not measured"));
    }
    if !(100..=10_000).contains(&stall_ms) {
        return Err(range(path, "sensor.stall_ms", stall_ms, "100 to 10000"));
    }
    Ok(())
}

fn code(path: &Path, text: &CodeText) -> Result<CodeShape, ConfigError> {
    let CodeText { slots, frames_per_slot, wrong_allowed } = *text;
    CodeShape::new(slots, frames_per_slot, wrong_allowed).ok_or_else(|| {
        let found = format!("{slots} slots of {frames_per_slot} frames, {wrong_allowed} wrong");
        let lawful = "a shape whose guess bound is 2^-20: 12 slots with none wrong, or 16 with at most 2 wrong";
        range(path, "code", found, lawful)
    })
}
