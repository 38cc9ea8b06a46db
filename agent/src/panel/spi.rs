//! Panels on SPI: a controller with its own picture memory, which takes the part that changed.
//!
//! `mipidsi` speaks to the controller, the kernel's spidev and GPIO character device carry it. A whole picture of 320x240
//! takes 31 ms at 40 MHz; the oval alone about half of it.

use std::path::PathBuf;
use std::{fmt, io};

use embedded_graphics::pixelcolor::Rgb565;
use embedded_graphics::pixelcolor::raw::RawU16;
use embedded_hal::delay::DelayNs;
use embedded_hal::digital::OutputPin;
use embedded_hal::spi::SpiDevice;
use linux_embedded_hal::spidev::{SpiModeFlags, Spidev, SpidevOptions};
use linux_embedded_hal::{Delay, SpidevDevice};
use mipidsi::interface::{Interface, InterfaceKind, InterfacePixelFormat};
use mipidsi::models::{ILI9341Rgb565, ILI9488Rgb666, Model, ST7789};
use mipidsi::options::{ColorInversion, ColorOrder, Orientation, Rotation};
use mipidsi::{Builder, Display, NoResetPin};
use zeroize::Zeroize;

use super::Turn;
use crate::edge::{Screen, ScreenError};
use crate::line;
use crate::screen::Area;

/// A panel on SPI, as the board's file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpiPanel {
    /// Its chip select, e.g. `/dev/spidev0.0`.
    pub device: PathBuf,
    /// The bus's clock, hertz.
    pub speed_hz: u32,
    /// What the panel's controller is.
    pub controller: Controller,
    /// The chip of the lines below, e.g. `/dev/gpiochip0`.
    pub chip: PathBuf,
    /// The line that tells data (high) from commands (low).
    pub data_line: u32,
    /// The line that resets the controller while it is low; without one it is reset by a command.
    pub reset_line: Option<u32>,
    /// The line that switches the backlight on (high); without one it is always on.
    pub backlight_line: Option<u32>,
    /// How far the picture is turned clockwise on the panel.
    pub turn: Turn,
    /// The order of the colours on the glass.
    pub order: Order,
    /// Whether the glass shows the opposite of what it is told, as IPS panels do.
    pub inverted: bool,
    /// Width and height of the picture, turned as people see it.
    pub size: (u16, u16),
}

/// A controller that is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Controller {
    /// Sitronix ST7789, 240x320.
    St7789,
    /// Ilitek ILI9341, 240x320.
    Ili9341,
    /// Ilitek ILI9488, 320x480. Takes three bytes a pixel over SPI.
    Ili9488,
}

impl Controller {
    /// Pixels of its picture memory: width and height of a panel that is not turned, at most.
    pub const fn memory(self) -> (u16, u16) {
        match self {
            Self::St7789 => ST7789::FRAMEBUFFER_SIZE,
            Self::Ili9341 => ILI9341Rgb565::FRAMEBUFFER_SIZE,
            Self::Ili9488 => ILI9488Rgb666::FRAMEBUFFER_SIZE,
        }
    }
}

/// Which colour comes first on the glass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red: most ILI9341 and ILI9488 panels.
    Bgr,
}

/// A panel that opens itself when a picture comes.
pub struct SpiScreen {
    panel: SpiPanel,
    opened: Option<Box<dyn Glass>>,
}

impl SpiScreen {
    /// The panel; nothing is opened yet.
    pub const fn new(panel: SpiPanel) -> Self {
        Self { panel, opened: None }
    }
}

impl Screen for SpiScreen {
    fn size(&self) -> (u16, u16) {
        self.panel.size
    }

    fn show(&mut self, pixels: &[u16], area: Area) -> Result<(), ScreenError> {
        let place = || self.panel.device.display().to_string();
        let mut glass = match self.opened.take() {
            Some(glass) => glass,
            None => open(&self.panel)?,
        };
        glass.show(pixels, self.panel.size.0, area).map_err(|cause| ScreenError::Write { place: place(), cause })?;
        self.opened = Some(glass);
        Ok(())
    }
}

/// An opened panel, whatever its controller.
trait Glass: Send {
    fn show(&mut self, pixels: &[u16], across: u16, area: Area) -> io::Result<()>;
}

/// A controller over its wires, with the lines that are held for as long as it is used.
struct Lit<S, P, M>
where
    S: SpiDevice,
    P: OutputPin,
    M: Model<ColorFormat: InterfacePixelFormat<u8>>,
{
    display: Display<Wires<S, P>, M, NoResetPin>,
    _reset: Option<P>,
    backlight: Option<P>,
    is_lit: bool,
}

impl<S, P, M> Glass for Lit<S, P, M>
where
    S: SpiDevice + Send,
    P: OutputPin + Send,
    M: Model<ColorFormat: InterfacePixelFormat<u8> + From<Rgb565>> + Send,
{
    fn show(&mut self, pixels: &[u16], across: u16, area: Area) -> io::Result<()> {
        let colours = area.rows(pixels, across).flatten().map(|pixel| Rgb565::from(RawU16::new(*pixel)).into());
        let (right, bottom) = (area.x + area.width - 1, area.y + area.height - 1);
        self.display.set_pixels(area.x, area.y, right, bottom, colours)?;
        // Lit only now: before the first picture there is noise in the controller's memory.
        if let (Some(line), false) = (&mut self.backlight, self.is_lit) {
            line.set_high().map_err(told)?;
        }
        self.is_lit = true;
        Ok(())
    }
}

/// Opens the bus and the lines, and wakes the controller; takes about 0.3 s.
fn open(panel: &SpiPanel) -> Result<Box<dyn Glass>, ScreenError> {
    let failed = |cause| ScreenError::Open { place: panel.device.display().to_string(), cause };
    let mut spi = Spidev::open(&panel.device).map_err(failed)?;
    let options = SpidevOptions::new().max_speed_hz(panel.speed_hz).mode(SpiModeFlags::SPI_MODE_0).build();
    spi.configure(&options).map_err(failed)?;
    let line = |number: u32, level: u8| {
        let place = || format!("{} line {number}", panel.chip.display());
        line::output(&panel.chip, number, level).map_err(|cause| ScreenError::Open { place: place(), cause })
    };
    let data = line(panel.data_line, 0)?;
    let reset = panel.reset_line.map(|number| line(number, 1)).transpose()?;
    let backlight = panel.backlight_line.map(|number| line(number, 0)).transpose()?;
    wake(panel, SpidevDevice(spi), Pins { data, reset, backlight }, &mut Delay).map_err(failed)
}

/// The lines of a panel.
struct Pins<P> {
    data: P,
    reset: Option<P>,
    backlight: Option<P>,
}

fn wake<S, P>(panel: &SpiPanel, spi: S, mut pins: Pins<P>, delay: &mut impl DelayNs) -> io::Result<Box<dyn Glass>>
where
    S: SpiDevice + Send + 'static,
    P: OutputPin + Send + 'static,
{
    if let Some(reset) = &mut pins.reset {
        reset.set_low().map_err(told)?;
        delay.delay_ms(RESET_MS);
        reset.set_high().map_err(told)?;
        delay.delay_ms(AFTER_RESET_MS);
    }
    match panel.controller {
        Controller::St7789 => begin(ST7789, panel, spi, pins, delay),
        Controller::Ili9341 => begin(ILI9341Rgb565, panel, spi, pins, delay),
        Controller::Ili9488 => begin(ILI9488Rgb666, panel, spi, pins, delay),
    }
}

fn begin<S, P, M>(
    model: M,
    panel: &SpiPanel,
    spi: S,
    pins: Pins<P>,
    delay: &mut impl DelayNs,
) -> io::Result<Box<dyn Glass>>
where
    S: SpiDevice + Send + 'static,
    P: OutputPin + Send + 'static,
    M: Model<ColorFormat: InterfacePixelFormat<u8> + From<Rgb565>> + Send + 'static,
{
    let Pins { data, reset, backlight } = pins;
    let (width, height) = panel.turn.of(panel.size);
    let rotation = match panel.turn {
        Turn::None => Rotation::Deg0,
        Turn::Quarter => Rotation::Deg90,
        Turn::Half => Rotation::Deg180,
        Turn::ThreeQuarters => Rotation::Deg270,
    };
    let order = match panel.order {
        Order::Rgb => ColorOrder::Rgb,
        Order::Bgr => ColorOrder::Bgr,
    };
    let inversion = if panel.inverted { ColorInversion::Inverted } else { ColorInversion::Normal };
    let wires = Wires { spi, data, bytes: Vec::with_capacity(TRANSFER_MOST) };
    let display = Builder::new(model, wires)
        .display_size(width, height)
        .orientation(Orientation::new().rotate(rotation))
        .color_order(order)
        .invert_colors(inversion)
        .init(delay)
        .map_err(told)?;
    Ok(Box::new(Lit { display, _reset: reset, backlight, is_lit: false }))
}

/// Longest reset pulse that any of the controllers asks for is 10 microseconds; slow lines get more.
const RESET_MS: u32 = 10;
/// After a reset the controllers take no command for 5 to 120 ms.
const AFTER_RESET_MS: u32 = 120;
/// Bytes of one transfer: what the kernel's spidev takes unless it is told otherwise (its parameter `bufsiz`).
const TRANSFER_MOST: usize = 4096;

/// The bus and the line that tells data from commands.
struct Wires<S, P> {
    spi: S,
    data: P,
    /// Pixels on their way, wiped on drop: they may show a person.
    bytes: Vec<u8>,
}

impl<S: SpiDevice, P: OutputPin> Interface for Wires<S, P> {
    type Word = u8;
    type Error = io::Error;
    const KIND: InterfaceKind = InterfaceKind::Serial4Line;

    fn send_command(&mut self, command: u8, arguments: &[u8]) -> io::Result<()> {
        self.data.set_low().map_err(told)?;
        self.spi.write(&[command]).map_err(told)?;
        self.data.set_high().map_err(told)?;
        if arguments.is_empty() { Ok(()) } else { self.spi.write(arguments).map_err(told) }
    }

    fn send_pixels<const N: usize>(&mut self, pixels: impl IntoIterator<Item = [u8; N]>) -> io::Result<()> {
        self.bytes.clear();
        for pixel in pixels {
            if self.bytes.len() + N > TRANSFER_MOST {
                self.spi.write(&self.bytes).map_err(told)?;
                self.bytes.clear();
            }
            self.bytes.extend(pixel);
        }
        if self.bytes.is_empty() { Ok(()) } else { self.spi.write(&self.bytes).map_err(told) }
    }

    fn send_repeated_pixel<const N: usize>(&mut self, pixel: [u8; N], count: u32) -> io::Result<()> {
        self.send_pixels((0..count).map(|_| pixel))
    }
}

impl<S, P> Drop for Wires<S, P> {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// The libraries' errors can be printed, and no more.
fn told(error: impl fmt::Debug) -> io::Error {
    io::Error::other(format!("{error:?}"))
}

#[cfg(test)]
mod tests;
