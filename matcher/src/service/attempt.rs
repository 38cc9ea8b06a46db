//! Attempts: each challenge is spent by the first attempt that names it, whatever the verdict.

use didar_protocol::id::{AttemptId, DeviceId, Hash, sha256};
use didar_protocol::message::{Attempt, Ending, EventKind, Kind, Message as _, VerdictOutcome};
use didar_protocol::reason::Reason;

use super::examine::Ruling;
use super::voice::{Tidings, Worry};
use super::{Centre, Outgoing, ServiceError};
use crate::ledger::{Entry, What};
use crate::reference::{Reference, Source};
use crate::store::{Closing, Failure, Issued, Spent, Work};

/// So much later than the last verdict's end may a resend still come out of some queue, milliseconds.
const RESEND_LATE_MS: u64 = 60_000;

impl Centre {
    pub(super) fn on_attempt(
        &mut self,
        work: &Work<'_>,
        device: &DeviceId,
        bytes: &[u8],
        now_ms: u64,
    ) -> Result<Vec<Outgoing>, ServiceError> {
        let letter = match self.admit_sealed(work, Kind::Attempt, device, bytes, now_ms)? {
            Ok(letter) => letter,
            Err(told) => return Ok(told),
        };
        let Some(id) = letter.attempt else {
            return self.distrust(work, Some(device), "sealed attempt names no attempt", now_ms);
        };
        let Some(challenge) = work.challenge(&id)? else {
            return self.distrust(work, Some(device), "attempt for a challenge that was never issued", now_ms);
        };
        if &challenge.device != device {
            // Neither spent nor touched: it is another device's.
            let refusal = self.refuse_attempt(device, id, [0; 32], Reason::DeviceRefused, now_ms)?;
            let tidings =
                Tidings::new(EventKind::Alarm, Reason::DeviceRefused, "attempt on another device's challenge");
            let mut out = self.warn(work, Worry::Foreign, tidings.of(device, Some(id)), now_ms)?;
            out.insert(0, refusal);
            return Ok(out);
        }
        let body_hash = sha256(bytes);
        if let Some(out) = self.closed(work, &challenge, &body_hash, now_ms)? {
            return Ok(out);
        }
        let decoded = Attempt::decode(&letter.payload);
        let ended_there = matches!(&decoded, Ok(Attempt { ending: Ending::Stopped { .. }, .. }));
        let ruling = match &decoded {
            _ if !letter.is_served(now_ms) => {
                Ruling::refuse(Reason::DeviceRefused).alarming("device is revoked, quarantined or expired")
            }
            Err(_) => Ruling::refuse(Reason::RequestMalformed).alarming("attempt cannot be read"),
            Ok(attempt) => match self.rules.admit(self.failures(work, &challenge.subject.tag, device, now_ms)?) {
                // Challenges that were open side by side are no more tries than one after the other.
                Err(reason) if !ended_there => Ruling::refuse(reason),
                Ok(()) | Err(_) => self.examine_attempt(work, &challenge, attempt, now_ms)?,
            },
        };
        self.settle(work, &challenge, (body_hash, !ended_there), ruling, now_ms)
    }

    /// The answer where the challenge is no longer open: a repeat, another body, or too late.
    fn closed(
        &mut self,
        work: &Work<'_>,
        challenge: &Issued,
        body_hash: &Hash,
        now_ms: u64,
    ) -> Result<Option<Vec<Outgoing>>, ServiceError> {
        let Issued { device, attempt, nonce, .. } = challenge;
        match &challenge.closing {
            Closing::Open if now_ms < challenge.expires_ms => Ok(None),
            Closing::Spent(spent) if spent.body_hash == *body_hash && !self.is_over(challenge, now_ms) => {
                Ok(Some(vec![self.verdict_out(device, spent.verdict.clone())]))
            }
            Closing::Spent(spent) => {
                let reason = Reason::ChallengeSpent;
                let replayed = spent.body_hash == *body_hash;
                let note = if replayed { "replayed attempt" } else { "another attempt on a spent challenge" };
                let refusal = self.refuse_attempt(device, *attempt, *nonce, reason, now_ms)?;
                let alarm = self.note_refused(work, challenge, body_hash, (reason, note), now_ms)?;
                Ok(Some([refusal].into_iter().chain(alarm).collect()))
            }
            Closing::Open | Closing::Abandoned => {
                let reason = Reason::ChallengeExpired;
                if challenge.closing == Closing::Open {
                    self.abandon(work, challenge, now_ms)?;
                }
                let note = "attempt after its challenge's end";
                let refusal = self.refuse_attempt(device, *attempt, *nonce, reason, now_ms)?;
                let alarm = self.note_refused(work, challenge, body_hash, (reason, note), now_ms)?;
                Ok(Some([refusal].into_iter().chain(alarm).collect()))
            }
        }
    }

    /// Whether even the latest verdict on this challenge has ended: a repeat of the attempt is no resend any more.
    fn is_over(&self, challenge: &Issued, now_ms: u64) -> bool {
        now_ms >= challenge.expires_ms + u64::from(self.rules.challenge.verdict_s) * 1000 + RESEND_LATE_MS
    }

    /// Spends the challenge and writes down everything that follows from the ruling.
    fn settle(
        &mut self,
        work: &Work<'_>,
        challenge: &Issued,
        (body_hash, awaited): (Hash, bool),
        ruling: Ruling,
        now_ms: u64,
    ) -> Result<Vec<Outgoing>, ServiceError> {
        let Ruling { outcome, reason, figures, live, alarm } = ruling;
        let Issued { device, attempt, nonce, subject, .. } = challenge;
        match outcome {
            VerdictOutcome::Match => work.clear_failures(&subject.tag)?,
            VerdictOutcome::NoMatch | VerdictOutcome::Spoof => {
                work.count_failure(Some(&subject.tag), device, Failure::Failed, now_ms)?;
            }
            VerdictOutcome::Inconclusive | VerdictOutcome::Refuse => {
                work.count_failure(Some(&subject.tag), device, Failure::Unclear, now_ms)?;
            }
        }
        let left = self.rules.attempts_left(self.failures(work, &subject.tag, device, now_ms)?);
        let verdict = self.verdict(Some(*attempt), device, *nonce, (outcome, reason), left, now_ms);
        let bytes = self.identity.speak(&verdict)?;
        work.spend(attempt, &Spent { body_hash, outcome, verdict: bytes.clone(), awaited })?;
        work.append(&Entry {
            what: What::Decided,
            outcome: Some(outcome.name().into()),
            reason: Some(reason.name().into()),
            awaited: (!awaited).then_some(false),
            figures: figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            hash: Some(hex::encode(body_hash)),
            policy: Some(self.witness.policy_version()),
            note: alarm.map(Into::into),
            ..self.entry_of(challenge, now_ms)
        })?;
        if let (VerdictOutcome::Match, Some(live)) = (outcome, live) {
            self.keep_live(work, challenge, &live, now_ms)?;
        }
        let decided = Tidings::new(EventKind::Decided, reason, alarm.unwrap_or_default());
        let mut out = vec![
            self.verdict_out(device, bytes),
            self.tell(decided.of(device, Some(*attempt)).decided(outcome), now_ms)?,
        ];
        if let Some(shown) = challenge.shown {
            // The kiosk's record was here first: it had stopped waiting.
            out.extend(self.contrast(work, challenge, Some((outcome, awaited)), shown, now_ms)?);
        }
        if let Some(why) = alarm {
            let tidings = Tidings::new(EventKind::Alarm, reason, why).of(device, Some(*attempt)).decided(outcome);
            out.push(self.tell(tidings, now_ms)?);
        }
        Ok(out)
    }

    /// The verified live face becomes the reference: it lasts as long as the consent, and no longer than the site keeps.
    fn keep_live(
        &self,
        work: &Work<'_>,
        challenge: &Issued,
        live: &Reference,
        now_ms: u64,
    ) -> Result<(), ServiceError> {
        let consent_ends_ms = challenge.consent_s.1.saturating_mul(1000);
        let expires_ms = consent_ends_ms.min(now_ms + self.rules.retention_ms);
        let version = work.put_reference(&challenge.subject.tag, Source::Live, live, now_ms, expires_ms)?;
        work.append(&Entry {
            what: What::Referenced,
            number: Some(version),
            hash: Some(hex::encode(live.model)),
            ..self.entry_of(challenge, now_ms)
        })?;
        Ok(())
    }

    /// Writes down and alarms that an attempt came for a challenge that has ended; many of one device are counted, as every
    /// alarm that can be caused at will.
    fn note_refused(
        &mut self,
        work: &Work<'_>,
        challenge: &Issued,
        body_hash: &Hash,
        (reason, note): (Reason, &str),
        now_ms: u64,
    ) -> Result<Option<Outgoing>, ServiceError> {
        let Some(note) = self.voice.due_note(Worry::Ended, Some(&challenge.device), note, now_ms) else {
            return Ok(None);
        };
        work.append(&Entry {
            what: What::Refused,
            reason: Some(reason.name().into()),
            note: Some(note.clone()),
            hash: Some(hex::encode(body_hash)),
            ..self.entry_of(challenge, now_ms)
        })?;
        let tidings = Tidings::new(EventKind::Alarm, reason, note).of(&challenge.device, Some(challenge.attempt));
        Ok(Some(self.tell(tidings.decided(VerdictOutcome::Refuse), now_ms)?))
    }

    fn refuse_attempt(
        &self,
        device: &DeviceId,
        attempt: AttemptId,
        reply_to: Hash,
        reason: Reason,
        now_ms: u64,
    ) -> Result<Outgoing, ServiceError> {
        let refuse = (VerdictOutcome::Refuse, reason);
        let bytes = self.identity.speak(&self.verdict(Some(attempt), device, reply_to, refuse, 0, now_ms))?;
        Ok(self.verdict_out(device, bytes))
    }
}
