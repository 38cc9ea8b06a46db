//! The signs: each says without words and without colour what the screen says. Drawn in a square of 24 by 24.

use didar_protocol::message::Outcome;
use embedded_graphics::pixelcolor::{Rgb565, Rgb888};
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

use super::palette;
use super::shape::Shape::{Arc, Bar, Disc, Ellipse, Hoop, Ring, Slab};
use super::shape::Step::{Add, Cut};
use super::shape::{Step, coverage, figure};
use crate::attempt::event::Hint;

/// A sign.
#[derive(Clone, Copy, Debug)]
pub(super) struct Icon(&'static [Step]);

impl Icon {
    /// Paints the sign into the square with this corner and side, in `ink` on a surface of colour `paper`.
    ///
    /// # Errors
    /// The target's own.
    pub(super) fn paint<D: DrawTarget<Color = Rgb565>>(
        self,
        corner: Point,
        side: u32,
        (ink, paper): (Rgb888, Rgb888),
        target: &mut D,
    ) -> Result<(), D::Error> {
        let scale = GRID / side as f32;
        let area = Rectangle::new(corner, Size::new(side, side));
        let colour = |at: Point| {
            let place = [(at.x - corner.x) as f32 + 0.5, (at.y - corner.y) as f32 + 0.5].map(|v| v * scale);
            palette::blend(paper, ink, coverage(figure(self.0, place) / scale))
        };
        target.fill_contiguous(&area, area.points().map(colour))
    }

    /// The sign of an ending. A spoof looks like any other check that was not completed: nobody is accused.
    pub(super) const fn of_outcome(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Grant => CHECK,
            Outcome::Deny => CROSS,
            Outcome::Spoof | Outcome::Inconclusive => AGAIN,
            Outcome::Refused => NO_ENTRY,
            Outcome::TimeOut => CLOCK,
            Outcome::Offline => NO_WAVES,
            Outcome::Fault => WARNING,
            Outcome::Cancelled => STOP,
        }
    }

    /// The sign of a hint.
    pub(super) const fn of_hint(hint: Hint) -> Self {
        match hint {
            Hint::LookForFace => FACE_WANTED,
            Hint::Closer => GROW,
            Hint::Farther => SHRINK,
            Hint::ToTheMiddle => MIDDLE,
            Hint::LookStraight => STRAIGHT,
            Hint::TakeOffMask => NO_MASK,
            Hint::TooDark => MOON,
            Hint::TooBright => SUN,
            Hint::OnePersonOnly => ONE_PERSON,
            Hint::HoldStill => PAUSE,
            Hint::StepBack => BACK,
        }
    }
}

/// Side of the square that the signs are drawn in.
const GRID: f32 = 24.0;
/// Half of the square root of two: the direction of a diagonal, and `sin` and `cos` of 45 degrees.
const D: f32 = std::f32::consts::FRAC_1_SQRT_2;
const MIDDLE_POINT: [f32; 2] = [12.0, 12.0];

const fn bar(from: [f32; 2], to: [f32; 2]) -> Step {
    Add(Bar { from, to, thickness: 2.0 })
}

const fn thick(from: [f32; 2], to: [f32; 2]) -> Step {
    Add(Bar { from, to, thickness: 2.6 })
}

const fn dot(middle: [f32; 2], radius: f32) -> Step {
    Add(Disc { middle, radius })
}

const RIM: Step = Add(Ring { middle: MIDDLE_POINT, radius: 10.2, thickness: 2.0 });
const EYES: [Step; 2] = [dot([9.6, 10.8], 1.15), dot([14.4, 10.8], 1.15)];
const SMILE: Step = Add(Arc { middle: [12.0, 12.2], radius: 3.2, thickness: 1.5, to: [0.0, 1.0], half: [0.82, 0.572] });

const CHECK: Icon = Icon(&[RIM, thick([7.4, 12.4], [10.7, 15.7]), thick([10.7, 15.7], [16.8, 9.0])]);
const CROSS: Icon = Icon(&[RIM, thick([8.4, 8.4], [15.6, 15.6]), thick([15.6, 8.4], [8.4, 15.6])]);
const NO_ENTRY: Icon = Icon(&[RIM, thick([7.4, 12.0], [16.6, 12.0])]);
const CLOCK: Icon = Icon(&[RIM, bar([12.0, 6.4], [12.0, 12.0]), bar([12.0, 12.0], [15.8, 14.4])]);
const STOP: Icon = Icon(&[RIM, Add(Slab { from: [8.4, 8.4], to: [15.6, 15.6], radius: 1.0 })]);
const AGAIN: Icon = Icon(&[
    // Three quarters of a circle, open to the upper right, with an arrow's head at its end.
    Add(Arc { middle: [12.0, 13.2], radius: 8.0, thickness: 2.6, to: [-D, D], half: [D, -D] }),
    thick([12.0, 5.2], [15.0, 5.2]),
    thick([15.0, 5.2], [11.6, 1.8]),
    thick([15.0, 5.2], [11.6, 8.6]),
]);
const NO_WAVES: Icon = Icon(&[
    dot([12.0, 18.6], 1.9),
    Add(Arc { middle: [12.0, 18.6], radius: 5.6, thickness: 2.2, to: [0.0, -1.0], half: [D, D] }),
    Add(Arc { middle: [12.0, 18.6], radius: 10.0, thickness: 2.2, to: [0.0, -1.0], half: [D, D] }),
    Add(Arc { middle: [12.0, 18.6], radius: 14.4, thickness: 2.2, to: [0.0, -1.0], half: [D, D] }),
    Cut(Bar { from: [4.0, 2.8], to: [20.0, 20.6], thickness: 5.2 }),
    thick([4.0, 2.8], [20.0, 20.6]),
]);
const WARNING_LINES: [Step; 3] =
    [bar([12.0, 3.4], [2.4, 20.4]), bar([2.4, 20.4], [21.6, 20.4]), bar([21.6, 20.4], [12.0, 3.4])];
pub(super) const WARNING: Icon = Icon(&[
    WARNING_LINES[0],
    WARNING_LINES[1],
    WARNING_LINES[2],
    bar([12.0, 9.6], [12.0, 14.0]),
    dot([12.0, 17.2], 1.35),
]);
/// A spanner: the kiosk is being seen to.
pub(super) const SPANNER: Icon = Icon(&[
    Add(Bar { from: [4.8, 19.2], to: [13.4, 10.6], thickness: 4.2 }),
    Add(Disc { middle: [16.2, 7.8], radius: 6.0 }),
    Cut(Bar { from: [17.2, 6.8], to: [24.0, 0.0], thickness: 4.4 }),
    Cut(Disc { middle: [5.4, 18.6], radius: 1.0 }),
]);
/// A question mark: here is help.
pub(super) const HELP: Icon = Icon(&[
    RIM,
    Add(Arc { middle: [12.0, 9.9], radius: 3.1, thickness: 2.0, to: [D, -D], half: [D, -D] }),
    bar([12.0, 13.0], [12.0, 14.0]),
    dot([12.0, 17.2], 1.3),
]);
/// Three dots: work goes on.
pub(super) const DOTS: Icon = Icon(&[RIM, dot([7.4, 12.0], 1.5), dot([12.0, 12.0], 1.5), dot([16.6, 12.0], 1.5)]);
/// A face in a viewfinder: what this kiosk does.
pub(super) const VIEWFINDER: Icon = Icon(&[
    bar([2.0, 7.0], [2.0, 4.6]),
    bar([4.6, 2.0], [7.0, 2.0]),
    corner([4.6, 4.6], [-D, -D]),
    bar([22.0, 7.0], [22.0, 4.6]),
    bar([19.4, 2.0], [17.0, 2.0]),
    corner([19.4, 4.6], [D, -D]),
    bar([2.0, 17.0], [2.0, 19.4]),
    bar([4.6, 22.0], [7.0, 22.0]),
    corner([4.6, 19.4], [-D, D]),
    bar([22.0, 17.0], [22.0, 19.4]),
    bar([19.4, 22.0], [17.0, 22.0]),
    corner([19.4, 19.4], [D, D]),
    Add(Hoop { middle: MIDDLE_POINT, radii: [5.4, 6.9], thickness: 1.7 }),
    dot([9.9, 10.9], 1.05),
    dot([14.1, 10.9], 1.05),
    Add(Arc { middle: [12.0, 12.1], radius: 2.9, thickness: 1.4, to: [0.0, 1.0], half: [0.82, 0.572] }),
]);
/// A plain face: the place for the person's own in an empty oval.
pub(super) const FACE: Icon = Icon(&[EYES[0], EYES[1], SMILE]);

const fn corner(middle: [f32; 2], to: [f32; 2]) -> Step {
    Add(Arc { middle, radius: 2.6, thickness: 2.0, to, half: [D, D] })
}

const FACE_WANTED: Icon = VIEWFINDER;
const STRAIGHT: Icon = Icon(&[
    Add(Hoop { middle: MIDDLE_POINT, radii: [7.8, 9.8], thickness: 2.0 }),
    dot([9.0, 10.6], 1.35),
    dot([15.0, 10.6], 1.35),
    Add(Arc { middle: [12.0, 12.4], radius: 4.0, thickness: 1.7, to: [0.0, 1.0], half: [0.82, 0.572] }),
]);
const GROW: Icon = Icon(&[
    Add(Ellipse { middle: MIDDLE_POINT, radii: [3.4, 4.4] }),
    bar([16.6, 7.4], [21.4, 2.6]),
    bar([21.4, 2.6], [17.2, 2.6]),
    bar([21.4, 2.6], [21.4, 6.8]),
    bar([7.4, 16.6], [2.6, 21.4]),
    bar([2.6, 21.4], [6.8, 21.4]),
    bar([2.6, 21.4], [2.6, 17.2]),
    bar([7.4, 7.4], [2.6, 2.6]),
    bar([2.6, 2.6], [6.8, 2.6]),
    bar([2.6, 2.6], [2.6, 6.8]),
    bar([16.6, 16.6], [21.4, 21.4]),
    bar([21.4, 21.4], [17.2, 21.4]),
    bar([21.4, 21.4], [21.4, 17.2]),
]);
const SHRINK: Icon = Icon(&[
    Add(Ellipse { middle: MIDDLE_POINT, radii: [3.4, 4.4] }),
    bar([21.6, 2.4], [17.0, 7.0]),
    bar([17.0, 7.0], [17.0, 3.0]),
    bar([17.0, 7.0], [21.0, 7.0]),
    bar([2.4, 21.6], [7.0, 17.0]),
    bar([7.0, 17.0], [7.0, 21.0]),
    bar([7.0, 17.0], [3.0, 17.0]),
    bar([2.4, 2.4], [7.0, 7.0]),
    bar([7.0, 7.0], [7.0, 3.0]),
    bar([7.0, 7.0], [3.0, 7.0]),
    bar([21.6, 21.6], [17.0, 17.0]),
    bar([17.0, 17.0], [17.0, 21.0]),
    bar([17.0, 17.0], [21.0, 17.0]),
]);
const MIDDLE: Icon = Icon(&[
    Add(Hoop { middle: MIDDLE_POINT, radii: [3.6, 4.8], thickness: 1.8 }),
    bar([1.4, 12.0], [6.0, 12.0]),
    bar([6.0, 12.0], [3.4, 9.4]),
    bar([6.0, 12.0], [3.4, 14.6]),
    bar([22.6, 12.0], [18.0, 12.0]),
    bar([18.0, 12.0], [20.6, 9.4]),
    bar([18.0, 12.0], [20.6, 14.6]),
]);
const NO_MASK: Icon = Icon(&[
    // The loops for the ears, the mask, and a stroke through all of it.
    Add(Ring { middle: [4.6, 11.6], radius: 3.2, thickness: 1.8 }),
    Add(Ring { middle: [19.4, 11.6], radius: 3.2, thickness: 1.8 }),
    Cut(Slab { from: [4.6, 6.0], to: [19.4, 18.8], radius: 4.6 }),
    Add(Slab { from: [4.6, 6.0], to: [19.4, 18.8], radius: 4.6 }),
    Cut(Bar { from: [4.6, 21.8], to: [19.4, 2.2], thickness: 5.0 }),
    Add(Bar { from: [4.6, 21.8], to: [19.4, 2.2], thickness: 2.2 }),
]);
const MOON: Icon =
    Icon(&[Add(Disc { middle: [11.4, 12.6], radius: 8.6 }), Cut(Disc { middle: [15.6, 8.6], radius: 7.4 })]);
const SUN: Icon = Icon(&[
    Add(Disc { middle: MIDDLE_POINT, radius: 4.8 }),
    bar([12.0, 1.8], [12.0, 3.8]),
    bar([12.0, 20.2], [12.0, 22.2]),
    bar([1.8, 12.0], [3.8, 12.0]),
    bar([20.2, 12.0], [22.2, 12.0]),
    bar([4.8, 4.8], [6.2, 6.2]),
    bar([17.8, 17.8], [19.2, 19.2]),
    bar([4.8, 19.2], [6.2, 17.8]),
    bar([17.8, 6.2], [19.2, 4.8]),
]);
const ONE_PERSON: Icon = Icon(&[
    // One person, alone in the ring.
    Add(Disc { middle: [12.0, 18.6], radius: 6.2 }),
    Cut(Slab { from: [0.0, 18.0], to: [24.0, 30.0], radius: 0.0 }),
    dot([12.0, 8.4], 3.3),
    RIM,
]);
const PAUSE: Icon = Icon(&[
    RIM,
    Add(Bar { from: [9.2, 8.4], to: [9.2, 15.6], thickness: 2.8 }),
    Add(Bar { from: [14.8, 8.4], to: [14.8, 15.6], thickness: 2.8 }),
]);
const BACK: Icon = Icon(&[
    // The screen above, a person below, an arrow away from the screen.
    thick([3.6, 3.0], [20.4, 3.0]),
    thick([12.0, 7.6], [12.0, 20.6]),
    thick([12.0, 20.6], [6.8, 15.4]),
    thick([12.0, 20.6], [17.2, 15.4]),
]);

#[cfg(test)]
mod tests {
    use super::*;

    /// Every sign that a view can show.
    fn every_sign() -> Vec<Icon> {
        let outcomes = crate::screen::gallery::OUTCOMES.into_iter().map(Icon::of_outcome);
        let hints = Hint::ALL.into_iter().map(Icon::of_hint);
        outcomes.chain(hints).chain([WARNING, SPANNER, HELP, DOTS, VIEWFINDER, FACE]).collect()
    }

    #[test]
    fn signs_stay_inside_their_square() {
        for (index, icon) in every_sign().iter().enumerate() {
            for step in 0..240 {
                let along = step as f32 / 10.0;
                for at in [[along, 0.0], [along, GRID], [0.0, along], [GRID, along]] {
                    assert!(figure(icon.0, at) > 0.0, "sign {index} touches its edge at {at:?}");
                }
            }
        }
    }

    /// Which of many points a sign covers.
    fn seen(icon: Icon) -> Vec<bool> {
        (0..48 * 48).map(|i| figure(icon.0, [(i % 48) as f32 / 2.0, (i / 48) as f32 / 2.0]) < 0.0).collect()
    }

    #[test]
    fn different_things_have_different_signs() {
        let outcomes = [Outcome::Grant, Outcome::Deny, Outcome::Refused, Outcome::TimeOut, Outcome::Inconclusive];
        let more = [Outcome::Offline, Outcome::Fault, Outcome::Cancelled];
        let icons = outcomes.into_iter().chain(more).map(Icon::of_outcome).chain(Hint::ALL.map(Icon::of_hint));
        let pictures: Vec<Vec<bool>> = icons.map(seen).collect();
        for (index, picture) in pictures.iter().enumerate() {
            assert!(!pictures[..index].contains(picture), "sign {index} is a repetition");
        }
    }

    #[test]
    fn a_spoof_looks_like_any_check_that_was_not_completed() {
        assert_eq!(seen(Icon::of_outcome(Outcome::Spoof)), seen(Icon::of_outcome(Outcome::Inconclusive)));
    }
}
