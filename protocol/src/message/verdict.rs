//! The matcher's verdict, and the outcome of an attempt.

use crate::codec::{Optional, fields, numbered};
use crate::id::{AttemptId, DeviceId, Hash};
use crate::reason::Reason;

numbered! {
    /// What the matcher decided.
    VerdictOutcome {
        /// The claimed person, alive.
        0 Match "match",
        /// Another person.
        1 NoMatch "no-match",
        /// A fake.
        2 Spoof "spoof",
        /// Not enough evidence: a retry, not an accusation.
        3 Inconclusive "inconclusive",
        /// Not judged; the reason says why.
        4 Refuse "refuse",
    }
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

numbered! {
    /// How an attempt ended for the person at the kiosk.
    Outcome {
        /// Recognised.
        0 Grant "grant",
        /// Not recognised.
        1 Deny "deny",
        /// Refused as a fake.
        2 Spoof "spoof",
        /// Could not be judged.
        3 Inconclusive "inconclusive",
        /// Refused without judging.
        4 Refused "refused",
        /// Time ran out.
        5 TimeOut "time-out",
        /// No connection.
        6 Offline "offline",
        /// The kiosk is broken.
        7 Fault "fault",
        /// Cancelled.
        8 Cancelled "cancelled",
    }
}

fields! {
    Verdict {
        1 => attempt: Optional,
        2 => device,
        3 => reply_to,
        4 => outcome,
        5 => reason,
        6 => threshold_class,
        7 => attempts_left,
        8 => server_time_ms,
        9 => expires_ms,
    }
    rule "only a refusal has no attempt": |it| it.attempt.is_some() || it.outcome == VerdictOutcome::Refuse;
    rule "a verdict ends after it was made": |it| it.server_time_ms < it.expires_ms;
}
