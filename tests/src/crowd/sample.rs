//! One frame's figures beside the cells: background, landmarks, print.

use didar_protocol::transcript::{BACKGROUND_MAX, CELLS, GRID, NO_NOISE, NOISE_BANDS};

use crate::scene::camera::{HEIGHT, WIDTH};
use crate::scene::kiosk::hundred_hertz;
use crate::scene::lamps::{LampLog, albedo, wall};
use crate::scene::random::Random;

use super::cells::Sensor;
use super::conditions::Conditions;

/// Cells a side of the ring around the picture that shows the background.
const RING: usize = 5;
/// Cells of the ring.
const BACKGROUND: usize = 16;
/// Pixels of one of these cells that the product averages.
const BACKGROUND_PIXELS: f32 = 144.0;
/// Stands for a background cell that shows the person.
const COVERED: u16 = u16::MAX;

/// The wall behind, and which of its cells the person covers.
pub(crate) struct Backdrop {
    /// Column and row of each cell that is free.
    free: [bool; BACKGROUND],
    ambient: f32,
    flicker: f32,
    lamps: f32,
}

/// Column and row of a cell of the ring, clockwise from the upper left.
fn ring(cell: usize) -> (usize, usize) {
    let last = RING - 1;
    let along = cell % last;
    match cell / last {
        0 => (along, 0),
        1 => (last, along),
        2 => (last - along, last),
        _ => (0, last - along),
    }
}

impl Backdrop {
    /// `face`: left, top, right and bottom of the landmarks in the picture, pixels.
    pub(crate) fn new(conditions: &Conditions, face: [f32; 4], random: &mut Random) -> Self {
        let (wide, tall) = (WIDTH as f32 / RING as f32, HEIGHT as f32 / RING as f32);
        let [left, top, right, chin] = face;
        let (width, height) = (right - left, chin - top);
        let middle = f32::midpoint(left, right);
        let free = std::array::from_fn(|cell| {
            let (column, row) = ring(cell);
            let (x, y) = (column as f32 * wide, row as f32 * tall);
            let meets = |half: f32, from: f32, to: f32| {
                x < middle + half * width && x + wide > middle - half * width && y < to && y + tall > from
            };
            let head = meets(0.8, top - 0.7 * height, chin + 0.3 * height);
            !(head || meets(1.8, chin + 0.3 * height, f32::MAX))
        });
        let lamp = [0.0, 0.0, conditions.distance_mm];
        Self {
            free,
            ambient: conditions.ambient * random.between(0.3, 1.3),
            flicker: conditions.flicker * random.between(0.8, 1.2),
            lamps: albedo(random.between(0.1, 0.6)) * wall([0.0; 2], lamp),
        }
    }

    /// The background of a frame: its first row began at `start_us[0]` by the room's light, at `start_us[1]` by the lamps.
    pub(crate) fn read(
        &self,
        sensor: &Sensor,
        conditions: &Conditions,
        start_us: [u64; 2],
        lamps: &LampLog,
        random: &mut Random,
    ) -> Vec<u16> {
        const { assert!(BACKGROUND <= BACKGROUND_MAX) };
        (0..BACKGROUND)
            .map(|cell| {
                if !self.free[cell] {
                    return COVERED;
                }
                let milli = (ring(cell).1 as f32 + 0.5) / RING as f32;
                let [room, lit] = start_us.map(|start_us| row_times(conditions, start_us, milli));
                let [l, r] = lamps.shares(lit.0, lit.1);
                let (from, until) = room;
                let ambient = self.ambient * (1.0 + self.flicker * hundred_hertz(from, until));
                let [left, right] = conditions.strength;
                let light = ambient + conditions.lamp_light() * self.lamps * (l * left + r * right);
                sensor.mean(light, conditions.noise_codes, BACKGROUND_PIXELS, random)
            })
            .collect()
    }
}

/// When the row at this share of the picture's height collects light.
pub(crate) fn row_times(conditions: &Conditions, start_us: u64, row: f32) -> (u64, u64) {
    let from = start_us + (row.clamp(0.0, 1.0) * conditions.rolling_us as f32) as u64;
    (from, from + u64::from(conditions.profile.camera(0).exposure_us))
}

impl Conditions {
    /// Light of one lamp on a white sheet at the face, by inverse square. Before a near face the camera exposes less, so
    /// that the lit skin still fits.
    pub(crate) fn lamp_light(&self) -> f32 {
        self.lamps * (500.0 / self.distance_mm).powi(2).min(NEAR)
    }

    /// Share of the picture's height at which a place of the face shows, `y_mm` below its middle.
    pub(crate) fn row_of(&self, y_mm: f32) -> f32 {
        0.5 + (self.aside_mm[1] + y_mm) * self.px_per_mm() / HEIGHT as f32
    }
}

/// A hash of the cells: what a sensor's noise changes with every frame.
pub(crate) fn print(means: &[u16; CELLS]) -> [u8; 8] {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for mean in means {
        hash = (hash ^ u64::from(*mean)).wrapping_mul(0x0100_0000_01b3);
    }
    hash.to_le_bytes()
}

/// Noise as vision tells it by brightness: a little below the sensor's own, because the quietest blocks count.
pub(crate) fn noise_bands(means: &[u16; CELLS], noise_codes: f32, random: &mut Random) -> [u16; NOISE_BANDS] {
    std::array::from_fn(|band| {
        let found = means.iter().filter(|mean| usize::from(**mean) / (64 * 256) == band).count();
        let noise = noise_codes * (0.95 + 0.05 * random.normal());
        if found < BAND_CELLS { NO_NOISE } else { (noise.max(0.0) * 256.0) as u16 }
    })
}

/// How much brighter than at 500 mm the lamps' light becomes before the exposure is shortened.
const NEAR: f32 = 1.25;
/// With fewer cells of a brightness nothing is told of its noise.
const BAND_CELLS: usize = 5;

/// Millimetres from the grid's middle to the middle of a row of cells.
pub(crate) fn row_mm(row: usize) -> f32 {
    (row as f32 + 0.5 - GRID as f32 / 2.0) * 132.0 / GRID as f32
}
