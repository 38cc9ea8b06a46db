//! How much the landmarks that vision finds jitter from frame to frame: assumed, a third of a pixel at 92 pixels between
//! the eyes.

use crate::scene::random::Random;

/// Where a frame's landmarks are found, against where they are. In shares of the distance between the eyes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Jitter {
    pub(crate) shift: [f32; 2],
    pub(crate) scale: f32,
    pub(crate) turn: f32,
}

/// Standard deviation of the grid's place from frame to frame, of the distance between the eyes.
const SHIFT: f32 = 0.003;
/// Of its size.
const SCALE: f32 = 0.004;
/// Of its lean, radians.
const TURN: f32 = 0.003;
/// How far the grid follows the light to the lit side, of the distance between the eyes.
const DRAWN: f32 = 0.003;

impl Jitter {
    /// `lit`: share of the exposure in which the left and the right lamp were lit.
    pub(crate) fn of(random: &mut Random, lit: [f32; 2]) -> Self {
        let drawn = DRAWN * (lit[1] - lit[0]);
        Self {
            shift: [SHIFT * random.normal() + drawn, SHIFT * random.normal()],
            scale: SCALE * random.normal(),
            turn: TURN * random.normal(),
        }
    }
}
