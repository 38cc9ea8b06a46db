//! GPIO lines: through the kernel's character device on any board, through `rppal` on a Raspberry Pi.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use didar_protocol::light_code::Light;
use linux_embedded_hal::CdevPin;
use rppal::gpio::Gpio;

use super::Pins;
use crate::edge::LampError;
use crate::line;

/// Which electrical level lights a lamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Active {
    /// The high one.
    High,
    /// The low one.
    Low,
}

/// Two lines of one kind.
struct Pair<P> {
    left: P,
    right: P,
    active: Active,
    place: String,
}

impl<P> Pins for Pair<P>
where
    P: embedded_hal::digital::OutputPin + Send,
    P::Error: fmt::Display,
{
    fn show(&mut self, light: Light) -> io::Result<()> {
        let (left, right) = match light {
            Light::Off => (false, false),
            Light::Left => (true, false),
            Light::Right => (false, true),
            Light::Both => (true, true),
        };
        // The second one even where the first fails.
        let mut done = Ok(());
        for (pin, lit) in [(&mut self.left, left), (&mut self.right, right)] {
            let level = if lit == (self.active == Active::High) { pin.set_high() } else { pin.set_low() };
            done = done.and(level.map_err(|error| io::Error::other(error.to_string())));
        }
        done
    }

    fn place(&self) -> String {
        self.place.clone()
    }
}

/// Lines `left` and `right` of the character device `chip`. The kernel lets them go when this process ends, however it
/// ends; what a line does then is the board's pull-down and its driver's, see [`super::guard`].
///
/// # Errors
/// The chip is not there, or a line is taken: the error names who holds it.
pub fn chardev(chip: &Path, left: u32, right: u32, active: Active) -> Result<Box<dyn Pins>, LampError> {
    let place = format!("{} lines {left} and {right}", chip.display());
    Ok(Box::new(Pair { left: line(chip, left, active)?, right: line(chip, right, active)?, active, place }))
}

fn line(chip: &Path, number: u32, active: Active) -> Result<CdevPin, LampError> {
    let place = format!("{} line {number}", chip.display());
    let dark = u8::from(active == Active::Low);
    line::output(chip, number, dark).map_err(|cause| match cause.kind() {
        io::ErrorKind::ResourceBusy => LampError::Taken { place, cause },
        _ => LampError::Open { place, cause },
    })
}

/// Pins `left` and `right` of a Raspberry Pi, by their BCM numbers. They are written to by mapped registers, which the
/// kernel knows nothing of: what happens to them when this process is killed is [`super::guard`]'s.
///
/// # Errors
/// This is no Raspberry Pi that `rppal` knows, its registers may not be mapped, or a pin is in use in this process.
pub fn rppal(left: u8, right: u8, active: Active) -> Result<Box<dyn Pins>, LampError> {
    let place = format!("GPIO {left} and {right}");
    let failed = |error: rppal::gpio::Error| LampError::Open {
        place: place.clone(),
        cause: io::Error::other(format!("{error}; on other boards use lamps.kind = \"chardev\"")),
    };
    let gpio = Gpio::new().map_err(failed)?;
    let pin = |number| {
        let pin = gpio.get(number).map_err(failed)?;
        Ok(match active {
            Active::High => pin.into_output_low(),
            Active::Low => pin.into_output_high(),
        })
    };
    Ok(Box::new(Pair { left: pin(left)?, right: pin(right)?, active, place }))
}

/// Lines, as a board's file names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Of a GPIO character device.
    Chardev {
        /// The device.
        chip: PathBuf,
        /// Line of the lamp at the camera's left, as the person sees it.
        left: u32,
        /// Line of the other.
        right: u32,
        /// Which level lights them.
        active: Active,
    },
    /// Of a Raspberry Pi.
    Rppal {
        /// BCM number of the lamp at the camera's left, as the person sees it.
        left: u8,
        /// BCM number of the other.
        right: u8,
        /// Which level lights them.
        active: Active,
    },
}

impl Lines {
    /// Opens the lines, dark.
    ///
    /// # Errors
    /// They are not there, or taken.
    pub fn open(&self) -> Result<Box<dyn Pins>, LampError> {
        match self {
            Self::Chardev { chip, left, right, active } => chardev(chip, *left, *right, *active),
            Self::Rppal { left, right, active } => rppal(*left, *right, *active),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A pin whose levels are written down.
    struct Wire(&'static str, Arc<Mutex<Vec<String>>>);

    impl embedded_hal::digital::ErrorType for Wire {
        type Error = Infallible;
    }

    impl embedded_hal::digital::OutputPin for Wire {
        fn set_low(&mut self) -> Result<(), Infallible> {
            self.1.lock().unwrap().push(format!("{}0", self.0));
            Ok(())
        }

        fn set_high(&mut self) -> Result<(), Infallible> {
            self.1.lock().unwrap().push(format!("{}1", self.0));
            Ok(())
        }
    }

    fn levels(active: Active) -> String {
        let log = Arc::<Mutex<Vec<String>>>::default();
        let wire = |name| Wire(name, Arc::clone(&log));
        let mut pair = Pair { left: wire("L"), right: wire("R"), active, place: String::new() };
        for light in [Light::Both, Light::Left, Light::Right, Light::Off] {
            pair.show(light).unwrap();
        }
        log.lock().unwrap().join(" ")
    }

    #[test]
    fn each_light_has_its_levels() {
        assert_eq!(levels(Active::High), "L1 R1 L1 R0 L0 R1 L0 R0");
        assert_eq!(levels(Active::Low), "L0 R0 L0 R1 L1 R0 L1 R1");
    }

    #[test]
    fn lines_that_are_not_there_are_named() {
        let missing = Path::new("/dev/gpiochip-none");
        let error = chardev(missing, 17, 27, Active::High).err().unwrap().to_string();
        assert!(error.contains("/dev/gpiochip-none line 17"), "{error}");
    }
}
