//! What devices tell about themselves: the chain of audit records, and their state.

use std::cmp::Ordering;

use didar_protocol::id::AttemptId;
use didar_protocol::id::{DeviceId, sha256};
use didar_protocol::message::{
    AuditEntry, AuditRecord, EventKind, Kind, Message as _, Outcome, Receipt, State, VerdictOutcome,
};
use didar_protocol::reason::Reason;
use didar_protocol::topic::Lane;

use super::voice::Tidings;
use super::{Centre, Outgoing, ServiceError};
use crate::ledger::{Entry, What};
use crate::store::{AuditKept, Closing, DeviceState, Notice, Seen, Shown, Work};

impl Centre {
    pub(super) fn on_audit(
        &mut self,
        work: &Work<'_>,
        device: &DeviceId,
        bytes: &[u8],
        now_ms: u64,
    ) -> Result<Vec<Outgoing>, ServiceError> {
        let letter = match self.open_signed(work, Kind::AuditRecord, device, bytes)? {
            // An old record is verified against the certificate of its time: that one may have ended.
            Ok(letter) if letter.device.state == DeviceState::Active => letter,
            Ok(letter) => {
                let why = format!("audit record of a {} device", letter.device.state.name());
                return self.distrust(Some(device), &why, now_ms);
            }
            Err(distrust) => return self.distrust(Some(device), &distrust.to_string(), now_ms),
        };
        let record = match AuditRecord::decode(&letter.payload) {
            Ok(record) if &record.device == device => record,
            Ok(_) => {
                return self.distrust(Some(device), "audit record names another device", now_ms);
            }
            Err(error) => return self.distrust(Some(device), &error.to_string(), now_ms),
        };
        let hash = sha256(bytes);
        let kept = work.keep_audit(&record, &hash, bytes, now_ms)?;
        if let (AuditKept::New, AuditEntry::Lost { count }) = (&kept, &record.entry) {
            work.close_told_gaps(device, record.number, *count)?;
        }
        let reach = work.audit_reach(device)?;
        let mut out = vec![self.receipt(device, &reach, now_ms)?];
        match kept {
            AuditKept::Repeat => {}
            AuditKept::New => {
                self.enter(work, &record, &hash, now_ms)?;
                out.extend(self.weigh(work, &record, &reach, now_ms)?);
            }
            AuditKept::Fork => {
                let note = format!("audit chain forks at record {}: two machines, or a forged record", record.number);
                work.append(&Entry {
                    what: What::Alarm,
                    device: Some(device.to_string()),
                    number: Some(record.number),
                    hash: Some(hex::encode(hash)),
                    note: Some(note.clone()),
                    ..self.entry(now_ms)
                })?;
                out.push(
                    self.tell(Tidings::new(EventKind::Alarm, Reason::RequestMalformed, note).of(device, None), now_ms)?,
                );
            }
        }
        Ok(out)
    }

    fn receipt(&self, device: &DeviceId, reach: &Shown, now_ms: u64) -> Result<Outgoing, ServiceError> {
        let receipt = Receipt {
            device: device.clone(),
            highest: reach.highest,
            missing: reach.missing.clone(),
            server_time_ms: now_ms,
        };
        Ok(self.to_device(device, Lane::Receipt, self.identity.speak(&receipt)?, None))
    }

    fn enter(&self, work: &Work<'_>, record: &AuditRecord, hash: &[u8; 32], now_ms: u64) -> Result<(), ServiceError> {
        let mut entry = Entry {
            what: What::Audited,
            device: Some(record.device.to_string()),
            number: Some(record.number),
            hash: Some(hex::encode(hash)),
            ..self.entry(now_ms)
        };
        match &record.entry {
            AuditEntry::Attempt { attempt, request, initiator, outcome, reason, .. } => {
                entry.attempt = attempt.map(|attempt| attempt.to_string());
                entry.request = Some(request.to_string());
                entry.initiator = Some(initiator.to_string());
                entry.outcome = Some(outcome.name().into());
                entry.reason = Some(reason.name().into());
            }
            AuditEntry::Lost { count } => entry.note = Some(format!("{count} records lost on the device")),
            AuditEntry::Started { version, .. } => entry.note = Some(format!("agent {version} started")),
        }
        work.append(&entry)?;
        Ok(())
    }

    /// What a new record means: events, and a comparison of what the kiosk showed with what was decided.
    fn weigh(
        &self,
        work: &Work<'_>,
        record: &AuditRecord,
        reach: &Shown,
        now_ms: u64,
    ) -> Result<Vec<Outgoing>, ServiceError> {
        let device = &record.device;
        let mut out = Vec::new();
        if let (Some(first), Some(last)) = (reach.missing.first(), reach.missing.last()) {
            let note = format!("audit records {first} to {last} are missing");
            out.push(self.tell(Tidings::new(EventKind::Alarm, Reason::None, note).of(device, None), now_ms)?);
        }
        match &record.entry {
            AuditEntry::Attempt { attempt, outcome, reason, .. } => {
                let note = format!("record {}", record.number);
                let tidings = Tidings::new(EventKind::Audited, *reason, note).of(device, *attempt).ended(*outcome);
                out.push(self.tell(tidings, now_ms)?);
                if let Some(attempt) = attempt {
                    out.extend(self.contrast(work, device, attempt, *outcome, now_ms)?);
                }
            }
            AuditEntry::Lost { count } => {
                let note = format!("the device lost {count} audit records: its outbox was full");
                out.push(
                    self.tell(Tidings::new(EventKind::Alarm, Reason::StorageFault, note).of(device, None), now_ms)?,
                );
            }
            AuditEntry::Started { version, .. } => {
                let note = format!("record {}: agent {version} started", record.number);
                out.push(self.tell(Tidings::new(EventKind::Audited, Reason::None, note).of(device, None), now_ms)?);
            }
        }
        Ok(out)
    }

    /// The centre's verdict is the truth: where the kiosk showed something else, the ledger says so.
    fn contrast(
        &self,
        work: &Work<'_>,
        device: &DeviceId,
        attempt: &AttemptId,
        shown: Outcome,
        now_ms: u64,
    ) -> Result<Option<Outgoing>, ServiceError> {
        let Some(challenge) = work.challenge(attempt)? else {
            return Ok(None);
        };
        if &challenge.device != device {
            return Ok(None);
        }
        work.set_shown(attempt, shown)?;
        let decided = match challenge.closing {
            Closing::Spent { outcome, .. } => Some(outcome),
            Closing::Open | Closing::Abandoned => None,
        };
        let (kind, note) = match (decided, shown) {
            (Some(VerdictOutcome::Match), Outcome::Grant)
            | (Some(VerdictOutcome::NoMatch), Outcome::Deny)
            | (Some(VerdictOutcome::Spoof), Outcome::Spoof) => return Ok(None),
            (_, Outcome::Grant) => (EventKind::Alarm, "the kiosk granted without a match"),
            (Some(VerdictOutcome::Match | VerdictOutcome::NoMatch | VerdictOutcome::Spoof), _) => {
                (EventKind::Audited, "verdict not delivered: the kiosk showed another outcome")
            }
            // The kiosk ended it by itself, or nothing was decided: nothing to correct.
            (Some(VerdictOutcome::Inconclusive | VerdictOutcome::Refuse) | None, _) => {
                return Ok(None);
            }
        };
        work.append(&Entry {
            what: if kind == EventKind::Alarm { What::Alarm } else { What::Undelivered },
            outcome: Some(shown.name().into()),
            note: Some(note.into()),
            ..self.entry_of(&challenge, now_ms)
        })?;
        let mut tidings = Tidings::new(kind, Reason::None, note).of(device, Some(*attempt)).ended(shown);
        if let Some(decided) = decided {
            tidings = tidings.decided(decided);
        }
        Ok(Some(self.tell(tidings, now_ms)?))
    }

    pub(super) fn on_state(
        &mut self,
        work: &Work<'_>,
        device: &DeviceId,
        bytes: &[u8],
        now_ms: u64,
    ) -> Result<Vec<Outgoing>, ServiceError> {
        let letter = match self.open_signed(work, Kind::State, device, bytes)? {
            Ok(letter) if letter.device.state == DeviceState::Active => letter,
            Ok(letter) => {
                let why = format!("state of a {} device", letter.device.state.name());
                return self.distrust(Some(device), &why, now_ms);
            }
            Err(distrust) => return self.distrust(Some(device), &distrust.to_string(), now_ms),
        };
        let state = match State::decode(&letter.payload) {
            Ok(state) if &state.device == device => state,
            Ok(_) => return self.distrust(Some(device), "state names another device", now_ms),
            Err(error) => return self.distrust(Some(device), &error.to_string(), now_ms),
        };
        let Some(last) = work.seen(device)? else {
            return Ok(Vec::new());
        };
        let another = last.boot.is_some_and(|boot| boot != state.boot);
        match state.connects.cmp(&last.connects) {
            Ordering::Less if !(another && state.online) => {
                // The will of a connection that a newer one has replaced, or a message overtaken on its way.
                return Ok(Vec::new());
            }
            // A device keeps the count before it connects, so another boot always comes with a higher one: whoever
            // comes with a count that was used already has a copy of the device's store and key.
            Ordering::Less | Ordering::Equal if another => {
                work.quarantine_device(device)?;
                let note = "two machines use one identity: refused until device release".to_owned();
                return Ok(vec![self.alarm(work, Notice { at_ms: now_ms, device: Some(device.clone()), note })?]);
            }
            Ordering::Less | Ordering::Equal | Ordering::Greater => {}
        }
        let mut out = Vec::new();
        work.set_seen(device, &Seen { boot: Some(state.boot), connects: state.connects, online: state.online })?;
        if state.faults.contains(&Reason::PeerNotTrusted) {
            let note = "somebody who is no matcher or broker of this site speaks to the device".to_owned();
            out.push(self.alarm(work, Notice { at_ms: now_ms, device: Some(device.clone()), note })?);
        }
        let faults: Vec<&str> = state.faults.iter().map(|fault| fault.name()).collect();
        let faults = if faults.is_empty() { String::new() } else { format!("; faults: {}", faults.join(", ")) };
        if state.online != last.online || state.connects > last.connects {
            let kind = if state.online { EventKind::DeviceOnline } else { EventKind::DeviceOffline };
            let note = format!("agent {}{faults}", state.version);
            out.push(self.tell(Tidings::new(kind, Reason::None, note).of(device, None), now_ms)?);
        }
        Ok(out)
    }
}
