//! Light on the small raster, and the sensor that reads the grid's cells from it.

use didar_protocol::transcript::{CELLS, GRID};

use crate::scene::random::Random;
use crate::scene::surface::Raster;

/// The small raster: 64 x 64 pixels of 2.4 mm around the face, somewhat more than the grid.
pub(crate) const PATCH: Raster = Raster { width: 64, height: 64, mm_per_px: 2.4, middle: [31.5, 31.5] };

/// One pixel's light: ambient, left lamp, right lamp, and what the closed lid leaves of it.
pub(crate) type Texel = [f32; 4];

/// What one frame's light does, row of cells by row of cells.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lit {
    pub(crate) ambient: [f32; GRID],
    pub(crate) lamps: [[f32; 2]; GRID],
    /// 1 where the lids are closed.
    pub(crate) closed: f32,
}

/// One frame's cells.
pub(crate) struct Cells {
    pub(crate) means: [u16; CELLS],
    pub(crate) clipped: [u8; CELLS],
}

/// From linear light to code values, with noise.
pub(crate) struct Sensor {
    codes: Vec<f32>,
    noise: Vec<f32>,
}

/// Steps of the table of code values over the root of the light.
const STEPS: usize = 1024;
/// Length of the noise table; a power of two.
const NOISE: usize = 8192;
/// Samples a side of a cell.
const SAMPLES: usize = 4;
/// Samples a side of a cell that the product takes at most.
const SAMPLES_MOST: f32 = 16.0;
/// Code values from here on count as clipped.
const CLIPPED_FROM: f32 = 250.0;
/// The grid's side against the distance between the eyes.
const SIDE: f32 = 132.0 / 63.0;

impl Sensor {
    pub(crate) fn new(gamma: f32) -> Self {
        let mut random = Random::new(1);
        let root = |step: usize| step as f32 / STEPS as f32;
        Self {
            codes: (0..STEPS + 2).map(|step| 255.0 * root(step).min(1.0).powf(2.0 / gamma)).collect(),
            noise: (0..NOISE).map(|_| random.normal()).collect(),
        }
    }

    /// Code value of linear light, without noise.
    pub(crate) fn code(&self, linear: f32) -> f32 {
        let place = linear.clamp(0.0, 1.0).sqrt() * STEPS as f32;
        let step = place as usize;
        self.codes[step] + (place - step as f32) * (self.codes[step + 1] - self.codes[step])
    }

    /// Mean code value of `count` pixels of this light, x 256.
    pub(crate) fn mean(&self, linear: f32, noise_codes: f32, count: f32, random: &mut Random) -> u16 {
        let code = self.code(linear) + noise_codes / count.sqrt() * random.normal();
        (code.clamp(0.0, 255.0) * 256.0) as u16
    }

    /// Reads the grid. `eyes` are where the eyes' centres are found, `middle` the middle of the grid, both in
    /// millimetres; `layers` add up.
    pub(crate) fn read(&self, layers: &[(&[Texel], Lit)], place: &Place, random: &mut Random) -> Cells {
        let mut cells = Cells { means: [0; CELLS], clipped: [0; CELLS] };
        let step = SIDE / GRID as f32 / PATCH.mm_per_px;
        let along = place.across.map(|v| v * step);
        let middle = PATCH.px(place.middle);
        let cell_px = place.across[0].hypot(place.across[1]) * SIDE / GRID as f32 * place.px_per_mm;
        // The product averages more pixels than are taken here: less noise each.
        let noise = place.noise_codes * SAMPLES as f32 / cell_px.ceil().clamp(SAMPLES as f32, SAMPLES_MOST);
        for cell in 0..CELLS {
            let (mut sum, mut clipped) = (0.0, 0u32);
            let row = cell / GRID;
            let mut at = random.next() as usize % NOISE;
            for sample in 0..SAMPLES * SAMPLES {
                let v = offset(row, sample / SAMPLES);
                let u = offset(cell % GRID, sample % SAMPLES);
                let x = middle[0] + u * along[0] - v * along[1];
                let y = middle[1] + u * along[1] + v * along[0];
                let linear: f32 = layers.iter().map(|(map, lit)| lit.of(between(map, x, y), row)).sum();
                at = (at + 1) % NOISE;
                let code = (self.code(linear) + noise * self.noise[at]).clamp(0.0, 255.0);
                sum += code;
                clipped += u32::from(code >= CLIPPED_FROM);
            }
            let count = (SAMPLES * SAMPLES) as f32;
            cells.means[cell] = (sum / count * 256.0) as u16;
            cells.clipped[cell] = (clipped as f32 * 255.0 / count) as u8;
        }
        cells
    }
}

/// Where the grid lies in one frame.
pub(crate) struct Place {
    /// The middle of eyes and mouth, millimetres.
    pub(crate) middle: [f32; 2],
    /// From the right eye to the left, millimetres.
    pub(crate) across: [f32; 2],
    pub(crate) px_per_mm: f32,
    pub(crate) noise_codes: f32,
}

impl Lit {
    fn of(&self, [ambient, left, right, lid]: Texel, row: usize) -> f32 {
        let [l, r] = self.lamps[row];
        (self.ambient[row] * ambient + l * left + r * right) * (1.0 + self.closed * (lid - 1.0))
    }
}

/// Place of a sample in cells from the middle of the grid.
fn offset(cell: usize, sample: usize) -> f32 {
    cell as f32 - GRID as f32 / 2.0 + (sample as f32 + 0.5) / SAMPLES as f32
}

fn between(map: &[Texel], x: f32, y: f32) -> Texel {
    let (x, y) = (x.clamp(0.0, PATCH.width as f32 - 1.01), y.clamp(0.0, PATCH.height as f32 - 1.01));
    let (column, row) = (x as usize, y as usize);
    let (u, v) = (x - column as f32, y - row as f32);
    let at = row * PATCH.width + column;
    let (a, b, c, d) = (map[at], map[at + 1], map[at + PATCH.width], map[at + PATCH.width + 1]);
    std::array::from_fn(|k| (1.0 - v) * ((1.0 - u) * a[k] + u * b[k]) + v * ((1.0 - u) * c[k] + u * d[k]))
}
