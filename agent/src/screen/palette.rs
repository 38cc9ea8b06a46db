//! The colours, and how one is laid over another.
//!
//! Calm, few, and never the only sign: each has an icon and words beside it. Contrasts hold WCAG 2.1 AA with room to
//! spare; the test prints the table.

use embedded_graphics::pixelcolor::{Rgb565, Rgb888};
use embedded_graphics::prelude::RgbColor;

/// The page.
pub(super) const PAPER: Rgb888 = Rgb888::new(0xF7, 0xFA, 0xFB);
/// The strip that says where help is.
pub(super) const SHADE: Rgb888 = Rgb888::new(0xE1, 0xEB, 0xEF);
/// Headlines and help.
pub(super) const INK: Rgb888 = Rgb888::new(0x08, 0x24, 0x31);
/// Running text.
pub(super) const INK_SOFT: Rgb888 = Rgb888::new(0x2C, 0x47, 0x54);
/// Thin lines; decoration only.
pub(super) const LINE: Rgb888 = Rgb888::new(0xC6, 0xD6, 0xDD);
/// What stands on a coloured panel.
pub(super) const WHITE: Rgb888 = Rgb888::new(0xFF, 0xFF, 0xFF);
/// Progress and good placement, on the panel only.
pub(super) const GOLD: Rgb888 = Rgb888::new(0xFF, 0xCB, 0x47);
/// The panel while we work, and icons on the page: the sky of the flag, deep enough to read on.
pub(super) const SKY: Rgb888 = Rgb888::new(0x00, 0x5B, 0x70);
/// The ring before it is filled, on `SKY`; decoration only.
pub(super) const SKY_DIM: Rgb888 = Rgb888::new(0x3A, 0x84, 0x95);
/// The empty oval, on `SKY`; decoration only.
pub(super) const SKY_DEEP: Rgb888 = Rgb888::new(0x00, 0x47, 0x59);
/// Granted.
pub(super) const GREEN: Rgb888 = Rgb888::new(0x0B, 0x6A, 0x3F);
/// Not granted.
pub(super) const BRICK: Rgb888 = Rgb888::new(0x9A, 0x35, 0x2B);
/// Try once more.
pub(super) const AMBER: Rgb888 = Rgb888::new(0x8A, 0x54, 0x00);
/// Nothing that the person did.
pub(super) const SLATE: Rgb888 = Rgb888::new(0x3F, 0x53, 0x60);

/// `top` over `bottom`, `share` from 0 (all bottom) to 255 (all top).
pub(super) fn mix(bottom: Rgb888, top: Rgb888, share: u8) -> Rgb888 {
    let channel = |low: u8, high: u8| -> u8 {
        let (low, high, share) = (u32::from(low), u32::from(high), u32::from(share));
        // At most 255 * 255 + 127 before the division: the result fits a byte.
        ((low * (255 - share) + high * share + 127) / 255) as u8
    };
    Rgb888::new(channel(bottom.r(), top.r()), channel(bottom.g(), top.g()), channel(bottom.b(), top.b()))
}

/// The nearest colour of the screen.
pub(super) fn on_screen(colour: Rgb888) -> Rgb565 {
    let nearest = |value: u8, most: u32| ((u32::from(value) * most + 127) / 255) as u8;
    Rgb565::new(nearest(colour.r(), 31), nearest(colour.g(), 63), nearest(colour.b(), 31))
}

/// `top` over `bottom` on the screen; `coverage` from 0 to 1, more and less are cut off.
pub(super) fn blend(bottom: Rgb888, top: Rgb888, coverage: f32) -> Rgb565 {
    on_screen(mix(bottom, top, share(coverage)))
}

/// A coverage from 0 to 1 as a share from 0 to 255.
pub(super) fn share(coverage: f32) -> u8 {
    // The cast saturates; NaN becomes 0.
    (coverage * 255.0 + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance of what the screen really shows, WCAG 2.1.
    fn luminance(colour: Rgb888) -> f64 {
        let shown = on_screen(colour);
        let linear = |value: u8, most: f64| {
            let share = f64::from(value) / most;
            if share <= 0.03928 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(shown.r(), 31.0) + 0.7152 * linear(shown.g(), 63.0) + 0.0722 * linear(shown.b(), 31.0)
    }

    fn contrast(one: Rgb888, other: Rgb888) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn contrasts_hold_wcag_aa() {
        // 4.5 for text; 3 for icons and for the parts of a control that one must see.
        let pairs = [
            ("headline on the page", INK, PAPER, 4.5),
            ("running text on the page", INK_SOFT, PAPER, 4.5),
            ("help on its strip", INK, SHADE, 4.5),
            ("icon on the page", SKY, PAPER, 3.0),
            ("icon on the help strip", SKY, SHADE, 3.0),
            ("working: white on the panel", WHITE, SKY, 4.5),
            ("working: the filled ring on the panel", GOLD, SKY, 3.0),
            ("working: the filled ring on the unfilled", GOLD, SKY_DIM, 2.0),
            ("working: face in the empty oval", WHITE, SKY_DEEP, 4.5),
            ("granted: white on the panel", WHITE, GREEN, 4.5),
            ("denied: white on the panel", WHITE, BRICK, 4.5),
            ("once more: white on the panel", WHITE, AMBER, 4.5),
            ("other endings: white on the panel", WHITE, SLATE, 4.5),
        ];
        println!("{:<42} {:>8} {:>8}", "contrast", "is", "needed");
        for (name, front, back, needed) in pairs {
            println!("{name:<42} {:>8.2} {needed:>8.1}", contrast(front, back));
        }
        for (name, front, back, needed) in pairs {
            assert!(contrast(front, back) >= needed, "{name}: {:.2} < {needed}", contrast(front, back));
        }
    }

    #[test]
    fn nothing_and_everything_are_exact() {
        assert_eq!(mix(PAPER, INK, 0), PAPER);
        assert_eq!(mix(PAPER, INK, 255), INK);
        assert_eq!(share(-1.0), 0);
        assert_eq!(share(7.0), 255);
        assert_eq!(share(f32::NAN), 0);
        assert_eq!(on_screen(WHITE), Rgb565::WHITE);
    }
}
