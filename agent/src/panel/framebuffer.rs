//! The kernel's frame buffer, `/dev/fbN`: written as a file, its geometry read from sysfs.
//!
//! Any panel with a kernel driver shows itself like this: HDMI, DSI, and the emulation of DRM drivers. The console's
//! cursor is hidden where the kernel lets us; `docs/screens.md` says how to keep the console away for good.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroize;

use super::Turn;
use crate::edge::{Screen, ScreenError};
use crate::screen::Area;

/// A frame buffer of a size that the board's file says.
pub struct FrameBuffer {
    device: PathBuf,
    /// The folder of its facts: `/sys/class/graphics/fbN`.
    facts: PathBuf,
    /// The console in front: its cursor would blink in the picture.
    console: PathBuf,
    /// Of the picture, as people see it.
    size: (u16, u16),
    turn: Turn,
    opened: Option<(File, Geometry)>,
    bytes: Vec<u8>,
}

/// How pixels lie in the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Geometry {
    format: Format,
    /// Bytes from row to row.
    stride: u64,
}

/// How a pixel is stored, little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// Two bytes: RGB565.
    Rgb565,
    /// Four bytes: blue, green, red, nothing.
    Xrgb8888,
}

impl FrameBuffer {
    /// The frame buffer `device`, e.g. `/dev/fb0`, with pictures of `size` (width, height) that are turned by `turn` on the
    /// panel. Nothing is opened yet.
    pub fn new(device: &Path, size: (u16, u16), turn: Turn) -> Self {
        let name = device.file_name().unwrap_or_default();
        let facts = Path::new("/sys/class/graphics").join(name);
        let (device, console) = (device.to_owned(), CONSOLE.into());
        Self { device, facts, console, size, turn, opened: None, bytes: Vec::new() }
    }

    fn open(&self) -> Result<(File, Geometry), ScreenError> {
        let failed = |cause| ScreenError::Open { place: self.place(), cause };
        let file = OpenOptions::new().write(true).open(&self.device).map_err(failed)?;
        let geometry = self.geometry()?;
        // What follows makes the screen nicer, and needs rights that not every service has.
        let unblanked = fs::write(self.facts.join("blank"), b"0");
        let cursor = OpenOptions::new().write(true).open(&self.console).and_then(|mut tty| tty.write_all(HIDE_CURSOR));
        for (what, done) in [("unblank the screen", unblanked), ("hide the console's cursor", cursor)] {
            if let Err(error) = done {
                tracing::debug!("cannot {what}: {error}");
            }
        }
        Ok((file, geometry))
    }

    fn geometry(&self) -> Result<Geometry, ScreenError> {
        let depth = self.numbers("bits_per_pixel")?[0];
        let stride = self.numbers("stride")?[0];
        let virtual_size = self.numbers("virtual_size")?;
        let (width, height) = self.turn.of(self.size);
        let (width, height) = (u64::from(width), u64::from(height));
        let format = match depth {
            16 => Some(Format::Rgb565),
            32 => Some(Format::Xrgb8888),
            _ => None,
        };
        let across = virtual_size[0];
        // Drivers that flip between two pictures report a higher one; a wider one is another panel.
        let down = virtual_size.get(1).copied().unwrap_or(0);
        match format {
            Some(format) if across == width && down >= height && stride >= width * format.bytes() => {
                Ok(Geometry { format, stride })
            }
            _ => Err(ScreenError::Mismatch {
                place: self.place(),
                found: format!("{across}x{down} with {depth} bits a pixel and {stride} bytes a row"),
                needed: format!("{width}x{height} (screen.turn counted in), with 16 or 32 bits a pixel"),
            }),
        }
    }

    /// The numbers of a file of sysfs, at least one, parted by commas.
    fn numbers(&self, name: &str) -> Result<Vec<u64>, ScreenError> {
        let path = self.facts.join(name);
        let failed = |cause| ScreenError::Open { place: path.display().to_string(), cause };
        let text = fs::read_to_string(&path).map_err(failed)?;
        let numbers: Result<Vec<u64>, _> = text.trim().split(',').map(str::parse).collect();
        numbers.map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    fn place(&self) -> String {
        self.device.display().to_string()
    }
}

impl Screen for FrameBuffer {
    fn size(&self) -> (u16, u16) {
        self.size
    }

    fn show(&mut self, pixels: &[u16], area: Area) -> Result<(), ScreenError> {
        let (file, geometry) = match self.opened.take() {
            Some(opened) => opened,
            None => self.open()?,
        };
        let area = self.turn.area(area, self.size);
        let (area, together) = match geometry.band(area, self.turn.of(self.size)) {
            Some(band) => (band, u64::from(band.height)),
            None => (area, 1),
        };
        let start = u64::from(area.y) * geometry.stride + u64::from(area.x) * geometry.format.bytes();
        self.bytes.clear();
        for (y, number) in (area.y..area.y + area.height).zip(1..) {
            let row = self.turn.row(pixels, self.size, (area.x, y), area.width);
            geometry.format.encode(row, &mut self.bytes);
            if number % together == 0 {
                let written = file.write_all_at(&self.bytes, start + (number - together) * geometry.stride);
                written.map_err(|cause| ScreenError::Write { place: self.place(), cause })?;
                self.bytes.clear();
            }
        }
        self.opened = Some((file, geometry));
        Ok(())
    }
}

impl Geometry {
    /// The whole rows, at least two, that must be written in one piece for `area` to be seen; `None` where its rows can
    /// be written one by one. A kernel that emulates a frame buffer reckons from a write's first and last byte what it
    /// must show, and takes a write that lies in one row and ends with it for one that changed nothing (seen with 6.1).
    fn band(self, area: Area, (across, down): (u16, u16)) -> Option<Area> {
        let end = u64::from(area.x + area.width) * self.format.bytes();
        let first = area.y.min(down.saturating_sub(2));
        (end == self.stride).then(|| Area {
            x: 0,
            y: first,
            width: across,
            height: (area.y + area.height - first).max(2).min(down),
        })
    }
}

impl Drop for FrameBuffer {
    /// The last row may show a person.
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl Format {
    const fn bytes(self) -> u64 {
        match self {
            Self::Rgb565 => 2,
            Self::Xrgb8888 => 4,
        }
    }

    fn encode(self, row: impl Iterator<Item = u16>, bytes: &mut Vec<u8>) {
        match self {
            Self::Rgb565 => bytes.extend(row.flat_map(u16::to_le_bytes)),
            Self::Xrgb8888 => bytes.extend(row.flat_map(|pixel| {
                let (red, green, blue) = (pixel >> 11, pixel >> 5 & 63, pixel & 31);
                // The upper bits again below: full red stays full red.
                [blue << 3 | blue >> 2, green << 2 | green >> 4, red << 3 | red >> 2, 0].map(|byte| byte as u8)
            })),
        }
    }
}

/// The console in front.
const CONSOLE: &str = "/dev/tty0";
/// Its order to draw no cursor, and to clear what was written.
const HIDE_CURSOR: &[u8] = b"\x1b[?25l\x1b[2J\x1b[H";

#[cfg(test)]
mod tests {
    use super::*;

    /// A file in place of a frame buffer of 4x3 pixels, filled with 0x55, with these facts.
    fn panel(bits: &str, stride: &str, virtual_size: &str) -> (tempfile::TempDir, FrameBuffer) {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("fb0");
        fs::write(&device, [0x55; 64]).unwrap();
        for (name, fact) in [("bits_per_pixel", bits), ("stride", stride), ("virtual_size", virtual_size)] {
            fs::write(folder.path().join(name), format!("{fact}\n")).unwrap();
        }
        let console = folder.path().join("tty");
        fs::write(&console, "").unwrap();
        let mut panel = FrameBuffer::new(&device, (4, 3), Turn::None);
        (panel.facts, panel.console) = (folder.path().into(), console);
        (folder, panel)
    }

    const PIXELS: [u16; 12] = [0xF800, 0x07E0, 0x001F, 0xFFFF, 1, 2, 3, 4, 5, 6, 7, 8];

    #[test]
    fn sixteen_bits_are_written_row_by_row_and_the_rest_is_left_alone() {
        let (folder, mut panel) = panel("16", "10", "4,3");
        panel.show(&PIXELS, Area { x: 0, y: 0, width: 4, height: 3 }).unwrap();
        let bytes = fs::read(folder.path().join("fb0")).unwrap();
        assert_eq!(bytes[..12], [0x00, 0xF8, 0xE0, 0x07, 0x1F, 0x00, 0xFF, 0xFF, 0x55, 0x55, 1, 0]);
        assert_eq!(bytes[20..28], [5, 0, 6, 0, 7, 0, 8, 0]);
        assert_eq!(fs::read(folder.path().join("tty")).unwrap(), HIDE_CURSOR);
        assert!(bytes[28..].iter().all(|byte| *byte == 0x55));

        fs::write(folder.path().join("fb0"), [0; 64]).unwrap();
        panel.show(&PIXELS, Area { x: 1, y: 1, width: 2, height: 1 }).unwrap();
        let bytes = fs::read(folder.path().join("fb0")).unwrap();
        let written: Vec<usize> = (0..64).filter(|at| bytes[*at] != 0).collect();
        assert_eq!((written, bytes[12], bytes[14]), (vec![12, 14], 2, 3));
    }

    #[test]
    fn thirty_two_bits_keep_black_and_white_and_the_pure_colours() {
        let (folder, mut panel) = panel("32", "16", "4,6");
        panel.show(&PIXELS, Area { x: 0, y: 0, width: 4, height: 1 }).unwrap();
        let bytes = fs::read(folder.path().join("fb0")).unwrap();
        assert_eq!(bytes[..16], [0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0, 255, 255, 255, 0]);
    }

    #[test]
    fn what_reaches_the_end_of_a_row_is_written_as_whole_rows_in_one_piece() {
        let geometry = Geometry { format: Format::Rgb565, stride: 8 };
        let area = |x, y, width, height| Area { x, y, width, height };
        assert_eq!(geometry.band(area(0, 0, 4, 3), (4, 3)), Some(area(0, 0, 4, 3)));
        assert_eq!(geometry.band(area(3, 1, 1, 1), (4, 3)), Some(area(0, 1, 4, 2)));
        assert_eq!(geometry.band(area(2, 2, 2, 1), (4, 3)), Some(area(0, 1, 4, 2)));
        assert_eq!(geometry.band(area(0, 0, 3, 3), (4, 3)), None);
        // A row that the device makes longer never ends with the picture.
        assert_eq!(Geometry { stride: 10, ..geometry }.band(area(0, 0, 4, 3), (4, 3)), None);

        let (folder, mut panel) = panel("16", "8", "4,3");
        panel.show(&PIXELS, area(3, 2, 1, 1)).unwrap();
        let bytes = fs::read(folder.path().join("fb0")).unwrap();
        assert_eq!(bytes[8..24], [1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0]);
        assert!(bytes[..8].iter().chain(&bytes[24..]).all(|byte| *byte == 0x55));
    }

    #[test]
    fn a_turned_picture_fills_a_turned_panel_and_a_part_of_it_its_place() {
        let (folder, mut panel) = panel("16", "8", "3,4");
        let mut shown = |turn| {
            panel.turn = turn;
            panel.show(&PIXELS, Area { x: 0, y: 0, width: 4, height: 3 }).unwrap();
            let bytes = fs::read(folder.path().join("fb0")).unwrap();
            // Three columns and a byte pair that nobody sees, in four rows.
            bytes[..32].chunks_exact(8).map(|row| [row[0], row[2], row[4], row[6]]).collect::<Vec<_>>()
        };
        let low = |at: usize| PIXELS[at].to_le_bytes()[0];
        let turned = |rows: [[usize; 3]; 4]| rows.map(|[a, b, c]| [low(a), low(b), low(c), 0x55]).to_vec();
        assert_eq!(shown(Turn::Quarter), turned([[8, 4, 0], [9, 5, 1], [10, 6, 2], [11, 7, 3]]));
        assert_eq!(shown(Turn::ThreeQuarters), turned([[3, 7, 11], [2, 6, 10], [1, 5, 9], [0, 4, 8]]));

        fs::write(folder.path().join("fb0"), [0; 64]).unwrap();
        panel.show(&PIXELS, Area { x: 2, y: 0, width: 2, height: 1 }).unwrap();
        let bytes = fs::read(folder.path().join("fb0")).unwrap();
        let written: Vec<_> = (0..64).filter(|at| bytes[*at] != 0).collect();
        assert_eq!(written, [0, 1, 8], "pixels 2 (0x001F) and 3 (0xFFFF) of the first row, the last first");
        (panel.turn, panel.opened) = (Turn::None, None);
        let error = panel.show(&PIXELS, Area { x: 0, y: 0, width: 1, height: 1 }).unwrap_err().to_string();
        assert!(error.contains("4x3 (screen.turn counted in)"), "{error}");
    }

    #[test]
    fn what_is_missing_or_another_panel_is_named() {
        let whole = Area { x: 0, y: 0, width: 4, height: 3 };
        for (bits, stride, virtual_size) in
            [("24", "12", "4,3"), ("16", "8", "5,3"), ("16", "8", "4,2"), ("32", "8", "4,3")]
        {
            let (_folder, mut panel) = panel(bits, stride, virtual_size);
            let error = panel.show(&PIXELS, whole).unwrap_err();
            assert!(matches!(error, ScreenError::Mismatch { .. }) && error.to_string().contains("4x3"), "{error}");
        }
        let (folder, mut panel) = panel("16", "8", "four");
        assert!(panel.show(&PIXELS, whole).unwrap_err().to_string().contains("virtual_size"));
        fs::remove_file(folder.path().join("fb0")).unwrap();
        let error = panel.show(&PIXELS, whole).unwrap_err().to_string();
        assert!(error.contains("fb0") && error.contains("is it connected"), "{error}");
    }

    #[test]
    fn a_panel_that_comes_later_is_used() {
        let (folder, mut panel) = panel("16", "8", "4,3");
        let whole = Area { x: 0, y: 0, width: 4, height: 3 };
        let device = folder.path().join("fb0");
        fs::remove_file(&device).unwrap();
        assert!(panel.show(&PIXELS, whole).is_err());
        fs::write(&device, [0; 24]).unwrap();
        panel.show(&PIXELS, whole).unwrap();
        assert_eq!(fs::read(&device).unwrap()[..2], [0x00, 0xF8]);
    }
}
