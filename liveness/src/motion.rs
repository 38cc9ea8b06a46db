//! Movement: repeated frames, sway, blinks, and how the landmarks move against each other.

use didar_protocol::transcript::{FrameSample, LightTranscript, POINTS};

use crate::linear::solve;

/// How many frames repeat the picture of another one of the transcript. A sensor's noise never repeats.
pub fn repeated(transcript: &LightTranscript) -> usize {
    let mut prints: Vec<[u8; 8]> = transcript.frames.iter().map(|frame| frame.print).collect();
    prints.sort_unstable();
    prints.windows(2).filter(|pair| pair[0] == pair[1]).count()
}

/// The fastest movement between two frames that follow each other: distances between the eyes per frame time.
pub fn sway(transcript: &LightTranscript) -> f64 {
    transcript.frames.windows(2).map(|pair| step(&pair[0], &pair[1], transcript.camera.frame_us)).fold(0.0, f64::max)
}

fn step(a: &FrameSample, b: &FrameSample, frame_us: u32) -> f64 {
    let along = |k: usize| f64::from(b.centre_px10[k]) - f64::from(a.centre_px10[k]);
    let distance = (along(0) * along(0) + along(1) * along(1)).sqrt();
    let eyes = f64::from(a.eyes_px10.max(1));
    let frames = f64::from(b.at_us.saturating_sub(a.at_us)) / f64::from(frame_us.max(1));
    distance / eyes / frames.max(1.0)
}

/// Whether the lids closed and were open within the transcript.
pub fn blinks(transcript: &LightTranscript) -> bool {
    let open = || transcript.frames.iter().map(|frame| frame.eyes_open);
    open().any(|lids| lids < LIDS_CLOSED) && open().any(|lids| lids > LIDS_OPEN)
}

/// How far the face drifted, from one third of the sequence to another: distances between the eyes. Means over thirds,
/// because the landmarks' jitter moves a picture too.
pub fn drift(transcript: &LightTranscript) -> f64 {
    let frames = &transcript.frames;
    let third = frames.len() / 3;
    if third == 0 {
        return 0.0;
    }
    let mean = |part: &[FrameSample], axis: usize| {
        part.iter().fold(0.0, |sum, frame| sum + f64::from(frame.centre_px10[axis])) / part.len() as f64
    };
    let places: Vec<[f64; 2]> = frames.chunks(third).take(3).map(|part| [mean(part, 0), mean(part, 1)]).collect();
    let eyes = f64::from(frames[0].eyes_px10.max(1));
    let mut most: f64 = 0.0;
    for a in &places {
        for b in &places {
            let (x, y) = (b[0] - a[0], b[1] - a[1]);
            most = most.max((x * x + y * y).sqrt());
        }
    }
    most / eyes
}

/// How far the tip of the nose moves over the plane of eyes and mouth when the head turns, against a nose of an adult's
/// length: about 1 for a head, 0 for a sheet. `None` where the head hardly turns, or the landmarks lie on a line.
pub fn parallax(transcript: &LightTranscript) -> Option<f64> {
    let frames = &transcript.frames;
    let count = frames.len() as f64;
    let mean = |of: &dyn Fn(&FrameSample) -> f64| frames.iter().fold(0.0, |sum, frame| sum + of(frame)) / count;
    let reference: [[f64; 2]; POINTS] =
        std::array::from_fn(|point| [0, 1].map(|axis| mean(&|frame| place(frame, point)[axis])));
    let yaw = mean(&|frame| f64::from(frame.pose_cdeg[0]));
    let (mut up, mut down) = (0.0, 0.0);
    for frame in frames {
        let turned = (f64::from(frame.pose_cdeg[0]) - yaw) / 100.0;
        let beside = nose_beside_plane(frame, &reference)?;
        up += turned * beside;
        down += turned * turned;
    }
    // Standard deviation of the yaw.
    if count < 3.0 || down / count < TURN_LEAST_DEG * TURN_LEAST_DEG {
        return None;
    }
    Some(up / down / NOSE_PER_DEGREE)
}

/// How far to the right the nose lies beside where the plane of the other landmarks says, distances between the eyes.
fn nose_beside_plane(frame: &FrameSample, reference: &[[f64; 2]; POINTS]) -> Option<f64> {
    let (mut a, mut b) = ([[0.0; 3]; 3], [0.0; 3]);
    for point in PLANE {
        let terms = [1.0, reference[point][0], reference[point][1]];
        for i in 0..3 {
            for j in 0..3 {
                a[i][j] += terms[i] * terms[j];
            }
            b[i] += terms[i] * place(frame, point)[0];
        }
    }
    let [at, along, down] = solve(a, b)?;
    Some(place(frame, NOSE)[0] - at - along * reference[NOSE][0] - down * reference[NOSE][1])
}

/// A landmark's place from the face's centre, distances between the eyes.
fn place(frame: &FrameSample, point: usize) -> [f64; 2] {
    let eyes = f64::from(frame.eyes_px10.max(1));
    [0, 1].map(|axis| f64::from(frame.points_px10[2 * point + axis]) / eyes)
}

/// Corners of the eyes and of the mouth: nearly one plane.
const PLANE: [usize; 6] = [0, 1, 2, 3, 4, 5];
const NOSE: usize = 6;
/// Of the distance between the eyes, for each degree of yaw: the tip lies some 32 mm before that plane, 63 mm are between
/// the eyes.
const NOSE_PER_DEGREE: f64 = 32.0 / 63.0 * std::f64::consts::PI / 180.0;
/// Standard deviation of the yaw below which a turn drowns in the landmarks' jitter.
const TURN_LEAST_DEG: f64 = 2.0;
/// The lids count as closed below, and as open above; 0 to 100.
const LIDS_CLOSED: u8 = 25;
const LIDS_OPEN: u8 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, code};

    #[test]
    fn a_repeated_frame_is_counted_wherever_it_stands() {
        let mut transcript = World::face(1).play(&code(1));
        assert_eq!(repeated(&transcript), 0);
        transcript.frames[9].print = transcript.frames[2].print;
        transcript.frames[5].print = transcript.frames[2].print;
        assert_eq!(repeated(&transcript), 2);
    }

    #[test]
    fn sway_is_per_frame_and_by_the_eyes() {
        let mut transcript = World::face(1).play(&code(1));
        transcript.frames.iter_mut().for_each(|frame| frame.centre_px10 = [0, 0]);
        assert_eq!(sway(&transcript), 0.0);
        transcript.frames[3].centre_px10 = [500, 0];
        assert!((0.1..=0.5).contains(&sway(&transcript)), "{}", sway(&transcript));
    }

    #[test]
    fn a_blink_and_a_drift_are_seen() {
        let mut transcript = World::face(1).play(&code(1));
        transcript.frames.iter_mut().for_each(|frame| frame.centre_px10 = [0, 0]);
        assert!(!blinks(&transcript) && drift(&transcript) == 0.0);
        transcript.frames[7].eyes_open = 3;
        let last = transcript.frames.len() * 2 / 3;
        transcript.frames[last..].iter_mut().for_each(|frame| frame.centre_px10 = [30, 40]);
        assert!(blinks(&transcript) && drift(&transcript) > 0.03);
    }

    #[test]
    fn a_nose_moves_over_the_plane_and_a_printed_one_does_not() {
        // x, y in tenths of a pixel, 1000 between the eyes; the last number is the height before the plane.
        const HEAD: [[f64; 3]; POINTS] = [
            [-700.0, -300.0, 0.0],
            [-300.0, -300.0, 0.0],
            [300.0, -300.0, 0.0],
            [700.0, -300.0, 0.0],
            [-400.0, 500.0, 0.0],
            [400.0, 500.0, 0.0],
            [0.0, 100.0, 508.0],
            [0.0, 1000.0, 0.0],
        ];
        let turned = |solid: f64| {
            let mut transcript = World::face(1).play(&code(1));
            for (index, frame) in transcript.frames.iter_mut().enumerate() {
                let degrees = 4.0 * (index as f64 / 4.0).sin();
                frame.pose_cdeg[0] = (degrees * 100.0) as i16;
                for (point, [x, y, z]) in HEAD.into_iter().enumerate() {
                    let yaw = degrees.to_radians();
                    frame.points_px10[2 * point] = (x * yaw.cos() + solid * z * yaw.sin()).round() as i16;
                    frame.points_px10[2 * point + 1] = y as i16;
                }
            }
            parallax(&transcript)
        };
        assert!(turned(1.0).is_some_and(|found| (0.8..1.2).contains(&found)), "{:?}", turned(1.0));
        assert!(turned(0.0).is_some_and(|found| found.abs() < 0.1), "{:?}", turned(0.0));
        assert_eq!(parallax(&World::face(1).play(&code(1))), None, "a head that does not turn");
    }
}
