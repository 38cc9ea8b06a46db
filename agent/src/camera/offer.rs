//! Which of a camera's formats is used: the first of the board's list that the camera has at the board's size and rate.

use std::fmt;

use didar_vision::PixelFormat;

/// Formats that frames may have: name in the board's file, V4L2 code, meaning.
pub const FORMATS: [(&str, [u8; 4], PixelFormat); 6] = [
    ("YUYV", *b"YUYV", PixelFormat::Yuyv),
    ("NV12", *b"NV12", PixelFormat::Nv12),
    ("MJPG", *b"MJPG", PixelFormat::Mjpeg),
    ("GREY", *b"GREY", PixelFormat::Grey8),
    ("Y10", *b"Y10 ", PixelFormat::Grey10),
    ("Y16", *b"Y16 ", PixelFormat::Grey16),
];

/// What a board asks of its camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Formats, the best first.
    pub formats: Vec<PixelFormat>,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Frames a second.
    pub rate: u32,
}

/// One format of a camera.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Its V4L2 code.
    pub code: [u8; 4],
    /// Sizes; none where the driver does not list them.
    pub sizes: Vec<Sizes>,
    /// Rates at the board's size, frames a second from least to most; none where the driver does not list them.
    pub rates: Vec<(f64, f64)>,
}

/// Sizes from least to most, in pixels; one size has both alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Width and height of the smallest.
    pub least: (u32, u32),
    /// Width and height of the largest.
    pub most: (u32, u32),
}

/// Rates within this share of the wanted one are the same: 29.97 is 30.
const RATE_SLACK: f64 = 0.05;

impl Need {
    /// The format to use, and its code.
    ///
    /// # Errors
    /// What was offered, where nothing fits.
    pub fn choose(&self, offers: &[Offer]) -> Result<(PixelFormat, [u8; 4]), String> {
        for &format in &self.formats {
            let code = code(format);
            if offers.iter().any(|offer| offer.code == code && self.fits(offer)) {
                return Ok((format, code));
            }
        }
        Err(self.describe(offers))
    }

    fn fits(&self, offer: &Offer) -> bool {
        let (width, height) = (self.width, self.height);
        let has_size = |sizes: &Sizes| {
            (sizes.least.0..=sizes.most.0).contains(&width) && (sizes.least.1..=sizes.most.1).contains(&height)
        };
        let sized = offer.sizes.is_empty() || offer.sizes.iter().any(has_size);
        sized && (offer.rates.is_empty() || offer.rates.iter().any(|rates| self.is_rate(*rates)))
    }

    /// Whether a rate between `least` and `most` frames a second is the wanted one.
    pub fn is_rate(&self, (least, most): (f64, f64)) -> bool {
        let wanted = f64::from(self.rate);
        least <= wanted * (1.0 + RATE_SLACK) && most >= wanted * (1.0 - RATE_SLACK)
    }

    fn describe(&self, offers: &[Offer]) -> String {
        if offers.is_empty() {
            return "no format at all".to_owned();
        }
        let one = |offer: &Offer| {
            let code = String::from_utf8_lossy(&offer.code).trim_end().to_owned();
            let sizes: Vec<_> = offer.sizes.iter().map(Sizes::to_string).collect();
            let rates: Vec<_> = offer.rates.iter().map(|&(least, most)| rate(least, most)).collect();
            let at = if rates.is_empty() {
                String::new()
            } else {
                format!(" ({}x{} at {} frames a second)", self.width, self.height, rates.join(", "))
            };
            format!("{code} {}{at}", sizes.join(", "))
        };
        // A test driver has eighty formats; the first few tell enough.
        let listed: Vec<_> = offers.iter().take(LISTED_MAX).map(one).collect();
        let more = offers.len().saturating_sub(LISTED_MAX);
        let tail = if more > 0 { format!("; and {more} more formats") } else { String::new() };
        format!("{}{tail}", listed.join("; "))
    }
}

/// Formats that an error lists.
const LISTED_MAX: usize = 8;

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.formats.iter().map(|format| name(*format)).collect();
        write!(f, "{} {}x{} at {} frames a second", names.join(" or "), self.width, self.height, self.rate)
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((w0, h0), (w1, h1)) = (self.least, self.most);
        if self.least == self.most { write!(f, "{w0}x{h0}") } else { write!(f, "{w0}x{h0} to {w1}x{h1}") }
    }
}

fn rate(least: f64, most: f64) -> String {
    if (most - least).abs() < 0.01 { format!("{most:.4}") } else { format!("{least:.4} to {most:.4}") }
        .replace(".0000", "")
}

/// The V4L2 code of `format`.
pub fn code(format: PixelFormat) -> [u8; 4] {
    FORMATS.iter().find(|(_, _, known)| *known == format).map_or(*b"RGB3", |(_, code, _)| *code)
}

/// The name of `format` in a board's file.
pub fn name(format: PixelFormat) -> &'static str {
    FORMATS.iter().find(|(_, _, known)| *known == format).map_or("RGB3", |(name, _, _)| name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn need() -> Need {
        Need { formats: vec![PixelFormat::Yuyv, PixelFormat::Mjpeg], width: 640, height: 480, rate: 30 }
    }

    fn offer(code: &[u8; 4], rates: &[f64]) -> Offer {
        let sizes = vec![Sizes { least: (640, 480), most: (640, 480) }];
        Offer { code: *code, sizes, rates: rates.iter().map(|&rate| (rate, rate)).collect() }
    }

    #[test]
    fn the_boards_first_format_that_fits_wins() {
        let both = [offer(b"MJPG", &[30.0]), offer(b"YUYV", &[15.0, 29.97])];
        assert_eq!(need().choose(&both).unwrap().0, PixelFormat::Yuyv);
        let slow = [offer(b"MJPG", &[30.0]), offer(b"YUYV", &[5.0])];
        assert_eq!(need().choose(&slow).unwrap().1, *b"MJPG");
        let ranges = [Offer {
            code: *b"YUYV",
            sizes: vec![Sizes { least: (32, 32), most: (1920, 1080) }],
            rates: vec![(1.0, 60.0)],
        }];
        assert!(need().choose(&ranges).is_ok());
        let silent = [Offer { code: *b"YUYV", sizes: Vec::new(), rates: Vec::new() }];
        assert!(need().choose(&silent).is_ok(), "a driver that lists nothing is asked");
    }

    #[test]
    fn an_error_says_what_was_offered() {
        let offers = [offer(b"YUYV", &[5.0, 7.5]), offer(b"Y16 ", &[30.0])];
        let error = need().choose(&offers).unwrap_err();
        assert_eq!(
            error,
            "YUYV 640x480 (640x480 at 5, 7.5000 frames a second); Y16 640x480 (640x480 at 30 frames a second)"
        );
        assert_eq!(need().to_string(), "YUYV or MJPG 640x480 at 30 frames a second");
        assert_eq!(need().choose(&[]).unwrap_err(), "no format at all");
        let many: Vec<_> = (0..80).map(|_| offer(b"RGB3", &[])).collect();
        assert!(need().choose(&many).unwrap_err().ends_with("and 72 more formats"));
        let small =
            [Offer { code: *b"YUYV", sizes: vec![Sizes { least: (320, 240), most: (320, 240) }], rates: Vec::new() }];
        assert!(need().choose(&small).is_err());
    }
}
