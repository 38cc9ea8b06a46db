//! The lamp sequence that a challenge demands: both ends derive it from the same nonce.
//!
//! A blind guess, tolerance included, must pass with a probability of at most 2^-20: [`CodeShape::is_lawful`] holds
//! it, and the tests below count every sequence.

use std::collections::BTreeMap;

use hkdf::Hkdf;
use sha2::Sha256;

use crate::codec::numbered;
use crate::id::{AttemptId, DeviceId};

numbered! {
    /// What the two infrared lamps do during one slot. Numbers 0 to 3 on the wire.
    Light {
        /// Both lamps dark.
        0 Off "off",
        /// Only the lamp on the left of the lens, as the camera sees the scene.
        1 Left "left",
        /// Only the lamp on the right.
        2 Right "right",
        /// Both lamps lit.
        3 Both "both",
    }
}

/// How long the code is and how much of it may fail: the two belong together, because they set the chance of a guess.
/// Made by [`CodeShape::new`] or a constant only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CodeShape {
    /// Number of slots, 12 to 16.
    pub slots: u8,
    /// Camera frames per slot, 1 to 3.
    pub frames_per_slot: u8,
    /// Slots that may be decoded wrongly.
    pub wrong_allowed: u8,
}

impl CodeShape {
    /// For cameras of 30 frames a second: 12 slots of 2 frames, none wrong (800 ms).
    pub const AT_30: Self = Self { slots: 12, frames_per_slot: 2, wrong_allowed: 0 };
    /// For cameras of 30 frames a second whose lamps switch in step with the exposure: 16 slots of 1 frame (533 ms).
    pub const AT_30_IN_STEP: Self = Self { slots: 16, frames_per_slot: 1, wrong_allowed: 2 };
    /// For cameras of 60 frames a second and more: 16 slots of 2 frames, 2 wrong allowed (533 ms at 60).
    pub const AT_60: Self = Self { slots: 16, frames_per_slot: 2, wrong_allowed: 2 };

    /// A shape whose guess bound holds, or `None`.
    pub const fn new(slots: u8, frames_per_slot: u8, wrong_allowed: u8) -> Option<Self> {
        let shape = Self { slots, frames_per_slot, wrong_allowed };
        if shape.is_lawful() { Some(shape) } else { None }
    }

    /// Whether a blind guess passes with a probability of at most 2^-20, and the code is one that we can play.
    pub const fn is_lawful(self) -> bool {
        let most_wrong = match self.slots {
            12 | 13 => 0,
            14 | 15 => 1,
            16 => 2,
            _ => return false,
        };
        self.wrong_allowed <= most_wrong && 1 <= self.frames_per_slot && self.frames_per_slot <= 3
    }
}

/// The code of one attempt: `shape.slots` states, the same at both ends.
///
/// HKDF-SHA256 (RFC 5869) with the nonce as key and `didar/1/light-code`, the attempt, the device, the shape and a
/// counter as info gives four bytes; two bits make a slot, the first slot in the highest bits. The counter goes on
/// until the sequence has at least two of each state and never four equal in a row.
///
/// # Panics
/// When the shape is not lawful: it may have no code at all.
pub fn light_code(nonce: &[u8; 32], attempt: &AttemptId, device: &DeviceId, shape: CodeShape) -> Vec<Light> {
    assert!(shape.is_lawful(), "{shape:?} does not hold the guess bound");
    let key = Hkdf::<Sha256>::new(None, nonce);
    let shape_bytes = [shape.slots, shape.frames_per_slot, shape.wrong_allowed];
    let device_length = [u8::try_from(device.as_str().len()).expect("a device id has at most 40 bytes")];
    let candidate = |counter: u32| {
        let info: [&[u8]; 6] = [
            b"didar/1/light-code",
            attempt.as_bytes(),
            &device_length,
            device.as_str().as_bytes(),
            &shape_bytes,
            &counter.to_be_bytes(),
        ];
        let mut bits = [0; 4];
        key.expand_multi_info(&info, &mut bits).expect("four bytes are less than HKDF's limit");
        let bits = u32::from_be_bytes(bits);
        (0..shape.slots).map(|slot| state(bits, slot)).collect()
    };
    // With 12 slots two of five sequences are valid, with more slots more: the loop ends after a few turns.
    (0..).map(candidate).find(|code: &Vec<Light>| is_valid(code)).expect("valid sequences are frequent")
}

/// Exact number of valid codes of so many slots, counted by states (count of each up to 2, last state, its run).
pub fn valid_codes(slots: u8) -> u64 {
    let mut ways: BTreeMap<([u8; 4], Option<usize>, u8), u64> = BTreeMap::from([(([0; 4], None, 0), 1)]);
    for _ in 0..slots {
        let mut next = BTreeMap::new();
        for ((counts, last, run), number) in ways {
            for state in 0..4 {
                let run = if last == Some(state) { run + 1 } else { 1 };
                if run < 4 {
                    let mut counts = counts;
                    counts[state] = (counts[state] + 1).min(2);
                    *next.entry((counts, Some(state), run)).or_insert(0) += number;
                }
            }
        }
        ways = next;
    }
    ways.iter().filter(|((counts, ..), _)| counts.iter().all(|count| *count == 2)).map(|(_, number)| number).sum()
}

/// The state of one slot: two bits, the first slot's are the highest.
fn state(bits: u32, slot: u8) -> Light {
    let number = (bits >> (30 - 2 * u32::from(slot))) & 3;
    [Light::Off, Light::Left, Light::Right, Light::Both][number as usize]
}

/// At least two of each state (so that each can be measured), and never four equal in a row (so that a stall shows).
fn is_valid(code: &[Light]) -> bool {
    let enough = Light::ALL.iter().all(|state| code.iter().filter(|light| *light == state).count() >= 2);
    let stalls = code.windows(4).any(|four| four.iter().all(|light| *light == four[0]));
    enough && !stalls
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Number of sequences that differ from a given one in at most `wrong` slots: no guess passes for more codes.
    fn ball(slots: u64, wrong: u64) -> u64 {
        let choose = |k: u64| (0..k).fold(1, |product, i| product * (slots - i) / (i + 1));
        (0..=wrong).map(|k| choose(k) * 3u64.pow(u32::try_from(k).unwrap())).sum()
    }

    /// log2 of the best blind guess.
    fn guess_bits(slots: u8, wrong: u8) -> f64 {
        (ball(slots.into(), wrong.into()) as f64 / valid_codes(slots) as f64).log2()
    }

    fn derive(nonce: u8, attempt: u8, device: &str, shape: CodeShape) -> String {
        let code = light_code(&[nonce; 32], &AttemptId::from_bytes([attempt; 16]), &device.parse().unwrap(), shape);
        code.iter().map(|light| ["-", "l", "r", "b"][usize::from(light.number())]).collect()
    }

    #[test]
    fn twelve_slots_have_exactly_6_935_280_codes() {
        // Enumerated by the very function that derives, and counted by another way.
        let codes =
            (0u32..1 << 24).map(|number| [0u8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].map(|slot| state(number << 8, slot)));
        let enumerated = codes.filter(|code| is_valid(code)).count();
        assert_eq!(enumerated, 6_935_280);
        assert_eq!(valid_codes(12), 6_935_280);
    }

    #[test]
    fn the_guess_bound_holds_for_every_lawful_shape_and_for_no_other() {
        for slots in 12..=16 {
            for wrong in 0..=4 {
                let lawful = CodeShape::new(slots, 2, wrong).is_some();
                assert_eq!(lawful, guess_bits(slots, wrong) <= -20.0, "{slots} slots, {wrong} wrong");
            }
        }
        // The figures of the design.
        for (slots, wrong, bits) in [(12, 0, -22.7), (12, 1, -17.5), (14, 1, -21.7), (16, 2, -21.3)] {
            assert!((guess_bits(slots, wrong) - bits).abs() < 0.06, "{slots}/{wrong}: {}", guess_bits(slots, wrong));
        }
    }

    #[test]
    fn shapes_outside_are_unlawful() {
        for (slots, frames, wrong) in
            [(0, 2, 0), (11, 2, 0), (17, 2, 0), (255, 2, 0), (12, 0, 0), (12, 4, 0), (12, 2, 1)]
        {
            assert_eq!(CodeShape::new(slots, frames, wrong), None);
        }
        for shape in [CodeShape::AT_30, CodeShape::AT_30_IN_STEP, CodeShape::AT_60] {
            assert!(shape.is_lawful());
        }
    }

    #[test]
    fn each_input_changes_the_code_and_the_same_inputs_never() {
        let base = derive(1, 2, "kiosk-1", CodeShape::AT_60);
        assert_eq!(base, derive(1, 2, "kiosk-1", CodeShape::AT_60));
        assert_ne!(base, derive(2, 2, "kiosk-1", CodeShape::AT_60));
        assert_ne!(base, derive(1, 3, "kiosk-1", CodeShape::AT_60));
        assert_ne!(base, derive(1, 2, "kiosk-2", CodeShape::AT_60));
        assert_ne!(base, derive(1, 2, "kiosk-1", CodeShape::AT_30_IN_STEP));
        assert_ne!(base[..12], derive(1, 2, "kiosk-1", CodeShape::AT_30));
    }

    #[test]
    fn every_derived_code_is_valid_and_all_states_come_in_every_slot() {
        let mut seen = [[false; 4]; 12];
        for nonce in 0..=255 {
            let code =
                light_code(&[nonce; 32], &AttemptId::from_bytes([9; 16]), &"k".parse().unwrap(), CodeShape::AT_30);
            assert!(is_valid(&code) && code.len() == 12);
            code.iter().enumerate().for_each(|(slot, light)| seen[slot][usize::from(light.number())] = true);
        }
        assert_eq!(seen, [[true; 4]; 12]);
    }

    #[test]
    fn the_derivation_never_changes_within_version_1() {
        // Found by an independent program (Python, hmac) from the description above.
        assert_eq!(derive(1, 2, "kiosk-1", CodeShape::AT_30), "r---lllbbr--");
        assert_eq!(derive(1, 2, "kiosk-1", CodeShape::AT_60), "bbb-r-lbll-lrb-l");
    }
}
