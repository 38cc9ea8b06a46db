//! From a board's facts to its devices, opened.
//!
//! **Here:** one match per kind of device. **Not here:** what the facts may say ([`crate::config`]), the devices
//! themselves.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use didar_protocol::light_code::Light;

use crate::bridge::{self, BridgeCamera, BridgeLamps, BridgeScreen};
use crate::camera::meter::Meter;
use crate::camera::pair::{PairCamera, Sensor};
use crate::camera::v4l2::V4l2Camera;
use crate::config::{Board, CameraDevice, LampsDevice, ScreenDevice};
use crate::edge::{Camera, Clock, LampError, Lamps, Screen, Switching};
use crate::lamps::LineLamps;
use crate::panel::framebuffer::FrameBuffer;
use crate::panel::spi::SpiScreen;

/// A board's devices.
pub struct Devices {
    /// The camera. It is opened when the first frame is wanted, and again after every break.
    pub camera: Box<dyn Camera>,
    /// The lamps, dark.
    pub lamps: Box<dyn Lamps>,
    /// The screen; none where the board has none.
    pub screen: Option<Box<dyn Screen>>,
}

/// Why a board cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// This program was built without a camera driver.
    #[error("camera.kind = \"nokhwa\" needs a didar-agent that was built with `--features nokhwa`")]
    NoNokhwa,
}

/// Opens the devices of `board`; `meter` counts the camera's frames.
///
/// # Errors
/// The program lacks a driver. A device that is not there is no error: it is a fault that may be mended.
pub fn open(board: &Board, clock: &Arc<dyn Clock>, meter: &Arc<Meter>) -> Result<Devices, BoardError> {
    let bridge = match &board.camera {
        CameraDevice::Bridge(socket) => Some(bridge(board, socket, clock, meter)),
        CameraDevice::V4l2(_) | CameraDevice::Nokhwa { .. } => None,
    };
    let (camera, bridge_lamps, bridge_screen) = match bridge {
        Some((camera, lamps, screen)) => (Box::new(camera) as Box<dyn Camera>, Some(lamps), Some(screen)),
        None => (one(board, &board.camera, clock, meter)?, None, None),
    };
    Ok(Devices {
        camera: with_colour(board, camera, clock)?,
        lamps: lamps(&board.lamps, clock, bridge_lamps),
        screen: screen(&board.screen, bridge_screen),
    })
}

fn bridge(
    board: &Board,
    socket: &Path,
    clock: &Arc<dyn Clock>,
    meter: &Arc<Meter>,
) -> (BridgeCamera, BridgeLamps, BridgeScreen) {
    let size = match board.screen {
        ScreenDevice::Bridge { width, height } => (width, height),
        ScreenDevice::FrameBuffer { .. } | ScreenDevice::Spi(_) | ScreenDevice::None => (0, 0),
    };
    bridge::devices(socket, size, Arc::clone(clock), Arc::clone(meter))
}

/// `camera`, and the colour sensor beside it where the board has one; that one's frames are counted by nobody, as a lost one
/// leaves an infrared frame alone.
fn with_colour(board: &Board, camera: Box<dyn Camera>, clock: &Arc<dyn Clock>) -> Result<Box<dyn Camera>, BoardError> {
    let Some(colour) = &board.colour else { return Ok(camera) };
    let infrared = Sensor { camera, name: board.camera.place() };
    let camera = one(board, &colour.device, clock, &Arc::default())?;
    let beside = Sensor { camera, name: colour.device.place() };
    let frame = Duration::from_micros(board.facts.frame_us.into());
    Ok(Box::new(PairCamera::new(infrared, beside, frame, colour.apart)))
}

/// One sensor of `board`, whichever it is.
///
/// # Errors
/// The program lacks a driver.
pub fn one(
    board: &Board,
    device: &CameraDevice,
    clock: &Arc<dyn Clock>,
    meter: &Arc<Meter>,
) -> Result<Box<dyn Camera>, BoardError> {
    Ok(match device {
        CameraDevice::Bridge(socket) => Box::new(bridge(board, socket, clock, meter).0),
        CameraDevice::V4l2(settings) => {
            Box::new(V4l2Camera::new(settings.clone(), Arc::clone(clock), Arc::clone(meter)))
        }
        #[cfg(feature = "nokhwa")]
        CameraDevice::Nokhwa { index, need } => {
            let length = Duration::from_micros((board.facts.exposure_us + board.facts.readout_us).into());
            let (clock, meter) = (Arc::clone(clock), Arc::clone(meter));
            Box::new(crate::camera::nokhwa::NokhwaCamera::new(*index, need.clone(), length, clock, meter))
        }
        #[cfg(not(feature = "nokhwa"))]
        CameraDevice::Nokhwa { .. } => return Err(BoardError::NoNokhwa),
    })
}

fn lamps(device: &LampsDevice, clock: &Arc<dyn Clock>, bridge: Option<BridgeLamps>) -> Box<dyn Lamps> {
    match (device, bridge) {
        (LampsDevice::Lines(lines), _) => Box::new(LineLamps::new(lines.clone(), Arc::clone(clock))),
        (LampsDevice::Bridge, Some(lamps)) => Box::new(lamps),
        (LampsDevice::Bridge, None) | (LampsDevice::None, _) => Box::new(NoLamps(Arc::clone(clock))),
    }
}

fn screen(device: &ScreenDevice, bridge: Option<BridgeScreen>) -> Option<Box<dyn Screen>> {
    match (device, bridge) {
        (ScreenDevice::Bridge { .. }, Some(screen)) => Some(Box::new(screen)),
        (ScreenDevice::FrameBuffer { device, turn, width, height }, _) => {
            Some(Box::new(FrameBuffer::new(device, (*width, *height), *turn)))
        }
        (ScreenDevice::Spi(panel), _) => Some(Box::new(SpiScreen::new(panel.clone()))),
        (ScreenDevice::Bridge { .. }, None) | (ScreenDevice::None, _) => None,
    }
}

/// Lamps of a board that has none: every order is obeyed by staying dark.
struct NoLamps(Arc<dyn Clock>);

impl Lamps for NoLamps {
    fn set(&mut self, _: Light) -> Result<Switching, LampError> {
        let now = self.0.now();
        Ok(Switching { ordered: now, done: now })
    }
}
