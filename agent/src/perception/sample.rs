//! One frame as the transcript keeps it: vision's figures in the protocol's units.

use didar_protocol::transcript::{FrameSample, POINTS};
use didar_vision::{Face, LightGrid, eyes_open};

/// What a frame showed of `face`, as a sample without a slot. `at_us` is the start of its exposure since the transcript's
/// start; `track` counts how often the face was lost and found again.
pub fn sample(face: &Face, grid: &LightGrid, at_us: u32, track: u8) -> FrameSample {
    let centre_px10 = centre(face).map(tenths);
    let mut points_px10 = [0; 2 * POINTS];
    for (place, landmark) in points_px10.chunks_exact_mut(2).zip(LANDMARKS) {
        for axis in 0..2 {
            let from_centre = tenths(face.landmarks[landmark][axis]).saturating_sub(centre_px10[axis]);
            place[axis] = from_centre.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        }
    }
    FrameSample {
        at_us,
        slot: 0,
        pose_cdeg: [face.pose.yaw, face.pose.pitch, face.pose.roll].map(|degrees| (degrees * 100.0).round() as i16),
        eyes_px10: (face.interocular_px * 10.0).round() as u16,
        centre_px10,
        means: grid.means,
        clipped: grid.clipped,
        background: grid.background.to_vec(),
        print: grid.print,
        rows_milli: grid.rows_milli,
        points_px10,
        noise_x256: grid.noise,
        eyes_open: eyes_open(&face.landmarks),
        track,
    }
}

/// The middle of the eyes, the tip of the nose and the corners of the mouth, pixels.
pub(super) fn centre(face: &Face) -> [f32; 2] {
    let sum = face.five.iter().fold([0.0, 0.0], |sum, point| [sum[0] + point[0], sum[1] + point[1]]);
    sum.map(|sum| sum / 5.0)
}

/// `as` saturates, and what is not a number becomes 0.
fn tenths(px: f32) -> i32 {
    (px * 10.0).round() as i32
}

/// The mesh's numbers of the landmarks that travel, in the protocol's order.
const LANDMARKS: [usize; POINTS] = [33, 133, 362, 263, 61, 291, 4, 152];
