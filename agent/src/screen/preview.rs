//! The camera's picture in the oval.

use embedded_graphics::pixelcolor::raw::RawU16;
use embedded_graphics::pixelcolor::{Rgb565, Rgb888};
use embedded_graphics::prelude::*;

/// A small picture of the camera, to be shown mirrored in the oval. Borrowed for one drawing; never kept, never printed.
#[derive(Clone, Copy)]
pub struct Preview<'a> {
    width: usize,
    height: usize,
    pixels: Pixels<'a>,
}

#[derive(Clone, Copy)]
enum Pixels<'a> {
    Grey(&'a [u8]),
    Colour(&'a [u16]),
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
    /// A grey picture, a byte a pixel, without padding, as the camera sees it (not mirrored).
    ///
    /// # Errors
    /// A side is zero, or there are not `width * height` pixels.
    pub fn grey(width: usize, height: usize, pixels: &'a [u8]) -> Result<Self, PreviewError> {
        check(width, height, pixels.len())?;
        Ok(Self { width, height, pixels: Pixels::Grey(pixels) })
    }

    /// A picture in RGB565, without padding, as the camera sees it (not mirrored).
    ///
    /// # Errors
    /// A side is zero, or there are not `width * height` pixels.
    pub fn colour(width: usize, height: usize, pixels: &'a [u16]) -> Result<Self, PreviewError> {
        check(width, height, pixels.len())?;
        Ok(Self { width, height, pixels: Pixels::Colour(pixels) })
    }

    /// How to read this picture for a field of `width` by `height` pixels: mirrored, its middle, filling the field.
    pub(super) fn filling(&self, width: f32, height: f32) -> Filling<'a> {
        let scale = (self.width as f32 / width).min(self.height as f32 / height);
        Filling { preview: *self, scale, middle: [self.width as f32 / 2.0, self.height as f32 / 2.0] }
    }

    fn at(&self, x: usize, y: usize) -> [f32; 3] {
        let index = y * self.width + x;
        match self.pixels {
            Pixels::Grey(pixels) => [f32::from(pixels[index]); 3],
            Pixels::Colour(pixels) => {
                let colour = Rgb888::from(Rgb565::from(RawU16::new(pixels[index])));
                [colour.r(), colour.g(), colour.b()].map(f32::from)
            }
        }
    }
}

fn check(width: usize, height: usize, found: usize) -> Result<(), PreviewError> {
    if width == 0 || width.checked_mul(height) != Some(found) || found == 0 {
        return Err(PreviewError { width, height, found });
    }
    Ok(())
}

/// A preview, scaled.
pub(super) struct Filling<'a> {
    preview: Preview<'a>,
    scale: f32,
    middle: [f32; 2],
}

impl Filling<'_> {
    /// The colour at `x`, `y` pixels right and down of the field's middle, between the four nearest pixels.
    pub(super) fn colour(&self, x: f32, y: f32) -> Rgb888 {
        let (column, right) = near(self.middle[0] - x * self.scale, self.preview.width);
        let (row, lower) = near(self.middle[1] + y * self.scale, self.preview.height);
        let next_column = (column + 1).min(self.preview.width - 1);
        let next_row = (row + 1).min(self.preview.height - 1);
        let corners = [
            (self.preview.at(column, row), (1.0 - right) * (1.0 - lower)),
            (self.preview.at(next_column, row), right * (1.0 - lower)),
            (self.preview.at(column, next_row), (1.0 - right) * lower),
            (self.preview.at(next_column, next_row), right * lower),
        ];
        let channel = |index: usize| -> u8 {
            let value: f32 = corners.iter().map(|(colour, weight)| colour[index] * weight).sum();
            (value + 0.5) as u8
        };
        Rgb888::new(channel(0), channel(1), channel(2))
    }
}

/// The pixel whose middle lies at or before `at`, and how far beyond it `at` is, 0 to 1.
fn near(at: f32, count: usize) -> (usize, f32) {
    let at = (at - 0.5).clamp(0.0, (count - 1) as f32);
    let whole = at as usize;
    (whole, at - whole as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_without_its_pixels_is_refused() {
        assert_eq!(Preview::grey(4, 3, &[0; 11]).err(), Some(PreviewError { width: 4, height: 3, found: 11 }));
        assert!(Preview::grey(0, 0, &[]).is_err());
        assert!(Preview::colour(usize::MAX, 2, &[0; 4]).is_err());
        assert!(Preview::colour(2, 2, &[0; 4]).is_ok());
    }

    #[test]
    fn the_preview_is_a_mirror() {
        let pixels = [0, 0, 255, 255];
        let preview = Preview::grey(4, 1, &pixels).unwrap();
        let filling = preview.filling(4.0, 1.0);
        assert_eq!(filling.colour(-1.5, 0.0), Rgb888::WHITE);
        assert_eq!(filling.colour(1.5, 0.0), Rgb888::BLACK);
        assert_eq!(filling.colour(0.0, 0.0).r(), 128);
    }

    #[test]
    fn every_place_in_and_around_the_field_has_a_colour() {
        for (width, height) in [(1, 1), (3, 2), (2, 5)] {
            let pixels = vec![77; width * height];
            let preview = Preview::grey(width, height, &pixels).unwrap();
            let filling = preview.filling(30.0, 40.0);
            for (x, y) in [(0.0, 0.0), (-15.0, 20.0), (15.0, -20.0), (-1e9, 1e9)] {
                assert_eq!(filling.colour(x, y).g(), 77);
            }
        }
    }
}
