//! A panel on SPI: what the kernel's bus carried, drawn as the panel's controller draws it, against the picture that the
//! agent means to show.
#![allow(clippy::print_stdout, reason = "the terminal is where the rig tells how far it is")]

use anyhow::{Context, Result, bail};
use didar_agent::attempt::event::View;
use didar_agent::config::Config;
use didar_agent::screen::{Canvas, Painter};
use image::RgbImage;
use serde_json::{Value, json};

use super::doctor::Doctor;
use super::scenes::Booth;
use super::{CHIP, PANEL_DATA_LINE};

/// Columns and rows of the controller's memory, ST7789.
const GLASS: (usize, usize) = (240, 320);
/// Width and height of the picture: a quarter turn of the glass.
const PICTURE: (u16, u16) = (320, 240);
/// Bytes before a transfer in a recording: the line's level, the length.
const HEAD: usize = 5;
/// How often the panel is looked at until it shows what it should.
const LOOKS: usize = 30;

/// What the glass of a controller shows, row by row as it is made.
#[derive(Debug)]
pub struct Glass {
    /// RGB565.
    pub pixels: Vec<u16>,
    /// Whether it is awake and switched on.
    pub is_on: bool,
    /// Transfers that it came from.
    pub transfers: usize,
}

/// A ST7789 as its data sheet describes it, as far as the agent uses it.
struct Controller {
    glass: Glass,
    awake: bool,
    command: u8,
    arguments: Vec<u8>,
    /// First and last column, first and last row that pixels go to.
    window: [usize; 4],
    next: usize,
    /// Memory access: rows from below, columns from the right, both exchanged.
    access: u8,
    /// Half a pixel that the last transfer ended with.
    half: Option<u8>,
}

/// Draws a recording: transfers with the level of the line that tells data from commands.
///
/// # Errors
/// It is cut off, or pixels go where there is no glass.
pub fn draw(mut recording: &[u8]) -> Result<Glass> {
    let (across, down) = GLASS;
    let glass = Glass { pixels: vec![0; across * down], is_on: false, transfers: 0 };
    let window = [0, across - 1, 0, down - 1];
    let mut controller =
        Controller { glass, awake: false, command: 0, arguments: Vec::new(), window, next: 0, access: 0, half: None };
    while !recording.is_empty() {
        let (head, rest) = recording.split_at_checked(HEAD).context("half a transfer")?;
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let (bytes, rest) = rest.split_at_checked(length).context("half a transfer")?;
        if head[0] == 0 {
            bytes.iter().for_each(|command| controller.command(*command));
        } else {
            controller.data(bytes)?;
        }
        controller.glass.transfers += 1;
        recording = rest;
    }
    Ok(controller.glass)
}

impl Controller {
    fn command(&mut self, command: u8) {
        (self.command, self.next, self.half) = (command, 0, None);
        self.arguments.clear();
        match command {
            0x01 => (self.awake, self.glass.is_on, self.access) = (false, false, 0),
            0x11 => self.awake = true,
            0x10 => (self.awake, self.glass.is_on) = (false, false),
            0x29 => self.glass.is_on = self.awake,
            0x28 => self.glass.is_on = false,
            _ => {}
        }
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        if self.command == 0x2C {
            return bytes.iter().try_for_each(|byte| match self.half.take() {
                None => {
                    self.half = Some(*byte);
                    Ok(())
                }
                Some(high) => self.pixel(u16::from_be_bytes([high, *byte])),
            });
        }
        self.arguments.extend(bytes);
        match (self.command, self.arguments.as_slice()) {
            (0x2A, &[a, b, c, d]) => self.window[..2].copy_from_slice(&[[a, b], [c, d]].map(word)),
            (0x2B, &[a, b, c, d]) => self.window[2..].copy_from_slice(&[[a, b], [c, d]].map(word)),
            (0x36, &[access]) => self.access = access,
            (0x3A, &[depth]) if depth & 7 != 5 => bail!("{depth:#x} is not 16 bits a pixel"),
            _ => {}
        }
        Ok(())
    }

    fn pixel(&mut self, colour: u16) -> Result<()> {
        let [left, right, top, bottom] = self.window;
        let across = (right + 1).checked_sub(left).filter(|across| *across > 0).context("a window without columns")?;
        let (x, y) = (left + self.next % across, top + self.next / across);
        let (mut column, mut row) = if self.access & 0x20 == 0 { (x, y) } else { (y, x) };
        if y > bottom || column >= GLASS.0 || row >= GLASS.1 {
            bail!("a pixel for column {column}, row {row} of a window of {:?}", self.window);
        }
        if self.access & 0x40 != 0 {
            column = GLASS.0 - 1 - column;
        }
        if self.access & 0x80 != 0 {
            row = GLASS.1 - 1 - row;
        }
        self.glass.pixels[row * GLASS.0 + column] = colour;
        self.next += 1;
        Ok(())
    }
}

fn word(bytes: [u8; 2]) -> usize {
    u16::from_be_bytes(bytes).into()
}

/// Runs the agent with a panel on SPI and looks at the picture of a kiosk at rest, turned by a quarter on the glass: it must be,
/// pixel for pixel, what the agent's painter makes on this host.
///
/// # Errors
/// The guest does not answer, or the agent does not start.
pub async fn at_rest(doctor: &Doctor<'_>, booth: &mut Booth) -> Result<Value> {
    let config = doctor.other_board(booth, "spi", |board| {
        let panel = json!({
            "kind": "spi", "device": "/dev/spidev0.0", "speed_hz": 40_000_000, "controller": "st7789", "chip": CHIP,
            "data_line": PANEL_DATA_LINE, "reset_line": PANEL_DATA_LINE + 1, "backlight_line": PANEL_DATA_LINE + 2,
            "turn": 90, "colours": "rgb", "inverted": true, "width": PICTURE.0, "height": PICTURE.1,
        });
        board["screen"] = toml::Value::try_from(panel)?;
        Ok(())
    })?;
    let wanted = wanted(doctor)?;
    booth.control.order("panel-begin")?;
    booth.start_with(&config).await?;
    let mut told = Value::Null;
    let mut shown = Vec::new();
    for _ in 0..LOOKS {
        told = booth.control.order("panel")?;
        shown = upright(&pixels(told["pixels"].as_str().context("pixels")?)?);
        if shown == wanted {
            break;
        }
        booth.wait_a_little().await;
    }
    let stopped = booth.control.order("stop")?;
    let like = shown.iter().zip(&wanted).filter(|(one, other)| one == other).count();
    let path = booth.pictures.join("spi-idle.png");
    rgb(&shown).save(&path).with_context(|| format!("writing {}", path.display()))?;
    let told = json!({
        "pixels": wanted.len(), "as_painted": like, "transfers": told["transfers"], "lost": told["lost"],
        "on": told["on"], "stopped": stopped["success"],
    });
    println!("a panel on SPI: {told}");
    Ok(told)
}

/// What the agent's painter makes of a kiosk at rest.
fn wanted(doctor: &Doctor<'_>) -> Result<Vec<u16>> {
    let config = Config::read(&doctor.home.join("agent.toml"))?;
    let mut canvas = Canvas::new(PICTURE.0, PICTURE.1)?;
    let view = View::Idle { faults: Vec::new() };
    let Ok(_) = Painter::new().draw(&view, config.language, &config.help, None, &mut canvas);
    Ok(canvas.pixels().to_vec())
}

/// The picture as people see it, whose top lies along the glass' right side.
fn upright(glass: &[u16]) -> Vec<u16> {
    let (across, _) = GLASS;
    let at = |x: usize, y: usize| glass[x * across + (across - 1 - y)];
    (0..usize::from(PICTURE.1)).flat_map(|y| (0..usize::from(PICTURE.0)).map(move |x| at(x, y))).collect()
}

/// Four hexadecimal digits a pixel.
fn pixels(text: &str) -> Result<Vec<u16>> {
    let digits = text.as_bytes().chunks(4).map(|four| std::str::from_utf8(four).context("digits"));
    digits.map(|four| u16::from_str_radix(four?, 16).context("a pixel")).collect()
}

fn rgb(pixels: &[u16]) -> RgbImage {
    let wide = |value: u16, bits: u32| (u32::from(value) * 255 / ((1 << bits) - 1)) as u8;
    RgbImage::from_fn(PICTURE.0.into(), PICTURE.1.into(), |x, y| {
        let pixel = pixels[(y * u32::from(PICTURE.0) + x) as usize];
        image::Rgb([wide(pixel >> 11, 5), wide(pixel >> 5 & 63, 6), wide(pixel & 31, 5)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(level: u8, bytes: &[u8]) -> Vec<u8> {
        [&[level][..], &(bytes.len() as u32).to_le_bytes(), bytes].concat()
    }

    /// Two pixels of a picture turned by a quarter, from its column 318 of row 1 on; the second is cut in two transfers.
    #[test]
    fn commands_and_pixels_become_the_picture_on_the_glass() {
        let recording = [
            transfer(0, &[0x11]),
            transfer(0, &[0x36]),
            transfer(1, &[0x60]),
            transfer(0, &[0x2A]),
            transfer(1, &[1, 62, 1, 63]),
            transfer(0, &[0x2B]),
            transfer(1, &[0, 1, 0, 1]),
            transfer(0, &[0x2C]),
            transfer(1, &[0xF8, 0x00, 0x07]),
            transfer(1, &[0xE0]),
            transfer(0, &[0x29]),
        ];
        let glass = draw(&recording.concat()).unwrap();
        assert!(glass.is_on);
        let picture = upright(&glass.pixels);
        let lit: Vec<_> = (0..picture.len()).filter(|at| picture[*at] != 0).collect();
        assert_eq!((lit, picture[320 + 318], picture[320 + 319]), (vec![320 + 318, 320 + 319], 0xF800, 0x07E0));
    }

    #[test]
    fn what_no_controller_could_draw_is_named() {
        assert!(draw(&transfer(0, &[0x2C])[..4]).is_err(), "cut off");
        let beyond = [transfer(0, &[0x2A]), transfer(1, &[1, 62, 1, 63]), transfer(0, &[0x2C]), transfer(1, &[1, 2])];
        let error = draw(&beyond.concat()).unwrap_err().to_string();
        assert!(error.contains("column 318"), "{error}");
        assert!(draw(&[transfer(0, &[0x3A]), transfer(1, &[0x66])].concat()).is_err(), "18 bits a pixel");
    }
}
