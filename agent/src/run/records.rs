//! Audit records: kept before anything else happens, sent until the matcher has said that it holds them.

use std::time::Duration;

use didar_protocol::id::Hash;
use didar_protocol::light_code::Light;
use didar_protocol::message::{AuditEntry, Challenge, Outcome, Receipt};
use didar_protocol::reason::Reason;

use super::{Agent, LoopState, logged};
use crate::ask;
use crate::attempt::event::{Event, Request};
use crate::edge::{Letter, Missed, OutboxError};
use crate::time::Moment;

/// Audit records under way without a receipt.
const AUDIT_WINDOW: usize = 32;
/// How long a receipt may take before the records are sent again.
const RECEIPT_WAIT: Duration = Duration::from_secs(10);
/// How often broken lamps or a broken store are tried again.
const MEND_EVERY: Duration = Duration::from_secs(1);
const FULL: &str = "the outbox is full of records that the centre has not confirmed: nobody is served until it has";
/// A device may have been without a connection for so long.
const TIME_STEP_MAX: Duration = Duration::from_secs(30 * 86_400);
/// Records that wait in memory for a store that fails: nothing is begun meanwhile, so there is one at most, but for faults
/// that come and go.
const UNKEPT_MAX: usize = 64;

impl Agent {
    /// Keeps an audit record and sends what can be sent.
    pub(super) fn keep(&mut self, entry: &AuditEntry) -> Result<(), Reason> {
        self.state.intent = None;
        self.keep_the_unkept()?;
        self.outbox.append(entry).map_err(|error| logged(Reason::StorageFault, &error))?;
        self.tell_health();
        self.drain();
        Ok(())
    }

    /// Keeps a record in memory until the store works again.
    pub(super) fn keep_later(&mut self, entry: AuditEntry) {
        if self.state.unkept.len() == UNKEPT_MAX {
            self.state.unkept.pop_front();
        }
        self.state.unkept.push_back(entry);
    }

    /// From now on the request has a record, whatever becomes of this process.
    pub(super) fn intend_request(&mut self, request: &Request) -> Result<(), Reason> {
        let now_ms = self.clock.unix_ms(self.clock.now());
        let entry = AuditEntry::Attempt {
            attempt: None,
            request: request.id,
            initiator: request.initiator.clone(),
            outcome: Outcome::Fault,
            reason: Reason::Stopping,
            started_ms: now_ms,
            ended_ms: now_ms,
            policy_version: ask::policy_version(None),
        };
        self.intend(request.hash, entry)
    }

    /// From now on that record names the attempt: the centre sees by it that the person never saw the verdict.
    pub(super) fn intend_attempt(&mut self, challenge: &Challenge) -> Result<(), Reason> {
        match self.state.intent.clone() {
            Some((hash, mut entry)) if hash == challenge.request_hash => {
                if let AuditEntry::Attempt { attempt, policy_version, .. } = &mut entry {
                    *attempt = Some(challenge.attempt);
                    *policy_version = ask::policy_version(*attempt);
                }
                self.intend(hash, entry)
            }
            // Another request's challenge: the machine lets it expire.
            Some(_) | None => Ok(()),
        }
    }

    fn intend(&mut self, hash: Hash, entry: AuditEntry) -> Result<(), Reason> {
        self.keep_the_unkept()?;
        self.outbox.intend(&entry).map_err(|error| logged(Reason::StorageFault, &error))?;
        self.state.intent = Some((hash, entry));
        Ok(())
    }

    pub(super) fn plan_mending(&mut self, now: Moment) {
        let standing = self.is_broken() || self.machine.faults().contains(&Reason::LampFault);
        self.state.mend = standing.then(|| self.state.mend.unwrap_or(now.after(MEND_EVERY)));
    }

    /// Tries what is broken again: dark lamps and a written record do no harm.
    pub(super) fn mend(&mut self) {
        let now = self.clock.now();
        if self.state.mend.is_none_or(|at| now < at) {
            return;
        }
        self.state.mend = Some(now.after(MEND_EVERY));
        let faults = self.machine.faults();
        if faults.contains(&Reason::LampFault) && self.lamps.set(Light::Off).is_ok() {
            tracing::info!("the lamps work again");
            self.take(Event::Mended(Reason::LampFault));
        }
        if self.is_broken() && self.mend_the_store().is_ok() {
            tracing::info!("the store works again");
            self.send_all();
            if self.outbox.has_room() {
                self.take(Event::Mended(Reason::StorageFault));
            } else {
                tracing::error!("{FULL}");
                self.state.full = true;
            }
        }
    }

    /// Where the store cannot be read though it was mended a start is what is left to try: the agent ends.
    fn mend_the_store(&mut self) -> Result<(), Reason> {
        let failed = |error: OutboxError| logged(Reason::StorageFault, &error);
        match self.outbox.mend().map(|()| self.outbox.unacknowledged(0, AUDIT_WINDOW)) {
            Ok(Ok(_)) => self.keep_the_unkept(),
            Ok(Err(error)) | Err(error @ OutboxError::Damaged { .. }) => {
                tracing::error!("the outbox stays damaged: the agent ends, and its next start saves what is good");
                self.state.damaged = true;
                Err(failed(error))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether the store has a fault that mending may help.
    pub(super) fn is_broken(&self) -> bool {
        !self.state.full && self.machine.faults().contains(&Reason::StorageFault)
    }

    /// A full outbox is a fault of the store until a receipt makes room. Whoever is being served has a place in it: that
    /// attempt ends first.
    pub(super) fn watch_room(&mut self) {
        let idle = self.machine.serving().is_none() && !self.machine.faults().contains(&Reason::StorageFault);
        match (self.outbox.has_room(), self.state.full) {
            (true, true) => {
                tracing::info!("the outbox has room again");
                self.state.full = false;
                self.take(Event::Mended(Reason::StorageFault));
            }
            (false, false) if idle => {
                tracing::error!("{FULL}");
                self.take(Event::Fault(Reason::StorageFault));
                self.state.full = true;
            }
            (true, false) | (false, _) => {}
        }
    }

    /// What waits in memory goes first: records stand in the chain as things happened.
    fn keep_the_unkept(&mut self) -> Result<(), Reason> {
        while let Some(entry) = self.state.unkept.front() {
            self.outbox.append(entry).map_err(|error| logged(Reason::StorageFault, &error))?;
            self.state.unkept.pop_front();
        }
        Ok(())
    }

    /// What comes after `number` is sent next, as if it never had been.
    pub(super) fn send_from(&mut self, number: u64) {
        self.state.sent = number;
        self.state.under_way.clear();
    }

    /// Sends what has no receipt from its beginning.
    pub(super) fn send_all(&mut self) {
        self.send_from(0);
        self.state.gone_back = 0;
        self.drain();
    }

    /// Sends the records that no receipt covers, as far as the window has room.
    pub(super) fn drain(&mut self) {
        if !self.state.connected {
            return;
        }
        let room = AUDIT_WINDOW.saturating_sub(self.state.under_way.len());
        if room == 0 {
            return;
        }
        match self.outbox.unacknowledged(self.state.sent + 1, room) {
            Ok(letters) => {
                for (number, bytes) in letters {
                    self.state.sent = self.state.sent.max(number);
                    self.state.under_way.push_back(number);
                    self.post(Letter::Audit { number, bytes });
                    self.state.resend = Some(self.clock.now().after(RECEIPT_WAIT));
                }
            }
            Err(error) => {
                logged(Reason::StorageFault, &error);
                self.state.unreadable = true;
            }
        }
    }

    /// Lets go of what the matcher holds, sends again what it misses, and goes on.
    ///
    /// # Errors
    /// The store failed: what the receipt is for goes again.
    pub(super) fn confirm(&mut self, receipt: &Receipt) -> Result<(), Reason> {
        let failed = |error: OutboxError| logged(Reason::StorageFault, &error);
        if !self.outbox.acknowledge(receipt.highest, &receipt.hash).map_err(failed)? {
            // For another disk, whose last records were still under way.
            tracing::warn!(record = receipt.highest, "a receipt for a record that is not of this chain: ignored");
            return Ok(());
        }
        self.keep_time().map_err(failed)?;
        let (next, _) = self.outbox.head();
        let all_confirmed = receipt.highest.saturating_add(1) >= next;
        self.state.resend = (!all_confirmed).then(|| self.clock.now().after(RECEIPT_WAIT));
        let LoopState { under_way, sent, gone_back, .. } = &mut self.state;
        // What was sent in turn before it has come, or is missing.
        let in_turn = if under_way.contains(&receipt.answers) { receipt.answers } else { 0 };
        under_way.retain(|number| *number > receipt.highest.max(in_turn));
        let missing = receipt.missing.first().copied();
        let missing = missing.filter(|first| first != gone_back && first <= sent && !under_way.contains(first));
        let done = missing.map_or(Ok(()), |first| self.go_back(first));
        self.drain();
        done
    }

    /// Keeps the told time for the next start. A start trusts it blindly, so a wrong one must not get far: at most
    /// [`TIME_STEP_MAX`] beyond the one that this start began with, and then no faster than time passes.
    fn keep_time(&mut self) -> Result<(), OutboxError> {
        // Of a clock that no matcher has set yet, the calendar may be anything.
        if !self.clock.calendar().is_told() {
            return Ok(());
        }
        let (now, kept_ms) = (self.clock.now(), self.outbox.signed_time());
        let step = self.state.time_kept.map_or(TIME_STEP_MAX, |at| now.since(at));
        let step_ms = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        let most_ms = if kept_ms == 0 { u64::MAX } else { kept_ms.saturating_add(step_ms) };
        self.outbox.keep_signed_time(self.clock.unix_ms(now).min(most_ms))?;
        if self.outbox.signed_time() != kept_ms {
            self.state.time_kept = Some(now);
        }
        Ok(())
    }

    /// What the matcher misses is sent again, with everything after it; once, though the receipt for each record behind it
    /// says so. What is lost is told, at once: behind a long backlog it would come too late.
    fn go_back(&mut self, missing: u64) -> Result<(), Reason> {
        let told = self.state.told_gone.filter(|(first, _)| *first == missing);
        // What told of it may have been confirmed since, or be lost itself.
        if let Some((_, number)) = told
            && let Some(letter) = self.letter(number)?
        {
            self.post(letter);
        } else {
            match self.outbox.tell_gone(missing).map_err(|error| logged(Reason::StorageFault, &error))? {
                Missed::Here => self.send_from(missing - 1),
                Missed::Told(number) => {
                    tracing::error!(record = missing, "a record that the matcher misses is lost");
                    self.state.told_gone = Some((missing, number));
                    self.letter(number)?.into_iter().for_each(|letter| self.post(letter));
                }
                Missed::Other => return Ok(()),
            }
        }
        self.state.gone_back = missing;
        Ok(())
    }

    /// The record of this number; `None` once it is confirmed.
    fn letter(&self, number: u64) -> Result<Option<Letter>, Reason> {
        let found = self.outbox.unacknowledged(number, 1).map_err(|error| logged(Reason::StorageFault, &error))?;
        let letter = found.into_iter().find(|(found, _)| *found == number);
        Ok(letter.map(|(number, bytes)| Letter::Audit { number, bytes }))
    }

    /// Records from the first one without receipt to the last, one that cannot be read included.
    pub(super) fn unconfirmed(&self) -> u64 {
        let (next, _) = self.outbox.head();
        let first = match self.outbox.unacknowledged(0, 1) {
            Ok(letters) => letters.first().map(|(number, _)| *number),
            Err(OutboxError::Damaged { number, .. }) => Some(number),
            // Nothing is known of a store that fails but what was.
            Err(OutboxError::Store { .. } | OutboxError::Sign { .. }) => return self.state.standing.unconfirmed,
        };
        first.map_or(0, |first| next.saturating_sub(first))
    }
}
