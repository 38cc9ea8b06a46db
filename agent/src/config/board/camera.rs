//! The board's camera: one sensor, or an infrared and a colour sensor side by side.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::super::{ConfigError, range};
use super::SensorText;
use crate::camera::offer::{FORMATS, Need};
use crate::camera::v4l2::V4l2Settings;
use crate::perception::Lens;

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

impl CameraDevice {
    /// Where it is, for people.
    pub fn place(&self) -> String {
        match self {
            Self::V4l2(settings) => settings.device.display().to_string(),
            Self::Nokhwa { index, .. } => format!("nokhwa {index}"),
            Self::Bridge(socket) => socket.display().to_string(),
        }
    }
}

/// The colour sensor beside an infrared one: template, mirror and guidance see by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColourSensor {
    /// How it is reached.
    pub device: CameraDevice,
    /// How far two frames of a pair may be apart.
    pub apart: Duration,
    /// Where its lens is.
    pub lens: Lens,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum CameraText {
    V4l2 { device: PathBuf, formats: Vec<String>, width: u32, height: u32, buffers: u32 },
    Nokhwa { index: u32, formats: Vec<String>, width: u32, height: u32 },
    Bridge { socket: PathBuf },
}

/// The table `[colour]`.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum ColourText {
    V4l2 {
        device: PathBuf,
        formats: Vec<String>,
        width: u32,
        height: u32,
        exposure_us: u32,
        readout_us: u32,
        focal_px: u32,
        right_mm: i16,
        down_mm: i16,
        apart_us: u32,
    },
    Bridge {
        socket: PathBuf,
        focal_px: u32,
        right_mm: i16,
        down_mm: i16,
        apart_us: u32,
    },
}

pub(super) fn read(path: &Path, text: CameraText, sensor: &SensorText) -> Result<CameraDevice, ConfigError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    Ok(match text {
        CameraText::V4l2 { device, formats, width, height, buffers } => {
            if !(3..=32).contains(&buffers) {
                return Err(range(path, "camera.buffers", buffers, "3 to 32"));
            }
            if device.as_os_str().as_encoded_bytes().contains(&0) {
                return Err(range(path, "camera.device", device.display(), "a path"));
            }
            let need = need(path, &SENSOR, &formats, (width, height), sensor.rate)?;
            let SensorText { exposure_us, readout_us, .. } = *sensor;
            CameraDevice::V4l2(V4l2Settings { device, need, buffers, exposure_us, readout_us })
        }
        CameraText::Nokhwa { index, formats, width, height } => {
            CameraDevice::Nokhwa { index, need: need(path, &SENSOR, &formats, (width, height), sensor.rate)? }
        }
        CameraText::Bridge { socket } => CameraDevice::Bridge(folder.join(socket)),
    })
}

/// The keys of a sensor's formats and size, and what the first may name.
struct Keys(&'static str, &'static str, &'static str);

const SENSOR: Keys = Keys(
    "camera.formats",
    "camera.width and camera.height",
    "some of YUYV, NV12, MJPG, GREY, Y10, Y16, the best first",
);
const COLOUR: Keys =
    Keys("colour.formats", "colour.width and colour.height", "some of YUYV, NV12, MJPG, the best first");

fn need(
    path: &Path,
    keys: &Keys,
    formats: &[String],
    (width, height): (u32, u32),
    rate: u32,
) -> Result<Need, ConfigError> {
    let &Keys(formats_key, size_key, names) = keys;
    let known = |name: &String| {
        let found = FORMATS.iter().find(|(known, _, _)| known == name);
        let lawful = found.filter(|_| names.contains(name.as_str()));
        lawful.map(|(_, _, format)| *format).ok_or_else(|| range(path, formats_key, name, names))
    };
    let formats = formats.iter().map(known).collect::<Result<Vec<_>, _>>()?;
    if formats.is_empty() {
        return Err(range(path, formats_key, "empty", names));
    }
    // Even sides, as formats with shared colours need them.
    if !(320..=1920).contains(&width) || !(240..=1200).contains(&height) || width % 2 + height % 2 > 0 {
        let found = format!("{width} x {height}");
        return Err(range(path, size_key, found, "even, 320 to 1920 and 240 to 1200"));
    }
    Ok(Need { formats, width, height, rate })
}

/// The sensor beside `infrared`: of the same kind, with as many buffers and the same rate.
pub(super) fn read_colour(
    path: &Path,
    text: ColourText,
    infrared: &CameraDevice,
    sensor: &SensorText,
) -> Result<ColourSensor, ConfigError> {
    let (device, focal_px, right_mm, down_mm, apart_us) = match (text, infrared) {
        (
            ColourText::V4l2 {
                device,
                formats,
                width,
                height,
                exposure_us,
                readout_us,
                focal_px,
                right_mm,
                down_mm,
                apart_us,
            },
            CameraDevice::V4l2(beside),
        ) => {
            if device == beside.device {
                let lawful = "another device than camera.device: two sensors are two cameras";
                return Err(range(path, "colour.device", device.display(), lawful));
            }
            check_exposure(path, ["colour.exposure_us", "colour.readout_us"], (exposure_us, readout_us), sensor.rate)?;
            let need = need(path, &COLOUR, &formats, (width, height), sensor.rate)?;
            let settings = V4l2Settings { device, need, buffers: beside.buffers, exposure_us, readout_us };
            (CameraDevice::V4l2(settings), focal_px, right_mm, down_mm, apart_us)
        }
        (ColourText::Bridge { socket, focal_px, right_mm, down_mm, apart_us }, CameraDevice::Bridge(_)) => {
            let socket = path.parent().unwrap_or(Path::new(".")).join(socket);
            (CameraDevice::Bridge(socket), focal_px, right_mm, down_mm, apart_us)
        }
        (ColourText::V4l2 { .. }, _) => {
            return Err(range(path, "colour.kind", "v4l2", "the kind of camera.kind, and never nokhwa"));
        }
        (ColourText::Bridge { .. }, _) => {
            return Err(range(path, "colour.kind", "bridge", "the kind of camera.kind, and never nokhwa"));
        }
    };
    check_focal(path, "colour.focal_px", focal_px)?;
    for (key, mm) in [("colour.right_mm", right_mm), ("colour.down_mm", down_mm)] {
        if !(-ASIDE_MOST_MM..=ASIDE_MOST_MM).contains(&mm) {
            let lawful = "-60 to 60: from the infrared lens to the colour lens; farther apart they see different faces";
            return Err(range(path, key, mm, lawful));
        }
    }
    let half_a_frame_us = 500_000 / sensor.rate;
    if !(100..=half_a_frame_us).contains(&apart_us) {
        return Err(range(path, "colour.apart_us", apart_us, "100 to half a frame at sensor.rate"));
    }
    let lens = Lens { focal_px10: 10 * focal_px, right_mm, down_mm };
    Ok(ColourSensor { device, apart: Duration::from_micros(apart_us.into()), lens })
}

/// Farthest from lens to lens, millimetres.
const ASIDE_MOST_MM: i16 = 60;

/// Exposure and readout of a sensor of `rate` frames a second; `keys` name both.
pub(super) fn check_exposure(
    path: &Path,
    keys: [&'static str; 2],
    (exposure_us, readout_us): (u32, u32),
    rate: u32,
) -> Result<(), ConfigError> {
    let frame_us = 1_000_000 / rate;
    if !(100..frame_us).contains(&exposure_us) {
        return Err(range(path, keys[0], exposure_us, "100 to less than one frame at sensor.rate"));
    }
    if readout_us > frame_us {
        return Err(range(path, keys[1], readout_us, "at most one frame at sensor.rate; 0: global shutter"));
    }
    Ok(())
}

pub(super) fn check_focal(path: &Path, key: &'static str, focal_px: u32) -> Result<(), ConfigError> {
    if (100..=20_000).contains(&focal_px) {
        return Ok(());
    }
    let lawful = "100 to 20000: the picture's width in pixels / (2 tan(half its angle of view))";
    Err(range(path, key, focal_px, lawful))
}
