//! A small synthetic world for the tests: surfaces of known shape under two lamps, straight to the grid.

use didar_protocol::light_code::{CodeShape, Light};
use didar_protocol::transcript::{CELLS, CameraFacts, FrameSample, GRID, LightTranscript, Spectrum};
use didar_protocol::transcript::{NO_NOISE, NOISE_BANDS, POINTS};

use crate::TranscriptBuilder;
use crate::fit::weights;
use crate::relief::template;

pub(crate) const CAMERA: CameraFacts = CameraFacts {
    gamma_milli: 2200,
    frame_us: 33_333,
    exposure_us: 20_000,
    delay_us: 1_000,
    baseline_mm: 90,
    readout_us: 0,
    focal_px10: 7_937,
    noise_milli: 0,
    spectrum: Spectrum::ColourNoFilter,
};

/// An empty frame of 320 tenths of a pixel between the eyes.
pub(crate) fn sample(at_us: u32, seed: u64) -> FrameSample {
    FrameSample {
        at_us,
        slot: 0,
        pose_cdeg: [0; 3],
        eyes_px10: 1000,
        centre_px10: [3200, 2400],
        means: [0; CELLS],
        clipped: [0; CELLS],
        background: vec![0; 16],
        print: (u64::from(at_us) ^ seed << 32).to_le_bytes(),
        rows_milli: [300, 700],
        points_px10: [0; 2 * POINTS],
        noise_x256: [NO_NOISE; NOISE_BANDS],
        eyes_open: 90,
        track: 0,
    }
}

/// A lawful code of 12 slots, from a seed.
pub(crate) fn code(seed: u64) -> Vec<Light> {
    let mut random = Random(seed);
    loop {
        let code: Vec<Light> = (0..12).map(|_| Light::try_from((random.next() >> 60) as u8 & 3).unwrap()).collect();
        let enough = [Light::Off, Light::Left, Light::Right, Light::Both]
            .iter()
            .all(|state| code.iter().filter(|light| *light == state).count() >= 2);
        if enough && code.windows(4).all(|four| four.iter().any(|light| *light != four[0])) {
            return code;
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Surface {
    Face,
    Plane { tilt: [f64; 2] },
    Cylinder { axis: f64, radius_mm: f64 },
    Fold { slope: f64 },
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) surface: Surface,
    pub(crate) ambient: f64,
    pub(crate) lamps: f64,
    pub(crate) flicker: f64,
    pub(crate) strength: [f64; 2],
    pub(crate) start_us: u32,
    /// Response of the background, of the face's.
    pub(crate) behind: f64,
    /// A screen shows the face, and its glass mirrors the lamps so that they imitate its relief.
    pub(crate) screen: bool,
    /// From the first row of the picture to the last.
    pub(crate) readout_us: u32,
}

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// About normal, standard deviation 1.
    pub(crate) fn normal(&mut self) -> f64 {
        (0..12).map(|_| (self.next() >> 11) as f64 / (1u64 << 53) as f64).sum::<f64>() - 6.0
    }
}

impl World {
    pub(crate) fn face(seed: u64) -> Self {
        Self {
            seed,
            surface: Surface::Face,
            ambient: 0.1,
            lamps: 0.2,
            flicker: 0.0,
            strength: [1.0; 2],
            start_us: 100_000,
            behind: 0.02,
            screen: false,
            readout_us: 0,
        }
    }

    fn log_ratio(&self, cell: usize) -> f64 {
        let at = |index: usize| (index as f64 + 0.5) * 132.0 / GRID as f64 - 66.0;
        let (x, y) = (at(cell % GRID), at(cell / GRID));
        // 90 mm of baseline at 500 mm: the light comes 0.18 from the side.
        let near = 0.18 * 2.0 * x / 500.0;
        let slope = match self.surface {
            Surface::Face => return template([0.0; 3], 90.0, 500.0)[cell].map_or(0.0, |face| face.q),
            Surface::Plane { tilt } => tilt[0] + tilt[1] * 0.1,
            Surface::Cylinder { axis, radius_mm } => {
                let s = ((x * axis.cos() + y * axis.sin()) / radius_mm).clamp(-0.95, 0.95);
                axis.cos() * s / (1.0 - s * s).sqrt()
            }
            Surface::Fold { slope } => slope * (x - 8.0).signum(),
        };
        near - 0.18 * slope
    }

    pub(crate) fn play(&self, code: &[Light]) -> LightTranscript {
        let camera = CameraFacts { readout_us: self.readout_us, ..CAMERA };
        let mut builder = TranscriptBuilder::new(CodeShape::AT_30, code, camera);
        let mut random = Random(self.seed);
        let skin: Vec<f64> = (0..CELLS).map(|_| (0.8 + 0.2 * random.normal()).clamp(0.2, 1.2)).collect();
        let ratios: Vec<f64> = (0..CELLS).map(|cell| self.log_ratio(cell) + 0.02 * random.normal()).collect();
        for (slot, &light) in (0u32..).zip(code.iter().chain(&[Light::Off])) {
            builder.switched([self.start_us + slot * 66_667; 2], light);
        }
        for index in 0..26u32 {
            let at_us = self.start_us + 3_000 + index * 33_333;
            let lit = (at_us.saturating_sub(self.start_us + 1_000) / 66_667) as usize;
            let light = code.get(lit).copied().unwrap_or(Light::Off);
            // Under a rolling shutter the flicker is a wave over the rows, under a global one the same everywhere.
            let (steady, phase) = (random.normal().clamp(-2.0, 2.0), std::f64::consts::TAU * random.normal());
            let factor = |height: f64| {
                let turns = 100.0 * f64::from(self.readout_us) / 1e6 * height;
                let rolling = (std::f64::consts::TAU * turns + phase).sin();
                1.0 + self.flicker * if self.readout_us == 0 { steady } else { rolling }
            };
            let (l, r) = weights(light);
            let (l, r) = (l * self.strength[0], r * self.strength[1]);
            let mut frame = sample(at_us, self.seed);
            for cell in 0..CELLS {
                let lamps = l * ratios[cell].exp() + r * (-ratios[cell]).exp();
                let factor = factor(0.3 + 0.4 * ((cell / GRID) as f64 + 0.5) / GRID as f64);
                let answers = if self.screen { 0.8 } else { skin[cell] };
                let light = skin[cell] * factor * self.ambient + answers * self.lamps * lamps;
                let linear = light + 0.002 * random.normal();
                frame.clipped[cell] = if linear >= 1.0 { 255 } else { 0 };
                frame.means[cell] = encode(linear);
            }
            for (index, cell) in frame.background.iter_mut().enumerate() {
                let factor = factor(f64::from(RING_ROWS[index]) / 5.0 + 0.1);
                let light = 0.5 * factor * self.ambient + self.behind * self.lamps * (l + r);
                *cell = encode(light + 0.002 * random.normal());
            }
            builder.frame(frame);
        }
        let mut transcript = builder.finish();
        let dark = |frame: &&FrameSample| code[usize::from(frame.slot)] == Light::Off;
        transcript.embedded_at_us = transcript.frames.iter().find(dark).map(|frame| frame.at_us);
        transcript
    }
}

/// Rows of the background's ring of 5 by 5 cells, clockwise from the upper left.
const RING_ROWS: [u8; 16] = [0, 0, 0, 0, 0, 1, 2, 3, 4, 4, 4, 4, 4, 3, 2, 1];

fn encode(linear: f64) -> u16 {
    (linear.clamp(0.0, 1.0).powf(1.0 / 2.2) * 255.0 * 256.0) as u16
}
