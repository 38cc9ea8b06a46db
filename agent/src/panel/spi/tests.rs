//! A controller of memory behind the real commands: what it shows must be the picture.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use embedded_hal::digital;
use embedded_hal::spi::{self, Operation};

use super::*;

/// A controller's registers and memory, as the data sheets describe them.
#[derive(Default)]
struct Chip {
    is_data: bool,
    command: u8,
    arguments: Vec<u8>,
    /// Columns and rows of the window that pixels go to, and which one is next.
    window: [u16; 4],
    next: usize,
    pixels: std::collections::HashMap<(u16, u16), Vec<u8>>,
    commands: Vec<(u8, Vec<u8>)>,
    lines: Vec<(&'static str, bool)>,
    longest: usize,
}

impl Chip {
    fn take(&mut self, bytes: &[u8], depth: usize) {
        self.longest = self.longest.max(bytes.len());
        if !self.is_data {
            self.command = bytes[0];
            self.arguments.clear();
            self.next = 0;
            self.commands.push((bytes[0], Vec::new()));
            return;
        }
        if self.command == 0x2C {
            for pixel in bytes.chunks_exact(depth) {
                let [left, right, top, _] = self.window;
                let across = usize::from(right - left + 1);
                let at = (left + (self.next % across) as u16, top + (self.next / across) as u16);
                self.pixels.insert(at, pixel.to_vec());
                self.next += 1;
            }
            return;
        }
        self.arguments.extend(bytes);
        self.commands.last_mut().unwrap().1 = self.arguments.clone();
        let word = |at: usize| u16::from_be_bytes([self.arguments[at], self.arguments[at + 1]]);
        match (self.command, self.arguments.len()) {
            (0x2A, 4) => (self.window[0], self.window[1]) = (word(0), word(2)),
            (0x2B, 4) => (self.window[2], self.window[3]) = (word(0), word(2)),
            _ => {}
        }
    }
}

/// The bus; `depth` bytes a pixel.
struct MockSpi(Arc<Mutex<Chip>>, usize);

impl spi::ErrorType for MockSpi {
    type Error = Infallible;
}

impl SpiDevice for MockSpi {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), Infallible> {
        for operation in operations {
            if let Operation::Write(bytes) = operation {
                self.0.lock().unwrap().take(bytes, self.1);
            }
        }
        Ok(())
    }
}

struct MockPin(Arc<Mutex<Chip>>, &'static str);

impl digital::ErrorType for MockPin {
    type Error = Infallible;
}

impl OutputPin for MockPin {
    fn set_low(&mut self) -> Result<(), Infallible> {
        let mut chip = self.0.lock().unwrap();
        if self.1 == "data" {
            chip.is_data = false
        } else {
            chip.lines.push((self.1, false))
        }
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        let mut chip = self.0.lock().unwrap();
        if self.1 == "data" {
            chip.is_data = true
        } else {
            chip.lines.push((self.1, true))
        }
        Ok(())
    }
}

struct NoDelay;

impl DelayNs for NoDelay {
    fn delay_ns(&mut self, _: u32) {}
}

fn panel(controller: Controller, turn: Turn) -> SpiPanel {
    SpiPanel {
        device: "/dev/spidev0.0".into(),
        speed_hz: 40_000_000,
        controller,
        chip: "/dev/gpiochip0".into(),
        data_line: 25,
        reset_line: Some(27),
        backlight_line: Some(18),
        turn,
        order: Order::Bgr,
        inverted: false,
        size: turn.of(controller.memory()),
    }
}

fn woken(panel: &SpiPanel, depth: usize) -> (Box<dyn Glass>, Arc<Mutex<Chip>>) {
    let chip = Arc::<Mutex<Chip>>::default();
    let pin = |name| MockPin(chip.clone(), name);
    let pins = Pins { data: pin("data"), reset: Some(pin("reset")), backlight: Some(pin("backlight")) };
    (wake(panel, MockSpi(chip.clone(), depth), pins, &mut NoDelay).unwrap(), chip)
}

/// A picture in which every pixel is another one.
fn picture((width, height): (u16, u16)) -> Vec<u16> {
    (0..u32::from(width) * u32::from(height)).map(|at| (at.wrapping_mul(40_503) >> 3) as u16).collect()
}

#[test]
fn the_controllers_memory_holds_the_picture() {
    for (controller, turn) in [
        (Controller::St7789, Turn::None),
        (Controller::St7789, Turn::Quarter),
        (Controller::Ili9341, Turn::Half),
        (Controller::Ili9341, Turn::ThreeQuarters),
    ] {
        let panel = panel(controller, turn);
        let (mut glass, chip) = woken(&panel, 2);
        let (width, height) = panel.size;
        let pixels = picture(panel.size);
        glass.show(&pixels, width, Area { x: 0, y: 0, width, height }).unwrap();
        let chip = chip.lock().unwrap();
        assert_eq!(chip.pixels.len(), pixels.len());
        for (at, pixel) in pixels.iter().enumerate() {
            let place = ((at % usize::from(width)) as u16, (at / usize::from(width)) as u16);
            assert_eq!(chip.pixels[&place], pixel.to_be_bytes(), "{controller:?} {turn:?} {place:?}");
        }
        assert!(chip.longest <= 4096, "{} bytes at once", chip.longest);
    }
}

#[test]
fn only_the_part_that_changed_is_sent() {
    let panel = panel(Controller::Ili9488, Turn::Quarter);
    let (mut glass, chip) = woken(&panel, 3);
    glass.show(&[0xF800; 480 * 320], 480, Area { x: 100, y: 7, width: 3, height: 2 }).unwrap();
    let chip = chip.lock().unwrap();
    let mut places: Vec<_> = chip.pixels.keys().copied().collect();
    places.sort_unstable();
    assert_eq!(places, [(100, 7), (100, 8), (101, 7), (101, 8), (102, 7), (102, 8)]);
    assert!(chip.pixels.values().all(|pixel| *pixel == [0xFC, 0, 0]), "red, six bits a colour");
}

#[test]
fn the_controller_is_woken_and_lit_only_with_a_picture_to_show() {
    let (mut glass, chip) = woken(&panel(Controller::St7789, Turn::Quarter), 2);
    assert_eq!(chip.lock().unwrap().lines, [("reset", false), ("reset", true)]);
    for command in [0x11, 0x29, 0x36, 0x3A] {
        assert!(chip.lock().unwrap().commands.iter().any(|(sent, _)| *sent == command), "{command:02x} was not sent");
    }
    let sent =
        |command: u8| chip.lock().unwrap().commands.iter().rfind(|(sent, _)| *sent == command).unwrap().1.clone();
    assert_eq!(sent(0x3A), [0x55], "16 bits a pixel");
    assert_eq!(sent(0x36)[0] & 0x28, 0x28, "rows and columns changed over, blue first");
    for _ in 0..2 {
        glass.show(&[0; 320 * 240], 320, Area { x: 0, y: 0, width: 320, height: 1 }).unwrap();
    }
    assert_eq!(chip.lock().unwrap().lines[2..], [("backlight", true)]);
}

#[test]
fn a_missing_bus_is_named() {
    let missing = SpiPanel { device: "/dev/spidev99.0".into(), ..panel(Controller::St7789, Turn::None) };
    let error =
        SpiScreen::new(missing).show(&[0; 240 * 320], Area { x: 0, y: 0, width: 240, height: 320 }).unwrap_err();
    assert!(error.to_string().contains("/dev/spidev99.0"), "{error}");
}
