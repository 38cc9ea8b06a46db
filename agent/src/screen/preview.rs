//! The camera's picture in the oval: mirrored, scaled, and painted anew many times a second at little cost.

use embedded_graphics::pixelcolor::raw::RawU16;
use embedded_graphics::pixelcolor::{Rgb565, Rgb888};
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

use super::palette::{self, SKY};
use super::shape::{coverage, ellipse};

/// A small picture of the camera in RGB565, to be shown mirrored in the oval. Borrowed for one drawing; never kept,
/// never printed.
#[derive(Clone, Copy)]
pub struct Preview<'a> {
    width: usize,
    height: usize,
    pixels: &'a [u16],
}

/// A preview whose pixels do not make up its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a preview of {width}x{height} with {found} pixels")]
pub struct PreviewError {
    /// Pixels in a row, as stated.
    pub width: usize,
    /// Rows, as stated.
    pub height: usize,
    /// Pixels that came.
    pub found: usize,
}

impl<'a> Preview<'a> {
    /// A picture without padding, as the camera sees it (not mirrored).
    ///
    /// # Errors
    /// A side is zero, or there are not `width * height` pixels.
    pub fn new(width: usize, height: usize, pixels: &'a [u16]) -> Result<Self, PreviewError> {
        let found = pixels.len();
        if width == 0 || found == 0 || width.checked_mul(height) != Some(found) {
            return Err(PreviewError { width, height, found });
        }
        Ok(Self { width, height, pixels })
    }

    fn row(&self, row: usize) -> &'a [u16] {
        &self.pixels[row * self.width..][..self.width]
    }
}

/// The place of the camera's picture on a screen that was drawn: the inside of its oval. From [`super::Painter::draw`].
pub struct Window {
    middle: Point,
    /// Half the width and half the height, pixels.
    radii: [f32; 2],
    rows: Vec<Row>,
    /// Where each column of the window, from its left edge, is found in a preview of the size `fitted`.
    columns: Vec<Between>,
    fitted: (usize, usize),
}

/// One row of a window, symmetrical about its middle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Down from the window's middle.
    pub(super) y: i32,
    /// Pixels to each side that lie wholly inside.
    pub(super) whole: i32,
    /// Pixels to each side that the window touches.
    pub(super) touched: i32,
}

/// A place between two neighbours.
#[derive(Clone, Copy)]
struct Between {
    first: usize,
    second: usize,
    /// Weight of the second, 0 to 32.
    share: u32,
}

impl Window {
    /// An ellipse around `middle`.
    pub(super) fn new(middle: Point, radii: [f32; 2]) -> Self {
        let reach = radii[1].ceil() as i32 + 1;
        let row = |y: i32| {
            let covered = |x: i32| coverage(ellipse(pixel(x, y), radii));
            let whole = within(radii[0], |x| covered(x) >= 1.0);
            Row { y, whole, touched: within(radii[0], |x| covered(x) > 0.0) }
        };
        let rows = (-reach..reach).map(row).filter(|row| row.touched > 0).collect();
        Self { middle, radii, rows, columns: Vec::new(), fitted: (0, 0) }
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Paints the preview's middle over the whole window, mirrored.
    ///
    /// # Errors
    /// The target's own.
    pub fn paint<D: DrawTarget<Color = Rgb565>>(
        &mut self,
        preview: Preview<'_>,
        target: &mut D,
    ) -> Result<(), D::Error> {
        let scale = self.fit(&preview);
        let reach = (self.columns.len() / 2) as i32;
        for row in &self.rows {
            let down = Between::new(preview.height as f32 / 2.0 + (row.y as f32 + 0.5) * scale, preview.height);
            let (upper, lower) = (preview.row(down.first), preview.row(down.second));
            let colour = |x: i32| {
                let across = self.columns[(x + reach) as usize];
                let mixed = mix(across.of(upper), across.of(lower), down.share);
                let picture = Rgb565::from(RawU16::new(packed(mixed)));
                if (-row.whole..row.whole).contains(&x) {
                    return picture;
                }
                palette::blend(SKY, Rgb888::from(picture), coverage(ellipse(pixel(x, row.y), self.radii)))
            };
            let corner = self.middle + Point::new(-row.touched, row.y);
            let area = Rectangle::new(corner, Size::new(row.touched as u32 * 2, 1));
            target.fill_contiguous(&area, (-row.touched..row.touched).map(colour))?;
        }
        Ok(())
    }

    /// Makes `columns` fit previews of this size; returns the preview's pixels for one of the window.
    fn fit(&mut self, preview: &Preview<'_>) -> f32 {
        let field = self.radii.map(|radius| radius * 2.0);
        let scale = (preview.width as f32 / field[0]).min(preview.height as f32 / field[1]);
        if self.fitted != (preview.width, preview.height) {
            self.fitted = (preview.width, preview.height);
            let reach = self.rows.iter().map(|row| row.touched).max().unwrap_or(0);
            let middle = preview.width as f32 / 2.0;
            let place = |x: i32| Between::new(middle - (x as f32 + 0.5) * scale, preview.width);
            self.columns.clear();
            self.columns.extend((-reach..reach).map(place));
        }
        scale
    }
}

impl Between {
    /// The pixels around `at`, where pixel 0 reaches from 0 to 1; at the edges the outermost one.
    fn new(at: f32, count: usize) -> Self {
        let at = (at - 0.5).clamp(0.0, (count - 1) as f32);
        let first = at as usize;
        let share = ((at - first as f32) * 32.0 + 0.5) as u32;
        Self { first, second: (first + 1).min(count - 1), share }
    }

    fn of(self, row: &[u16]) -> u32 {
        mix(spread(row[self.first]), spread(row[self.second]), self.share)
    }
}

/// The middle of a pixel, from the window's middle.
pub(super) fn pixel(x: i32, y: i32) -> [f32; 2] {
    [x as f32 + 0.5, y as f32 + 0.5]
}

/// How many pixels from the middle on hold, where those that hold come first and lie within `radius`.
pub(super) fn within(radius: f32, holds: impl Fn(i32) -> bool) -> i32 {
    let (mut low, mut high) = (0, radius.ceil() as i32 + 2);
    while low < high {
        let middle = (low + high) / 2;
        if holds(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Red and blue below, green above, with room between them: then one multiplication weighs all three.
const SPREAD: u32 = 0x07E0_F81F;

fn spread(pixel: u16) -> u32 {
    (u32::from(pixel) | u32::from(pixel) << 16) & SPREAD
}

fn packed(spread: u32) -> u16 {
    (spread | spread >> 16) as u16
}

/// `first` and `second`, both spread; `share` of the second from 0 to 32.
fn mix(first: u32, second: u32, share: u32) -> u32 {
    ((first * (32 - share) + second * share) >> 5) & SPREAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::Canvas;

    #[test]
    fn a_preview_without_its_pixels_is_refused() {
        assert_eq!(Preview::new(4, 3, &[0; 11]).err(), Some(PreviewError { width: 4, height: 3, found: 11 }));
        assert!(Preview::new(0, 0, &[]).is_err());
        assert!(Preview::new(usize::MAX, 2, &[0; 4]).is_err());
        assert!(Preview::new(2, 2, &[0; 4]).is_ok());
    }

    fn painted(pixels: &[u16], width: usize) -> Canvas {
        let mut canvas = Canvas::new(320, 240).unwrap();
        let mut window = Window::new(Point::new(160, 120), [60.0, 80.0]);
        window.paint(Preview::new(width, pixels.len() / width, pixels).unwrap(), &mut canvas).unwrap();
        canvas
    }

    #[test]
    fn the_preview_is_a_mirror() {
        let row = [0, 0, 0, 0xFFFF, 0xFFFF, 0xFFFF];
        let canvas = painted(&row.repeat(8), 6);
        let at = |x: usize, y: usize| canvas.pixels()[y * 320 + x];
        assert_eq!((at(130, 120), at(190, 120)), (0xFFFF, 0));
        assert_eq!(at(160, 30), 0, "nothing beyond the window");
    }

    #[test]
    fn one_colour_stays_that_colour_everywhere() {
        for (width, height) in [(1, 1), (3, 2), (2, 5), (90, 120)] {
            for colour in [0x0000, 0xFFFF, 0xF800, 0x07E0, 0x001F, 0x8410] {
                let canvas = painted(&vec![colour; width * height], width);
                let window = Window::new(Point::new(160, 120), [60.0, 80.0]);
                for row in window.rows() {
                    let at = (120 + row.y) as usize * 320 + 160;
                    let inside = &canvas.pixels()[at - row.whole as usize..at + row.whole as usize];
                    assert!(inside.iter().all(|pixel| *pixel == colour), "{colour:04x} {width}x{height}");
                }
            }
        }
    }

    #[test]
    fn a_mixture_lies_between_in_every_colour() {
        for share in 0..=32 {
            let [low, high] = [0x1083, 0xC618].map(spread);
            let mixed = Rgb565::from(RawU16::new(packed(mix(low, high, share))));
            assert!((2..=24).contains(&mixed.r()) && (4..=48).contains(&mixed.g()) && (3..=24).contains(&mixed.b()));
        }
        assert_eq!(packed(mix(spread(0xF81F), spread(0x07E0), 0)), 0xF81F);
        assert_eq!(packed(mix(spread(0xF81F), spread(0x07E0), 32)), 0x07E0);
    }

    #[test]
    fn a_window_has_the_area_of_its_ellipse() {
        for radii in [[10.0_f32, 14.0], [60.3, 80.7], [220.0, 300.0]] {
            let window = Window::new(Point::zero(), radii);
            let area: i32 = window.rows().iter().map(|row| row.whole + row.touched).sum();
            let exact = std::f32::consts::PI * radii[0] * radii[1];
            assert!((area as f32 - exact).abs() < exact * 0.01 + 20.0, "{area} {exact}");
        }
    }
}
