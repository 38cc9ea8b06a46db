//! Quality of a face in a frame, measured after ISO/IEC 29794-5; the names are that standard's.
//!
//! The measures follow the standard's ideas, not its reference algorithms, and its conformance is not claimed. All are
//! taken on the aligned face, which is what the embedding sees.

use crate::affine::Affine;
use crate::align::{ALIGNED_SIDE, inverse};
use crate::frame::FrameView;
use crate::mesh::{Face, LANDMARKS};
use crate::passive::context_box;
use crate::pose::Pose;
use crate::warp::{IDENTITY, warp};

/// How good a face in a frame is. Numbers without unit run from 0 (useless) to 100 (good), except `occlusion`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Fine detail against contrast.
    pub sharpness: u8,
    /// Neither under- nor over-exposed.
    pub exposure: u8,
    /// How many grey values are in use.
    pub dynamic_range: u8,
    /// Left and right half of the face are equally lit.
    pub illumination_uniformity: u8,
    /// The lids are apart.
    pub eyes_open: u8,
    /// The lips are together.
    pub mouth_closed: u8,
    /// Suspicion that something covers the lower face, 0 (none) to 100.
    ///
    /// Told by colour and brightness: mask, scarf or hand that differs from the skin around the eyes. It cannot tell a
    /// covering in the colour of the skin, sees less in a grey frame, and takes a beard in hard light for a covering now
    /// and then. A covering of the eyes shows in the mesh's score alone.
    pub occlusion: u8,
    /// Share in percent of the face's surroundings (2.7 boxes) inside the frame.
    pub margin: u8,
    /// Where the head is turned.
    pub pose: Pose,
    /// Inter-eye distance in pixels of the frame.
    pub interocular_px: f32,
}

/// Measures `face`, which was found in this very `frame`. Allocates nothing.
pub fn quality(frame: &FrameView<'_>, face: &Face) -> Quality {
    let inverse = inverse(face);
    let mut rgb = [0; ALIGNED_SIDE * ALIGNED_SIDE * 3];
    warp(frame, &inverse, ALIGNED_SIDE, &IDENTITY, &mut rgb);
    let crop = Crop { rgb: &rgb };
    let histogram = crop.histogram(FACE_LEFT, FACE_RIGHT);
    let quality = Quality {
        sharpness: sharpness(&crop),
        exposure: exposure(&histogram),
        dynamic_range: dynamic_range(&histogram),
        illumination_uniformity: uniformity(&crop),
        eyes_open: eyes_open(&face.landmarks),
        mouth_closed: mouth_closed(&face.landmarks),
        occlusion: occlusion(&crop, face, &inverse.inverse()),
        margin: percent(context_box(frame, face).1),
        pose: face.pose,
        interocular_px: face.interocular_px,
    };
    zeroize::Zeroize::zeroize(&mut rgb);
    quality
}

/// The part of an aligned crop that is face and neither hair nor background.
const FACE_LEFT: usize = 28;
const FACE_RIGHT: usize = 84;
const FACE_TOP: usize = 34;
const FACE_BOTTOM: usize = 104;

/// Edge energy over variance of a blurred face, and of a sharp one.
const SHARPNESS: (f32, f32) = (0.02, 0.35);
/// Grey values from which on a pixel is too dark or too bright.
const DARK_BELOW: usize = 30;
const BRIGHT_FROM: usize = 245;
/// Mean brightness of the face between which nothing is taken off.
const MEAN: (f32, f32) = (70.0, 190.0);
/// Opening of the lids over the width of the eye, closed and open.
const LIDS: (f32, f32) = (0.08, 0.22);
/// Gap of the lips over the distance between eyes and mouth, open and closed.
const LIPS: (f32, f32) = (0.30, 0.06);
/// Distance in colour between upper and lower face, as skin has it and as a covering has it.
const COVERING: (f32, f32) = (22.0, 50.0);
/// Score of the mesh on a free face, and on one that is covered.
const COVERED_SCORE: (f32, f32) = (0.9, 0.5);

/// Skin around the eyes: brow, bridge of the nose, under the eyes.
const UPPER: [usize; 6] = [9, 151, 6, 197, 118, 347];
/// Skin around the mouth: cheeks above it, chin, under the nose.
const LOWER: [usize; 6] = [205, 425, 200, 164, 212, 432];

struct Crop<'a> {
    rgb: &'a [u8; ALIGNED_SIDE * ALIGNED_SIDE * 3],
}

impl Crop<'_> {
    fn luma(&self, x: usize, y: usize) -> f32 {
        let at = (y * ALIGNED_SIDE + x) * 3;
        let [r, g, b] = [0, 1, 2].map(|c| f32::from(self.rgb[at + c]));
        0.299 * r + 0.587 * g + 0.114 * b
    }

    fn histogram(&self, left: usize, right: usize) -> [f32; 256] {
        let mut histogram = [0.0; 256];
        for y in FACE_TOP..FACE_BOTTOM {
            for x in left..right {
                histogram[self.luma(x, y) as usize & 255] += 1.0;
            }
        }
        let count = ((FACE_BOTTOM - FACE_TOP) * (right - left)) as f32;
        histogram.map(|v| v / count)
    }

    /// Mean colour of a few pixels around a place: brightness and two differences of colour.
    fn colour(&self, place: [f64; 2]) -> [f32; 3] {
        let clamp = |v: f64| (v.round().max(2.0) as usize).min(ALIGNED_SIDE - 3);
        let (cx, cy) = (clamp(place[0]), clamp(place[1]));
        let mut sum = [0.0; 3];
        for y in cy - 2..=cy + 2 {
            for x in cx - 2..=cx + 2 {
                let at = (y * ALIGNED_SIDE + x) * 3;
                for (s, v) in sum.iter_mut().zip(&self.rgb[at..at + 3]) {
                    *s += f32::from(*v) / 25.0;
                }
            }
        }
        let [r, g, b] = sum;
        let luma = 0.299 * r + 0.587 * g + 0.114 * b;
        [luma, r - luma, b - luma]
    }
}

/// 0 at `from`, 100 at `to`, which may be the smaller one.
fn scaled(value: f32, (from, to): (f32, f32)) -> u8 {
    percent((value - from) / (to - from))
}

fn percent(share: f32) -> u8 {
    (share * 100.0).round().clamp(0.0, 100.0) as u8
}

/// Energy of the Laplacian over the variance: what blurring takes away, whatever the contrast.
fn sharpness(crop: &Crop<'_>) -> u8 {
    let (mut edges, mut sum, mut squares, mut count) = (0.0, 0.0, 0.0, 0.0_f32);
    for y in FACE_TOP..FACE_BOTTOM {
        for x in FACE_LEFT..FACE_RIGHT {
            let here = crop.luma(x, y);
            let around = crop.luma(x - 1, y) + crop.luma(x + 1, y) + crop.luma(x, y - 1) + crop.luma(x, y + 1);
            let edge = 4.0 * here - around;
            edges += edge * edge;
            sum += here;
            squares += here * here;
            count += 1.0;
        }
    }
    let variance = squares / count - (sum / count) * (sum / count);
    scaled((edges / count / variance.max(1.0)).sqrt(), SHARPNESS)
}

fn exposure(histogram: &[f32; 256]) -> u8 {
    let dark: f32 = histogram[..DARK_BELOW].iter().sum();
    let bright: f32 = histogram[BRIGHT_FROM..].iter().sum();
    let mean: f32 = histogram.iter().enumerate().map(|(v, share)| v as f32 * share).sum();
    let off = (MEAN.0 - mean).max(mean - MEAN.1).max(0.0) / MEAN.0;
    percent(1.0 - dark - 2.0 * bright - off)
}

/// Entropy of the grey values, at most 8 bits.
fn dynamic_range(histogram: &[f32; 256]) -> u8 {
    let entropy: f32 = histogram.iter().filter(|p| **p > 0.0).map(|p| -p * p.log2()).sum();
    percent(entropy / 8.0)
}

/// What the grey values of the two halves of the face have in common.
fn uniformity(crop: &Crop<'_>) -> u8 {
    let middle = (FACE_LEFT + FACE_RIGHT) / 2;
    let (left, right) = (crop.histogram(FACE_LEFT, middle), crop.histogram(middle, FACE_RIGHT));
    // Coarse bins: neighbouring grey values are the same light.
    let common = left.chunks(16).zip(right.chunks(16)).map(|(a, b)| a.iter().sum::<f32>().min(b.iter().sum()));
    percent(common.sum())
}

fn apart(landmarks: &[[f32; 3]; LANDMARKS], a: usize, b: usize) -> f32 {
    let (a, b) = (landmarks[a], landmarks[b]);
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// How far the lids of a face's landmarks are apart, 0 (closed) to 100; the less open eye counts.
pub fn eyes_open(landmarks: &[[f32; 3]; LANDMARKS]) -> u8 {
    let open = |top, bottom, outer, inner| apart(landmarks, top, bottom) / apart(landmarks, outer, inner).max(1.0);
    scaled(open(159, 145, 33, 133).min(open(386, 374, 263, 362)), LIDS)
}

fn mouth_closed(landmarks: &[[f32; 3]; LANDMARKS]) -> u8 {
    // 6 lies between the eyes.
    scaled(apart(landmarks, 13, 14) / apart(landmarks, 6, 13).max(1.0), LIPS)
}

fn occlusion(crop: &Crop<'_>, face: &Face, to_aligned: &Affine) -> u8 {
    let mean = |places: &[usize; 6]| {
        let mut sum = [0.0; 3];
        for place in places {
            let [x, y, _] = face.landmarks[*place].map(f64::from);
            for (s, v) in sum.iter_mut().zip(crop.colour(to_aligned.apply([x, y]))) {
                *s += v / 6.0;
            }
        }
        sum
    };
    let (upper, lower) = (mean(&UPPER), mean(&LOWER));
    // Light from above darkens the chin: brightness says less than colour.
    let distance = [0.35, 1.0, 1.0].iter().zip(upper.iter().zip(lower)).map(|(w, (u, l))| (w * (u - l)).powi(2));
    let colour = scaled(distance.sum::<f32>().sqrt(), COVERING);
    colour.max(scaled(face.score, COVERED_SCORE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painted(paint: impl Fn(usize, usize) -> u8) -> [u8; ALIGNED_SIDE * ALIGNED_SIDE * 3] {
        std::array::from_fn(|i| paint(i / 3 % ALIGNED_SIDE, i / 3 / ALIGNED_SIDE))
    }

    #[test]
    fn detail_is_sharp_and_its_absence_is_not() {
        let fine = painted(|x, y| if (x / 2 + y / 2) % 2 == 0 { 90 } else { 160 });
        let soft = painted(|x, _| (x * 2) as u8);
        assert!(sharpness(&Crop { rgb: &fine }) > 90);
        assert!(sharpness(&Crop { rgb: &soft }) < 20);
        assert_eq!(sharpness(&Crop { rgb: &painted(|_, _| 77) }), 0);
    }

    #[test]
    fn dark_and_burnt_faces_are_badly_exposed() {
        let of = |level: u8| exposure(&Crop { rgb: &painted(|_, _| level) }.histogram(FACE_LEFT, FACE_RIGHT));
        assert_eq!((of(5), of(255)), (0, 0));
        assert!(of(128) == 100 && of(45) < 80);
    }

    #[test]
    fn light_from_one_side_is_uneven() {
        let even = painted(|_, y| (y * 2) as u8);
        let aside = painted(|x, _| if x < 56 { 40 } else { 200 });
        assert!(uniformity(&Crop { rgb: &even }) > 95);
        assert_eq!(uniformity(&Crop { rgb: &aside }), 0);
    }
}
