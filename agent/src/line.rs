//! One line of a GPIO chip, as an output. The kernel holds it for this program and lets it go when the program ends.

use std::io;
use std::path::Path;

use linux_embedded_hal::CdevPin;
use linux_embedded_hal::gpio_cdev::{Chip, LineRequestFlags};

/// Takes line `number` of `chip` (e.g. `/dev/gpiochip0`) as an output that is at `level` (0 or 1) from the first moment.
///
/// # Errors
/// What the system said: no such chip, no such line, or somebody else holds it.
pub(crate) fn output(chip: &Path, number: u32, level: u8) -> io::Result<CdevPin> {
    let taken = Chip::new(chip)
        .and_then(|mut chip| chip.get_line(number))
        .and_then(|line| line.request(LineRequestFlags::OUTPUT, level, "didar-agent"))
        .and_then(CdevPin::new);
    taken.map_err(|error| io::Error::other(error.to_string()))
}
