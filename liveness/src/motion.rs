//! Movement: repeated frames and sway.

use didar_protocol::transcript::{FrameSample, LightTranscript};

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
}
