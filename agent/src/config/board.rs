//! Facts of a board: what its camera, lamps and screen are, and how they are reached. Never guessed from a name.

use std::path::{Path, PathBuf};
use std::time::Duration;

use didar_protocol::id::Env;
use didar_protocol::light_code::CodeShape;
use didar_protocol::transcript::{CameraFacts, Spectrum};
use serde::Deserialize;

use super::{ConfigError, range, read_toml};
use crate::buzzer::BuzzerLine;
use crate::camera::offer::{FORMATS, Need};
use crate::camera::v4l2::V4l2Settings;
use crate::lamps::pins::{Active, Lines};
use crate::panel::spi::{Controller, Order, SpiPanel, Turn};
use crate::screen::Canvas;

/// A board: its devices, and the facts of them that the judgement needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    /// Its name: `boards/NAME.toml`.
    pub name: String,
    /// The camera.
    pub camera: CameraDevice,
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

/// How the camera is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CameraDevice {
    /// A V4L2 device.
    V4l2(V4l2Settings),
    /// Whatever `nokhwa` reaches by this number; in the test environment only.
    Nokhwa {
        /// The camera's number.
        index: u32,
        /// Formats, size and rate.
        need: Need,
    },
    /// The simulated kiosk on this Unix socket; in the test environment only.
    Bridge(PathBuf),
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

/// How the screen is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScreenDevice {
    /// The bridge that the camera is reached by, with a screen of so many pixels.
    Bridge {
        /// Pixels a row.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// The kernel's frame buffer.
    FrameBuffer {
        /// The device, e.g. `/dev/fb0`.
        device: PathBuf,
        /// Pixels a row.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// A panel on SPI.
    Spi(SpiPanel),
    /// There is none: the kiosk's application shows what the local API tells.
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
        let camera = camera(path, file.camera, &file.sensor)?;
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
        let screen = screen(path, file.screen)?;
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
        if !(100..frame_us).contains(&exposure_us) {
            return Err(range(path, "sensor.exposure_us", exposure_us, "100 to less than one frame at sensor.rate"));
        }
        if readout_us > frame_us {
            return Err(range(
                path,
                "sensor.readout_us",
                readout_us,
                "at most one frame at sensor.rate; 0: global shutter",
            ));
        }
        Ok(Self {
            name,
            camera,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BoardFile {
    camera: CameraText,
    sensor: SensorText,
    lamps: LampsText,
    code: CodeText,
    screen: ScreenText,
    buzzer: Option<BuzzerText>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum CameraText {
    V4l2 { device: PathBuf, formats: Vec<String>, width: u32, height: u32, buffers: u32 },
    Nokhwa { index: u32, formats: Vec<String>, width: u32, height: u32 },
    Bridge { socket: PathBuf },
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
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum ScreenText {
    Bridge { width: u16, height: u16 },
    Framebuffer { device: PathBuf, width: u16, height: u16 },
    Spi(SpiText),
    None {},
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpiText {
    device: PathBuf,
    speed_hz: u32,
    controller: Controller,
    chip: PathBuf,
    data_line: u32,
    reset_line: Option<u32>,
    backlight_line: Option<u32>,
    turn: u16,
    colours: Order,
    inverted: bool,
    width: u16,
    height: u16,
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

fn camera(path: &Path, text: CameraText, sensor: &SensorText) -> Result<CameraDevice, ConfigError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    Ok(match text {
        CameraText::V4l2 { device, formats, width, height, buffers } => {
            if !(3..=32).contains(&buffers) {
                return Err(range(path, "camera.buffers", buffers, "3 to 32"));
            }
            if device.as_os_str().as_encoded_bytes().contains(&0) {
                return Err(range(path, "camera.device", device.display(), "a path"));
            }
            let need = need(path, &formats, (width, height), sensor.rate)?;
            let SensorText { exposure_us, readout_us, .. } = *sensor;
            CameraDevice::V4l2(V4l2Settings { device, need, buffers, exposure_us, readout_us })
        }
        CameraText::Nokhwa { index, formats, width, height } => {
            CameraDevice::Nokhwa { index, need: need(path, &formats, (width, height), sensor.rate)? }
        }
        CameraText::Bridge { socket } => CameraDevice::Bridge(folder.join(socket)),
    })
}

fn need(path: &Path, formats: &[String], (width, height): (u32, u32), rate: u32) -> Result<Need, ConfigError> {
    let known = |name: &String| {
        let found = FORMATS.iter().find(|(known, _, _)| known == name);
        found.map(|(_, _, format)| *format).ok_or_else(|| range(path, "camera.formats", name, FORMAT_NAMES))
    };
    let formats = formats.iter().map(known).collect::<Result<Vec<_>, _>>()?;
    if formats.is_empty() {
        return Err(range(path, "camera.formats", "empty", FORMAT_NAMES));
    }
    // Even sides, as formats with shared colours need them.
    if !(320..=1920).contains(&width) || !(240..=1200).contains(&height) || width % 2 + height % 2 > 0 {
        let found = format!("{width} x {height}");
        return Err(range(path, "camera.width and camera.height", found, "even, 320 to 1920 and 240 to 1200"));
    }
    Ok(Need { formats, width, height, rate })
}

/// What `camera.formats` may name.
const FORMAT_NAMES: &str = "some of YUYV, NV12, MJPG, GREY, Y10, Y16, the best first";

fn check_apart(path: &Path, left: u32, right: u32) -> Result<(), ConfigError> {
    if left != right {
        return Ok(());
    }
    Err(range(path, "lamps.left and lamps.right", left, "two different lines: one lamp alone gives no relief"))
}

fn check_sensor(path: &Path, sensor: &SensorText) -> Result<(), ConfigError> {
    let SensorText { rate, gamma_milli, focal_px, noise_milli, spectrum, stall_ms, .. } = *sensor;
    if !(10..=200).contains(&rate) {
        return Err(range(path, "sensor.rate", rate, "10 to 200 frames a second"));
    }
    if !(1..=4000).contains(&gamma_milli) {
        return Err(range(path, "sensor.gamma_milli", gamma_milli, "1 to 4000; 1000 is linear"));
    }
    if !(100..=20_000).contains(&focal_px) {
        let lawful = "100 to 20000: the picture's width in pixels / (2 tan(half its angle of view))";
        return Err(range(path, "sensor.focal_px", focal_px, lawful));
    }
    if noise_milli > 20_000 {
        return Err(range(path, "sensor.noise_milli", noise_milli, "0 to 20000; 0 is not measured"));
    }
    if !(100..=10_000).contains(&stall_ms) {
        return Err(range(path, "sensor.stall_ms", stall_ms, "100 to 10000"));
    }
    if matches!(spectrum, SpectrumText::ColourAndInfrared) {
        let lawful = "colour-no-filter or infrared: a code seen by one sensor and a template by another cannot be \
                      judged yet";
        return Err(range(path, "sensor.spectrum", "colour-and-infrared", lawful));
    }
    Ok(())
}

fn screen(path: &Path, text: ScreenText) -> Result<ScreenDevice, ConfigError> {
    Ok(match text {
        ScreenText::Bridge { width, height } => {
            check_panel(path, width, height)?;
            ScreenDevice::Bridge { width, height }
        }
        ScreenText::Framebuffer { device, width, height } => {
            check_panel(path, width, height)?;
            ScreenDevice::FrameBuffer { device, width, height }
        }
        ScreenText::Spi(text) => ScreenDevice::Spi(spi_panel(path, text)?),
        ScreenText::None {} => ScreenDevice::None,
    })
}

fn spi_panel(path: &Path, text: SpiText) -> Result<SpiPanel, ConfigError> {
    let SpiText { device, speed_hz, controller, chip, data_line, reset_line, backlight_line, .. } = text;
    let SpiText { turn, colours, inverted, width, height, .. } = text;
    check_panel(path, width, height)?;
    if !(1_000_000..=125_000_000).contains(&speed_hz) {
        return Err(range(path, "screen.speed_hz", speed_hz, "1000000 to 125000000"));
    }
    let turn = match turn {
        0 => Turn::None,
        90 => Turn::Quarter,
        180 => Turn::Half,
        270 => Turn::ThreeQuarters,
        other => return Err(range(path, "screen.turn", other, "0, 90, 180 or 270 degrees clockwise")),
    };
    let (across, down) = turn.of(controller.memory());
    if width > across || height > down {
        let found = format!("{width} x {height}");
        let lawful = "what the controller holds: 240x320 (ST7789, ILI9341) or 320x480 (ILI9488), turned by screen.turn";
        return Err(range(path, "screen.width and screen.height", found, lawful));
    }
    let size = (width, height);
    let order = colours;
    Ok(SpiPanel {
        device,
        speed_hz,
        controller,
        chip,
        data_line,
        reset_line,
        backlight_line,
        turn,
        order,
        inverted,
        size,
    })
}

fn check_panel(path: &Path, width: u16, height: u16) -> Result<(), ConfigError> {
    let (across, down) = (Canvas::WIDTH_LEAST..=Canvas::MOST, Canvas::LEAST..=Canvas::MOST);
    if across.contains(&width) && down.contains(&height) {
        return Ok(());
    }
    let found = format!("{width} x {height}");
    Err(range(
        path,
        "screen.width and screen.height",
        found,
        "320 to 1280 and 240 to 1280; turn a panel that is narrower",
    ))
}

fn code(path: &Path, text: &CodeText) -> Result<CodeShape, ConfigError> {
    let CodeText { slots, frames_per_slot, wrong_allowed } = *text;
    CodeShape::new(slots, frames_per_slot, wrong_allowed).ok_or_else(|| {
        let found = format!("{slots} slots of {frames_per_slot} frames, {wrong_allowed} wrong");
        let lawful = "a shape whose guess bound is 2^-20: 12 slots with none wrong, or 16 with at most 2 wrong";
        range(path, "code", found, lawful)
    })
}
