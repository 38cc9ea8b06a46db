//! Panels: screens that are really there.
//!
//! **Here:** the frame buffer ([`framebuffer`]) and panels on SPI ([`spi`]). Both open their device by themselves when a
//! picture comes, and again after an error, so that a panel may be missing at the start or come back later.
//! **Not here:** what is painted ([`crate::screen`]), and when ([`crate::display`]).

pub mod framebuffer;
pub mod spi;

use crate::screen::Area;

/// A turn of the picture on the panel, clockwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// As the panel is made, mostly upright.
    None,
    /// 90 degrees.
    Quarter,
    /// 180 degrees.
    Half,
    /// 270 degrees.
    ThreeQuarters,
}

impl Turn {
    /// Width and height after the turn.
    pub const fn of(self, (width, height): (u16, u16)) -> (u16, u16) {
        match self {
            Self::None | Self::Half => (width, height),
            Self::Quarter | Self::ThreeQuarters => (height, width),
        }
    }

    /// Where the part `area` of a picture of `size` lies on the panel after the turn.
    pub(crate) const fn area(self, area: Area, (width, height): (u16, u16)) -> Area {
        let Area { x, y, width: across, height: down } = area;
        match self {
            Self::None => area,
            Self::Quarter => Area { x: height - y - down, y: x, width: down, height: across },
            Self::Half => Area { x: width - x - across, y: height - y - down, width: across, height: down },
            Self::ThreeQuarters => Area { x: y, y: width - x - across, width: down, height: across },
        }
    }

    /// The pixels of a picture of `size` that `length` pixels of the panel show, from column `x` of row `y` on.
    pub(crate) fn row<'a>(
        self,
        pixels: &'a [u16],
        size: (u16, u16),
        (x, y): (u16, u16),
        length: u16,
    ) -> impl Iterator<Item = u16> + use<'a> {
        let (width, height) = (usize::from(size.0), usize::from(size.1));
        let (x, y) = (usize::from(x), usize::from(y));
        let (first, back, step) = match self {
            Self::None => (y * width + x, false, 1),
            Self::Quarter => ((height - 1 - x) * width + y, true, width),
            Self::Half => ((height - 1 - y) * width + (width - 1 - x), true, 1),
            Self::ThreeQuarters => (x * width + (width - 1 - y), false, width),
        };
        (0..usize::from(length)).map(move |n| pixels[if back { first - n * step } else { first + n * step }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three columns, two rows.
    const PICTURE: [u16; 6] = [1, 2, 3, 4, 5, 6];
    const SIZE: (u16, u16) = (3, 2);

    #[test]
    fn a_turned_picture_lies_on_the_panel_as_a_turned_sheet_would() {
        for (turn, panel) in [
            (Turn::None, [1, 2, 3, 4, 5, 6]),
            (Turn::Quarter, [4, 1, 5, 2, 6, 3]),
            (Turn::Half, [6, 5, 4, 3, 2, 1]),
            (Turn::ThreeQuarters, [3, 6, 2, 5, 1, 4]),
        ] {
            let (width, height) = turn.of(SIZE);
            let rows = (0..height).flat_map(|y| turn.row(&PICTURE, SIZE, (0, y), width));
            assert_eq!(rows.collect::<Vec<_>>(), panel, "{turn:?}");
            // Each pixel alone lies where the whole picture has it.
            for (index, &value) in PICTURE.iter().enumerate() {
                let (x, y) = (index as u16 % SIZE.0, index as u16 / SIZE.0);
                let at = turn.area(Area { x, y, width: 1, height: 1 }, SIZE);
                assert_eq!(panel[usize::from(at.y * width + at.x)], value, "{turn:?} {x} {y}");
            }
        }
    }
}
