//! What a blind guess is worth, with the judge's real tolerance: counted, not estimated.
//!
//! Whoever does not know the code must fix what every slot shows before the lamps play it. A slot then shows the ordered
//! state, another one, or none at all (frames lost, mixed or too poor to decode). [`passes`] is the very rule that the
//! judge applies; `doubtful` slots never pass, they cost a new attempt with a new code.

use didar_protocol::light_code::{CodeShape, valid_codes};

use crate::decode::passes;

/// The best blind guess against a shape of code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GuessBound {
    /// The shape.
    pub shape: CodeShape,
    /// Codes that the matcher may choose, all equally likely.
    pub codes: u64,
    /// Most of them that one fixed sequence can pass for.
    pub passing: u64,
}

impl GuessBound {
    /// Binary logarithm of the chance.
    pub fn log2(&self) -> f64 {
        libm::log2(self.passing as f64 / self.codes as f64)
    }
}

/// Counts for every number of slots that the guesser leaves undecodable: the others may be right or wrong in three ways.
pub fn guess_bound(shape: CodeShape) -> GuessBound {
    let slots = usize::from(shape.slots);
    let passing = (0..=slots).map(|missing| passing(shape, missing)).max().unwrap_or(0);
    GuessBound { shape, codes: valid_codes(shape.slots), passing }
}

/// Sequences that a guess with `missing` undecodable slots passes for: a missing slot may have been any of four states.
fn passing(shape: CodeShape, missing: usize) -> u64 {
    let shown = u64::from(shape.slots) - missing as u64;
    let lawful = (0..=shown).filter(|wrong| passes(*wrong as usize, missing, shape));
    lawful.map(|wrong| choose(shown, wrong) * 3u64.pow(wrong as u32)).sum::<u64>() * 4u64.pow(missing as u32)
}

fn choose(from: u64, count: u64) -> u64 {
    (0..count).fold(1, |product, i| product * (from - i) / (i + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::decode;
    use crate::testing::{World, code};
    use didar_protocol::light_code::Light;

    #[test]
    fn a_blind_guess_passes_with_at_most_2_to_the_minus_20() {
        let profiles = [(CodeShape::AT_30, -22.7), (CodeShape::AT_30_IN_STEP, -21.3), (CodeShape::AT_60, -21.3)];
        for (shape, bits) in profiles {
            let bound = guess_bound(shape);
            assert!(bound.log2() <= -20.0 && (bound.log2() - bits).abs() < 0.1, "{bound:?}: {}", bound.log2());
        }
        assert_eq!((guess_bound(CodeShape::AT_30).passing, guess_bound(CodeShape::AT_30).codes), (1, 6_935_280));
        for slots in 12..=16 {
            for wrong in 0..=2 {
                let Some(shape) = CodeShape::new(slots, 2, wrong) else { continue };
                assert!(guess_bound(shape).log2() <= -20.0, "{shape:?}");
            }
        }
    }

    #[test]
    fn leaving_slots_undecodable_gains_nothing() {
        assert_eq!(passing(CodeShape::AT_60, 0), 1 + 48 + 120 * 9);
        assert_eq!(passing(CodeShape::AT_60, 1), 4 * (1 + 45));
        assert_eq!(passing(CodeShape::AT_60, 3), 0);
        assert_eq!((passing(CodeShape::AT_30, 0), passing(CodeShape::AT_30, 1)), (1, 0));
    }

    #[test]
    fn the_decoder_takes_no_other_code_for_the_one_that_was_shown() {
        // All 36 codes that differ in one slot; the judge's tests try the permutations of the states.
        let shown = World::face(4).play(&code(4));
        let right = |ordered: Vec<Light>| {
            let mut transcript = shown.clone();
            transcript.code = ordered;
            let found = decode(&transcript);
            passes(found.wrong, found.missing, CodeShape::AT_30)
        };
        assert!(right(shown.code.clone()));
        for slot in 0..shown.code.len() {
            for state in Light::ALL.iter().filter(|state| **state != shown.code[slot]) {
                let mut ordered = shown.code.clone();
                ordered[slot] = *state;
                assert!(!right(ordered), "slot {slot} as {state}");
            }
        }
    }
}
