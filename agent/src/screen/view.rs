//! The picture of a view: a pure function of the view, the language, the help line and the camera's picture.

use embedded_graphics::pixelcolor::Rgb565;
use embedded_graphics::prelude::*;

use super::font::Letters;
use super::palette;
use super::plan::Plan;
use super::preview::{Preview, Window};
use super::text::{Help, Language};
use crate::attempt::event::View;

/// Paints views. Holds the fonts and lately drawn letters, nothing that changes a picture.
pub struct Painter {
    letters: Letters,
}

impl Default for Painter {
    fn default() -> Self {
        Self::new()
    }
}

impl Painter {
    /// A painter; reads the fonts, which takes some milliseconds. Make one and keep it.
    pub fn new() -> Self {
        Self { letters: Letters::new() }
    }

    /// Paints the whole screen. Every pixel of the target is painted; the same arguments give the same picture.
    ///
    /// `preview` is shown where the view has an oval; without one the oval holds a drawn face. Returns the preview's
    /// place: the next picture of the camera is painted there, as long as this view stays on the screen.
    ///
    /// # Errors
    /// The target's own.
    pub fn draw<D: DrawTarget<Color = Rgb565>>(
        &mut self,
        view: &View,
        language: Language,
        help: &Help,
        preview: Option<Preview<'_>>,
        target: &mut D,
    ) -> Result<Option<Window>, D::Error> {
        let plan = Plan::new(&self.letters, view, language, help, target.bounding_box().size);
        for (area, colour) in &plan.surfaces {
            target.fill_solid(area, palette::on_screen(*colour))?;
        }
        let window = plan.oval.map(|oval| oval.paint(preview, target)).transpose()?;
        for sign in &plan.signs {
            sign.icon.paint(sign.corner, sign.side, sign.colours, target)?;
        }
        for block in &plan.texts {
            block.paragraph.paint(&mut self.letters, block.area, block.side, block.colours, target)?;
        }
        Ok(window)
    }
}

#[cfg(test)]
mod tests {
    use embedded_graphics::primitives::Rectangle;

    use super::*;
    use crate::screen::gallery;
    use crate::screen::golden::sitter;
    use crate::screen::{Canvas, Language};

    /// The parts of a plan that must not touch each other, with what they are.
    fn solid_parts(plan: &Plan) -> Vec<(String, Rectangle)> {
        let texts = plan.texts.iter().map(|block| (block.paragraph.text(), block.area));
        let signs =
            plan.signs.iter().map(|sign| ("sign".to_owned(), Rectangle::new(sign.corner, Size::new_equal(sign.side))));
        let oval = plan.oval.iter().map(|oval| ("oval".to_owned(), oval.area()));
        texts.chain(signs).chain(oval).collect()
    }

    #[test]
    fn every_text_fits_in_every_language_on_every_screen() {
        let letters = Letters::new();
        for (width, height) in gallery::SIZES {
            let size = Size::new(width.into(), height.into());
            let page = Rectangle::new(Point::zero(), size);
            for (name, view) in gallery::views() {
                for language in Language::ALL {
                    let place = format!("{name} {language:?} {width}x{height}");
                    let plan = Plan::new(&letters, &view, language, &gallery::longest_help(), size);
                    assert!(!plan.cramped, "{place}: too long: {plan:?}");
                    let parts = solid_parts(&plan);
                    for (index, (what, area)) in parts.iter().enumerate() {
                        assert_eq!(area.intersection(&page), *area, "{place}: {what} leaves the screen");
                        for (other, taken) in &parts[..index] {
                            let shared = area.intersection(taken);
                            assert!(shared.is_zero_sized(), "{place}: {what} overlaps {other}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_screen_says_where_help_is() {
        let letters = Letters::new();
        let size = Size::new(320, 240);
        for (name, view) in gallery::views() {
            for language in Language::ALL {
                let plan = Plan::new(&letters, &view, language, &gallery::help(), size);
                let said: String = plan.texts.iter().map(|block| block.paragraph.text()).collect();
                assert!(said.contains("1414") && said.contains(gallery::help().desk(language)), "{name}: {said}");
            }
        }
    }

    #[test]
    fn a_text_that_cannot_fit_is_found() {
        let letters = Letters::new();
        let plan = Plan::new(&letters, &View::Checking, Language::Kk, &gallery::help(), Size::new(120, 60));
        assert!(plan.cramped);
    }

    #[test]
    fn every_pixel_is_painted_and_repeats_exactly() {
        let mut painter = Painter::new();
        for (width, height) in gallery::SIZES {
            for (name, view) in gallery::layouts() {
                let mut black = Canvas::new(width, height).unwrap();
                painter.draw(&view, Language::Kk, &gallery::help(), None, &mut black).unwrap();
                let mut white = Canvas::new(width, height).unwrap();
                white.fill_solid(&white.bounding_box(), Rgb565::new(31, 63, 31)).unwrap();
                painter.draw(&view, Language::Kk, &gallery::help(), None, &mut white).unwrap();
                assert!(black == white, "{name} {width}x{height}");
            }
        }
    }

    #[test]
    fn a_new_preview_alone_makes_the_same_picture_as_a_whole_drawing() {
        let mut painter = Painter::new();
        let (across, down, pixels) = sitter();
        let preview = Preview::new(across, down, &pixels).unwrap();
        for (width, height) in gallery::SIZES {
            for (name, view) in gallery::layouts() {
                let mut whole = Canvas::new(width, height).unwrap();
                painter.draw(&view, Language::Ru, &gallery::help(), Some(preview), &mut whole).unwrap();
                let mut piecewise = Canvas::new(width, height).unwrap();
                let window = painter.draw(&view, Language::Ru, &gallery::help(), None, &mut piecewise).unwrap();
                if let Some(mut window) = window {
                    window.paint(preview, &mut piecewise).unwrap();
                }
                assert!(whole == piecewise, "{name} {width}x{height}");
            }
        }
    }

    /// Remembers where something was painted.
    struct Touched(Vec<Point>);

    impl OriginDimensions for Touched {
        fn size(&self) -> Size {
            Size::new(320, 240)
        }
    }

    impl DrawTarget for Touched {
        type Color = Rgb565;
        type Error = std::convert::Infallible;

        fn draw_iter<I: IntoIterator<Item = Pixel<Rgb565>>>(&mut self, pixels: I) -> Result<(), Self::Error> {
            self.0.extend(pixels.into_iter().map(|Pixel(at, _)| at));
            Ok(())
        }
    }

    #[test]
    fn letters_stay_within_their_blocks() {
        let mut letters = Letters::new();
        for (_, view) in gallery::natural_views() {
            for language in Language::ALL {
                let plan = Plan::new(&letters, &view, language, &gallery::help(), Size::new(320, 240));
                for block in &plan.texts {
                    let mut touched = Touched(Vec::new());
                    block.paragraph.paint(&mut letters, block.area, block.side, block.colours, &mut touched).unwrap();
                    // The outermost pixel of a round letter may lie on the edge's other side.
                    let allowed = block.area.offset(1);
                    let outside = touched.0.iter().find(|at| !allowed.contains(**at));
                    assert_eq!(outside, None, "{}", block.paragraph.text());
                }
            }
        }
    }
}
