//! What stands before the camera, and how it moves.

use std::f32::consts::TAU;
use std::sync::Arc;

use super::camera::{Pose, Recipe};
use super::random::Random;
pub use super::surface::Sheet;

/// What stands before the camera.
#[derive(Clone, Debug)]
pub enum Presentation {
    /// The living person.
    Live,
    /// A flat photograph of the person, held in the hand, slightly tilted.
    Print,
    /// The same photograph, bent to this radius (millimetres) round an upright axis.
    BentPrint(f32),
    /// A photograph held as given.
    Sheet(Sheet),
    /// A video of an earlier session in place of the camera: it does not see the lamps of today.
    Recording(RecordedVideo),
    /// One frame of the living person over and over.
    Still,
}

/// The frames of an earlier session, to the pixel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordedVideo(pub(crate) Arc<Vec<Recipe>>);

impl RecordedVideo {
    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.0.len()
    }
}

/// A person or a hand never keeps still: slow sway, breath and a little tremor, with phases from the seed.
#[derive(Clone, Debug)]
pub(crate) struct Sway {
    /// Frequency in hertz, amplitude, phase: of right, down, turn and scale.
    waves: [[(f32, f32, f32); 3]; 4],
}

impl Sway {
    /// `amount` 1 is a person who tries to stand still.
    pub(crate) fn new(seed: u64, amount: f32) -> Self {
        let mut random = Random::new(seed ^ 0x5a7a);
        let sizes = [[2.2, 0.8, 0.12], [1.6, 0.7, 0.12], [0.006, 0.002, 0.0], [0.006, 0.003, 0.0]];
        let waves = sizes.map(|sizes| {
            let bands = [(0.2, 0.5), (0.7, 1.4), (4.0, 7.0)];
            std::array::from_fn(|k| {
                let (low, high) = bands[k];
                (random.between(low, high), amount * sizes[k] * random.between(0.6, 1.4), random.between(0.0, TAU))
            })
        });
        Self { waves }
    }

    pub(crate) fn pose(&self, at_us: u64) -> Pose {
        let seconds = at_us as f64 / 1e6;
        let value = |axis: usize| -> f32 {
            let wave = |&(hertz, size, phase): &(f32, f32, f32)| {
                let turns = (f64::from(hertz) * seconds).fract() as f32;
                size * (TAU * turns + phase).sin()
            };
            self.waves[axis].iter().map(wave).sum()
        };
        Pose { shift_px: [value(0), value(1)], turn: value(2), scale: 1.0 + value(3) }
    }
}
