//! The light code as the frames show it: every slot is decoded with that slot left out of the fit.
//!
//! Fitting and decoding on the same slot is circular: with enough noise a wrong code then explains itself. Left out,
//! a slot can only be right if the other slots already knew what each state looks like.

use didar_protocol::light_code::{CodeShape, Light};
use didar_protocol::transcript::{CELLS, LightTranscript};

use crate::fit::{Fit, Look};

/// What the frames say about the code.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The state of each slot as the frames show it; `None` where no frame shows the slot.
    pub slots: Vec<Option<Light>>,
    /// Slots that show another state than ordered.
    pub wrong: usize,
    /// Slots that no frame shows.
    pub missing: usize,
    /// Share of the changes of brightness that the ordered code explains, each slot predicted by the others; 1 is all,
    /// 0 or less is none.
    pub explained: f64,
}

/// Whether a code counts as shown: slots that nothing shows count as wrong ones.
pub fn passes(wrong: usize, missing: usize, shape: CodeShape) -> bool {
    wrong.saturating_add(missing) <= usize::from(shape.wrong_allowed)
}

const STATES: [Light; 4] = [Light::Off, Light::Left, Light::Right, Light::Both];

/// Decodes the transcript's slots.
pub fn decode(transcript: &LightTranscript) -> Decoded {
    decode_looks(&crate::fit::looks(transcript), &transcript.code, usize::MAX)
}

/// Decodes slot by slot and stops after more than `wrong_max` wrong ones.
pub(crate) fn decode_looks(looks: &[Look], code: &[Light], wrong_max: usize) -> Decoded {
    let mut decoded = Decoded { slots: Vec::new(), wrong: 0, missing: 0, explained: 0.0 };
    let (mut unexplained, mut changes) = (0.0, 0.0);
    let mean = mean_face(looks);
    for (slot, &ordered) in code.iter().enumerate() {
        let own: Vec<&Look> = looks.iter().filter(|look| look.slot == slot).collect();
        if own.is_empty() {
            decoded.missing += 1;
            decoded.slots.push(None);
            continue;
        }
        let fit = Fit::new(looks, code, Some(slot));
        let misfits = STATES.map(|state| own.iter().fold(0.0, |sum, look| sum + fit.misfit(look, state)));
        let best = (0..STATES.len()).fold(0, |best, k| if misfits[k] < misfits[best] { k } else { best });
        decoded.slots.push(Some(STATES[best]));
        decoded.wrong += usize::from(STATES[best] != ordered);
        if decoded.wrong > wrong_max {
            break;
        }
        for look in own {
            for (cell, expected) in fit.expected(look, ordered).into_iter().enumerate() {
                if let (Some(expected), false) = (expected, look.clipped[cell]) {
                    let seen = look.face[cell];
                    unexplained += (seen - expected) * (seen - expected);
                    changes += (seen - mean[cell]) * (seen - mean[cell]);
                }
            }
        }
    }
    decoded.explained = if changes > 0.0 { (1.0 - unexplained / changes).max(-10.0) } else { 0.0 };
    decoded
}

fn mean_face(looks: &[Look]) -> [f64; CELLS] {
    let count = looks.len().max(1) as f64;
    std::array::from_fn(|cell| looks.iter().fold(0.0, |sum, look| sum + look.face[cell]) / count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, code};

    #[test]
    fn a_face_that_answers_is_decoded_wholly() {
        for seed in 0..20 {
            let transcript = World::face(seed).play(&code(seed));
            let decoded = decode(&transcript);
            assert_eq!((decoded.wrong, decoded.missing), (0, 0), "seed {seed}: {decoded:?}");
            assert!(decoded.explained > 0.9, "seed {seed}: {}", decoded.explained);
        }
    }

    #[test]
    fn another_code_never_decodes() {
        let mut most = 0;
        for seed in 0..300 {
            let mut transcript = World::face(seed).play(&code(seed));
            transcript.code = code(seed + 1000);
            let decoded = decode(&transcript);
            most = most.max(transcript.code.len() - decoded.wrong);
        }
        assert!(most < 12, "a wrong code had {most} slots right");
    }

    #[test]
    fn flicker_of_the_mains_is_taken_out_by_the_background() {
        for seed in 0..20 {
            let mut world = World::face(seed);
            world.ambient = 0.3;
            world.flicker = 0.3;
            let decoded = decode(&world.play(&code(seed)));
            assert_eq!(decoded.wrong, 0, "seed {seed}: {decoded:?}");
        }
    }

    #[test]
    fn clipped_cells_still_decode() {
        let mut world = World::face(3);
        world.lamps = 0.8;
        let transcript = world.play(&code(3));
        assert!(transcript.frames.iter().any(|frame| frame.clipped.iter().any(|&share| share > 0)));
        assert_eq!(decode(&transcript).wrong, 0);
    }

    #[test]
    fn a_slot_without_frames_is_missing_not_wrong() {
        let mut transcript = World::face(1).play(&code(1));
        transcript.frames.retain(|frame| frame.slot != 4);
        let decoded = decode(&transcript);
        assert_eq!((decoded.missing, decoded.wrong, decoded.slots[4]), (1, 0, None));
    }
}
