//! The letters: Noto Sans, regular and bold, with every Kazakh letter, drawn smooth at any size.
//!
//! `font/build.sh` makes the two files from Debian's package; `font/OFL.txt` is their licence.

use std::collections::HashMap;

use embedded_graphics::pixelcolor::{Rgb565, Rgb888};
use embedded_graphics::prelude::*;
use fontdue::{Font, FontSettings};

use super::palette;

/// How heavy a letter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Weight {
    /// Running text.
    Regular,
    /// Headlines.
    Bold,
}

/// Both fonts, and the letters that were drawn lately.
pub(super) struct Letters {
    regular: Font,
    bold: Font,
    drawn: HashMap<(Weight, u16, char), Glyph>,
    /// Bytes in `drawn`, at most [`KEPT_MOST`].
    kept: usize,
}

/// How much of each pixel a letter covers.
struct Glyph {
    /// From the pen to the left column, pixels.
    left: i32,
    /// From the base line up to the top row, pixels.
    top: i32,
    width: usize,
    coverage: Box<[u8]>,
}

/// Memory for drawn letters. A screen of 1280x800 needs about half of it; then nothing is drawn twice.
const KEPT_MOST: usize = 512 * 1024;

impl Letters {
    /// Reads both fonts.
    pub(super) fn new() -> Self {
        let read = |bytes: &[u8]| {
            Font::from_bytes(bytes, FontSettings { scale: 48.0, ..FontSettings::default() })
                .expect("the font is part of the program and its tests read it")
        };
        Self {
            regular: read(include_bytes!("font/NotoSans-Regular.ttf")),
            bold: read(include_bytes!("font/NotoSans-Bold.ttf")),
            drawn: HashMap::new(),
            kept: 0,
        }
    }

    fn font(&self, weight: Weight) -> &Font {
        match weight {
            Weight::Regular => &self.regular,
            Weight::Bold => &self.bold,
        }
    }

    /// Whether the font holds this letter.
    #[cfg(test)]
    pub(super) fn has(&self, weight: Weight, letter: char) -> bool {
        self.font(weight).has_glyph(letter)
    }

    /// How far each place in `line` is from its start, pixels: one entry per byte and one for the end.
    pub(super) fn edges(&self, weight: Weight, px: u16, line: &str) -> Vec<f32> {
        let mut edges = Vec::with_capacity(line.len() + 1);
        let mut pen = 0.0;
        for (letter, before, advance) in steps(self.font(weight), px, line) {
            pen += before;
            edges.extend(std::iter::repeat_n(pen, letter.len_utf8()));
            pen += advance;
        }
        edges.push(pen);
        edges
    }

    /// Draws a line with its pen starting at `start` on the base line, in `ink` on a surface of colour `paper`.
    ///
    /// # Errors
    /// The target's own.
    pub(super) fn draw<D: DrawTarget<Color = Rgb565>>(
        &mut self,
        (weight, px): (Weight, u16),
        (ink, paper): (Rgb888, Rgb888),
        start: Point,
        line: &str,
        target: &mut D,
    ) -> Result<(), D::Error> {
        let mut pen = start.x as f32;
        let font = match weight {
            Weight::Regular => &self.regular,
            Weight::Bold => &self.bold,
        };
        for (letter, before, advance) in steps(font, px, line) {
            pen += before;
            if self.kept > KEPT_MOST {
                self.drawn.clear();
                self.kept = 0;
            }
            let kept = &mut self.kept;
            let glyph = self.drawn.entry((weight, px, letter)).or_insert_with(|| {
                let glyph = Glyph::new(font, px, letter);
                *kept += glyph.coverage.len();
                glyph
            });
            let corner = Point::new((pen + 0.5).floor() as i32 + glyph.left, start.y - glyph.top);
            target.draw_iter(
                glyph.pixels(corner).map(|(at, share)| Pixel(at, palette::on_screen(palette::mix(paper, ink, share)))),
            )?;
            pen += advance;
        }
        Ok(())
    }
}

impl Glyph {
    fn new(font: &Font, px: u16, letter: char) -> Self {
        let (metrics, coverage) = font.rasterize(letter, f32::from(px));
        Self {
            left: metrics.xmin,
            top: metrics.ymin + metrics.height as i32,
            width: metrics.width,
            coverage: coverage.into_boxed_slice(),
        }
    }

    /// The pixels that the letter touches, and how much.
    fn pixels(&self, corner: Point) -> impl Iterator<Item = (Point, u8)> + '_ {
        let width = self.width;
        self.coverage
            .iter()
            .enumerate()
            .filter(|(_, share)| **share > 0)
            .map(move |(index, &share)| (corner + Point::new((index % width) as i32, (index / width) as i32), share))
    }
}

/// Each letter of a line with the kerning before it and its own advance, pixels.
fn steps<'a>(font: &'a Font, px: u16, line: &'a str) -> impl Iterator<Item = (char, f32, f32)> + 'a {
    let px = f32::from(px);
    let mut previous = None;
    line.chars().map(move |letter| {
        let before = previous.and_then(|last| font.horizontal_kern(last, letter, px)).unwrap_or(0.0);
        previous = Some(letter);
        (letter, before, font.metrics(letter, px).advance_width)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::Canvas;

    #[test]
    fn pairs_are_kerned() {
        let letters = Letters::new();
        let width = |line: &str| letters.edges(Weight::Bold, 100, line)[line.len()];
        assert!(width("То") < width("Т") + width("о") - 2.0);
    }

    #[test]
    fn memory_for_letters_is_bounded() {
        let mut letters = Letters::new();
        let mut canvas = Canvas::new(320, 240).unwrap();
        let colours = (palette::INK, palette::PAPER);
        for px in 12..200 {
            letters.draw((Weight::Bold, px), colours, Point::new(0, 200), "Щжғқұө", &mut canvas).unwrap();
            let most_at_once = 200 * 250;
            assert!(letters.kept <= KEPT_MOST + most_at_once, "{} bytes", letters.kept);
            let really: usize = letters.drawn.values().map(|glyph| glyph.coverage.len()).sum();
            assert_eq!(really, letters.kept);
        }
    }
}
