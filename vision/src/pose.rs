//! Head pose from the landmarks.

use crate::mesh::LANDMARKS;

/// Where the head is turned, in degrees; all zero looks into the camera.
///
/// It comes from the mesh network's depth, which is learnt and not measured: good to a few degrees up to about 30.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pose {
    /// Positive: the nose points to the right of the picture.
    pub yaw: f32,
    /// Positive: the nose points down.
    pub pitch: f32,
    /// Positive: the head leans to the right of the picture (clockwise).
    pub roll: f32,
}

/// Outer corners of the eyes, the right one (left in the picture) first.
const EYES: [usize; 2] = [33, 263];
/// Middle of the hairline and of the chin.
const HEIGHT: [usize; 2] = [10, 152];
/// The face's height leans by this much in the mesh of a head that looks straight ahead: the chin lies behind the
/// forehead. Mean of the landmarks' own model.
const PITCH_AT_REST: f32 = 0.0;

pub(crate) fn pose(landmarks: &[[f32; 3]; LANDMARKS]) -> Pose {
    let across = difference(landmarks[EYES[1]], landmarks[EYES[0]]);
    let down = difference(landmarks[HEIGHT[1]], landmarks[HEIGHT[0]]);
    // Depth grows away from the camera, so right x down points away from it too.
    let away = cross(across, down);
    let length = away.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-6);
    Pose {
        yaw: (-away[0] / length).clamp(-1.0, 1.0).asin().to_degrees(),
        pitch: (-away[1]).atan2(away[2]).to_degrees() - PITCH_AT_REST,
        roll: across[1].atan2(across[0]).to_degrees(),
    }
}

fn difference(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn cross(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]
}
