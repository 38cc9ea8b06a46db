//! From a board's facts to its devices, opened.
//!
//! **Here:** one match per kind of device. **Not here:** what the facts may say ([`crate::config`]), the devices
//! themselves.

use std::sync::Arc;

use crate::bridge;
use crate::config::{Board, CameraDevice, LampsDevice, ScreenDevice};
use crate::edge::{Camera, Clock, LampError, Lamps, Screen};
use crate::panel::framebuffer::FrameBuffer;
use crate::panel::spi::SpiScreen;
use crate::time::Moment;
use didar_protocol::light_code::Light;

/// A board's devices.
pub struct Devices {
    /// The camera. It is opened when the first frame is wanted, and again after every break.
    pub camera: Box<dyn Camera>,
    /// The lamps, dark.
    pub lamps: Box<dyn Lamps>,
    /// The screen; none where the board has none.
    pub screen: Option<Box<dyn Screen>>,
}

/// Opens the devices of `board`.
pub fn open(board: &Board, clock: &Arc<dyn Clock>) -> Devices {
    match &board.camera {
        CameraDevice::Bridge(socket) => {
            let size = match board.screen {
                ScreenDevice::Bridge { width, height } => (width, height),
                ScreenDevice::FrameBuffer { .. } | ScreenDevice::Spi(_) | ScreenDevice::None => (0, 0),
            };
            let (camera, lamps, screen) = bridge::devices(socket, size, Arc::clone(clock));
            Devices {
                camera: Box::new(camera),
                lamps: match board.lamps {
                    LampsDevice::Bridge => Box::new(lamps),
                    LampsDevice::None => Box::new(NoLamps(Arc::clone(clock))),
                },
                screen: match &board.screen {
                    ScreenDevice::Bridge { .. } => Some(Box::new(screen)),
                    ScreenDevice::FrameBuffer { device, width, height } => {
                        Some(Box::new(FrameBuffer::new(device, (*width, *height))))
                    }
                    ScreenDevice::Spi(panel) => Some(Box::new(SpiScreen::new(panel.clone()))),
                    ScreenDevice::None => None,
                },
            }
        }
    }
}

/// Lamps of a board that has none: every order is obeyed by staying dark.
struct NoLamps(Arc<dyn Clock>);

impl Lamps for NoLamps {
    fn set(&mut self, _: Light) -> Result<Moment, LampError> {
        Ok(self.0.now())
    }
}
