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
/// The line from forehead to chin leans by so many degrees in a face that looks straight ahead: the median over 600
/// press photographs.
const PITCH_AT_REST: f32 = 4.2;

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
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A flat face 100 wide and high, turned by angles in degrees as the doc of [`Pose`] counts them.
    fn turned(yaw: f32, pitch: f32, roll: f32) -> Pose {
        let mut landmarks = [[0.0; 3]; LANDMARKS];
        let (sy, cy) = yaw.to_radians().sin_cos();
        let (sp, cp) = (pitch + PITCH_AT_REST).to_radians().sin_cos();
        let (sr, cr) = roll.to_radians().sin_cos();
        for (index, [x, y]) in [(33, [-50.0, -20.0]), (263, [50.0, -20.0]), (10, [0.0, -50.0]), (152, [0.0, 50.0])] {
            // Down: the chin comes nearer to the neck, that is away from the camera; then sideways; then the lean.
            let (y, z) = (y * cp, y * sp);
            let (x, z) = (x * cy - z * sy, x * sy + z * cy);
            landmarks[index] = [x * cr - y * sr, x * sr + y * cr, z];
        }
        pose(&landmarks)
    }

    #[test]
    fn angles_have_the_promised_signs() {
        for (yaw, pitch, roll) in [(0.0, 0.0, 0.0), (20.0, 0.0, 0.0), (0.0, 15.0, 0.0), (0.0, 0.0, -12.0)] {
            let found = turned(yaw, pitch, roll);
            let off = (found.yaw - yaw).abs().max((found.pitch - pitch).abs()).max((found.roll - roll).abs());
            assert!(off < 1.5, "{yaw} {pitch} {roll}: {found:?}");
        }
    }
}
