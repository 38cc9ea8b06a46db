//! One line of a GPIO chip, as an output. The kernel holds it for this program and lets it go when the program ends.

use std::io;
use std::path::Path;

use linux_embedded_hal::CdevPin;
use linux_embedded_hal::gpio_cdev::{self, Chip, LineRequestFlags};

/// Takes line `number` of `chip` (e.g. `/dev/gpiochip0`) as an output that is at `level` (0 or 1) from the first moment.
///
/// # Errors
/// What the system said: no such chip, no such line; [`io::ErrorKind::ResourceBusy`] names who holds it.
pub(crate) fn output(chip: &Path, number: u32, level: u8) -> io::Result<CdevPin> {
    let failed = |error: gpio_cdev::Error| io::Error::other(error.to_string());
    let line = Chip::new(chip).and_then(|mut chip| chip.get_line(number)).map_err(failed)?;
    let taken = line.request(LineRequestFlags::OUTPUT, level, "didar-agent").and_then(CdevPin::new);
    taken.map_err(|error| match line.info() {
        Ok(info) if info.is_kernel() || info.consumer().is_some() => {
            let holder = info.consumer().unwrap_or("the kernel");
            io::Error::new(io::ErrorKind::ResourceBusy, format!("{holder} holds it"))
        }
        Ok(_) | Err(_) => failed(error),
    })
}
