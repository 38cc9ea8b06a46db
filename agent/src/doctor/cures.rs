//! What is to be done about devices that fail while they are measured, and whose finding it is.

use didar_agent::edge::{CameraError, LampError};
use didar_agent::measure::MeasureError;
use serde_json::json;

use super::Finding;

/// Lamps that give no light.
pub(super) const NO_LIGHT: &str =
    "check the lamp's supply, its line in the board's file and its plug, and that the camera sees infrared";
/// Lines that cannot be had.
pub(super) const NO_LINE: &str = "free the line or name another, and see that this user may open it";
/// Light that comes late.
pub(super) const LATE: &str = "use a camera whose driver stamps frames, and a line that is switched directly";
/// Light that comes before its order.
pub(super) const EARLY: &str = "the camera's stamps mark something other than the board's file states: correct \
     sensor.exposure_us and sensor.readout_us, or use a camera whose driver stamps what it says";
/// A camera that is not there.
const NO_CAMERA: &str = "see that it is plugged in, that this user may open it and that didar-agent is stopped";
/// A camera that offers something else.
const NO_FORMAT: &str =
    "change camera.formats, camera.width, camera.height or sensor.rate in the board's file to what it offers";
/// A camera whose clock is another one.
const NO_CLOCK: &str = "use a camera whose driver stamps frames by CLOCK_MONOTONIC";
/// A camera that sends broken frames.
const NO_FRAMES: &str = "use another port or a shorter cable, or another format in camera.formats";
/// A camera that sends nothing.
const SILENT: &str = "check its cable and its supply, and that it keeps sensor.rate";
/// Two sensors that do not see the same moments.
pub(super) const NO_PAIRS: &str = "let one sensor trigger the other, or raise colour.apart_us to what they keep";
/// Networks that cannot be used.
const NO_MODELS: &str = "run `didar-agent check`";

/// What failed, as a finding of whichever device it was: `camera`, `lamp` or the models.
pub(super) fn failed(error: &MeasureError, camera: &'static str, lamp: &'static str) -> Finding {
    let (device, cure) = match error {
        MeasureError::Camera(error) => (camera, of_camera(error)),
        MeasureError::Silent { .. } => (camera, SILENT),
        MeasureError::Frame(_) => (camera, NO_FRAMES),
        MeasureError::Lamps(error) => (lamp, of_lamp(error)),
        MeasureError::Vision(_) | MeasureError::Model(_) => ("models", NO_MODELS),
    };
    Finding::bad(device, error.to_string(), cure, json!({}))
}

const fn of_camera(error: &CameraError) -> &'static str {
    match error {
        CameraError::Open { .. } | CameraError::Gone { .. } | CameraError::Busy { .. } => NO_CAMERA,
        CameraError::Format { .. } => NO_FORMAT,
        CameraError::Stamp { .. } => NO_CLOCK,
        CameraError::Malformed { .. } => NO_FRAMES,
        CameraError::Alone { .. } => SILENT,
        CameraError::Apart { .. } => NO_PAIRS,
    }
}

const fn of_lamp(error: &LampError) -> &'static str {
    match error {
        LampError::Taken { .. } | LampError::Open { .. } | LampError::Switch { .. } => NO_LINE,
        LampError::Spent { .. } => "let the lamps rest for so long, then try again",
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use didar_vision::FrameError;

    use super::*;

    #[test]
    fn what_failed_is_found_of_the_device_that_failed_with_a_cure_for_that() {
        let path = || "/dev/video0".to_owned();
        let gone = CameraError::Gone { path: path(), cause: ErrorKind::NotFound.into() };
        let offered = CameraError::Format { path: path(), offered: "RGB3".to_owned(), needed: "YUYV".to_owned() };
        let silent = MeasureError::Silent { found: 0, needed: 8, waited: Duration::from_secs(1) };
        let line = LampError::Open { place: "/dev/gpiochip0 line 17".to_owned(), cause: ErrorKind::NotFound.into() };
        for (error, device, says, cure) in [
            (gone.into(), "camera", "/dev/video0", "plugged in"),
            (offered.into(), "camera", "offers RGB3", "board's file"),
            (silent, "camera", "0 frames", "cable"),
            (FrameError::Compressed.into(), "camera", "cannot be read", "camera.formats"),
            (line.into(), "left lamp", "line 17", "free the line"),
        ] {
            let found = failed(&error, "camera", "left lamp");
            assert!(
                found.device == device && found.says.contains(says) && found.cure.contains(cure),
                "{}",
                found.text()
            );
        }
    }
}
