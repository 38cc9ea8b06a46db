//! The picture's memory: 16 bits a pixel, as panels, frame buffers and the simulated kiosk take it.

use std::convert::Infallible;

use embedded_graphics::pixelcolor::Rgb565;
use embedded_graphics::pixelcolor::raw::{RawData, RawU16};
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

/// A picture in RGB565, row by row from the top left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canvas {
    width: u16,
    height: u16,
    pixels: Vec<u16>,
}

/// A part of a picture, within its bounds, at least one pixel large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// First column.
    pub x: u16,
    /// First row.
    pub y: u16,
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

impl Area {
    /// Its rows out of `pixels`, the whole picture with `across` pixels in a row.
    pub fn rows<'a>(&self, pixels: &'a [u16], across: u16) -> impl Iterator<Item = &'a [u16]> + use<'a> {
        let (x, width, rows) = (usize::from(self.x), usize::from(self.width), usize::from(self.height));
        pixels.chunks_exact(usize::from(across)).skip(usize::from(self.y)).take(rows).map(move |row| &row[x..x + width])
    }
}

/// A screen that the views are not laid out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a screen of {width}x{height} pixels; it must be {across} to {most} wide and {least} to {most} high",
    across = Canvas::WIDTH_LEAST, least = Canvas::LEAST, most = Canvas::MOST
)]
pub struct SizeError {
    /// Pixels in a row.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

impl Canvas {
    /// Fewest pixels of a side.
    pub const LEAST: u16 = 240;
    /// Fewest pixels in a row: the longest words need them.
    pub const WIDTH_LEAST: u16 = 320;
    /// Most pixels of a side.
    pub const MOST: u16 = 1280;

    /// A black picture.
    ///
    /// # Errors
    /// A side is shorter than [`Self::LEAST`] or longer than [`Self::MOST`], or a row than [`Self::WIDTH_LEAST`].
    pub fn new(width: u16, height: u16) -> Result<Self, SizeError> {
        let lawful = Self::LEAST..=Self::MOST;
        if !lawful.contains(&width) || !lawful.contains(&height) || width < Self::WIDTH_LEAST {
            return Err(SizeError { width, height });
        }
        Ok(Self { width, height, pixels: vec![0; usize::from(width) * usize::from(height)] })
    }

    /// Pixels in a row.
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Rows.
    pub const fn height(&self) -> u16 {
        self.height
    }

    /// The pixels: red in the top five bits, then six of green, then five of blue.
    pub fn pixels(&self) -> &[u16] {
        &self.pixels
    }

    /// The smallest part that holds every difference to the picture `before`; `None` if there is none. A picture of
    /// another size differs everywhere.
    pub fn changed(&self, before: &[u16]) -> Option<Area> {
        if before.len() != self.pixels.len() {
            return Some(Area { x: 0, y: 0, width: self.width, height: self.height });
        }
        let across = usize::from(self.width);
        let rows = || self.pixels.chunks_exact(across).zip(before.chunks_exact(across));
        let top = rows().position(|(now, then)| now != then)?;
        let bottom = rows().rposition(|(now, then)| now != then)?;
        let (mut left, mut right) = (across, 0);
        for (now, then) in rows().take(bottom + 1).skip(top) {
            let differs = |x: &usize| now[*x] != then[*x];
            left = (0..left).find(differs).unwrap_or(left);
            right = (right..across).rev().find(differs).map_or(right, |last| last + 1);
        }
        // Places in a picture whose sides are u16.
        let [x, y, width, height] = [left, top, right - left, bottom + 1 - top].map(|number| number as u16);
        Some(Area { x, y, width, height })
    }

    /// The visible part of `area` in one row, as indices of `pixels`.
    fn row(&self, area: &Rectangle, y: i32) -> std::ops::Range<usize> {
        // `area` lies within the canvas, so every number here is small and not negative.
        let start = y as usize * usize::from(self.width) + area.top_left.x as usize;
        start..start + area.size.width as usize
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(u32::from(self.width), u32::from(self.height))
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb565;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb565>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        let (width, height) = (i32::from(self.width), i32::from(self.height));
        for Pixel(at, colour) in pixels {
            if (0..width).contains(&at.x) && (0..height).contains(&at.y) {
                self.pixels[(at.y * width + at.x) as usize] = RawU16::from(colour).into_inner();
            }
        }
        Ok(())
    }

    fn fill_contiguous<I: IntoIterator<Item = Rgb565>>(
        &mut self,
        area: &Rectangle,
        colours: I,
    ) -> Result<(), Infallible> {
        let visible = area.intersection(&self.bounding_box());
        if visible != *area {
            return self.draw_iter(area.points().zip(colours).map(|(at, colour)| Pixel(at, colour)));
        }
        let mut colours = colours.into_iter();
        for y in visible.rows() {
            let row = self.row(&visible, y);
            for (pixel, colour) in self.pixels[row].iter_mut().zip(&mut colours) {
                *pixel = RawU16::from(colour).into_inner();
            }
        }
        Ok(())
    }

    fn fill_solid(&mut self, area: &Rectangle, colour: Rgb565) -> Result<(), Infallible> {
        let visible = area.intersection(&self.bounding_box());
        let raw = RawU16::from(colour).into_inner();
        for y in visible.rows() {
            let row = self.row(&visible, y);
            self.pixels[row].fill(raw);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sizes_that_are_laid_out_for_are_taken() {
        assert!(Canvas::new(320, 240).is_ok());
        assert!(Canvas::new(800, 1280).is_ok());
        assert_eq!(Canvas::new(240, 320).unwrap_err(), SizeError { width: 240, height: 320 });
        let said = Canvas::new(320, 2000).unwrap_err().to_string();
        assert_eq!(said, "a screen of 320x2000 pixels; it must be 320 to 1280 wide and 240 to 1280 high");
    }

    #[test]
    fn what_lies_outside_is_cut_off_and_the_rest_lands_in_its_place() {
        let areas = [(-3, -2, 9, 7), (315, 236, 9, 7), (0, 0, 320, 240), (10, 20, 5, 3), (400, 10, 2, 2), (7, 7, 0, 5)];
        for (x, y, width, height) in areas {
            let area = Rectangle::new(Point::new(x, y), Size::new(width, height));
            let colour = |index: usize| Rgb565::from(RawU16::new((index as u16).wrapping_add(1)));
            let mut fast = Canvas::new(320, 240).unwrap();
            fast.fill_contiguous(&area, (0..).map(colour)).unwrap();
            let mut plain = Canvas::new(320, 240).unwrap();
            plain.draw_iter(area.points().enumerate().map(|(index, at)| Pixel(at, colour(index)))).unwrap();
            assert_eq!(fast, plain, "{area:?}");

            let mut solid = Canvas::new(320, 240).unwrap();
            solid.fill_solid(&area, Rgb565::RED).unwrap();
            let mut plain = Canvas::new(320, 240).unwrap();
            plain.draw_iter(area.points().map(|at| Pixel(at, Rgb565::RED))).unwrap();
            assert_eq!(solid, plain, "{area:?}");
        }
    }

    #[test]
    fn a_pixel_has_red_on_top() {
        let mut canvas = Canvas::new(320, 240).unwrap();
        canvas.draw_iter([Pixel(Point::new(1, 0), Rgb565::new(31, 0, 1))]).unwrap();
        assert_eq!(canvas.pixels()[1], 0xF801);
    }

    #[test]
    fn what_changed_is_found_exactly() {
        let mut canvas = Canvas::new(320, 240).unwrap();
        let before = canvas.pixels().to_vec();
        assert_eq!(canvas.changed(&before), None);
        assert_eq!(canvas.changed(&[]), Some(Area { x: 0, y: 0, width: 320, height: 240 }));
        for places in [vec![(0, 0)], vec![(319, 239)], vec![(0, 239), (319, 0)], vec![(40, 7), (9, 100), (30, 50)]] {
            canvas.fill_solid(&canvas.bounding_box(), Rgb565::BLACK).unwrap();
            let pixels = places.iter().map(|(x, y)| Pixel(Point::new(*x, *y), Rgb565::RED));
            canvas.draw_iter(pixels).unwrap();
            let corner = |least: fn(&(i32, i32)) -> i32| {
                let (from, to) = (places.iter().map(least).min().unwrap(), places.iter().map(least).max().unwrap());
                (from as u16, (to - from + 1) as u16)
            };
            let ((x, width), (y, height)) = (corner(|place| place.0), corner(|place| place.1));
            let area = Area { x, y, width, height };
            assert_eq!(canvas.changed(&before), Some(area));
            let red = area.rows(canvas.pixels(), 320).flatten().filter(|pixel| **pixel != 0).count();
            assert_eq!(red, places.len());
        }
    }
}
