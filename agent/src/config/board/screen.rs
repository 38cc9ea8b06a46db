//! The board's screen.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::{ConfigError, range};
use crate::panel::Turn;
use crate::panel::spi::{Controller, Order, SpiPanel};
use crate::screen::Canvas;

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
        /// How far the picture is turned clockwise on the panel.
        turn: Turn,
        /// Pixels a row, as people see it.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// A panel on SPI.
    Spi(SpiPanel),
    /// There is none: the kiosk's application shows what the local API tells.
    None,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum ScreenText {
    Bridge { width: u16, height: u16 },
    Framebuffer { device: PathBuf, turn: u16, width: u16, height: u16 },
    Spi(SpiText),
    None {},
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpiText {
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

pub(super) fn read(path: &Path, text: ScreenText) -> Result<ScreenDevice, ConfigError> {
    Ok(match text {
        ScreenText::Bridge { width, height } => {
            check_panel(path, width, height)?;
            ScreenDevice::Bridge { width, height }
        }
        ScreenText::Framebuffer { device, turn, width, height } => {
            check_panel(path, width, height)?;
            ScreenDevice::FrameBuffer { device, turn: turned(path, turn)?, width, height }
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
    let turn = turned(path, turn)?;
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

fn turned(path: &Path, degrees: u16) -> Result<Turn, ConfigError> {
    match degrees {
        0 => Ok(Turn::None),
        90 => Ok(Turn::Quarter),
        180 => Ok(Turn::Half),
        270 => Ok(Turn::ThreeQuarters),
        other => Err(range(path, "screen.turn", other, "0, 90, 180 or 270 degrees clockwise")),
    }
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
