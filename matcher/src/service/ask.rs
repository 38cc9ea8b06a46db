//! Requests: everything that speaks against an attempt is found before a camera is used.

use didar_protocol::id::{AttemptId, DeviceId, Hash, sha256};
use didar_protocol::message::{
    Challenge, ChallengeRequest, EventKind, Kind, Message as _, Stage, Verdict, VerdictOutcome,
};
use didar_protocol::reason::Reason;
use didar_protocol::topic::Lane;

use super::intake::Letter;
use super::pace::Said;
use super::voice::Tidings;
use super::{Centre, Outgoing, ServiceError, stage_name};
use crate::consent;
use crate::identity::{SpeakError, random};
use crate::ledger::{Entry, What};
use crate::policy::Failures;
use crate::reference::Source;
use crate::store::{Closing, Failure, Met, NewChallenge, Subject, SubjectTag, Work};

/// A refusal, with what the person may be told.
struct Refusal {
    reason: Reason,
    attempts_left: u8,
}

impl Centre {
    pub(super) fn on_request(
        &mut self,
        work: &Work<'_>,
        device: &DeviceId,
        bytes: &[u8],
        now_ms: u64,
    ) -> Result<Vec<Outgoing>, ServiceError> {
        let letter = match self.admit_sealed(work, Kind::ChallengeRequest, device, bytes, now_ms)? {
            Ok(letter) => letter,
            Err(told) => return Ok(told),
        };
        let request_hash = sha256(&letter.payload);
        if !letter.is_served(now_ms) {
            return self.turn_away(
                work,
                &letter,
                &request_hash,
                Reason::DeviceRefused,
                "device is revoked, quarantined or expired",
                now_ms,
            );
        }
        let request = match ChallengeRequest::decode(&letter.payload) {
            Ok(request) if &request.device == device => request,
            Ok(_) => return self.distrust(work, Some(device), "request names another device", now_ms),
            Err(error) => {
                return self.turn_away(
                    work,
                    &letter,
                    &request_hash,
                    Reason::RequestMalformed,
                    &error.to_string(),
                    now_ms,
                );
            }
        };
        if let Some(earlier) = work.challenge_of_request(device, &request_hash)? {
            let reason = match earlier.closing {
                Closing::Open if now_ms < earlier.expires_ms => {
                    return Ok(vec![self.challenge_out(device, earlier.bytes, earlier.expires_ms, now_ms)]);
                }
                Closing::Open | Closing::Abandoned => Reason::ChallengeExpired,
                Closing::Spent(_) => Reason::ChallengeSpent,
            };
            let left = self.rules.attempts_left(self.failures(work, &earlier.subject.tag, device, now_ms)?);
            return Ok(vec![self.refusal(device, request_hash, reason, left, now_ms)?]);
        }
        if !self.pace.admits(device, Said::Request, self.rules.request_rate(), now_ms) {
            return self.hold_back(work, device, request_hash, now_ms);
        }
        let told = match work.meet(device, &request.connection, now_ms)? {
            Met::Newest | Met::Known | Met::Earlier => None,
            Met::Copy => Some(vec![self.quarantine(work, device, now_ms)?]),
            // No quarantine: a broker can play an old request that was refused.
            Met::Old => Some(self.distrust(work, Some(device), "a new request of an earlier boot", now_ms)?),
        };
        if let Some(mut out) = told {
            out.push(self.refusal(device, request_hash, Reason::DeviceRefused, 0, now_ms)?);
            return Ok(out);
        }
        match self.examine(work, &request, now_ms)? {
            Ok((subject, stage)) => self.challenge(work, &request, request_hash, subject, stage, now_ms),
            Err(refusal) => self.refuse(work, &request, request_hash, &refusal, now_ms),
        }
    }

    /// Everything that may speak against this request.
    fn examine(
        &self,
        work: &Work<'_>,
        request: &ChallengeRequest,
        now_ms: u64,
    ) -> Result<Result<(Subject, Stage), Refusal>, ServiceError> {
        let tag = work.tag(&request.subject);
        let failures = self.failures(work, &tag, &request.device, now_ms)?;
        let attempts_left = self.rules.attempts_left(failures);
        let refused = |reason| Ok(Err(Refusal { reason, attempts_left }));
        if !work.serves(&request.device, &request.initiator)? {
            return refused(Reason::InitiatorNotServed);
        }
        let withdrawn_ms = work.withdrawn_ms(&tag)?;
        if let Err(reason) = consent::covers(&request.consent, &request.purpose, withdrawn_ms, now_ms) {
            return refused(reason);
        }
        if let Err(reason) = self.rules.admit(failures) {
            return refused(reason);
        }
        if work.open_challenges(&request.device, now_ms)? >= self.rules.challenge.open_per_device {
            return refused(Reason::TooManyFailures);
        }
        let Some(subject) = work.subject(&request.subject)? else {
            return refused(Reason::SubjectUnknown);
        };
        if work.has_reference(&tag, Source::Live, now_ms)? {
            Ok(Ok((subject, Stage::Subsequent)))
        } else if work.has_reference(&tag, Source::Document, now_ms)? {
            Ok(Ok((subject, Stage::Primary)))
        } else {
            refused(Reason::SubjectUnknown)
        }
    }

    fn challenge(
        &self,
        work: &Work<'_>,
        request: &ChallengeRequest,
        request_hash: Hash,
        subject: Subject,
        stage: Stage,
        now_ms: u64,
    ) -> Result<Vec<Outgoing>, ServiceError> {
        let attempt = new_attempt(now_ms)?;
        let expires_ms = now_ms + u64::from(self.rules.challenge.lifetime_s) * 1000;
        let challenge = Challenge {
            attempt,
            device: request.device.clone(),
            request_hash,
            nonce: random()?,
            stage,
            picture: stage == Stage::Primary,
            policy_version: self.witness.policy_version(),
            server_time_ms: now_ms,
            expires_ms,
            seal_key: self.identity.seal_public().swap_remove(0),
        };
        let bytes = self.identity.speak(&challenge)?;
        work.add_challenge(&NewChallenge {
            attempt,
            device: &request.device,
            request: request.request,
            request_hash,
            initiator: &request.initiator,
            reference: &request.reference,
            subject,
            stage,
            nonce: challenge.nonce,
            consent_s: (request.consent.given_at_s, request.consent.expires_at_s),
            made_ms: now_ms,
            expires_ms,
            bytes: &bytes,
        })?;
        work.append(&Entry {
            what: What::Challenged,
            attempt: Some(attempt.to_string()),
            person: Some(hex::encode(subject.person)),
            stage: Some(stage_name(stage).into()),
            note: Some(consent_note(request)),
            ..self.entry_of_request(request, now_ms)
        })?;
        let tidings = Tidings::new(EventKind::Challenged, Reason::None, format!("{} comparison", stage_name(stage)))
            .of(&request.device, Some(attempt));
        Ok(vec![self.challenge_out(&request.device, bytes, expires_ms, now_ms), self.tell(tidings, now_ms)?])
    }

    fn refuse(
        &self,
        work: &Work<'_>,
        request: &ChallengeRequest,
        request_hash: Hash,
        refusal: &Refusal,
        now_ms: u64,
    ) -> Result<Vec<Outgoing>, ServiceError> {
        let Refusal { reason, attempts_left } = *refusal;
        let subject = work.subject(&request.subject)?;
        work.append(&Entry {
            what: What::Refused,
            person: subject.map(|subject| hex::encode(subject.person)),
            reason: Some(reason.name().into()),
            note: Some(consent_note(request)),
            ..self.entry_of_request(request, now_ms)
        })?;
        let tidings = Tidings::new(EventKind::Refused, reason, "request refused before capture")
            .of(&request.device, None)
            .decided(VerdictOutcome::Refuse);
        Ok(vec![
            self.refusal(&request.device, request_hash, reason, attempts_left, now_ms)?,
            self.tell(tidings, now_ms)?,
        ])
    }

    /// Refuses a known device's request without having understood it; an alarm, because no honest device does this.
    fn turn_away(
        &mut self,
        work: &Work<'_>,
        letter: &Letter,
        request_hash: &Hash,
        reason: Reason,
        why: &str,
        now_ms: u64,
    ) -> Result<Vec<Outgoing>, ServiceError> {
        let device = &letter.device.id;
        let mut out = self.distrust(work, Some(device), why, now_ms)?;
        out.insert(0, self.refusal(device, *request_hash, reason, 0, now_ms)?);
        Ok(out)
    }

    /// Refuses one request too many. It has no line of its own in the ledger: that would grow as somebody likes.
    fn hold_back(
        &mut self,
        work: &Work<'_>,
        device: &DeviceId,
        request_hash: Hash,
        now_ms: u64,
    ) -> Result<Vec<Outgoing>, ServiceError> {
        let most = self.rules.limits.requests_per_minute;
        let mut out =
            self.warn_of_flood(work, device, format!("more than {most} requests a minute: refused"), now_ms)?;
        out.insert(0, self.refusal(device, request_hash, Reason::TooManyFailures, 0, now_ms)?);
        Ok(out)
    }

    fn challenge_out(&self, device: &DeviceId, bytes: Vec<u8>, expires_ms: u64, now_ms: u64) -> Outgoing {
        let left_s = expires_ms.saturating_sub(now_ms).div_ceil(1000);
        self.to_device(device, Lane::Challenge, bytes, Some(u32::try_from(left_s).unwrap_or(u32::MAX)))
    }

    /// A verdict that refuses a request before a challenge.
    fn refusal(
        &self,
        device: &DeviceId,
        request_hash: Hash,
        reason: Reason,
        attempts_left: u8,
        now_ms: u64,
    ) -> Result<Outgoing, SpeakError> {
        let verdict = self.verdict(None, device, request_hash, (VerdictOutcome::Refuse, reason), attempts_left, now_ms);
        let bytes = self.identity.speak(&verdict)?;
        Ok(self.verdict_out(device, bytes))
    }

    pub(super) fn verdict(
        &self,
        attempt: Option<AttemptId>,
        device: &DeviceId,
        reply_to: Hash,
        (outcome, reason): (VerdictOutcome, Reason),
        attempts_left: u8,
        now_ms: u64,
    ) -> Verdict {
        let compared = matches!(outcome, VerdictOutcome::Match | VerdictOutcome::NoMatch);
        Verdict {
            attempt,
            device: device.clone(),
            reply_to,
            outcome,
            reason,
            threshold_class: if compared { self.rules.threshold_class } else { 0 },
            attempts_left,
            server_time_ms: now_ms,
            expires_ms: now_ms + u64::from(self.rules.challenge.verdict_s) * 1000,
        }
    }

    pub(super) fn verdict_out(&self, device: &DeviceId, bytes: Vec<u8>) -> Outgoing {
        self.to_device(device, Lane::Verdict, bytes, Some(self.rules.challenge.verdict_s))
    }

    pub(super) fn failures(
        &self,
        work: &Work<'_>,
        tag: &SubjectTag,
        device: &DeviceId,
        now_ms: u64,
    ) -> Result<Failures, ServiceError> {
        let since_ms = self.rules.window_start_ms(now_ms);
        Ok(Failures {
            person: work.person_failures(tag, Failure::Failed, since_ms)?,
            unclear: work.person_failures(tag, Failure::Unclear, since_ms)?,
            device: work.device_failures(device, since_ms)?,
        })
    }

    fn entry_of_request(&self, request: &ChallengeRequest, now_ms: u64) -> Entry {
        Entry {
            device: Some(request.device.to_string()),
            request: Some(request.request.to_string()),
            initiator: Some(request.initiator.to_string()),
            reference: Some(request.reference.clone()),
            ..self.entry(now_ms)
        }
    }
}

/// The consent as the ledger keeps it: what for, how, until when, which text.
fn consent_note(request: &ChallengeRequest) -> String {
    let consent = &request.consent;
    format!(
        "consent for {:?} by {:?}, text {:?}, from {} to {} (Unix seconds)",
        consent.purpose, consent.method, consent.text_version, consent.given_at_s, consent.expires_at_s
    )
}

/// A UUIDv7 of this moment.
fn new_attempt(now_ms: u64) -> Result<AttemptId, getrandom::Error> {
    let uuid = uuid::Builder::from_unix_timestamp_millis(now_ms, &random::<10>()?).into_uuid();
    Ok(AttemptId::from_bytes(uuid.into_bytes()))
}
