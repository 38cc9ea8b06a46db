//! The oval: where the person's face belongs, with the camera's picture in it and the progress around it.

use embedded_graphics::pixelcolor::{Rgb565, Rgb888};
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

use super::icon::FACE;
use super::palette::{self, GOLD, SKY, SKY_DEEP, SKY_DIM, WHITE};
use super::preview::{Preview, Window, pixel, within};
use super::shape::{Shape, coverage, ellipse};

/// An oval on a panel of colour [`SKY`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Oval {
    middle: Point,
    /// Half the width and half the height of the picture inside the ring, pixels.
    radii: [f32; 2],
    /// Width of the ring; the gap between picture and ring is half of it.
    thickness: f32,
    ring: Ring,
}

/// What the ring says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ring {
    /// Something is to be changed.
    Waiting,
    /// The face is well placed.
    Placed,
    /// The lamps play: so much is done, 0 to 100.
    Filled(u8),
}

impl Oval {
    /// The largest oval in `area`, three wide and four high.
    pub(super) fn within(area: Rectangle, ring: Ring) -> Self {
        let (width, height) = (area.size.width as f32, area.size.height as f32);
        let unit = (width / 3.0).min(height / 4.0);
        let thickness = (unit * 0.11).max(3.0);
        // Gap and ring on both sides: one and a half thicknesses each.
        let edge = thickness * 1.5;
        Self { middle: area.center(), radii: [unit * 1.5 - edge, unit * 2.0 - edge], thickness, ring }
    }

    /// Everything that the oval paints on, corners included.
    pub(super) fn area(&self) -> Rectangle {
        let reach = |radius: f32| (radius + self.thickness * 1.5).ceil() as u32 + 1;
        Rectangle::with_center(self.middle, Size::new(reach(self.radii[0]) * 2, reach(self.radii[1]) * 2))
    }

    /// Paints the oval with the camera's picture, or with a drawn face where there is none. Returns the picture's place.
    ///
    /// # Errors
    /// The target's own.
    pub(super) fn paint<D: DrawTarget<Color = Rgb565>>(
        &self,
        preview: Option<Preview<'_>>,
        target: &mut D,
    ) -> Result<Window, D::Error> {
        let area = self.area();
        target.fill_solid(&area, palette::on_screen(SKY))?;
        let mut window = Window::new(self.middle, self.radii);
        self.paint_ring(&window, target)?;
        match preview {
            Some(preview) => window.paint(preview, target)?,
            None => {
                // Its corners lie inside the oval.
                let side = (self.radii[0] * 1.5) as u32;
                let corner = self.middle - Point::new_equal(side as i32 / 2);
                FACE.paint(corner, side, (WHITE, SKY_DEEP), target)?;
            }
        }
        Ok(window)
    }

    /// Paints the ring, the gap and the empty inside. Only what a curve crosses is reckoned pixel by pixel.
    fn paint_ring<D: DrawTarget<Color = Rgb565>>(&self, window: &Window, target: &mut D) -> Result<(), D::Error> {
        let tip = self.tip();
        let reach = self.area().size.height as i32 / 2;
        let end = self.thickness * 1.5 + 0.5;
        let mut inside = window.rows().iter().peekable();
        for y in -reach..reach {
            let whole = inside.next_if(|row| row.y == y).map_or(0, |row| row.whole);
            let touched = within(self.radii[0] + end, |x| ellipse(pixel(x, y), self.radii) < end);
            let colour = |x: i32| self.colour(pixel(x, y), tip);
            let at =
                |x: i32, width: i32| Rectangle::new(self.middle + Point::new(x, y), Size::new(width.max(0) as u32, 1));
            target.fill_contiguous(&at(-touched, touched - whole), (-touched..-whole).map(colour))?;
            target.fill_solid(&at(-whole, whole * 2), palette::on_screen(SKY_DEEP))?;
            target.fill_contiguous(&at(whole, touched - whole), (whole..touched).map(colour))?;
        }
        Ok(())
    }

    fn colour(&self, at: [f32; 2], tip: [f32; 2]) -> Rgb565 {
        let distance = ellipse(at, self.radii);
        let inside = coverage(distance);
        if inside > 0.0 {
            return palette::blend(SKY, SKY_DEEP, inside);
        }
        let half = self.thickness / 2.0;
        let ring = coverage((distance - half * 2.0).abs() - half);
        if ring == 0.0 {
            return palette::on_screen(SKY);
        }
        palette::blend(SKY, self.ring_colour(at, tip), ring)
    }

    fn ring_colour(&self, at: [f32; 2], tip: [f32; 2]) -> Rgb888 {
        match self.ring {
            Ring::Waiting => WHITE,
            Ring::Placed => GOLD,
            Ring::Filled(progress) => {
                // Directions in the circle that the oval is a squeezed form of.
                let outer = self.outer();
                let (x, y) = (at[0] / outer[0], at[1] / outer[1]);
                let before_tip = x * tip[1] / outer[1] - y * tip[0] / outer[0] >= 0.0;
                let filled = match progress {
                    0 => false,
                    1..=50 => x >= 0.0 && before_tip,
                    51..=99 => x >= 0.0 || before_tip,
                    100.. => true,
                };
                let cap = |middle: [f32; 2]| {
                    let end = Shape::Disc { middle, radius: self.thickness / 2.0 };
                    coverage(end.distance(at))
                };
                let ends = if progress == 0 { 0.0 } else { cap(tip).max(cap([0.0, -outer[1]])) };
                if filled { GOLD } else { palette::mix(SKY_DIM, GOLD, palette::share(ends)) }
            }
        }
    }

    /// Radii of the ring's middle line.
    fn outer(&self) -> [f32; 2] {
        self.radii.map(|radius| radius + self.thickness)
    }

    /// Where the filled part of the ring ends, from the oval's middle. It begins at the top and goes clockwise.
    fn tip(&self) -> [f32; 2] {
        let done = match self.ring {
            Ring::Waiting | Ring::Placed => 0.0,
            Ring::Filled(progress) => f32::from(progress.min(100)) / 100.0,
        };
        let (sin, cos) = (done * std::f32::consts::TAU).sin_cos();
        let outer = self.outer();
        [outer[0] * sin, -outer[1] * cos]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::Canvas;

    fn gold_pixels(progress: u8) -> usize {
        let mut canvas = Canvas::new(320, 240).unwrap();
        let oval = Oval::within(Rectangle::new(Point::new(20, 10), Size::new(165, 220)), Ring::Filled(progress));
        oval.paint(None, &mut canvas).unwrap();
        let gold = palette::on_screen(GOLD);
        let is_gold = |pixel: &&u16| **pixel == embedded_graphics::pixelcolor::raw::RawU16::from(gold).into_inner();
        canvas.pixels().iter().filter(is_gold).count()
    }

    #[test]
    fn the_ring_fills_evenly_and_wholly() {
        assert_eq!(gold_pixels(0), 0);
        let full = gold_pixels(100);
        assert_eq!(gold_pixels(255), full);
        let mut last = 0;
        for progress in 1..=100 {
            let now = gold_pixels(progress);
            assert!(now >= last, "{progress}");
            let expected = full * usize::from(progress) / 100;
            assert!(now.abs_diff(expected) < full / 20, "{progress}: {now} of {full}");
            last = now;
        }
    }

    #[test]
    fn nothing_is_painted_beyond_the_area_given() {
        for (width, height) in [(100, 220), (165, 220), (220, 120), (640, 700)] {
            let given = Rectangle::new(Point::new(10, 10), Size::new(width, height));
            let taken = Oval::within(given, Ring::Placed).area();
            let allowed = given.offset(2);
            assert_eq!(taken.intersection(&allowed), taken, "{given:?} {taken:?}");
        }
    }
}
