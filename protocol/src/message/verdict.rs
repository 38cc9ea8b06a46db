//! The matcher's verdict, and the outcome of an attempt.

use crate::id::{AttemptId, DeviceId, Hash};
use crate::reason::Reason;

/// What the matcher decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum VerdictOutcome {
    /// The claimed person, alive.
    Match = 0,
    /// Another person.
    NoMatch = 1,
    /// A fake.
    Spoof = 2,
    /// Not enough evidence: a retry, not an accusation.
    Inconclusive = 3,
    /// Not judged; the reason says why.
    Refuse = 4,
}

/// The matcher's answer to an attempt, or its refusal of a request before a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The attempt; absent where a request was refused before a challenge.
    pub attempt: Option<AttemptId>,
    /// The device addressed.
    pub device: DeviceId,
    /// The challenge's nonce, or SHA-256 of the refused request's encoded bytes.
    pub reply_to: Hash,
    /// What was decided.
    pub outcome: VerdictOutcome,
    /// Why.
    pub reason: Reason,
    /// Which threshold was applied, never the score.
    pub threshold_class: u8,
    /// Attempts left for this person before a pause.
    pub attempts_left: u8,
    /// The matcher's clock, Unix milliseconds.
    pub server_time_ms: u64,
    /// Until when the verdict counts, Unix milliseconds; later than `server_time_ms`.
    pub expires_ms: u64,
}

/// How an attempt ended for the person at the kiosk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// Recognised.
    Grant = 0,
    /// Not recognised.
    Deny = 1,
    /// Refused as a fake.
    Spoof = 2,
    /// Could not be judged.
    Inconclusive = 3,
    /// Refused without judging.
    Refused = 4,
    /// Time ran out.
    TimeOut = 5,
    /// No connection.
    Offline = 6,
    /// The kiosk is broken.
    Fault = 7,
    /// Cancelled.
    Cancelled = 8,
}
