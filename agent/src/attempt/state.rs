//! The states of the machine and what each holds. No decisions.

use std::time::Duration;

use didar_liveness::Sequencer;
use didar_protocol::id::AttemptId;
use didar_protocol::light_code::Light;
use didar_protocol::message::{Challenge, Outcome, Verdict};
use didar_protocol::reason::Reason;

use super::event::{Command, Hint, Record, Request, Stages};
use crate::time::Moment;

/// What the machine is doing.
pub(super) enum State {
    /// Nobody is served.
    Idle,
    /// The person finds the place while the challenge is fetched.
    Positioning { case: Case, until: Moment, hint: Hint, steady: bool },
    /// The lamps play and perception judges. Owns the lamps: every way out begins with `Lamps(Off)`.
    Proving { case: Case, held: Held, phase: Phase },
    /// The proof is on its way.
    Awaiting { case: Case, held: Held, since: Moment },
    /// The result is shown.
    Showing { until: Moment },
}

impl State {
    pub(super) fn positioning(case: Case, until: Moment) -> Self {
        Self::Positioning { case, until, hint: Hint::LookForFace, steady: false }
    }
}

/// The two halves of proving.
pub(super) enum Phase {
    /// The code plays; over at `ends` whatever happens.
    Playing { sequencer: Sequencer, slots: u32, since: Moment, ends: Moment },
    /// Perception judges.
    Judging { since: Moment, until: Moment },
}

impl Phase {
    pub(super) fn playing(code: &[Light], slot: Duration, now: Moment, ends: Moment) -> Self {
        let slot_us = u32::try_from(slot.as_micros()).unwrap_or(u32::MAX);
        let sequencer = Sequencer::new(code, slot_us, now.as_nanos() / 1_000);
        Self::Playing { sequencer, slots: u32::try_from(code.len()).unwrap_or(u32::MAX), since: now, ends }
    }
}

/// A challenge in hand. Single use: it leaves by value.
pub(super) struct Held {
    pub(super) challenge: Box<Challenge>,
    /// The challenge's end by our clock. Counted from the request's sending, so never later than the matcher's.
    pub(super) expires: Moment,
    asked: Moment,
}

impl Held {
    pub(super) fn new(challenge: Box<Challenge>, asked: Moment) -> Self {
        let valid = Duration::from_millis(challenge.expires_ms.saturating_sub(challenge.server_time_ms));
        Self { challenge, expires: asked.after(valid), asked }
    }

    /// Whether this verdict is for this attempt and this challenge, and still counts.
    pub(super) fn is_answered_by(&self, verdict: &Verdict, now: Moment) -> bool {
        let valid = Duration::from_millis(verdict.expires_ms.saturating_sub(self.challenge.server_time_ms));
        verdict.attempt == Some(self.challenge.attempt)
            && verdict.reply_to == self.challenge.nonce
            && now < self.asked.after(valid)
    }
}

/// One request and what became of it so far.
pub(super) struct Case {
    pub(super) request: Box<Request>,
    pub(super) started: Moment,
    /// When the request was sent, if it was.
    pub(super) asked: Option<Moment>,
    /// The challenge, while positioning.
    pub(super) held: Option<Held>,
    /// The attempt that was sent.
    pub(super) attempt: Option<AttemptId>,
    pub(super) stages: Stages,
}

impl Case {
    pub(super) fn new(request: Box<Request>, now: Moment) -> Self {
        Self { request, started: now, asked: None, held: None, attempt: None, stages: Stages::default() }
    }

    /// The order to send the request; from now on the answer is due.
    pub(super) fn ask(&mut self, now: Moment) -> Command {
        self.asked = Some(now);
        Command::Ask(self.request.clone())
    }

    pub(super) fn record(&self, now: Moment, outcome: Outcome, reason: Reason, named: Option<AttemptId>) -> Record {
        Record {
            attempt: named.or(self.attempt),
            request: self.request.id,
            initiator: self.request.initiator.clone(),
            outcome,
            reason,
            started: self.started,
            ended: now,
            stages: self.stages,
        }
    }
}
