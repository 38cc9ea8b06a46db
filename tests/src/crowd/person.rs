//! A person: the relief of the face's mesh and the brightness of the skin, both from a picture.

use crate::scene::Subject;
use crate::scene::lamps::luma;
use crate::scene::random::Random;
use crate::scene::subject::EYES_MM;
use crate::scene::surface::CANVAS;

/// Who stands before the camera, or is printed. Made from a picture; upright and looking ahead.
#[derive(Clone)]
pub struct Person {
    /// Landmarks in millimetres from the middle of the face: x right, y down, z towards the camera.
    pub(crate) points: Vec<[f32; 3]>,
    /// Where each landmark lies in the picture, millimetres from the middle of the face.
    pub(crate) pictured: Vec<[f32; 2]>,
    skin: Vec<f32>,
    tone: f32,
}

/// Corners and lids of the eyes, as vision takes them for the eyes' centres.
const EYES: [[usize; 6]; 2] = [[33, 133, 159, 145, 158, 153], [263, 362, 386, 374, 385, 380]];
/// Corners of the mouth.
const MOUTH: [usize; 2] = [61, 291];
/// Landmarks on forehead and cheeks: their skin's brightness is the person's tone.
const SKIN: [usize; 8] = [151, 9, 50, 280, 205, 425, 101, 330];
/// Pixels a side of the skin's picture, and millimetres per pixel.
const SIDE: usize = 144;
const SKIN_MM: f32 = 1.25;

impl Person {
    /// The person of a portrait.
    pub fn of(subject: &Subject) -> Self {
        let raw: Vec<[f32; 3]> = subject
            .landmarks
            .iter()
            .map(|&[x, y, z]| {
                let scale = CANVAS.mm_per_px;
                [(x - CANVAS.middle[0]) * scale, (y - CANVAS.middle[1]) * scale, -z * scale]
            })
            .collect();
        let skin = (0..SIDE * SIDE)
            .map(|i| {
                let [x, y] = CANVAS.px(skin_mm(i));
                let (column, row) = (x.round().clamp(0.0, 1e4) as usize, y.round().clamp(0.0, 1e4) as usize);
                let (column, row) = (column.min(CANVAS.width - 1), row.min(CANVAS.height - 1));
                luma(subject.colour[row * CANVAS.width + column])
            })
            .collect();
        let pictured = raw.iter().map(|p| [p[0], p[1]]).collect();
        let turn = subject.pose.map(f32::to_radians);
        let mut person =
            Self { points: raw.iter().map(|&p| turned_back(p, turn)).collect(), pictured, skin, tone: 0.0 };
        person.upright();
        let mut tones = SKIN.map(|i| person.skin_at(person.pictured[i]));
        tones.sort_by(f32::total_cmp);
        person.tone = f32::midpoint(tones[3], tones[4]);
        person
    }

    /// Middle brightness of the skin in the picture, linear, 0 to 1: skin tone, and the photograph's light.
    pub fn tone(&self) -> f32 {
        self.tone
    }

    /// Somebody whose face has another shape: smooth changes of some millimetres and of the relief's depth.
    pub fn varied(&self, seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0xface);
        let mut person = self.clone();
        let depth = 1.0 + 0.1 * random.normal();
        let waves: [[f32; 5]; 6] = std::array::from_fn(|_| {
            [random.between(-0.04, 0.04), random.between(-0.04, 0.04), random.between(0.0, 6.3), 0.0, 0.0]
        });
        let sizes: [[f32; 3]; 6] = std::array::from_fn(|_| [random.normal(), random.normal(), 1.2 * random.normal()]);
        for point in &mut person.points {
            let [x, y, _] = *point;
            for (wave, size) in waves.iter().zip(&sizes) {
                let swing = (wave[0] * x + wave[1] * y + wave[2]).sin();
                (0..3).for_each(|k| point[k] += size[k] * swing);
            }
            point[2] *= depth.clamp(0.75, 1.3);
        }
        person.upright();
        person
    }

    /// Brightness of the skin at a place of the picture, linear.
    pub(crate) fn skin_at(&self, at: [f32; 2]) -> f32 {
        let place = at.map(|mm| (mm / SKIN_MM + SIDE as f32 / 2.0).clamp(0.0, (SIDE - 2) as f32 + 0.99));
        let (x, y) = (place[0] as usize, place[1] as usize);
        let (u, v) = (place[0] - x as f32, place[1] - y as f32);
        let of = |dx: usize, dy: usize| self.skin[(y + dy) * SIDE + x + dx];
        (1.0 - v) * ((1.0 - u) * of(0, 0) + u * of(1, 0)) + v * ((1.0 - u) * of(0, 1) + u * of(1, 1))
    }

    /// Eyes level and [`EYES_MM`] apart, the middle of eyes and mouth at the origin.
    fn upright(&mut self) {
        let [right, left] = EYES.map(|eye| mean(&self.points, &eye));
        let angle = (left[1] - right[1]).atan2(left[0] - right[0]);
        let scale = EYES_MM / (left[0] - right[0]).hypot(left[1] - right[1]).max(1.0);
        let (sin, cos) = (-angle).sin_cos();
        for p in &mut self.points {
            *p = [p[0] * cos - p[1] * sin, p[0] * sin + p[1] * cos, p[2]].map(|v| v * scale);
        }
        let anchors: Vec<[f32; 3]> = five(&self.points).into_iter().collect();
        let corners = [33, 263, 61, 291].map(|i: usize| self.points[i][2]);
        let middle = [0, 1].map(|k| anchors.iter().map(|p| p[k]).sum::<f32>() / 4.0);
        let base = corners.iter().sum::<f32>() / 4.0;
        for p in &mut self.points {
            *p = [p[0] - middle[0], p[1] - middle[1], p[2] - base];
        }
    }
}

/// Right eye, left eye, corners of the mouth: what places the grid.
pub(crate) fn five(points: &[[f32; 3]]) -> [[f32; 3]; 4] {
    [mean(points, &EYES[0]), mean(points, &EYES[1]), points[MOUTH[0]], points[MOUTH[1]]]
}

fn mean(points: &[[f32; 3]], of: &[usize]) -> [f32; 3] {
    std::array::from_fn(|k| of.iter().map(|&i| points[i][k]).sum::<f32>() / of.len() as f32)
}

fn skin_mm(index: usize) -> [f32; 2] {
    [index % SIDE, index / SIDE].map(|place| (place as f32 - SIDE as f32 / 2.0) * SKIN_MM)
}

/// A head's turn as vision measures it, radians: positive yaw to the right of the picture, pitch down, roll clockwise.
pub(crate) fn turned([x, y, z]: [f32; 3], [yaw, pitch, roll]: [f32; 3]) -> [f32; 3] {
    let (sin, cos) = yaw.sin_cos();
    let (x, z) = (x * cos + z * sin, z * cos - x * sin);
    let (sin, cos) = pitch.sin_cos();
    let (y, z) = (y * cos + z * sin, z * cos - y * sin);
    let (sin, cos) = roll.sin_cos();
    [x * cos - y * sin, x * sin + y * cos, z]
}

fn turned_back([x, y, z]: [f32; 3], [yaw, pitch, roll]: [f32; 3]) -> [f32; 3] {
    let (sin, cos) = roll.sin_cos();
    let (x, y) = (x * cos + y * sin, y * cos - x * sin);
    let (sin, cos) = pitch.sin_cos();
    let (y, z) = (y * cos - z * sin, z * cos + y * sin);
    let (sin, cos) = yaw.sin_cos();
    [x * cos - z * sin, y, z * cos + x * sin]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_and_its_opposite_cancel() {
        let turn = [0.3, -0.2, 0.1];
        let back = turned_back(turned([10.0, -20.0, 30.0], turn), turn);
        assert!(back.iter().zip([10.0, -20.0, 30.0]).all(|(a, b)| (a - b).abs() < 1e-3), "{back:?}");
    }
}
