//! The chain of audit records that each device tells, and what its records mean.

use didar_protocol::id::AttemptId;
use didar_protocol::id::{DeviceId, Hash, sha256};
use didar_protocol::message::{AuditEntry, AuditRecord, EventKind, Kind, Outcome, Receipt, VerdictOutcome};
use didar_protocol::reason::Reason;
use didar_protocol::topic::Lane;

use super::intake::{Standing, of_revoked};
use super::pace::Said;
use super::voice::{Tidings, Worry};
use super::{Centre, Outgoing, Receipting, ServiceError};
use crate::ledger::{Entry, What};
use crate::store::{AuditPlace, Closing, Issued, Notice, Shown, Work};

/// So long may a new chain's first record come after others, milliseconds: a device repeats its records every 10 s.
const LOOSE_MS: u64 = 30_000;

impl Centre {
    pub(super) fn on_audit(
        &mut self,
        work: &Work<'_>,
        device: &DeviceId,
        bytes: &[u8],
        receipt: Receipting,
        now_ms: u64,
    ) -> Result<Vec<Outgoing>, ServiceError> {
        let admitted = self.admit_kept(work, device, bytes, |record: &AuditRecord| &record.device, now_ms)?;
        let (record, standing) = match admitted {
            Ok(admitted) => admitted,
            Err(told) => return Ok(told),
        };
        let hash = sha256(bytes);
        let place = work.place_audit(&record, &hash)?;
        // Under a revoked key only what was waiting in the device counts: what follows all that it has told.
        if standing == Standing::Renewed && !matches!(place, AuditPlace::Repeat | AuditPlace::Follows) {
            return self.distrust(work, Some(device), &of_revoked(Kind::AuditRecord), now_ms);
        }
        let writes = matches!(place, AuditPlace::Follows | AuditPlace::Ahead | AuditPlace::Fork { .. });
        if writes && !self.pace.admits(device, Said::Record, self.rules.record_rate(), now_ms) {
            return self.hold_off(work, device, now_ms);
        }
        match place {
            AuditPlace::Repeat | AuditPlace::Follows | AuditPlace::Ahead => {}
            // No receipt: the device keeps what is no part of its chain here.
            AuditPlace::Fork { branches } => {
                work.keep_audit(&record, &hash, bytes, place, now_ms)?;
                return if branches { self.hear_fork(work, &record, now_ms) } else { Ok(Vec::new()) };
            }
            AuditPlace::ForkAgain | AuditPlace::Ended | AuditPlace::Loose { begun: true } => return Ok(Vec::new()),
            AuditPlace::Loose { begun: false } => return self.hear_loose(work, &record, now_ms),
        }
        self.loose.remove(device);
        let new = place != AuditPlace::Repeat;
        let mut out = Vec::new();
        if new {
            work.keep_audit(&record, &hash, bytes, place, now_ms)?;
        }
        let mut reach = work.audit_reach(device)?;
        // Of a repeat too: what was missing before it may have come since.
        if let AuditEntry::Gone { first, last } = record.entry
            && work.wait_no_more(device, first, last)?
        {
            out.extend(self.hear_gone(work, device, first, last, now_ms)?);
            reach = work.audit_reach(device)?;
        }
        if receipt == Receipting::Now {
            // A repeat speaks for itself and what came before it: a device whose disk is an older copy of itself has other
            // records after it.
            let reached = if !new && record.number <= reach.highest {
                (record.number, hash)
            } else {
                work.last_kept(device, reach.highest)?
            };
            out.push(self.receipt(&record, reached, &reach, now_ms)?);
        }
        if new {
            self.enter(work, &record, &hash, &reach, standing, now_ms)?;
            out.extend(self.weigh(work, &record, &reach, now_ms)?);
        }
        Ok(out)
    }

    /// More records than a kiosk can have: without a receipt they stay in the device, and it sends them again.
    fn hold_off(&mut self, work: &Work<'_>, device: &DeviceId, now_ms: u64) -> Result<Vec<Outgoing>, ServiceError> {
        let most = self.rules.limits.records_per_minute;
        self.warn_of_flood(work, device, format!("more than {most} new audit records a minute: not kept"), now_ms)
    }

    /// One alarm where somebody begins another chain; what follows it is silent.
    fn hear_fork(&mut self, work: &Work<'_>, record: &AuditRecord, now_ms: u64) -> Result<Vec<Outgoing>, ServiceError> {
        let AuditRecord { device, number, .. } = record;
        let note = format!(
            "audit chain forks at record {number}: a new disk, or two machines; cure: didar-matcher device new-chain"
        );
        let tidings = Tidings::new(EventKind::Alarm, Reason::RequestMalformed, note).of(device, None);
        self.warn(work, Worry::Fork, tidings, now_ms)
    }

    /// One alarm where the records of a new chain keep coming and its first is not among them.
    fn hear_loose(
        &mut self,
        work: &Work<'_>,
        record: &AuditRecord,
        now_ms: u64,
    ) -> Result<Vec<Outgoing>, ServiceError> {
        let AuditRecord { device, number, .. } = record;
        let since = self.loose.entry(device.clone()).or_insert(Some(now_ms));
        if since.is_none_or(|since_ms| now_ms < since_ms.saturating_add(LOOSE_MS)) {
            return Ok(Vec::new());
        }
        *since = None;
        let note = format!("record {number} follows none that is here; cure: didar-matcher device new-chain --from");
        Ok(vec![self.alarm(work, Notice { at_ms: now_ms, device: Some(device.clone()), note })?])
    }

    fn hear_gone(
        &mut self,
        work: &Work<'_>,
        device: &DeviceId,
        first: u64,
        last: u64,
        now_ms: u64,
    ) -> Result<Vec<Outgoing>, ServiceError> {
        let note = format!("audit records {first} to {last} will never come: the device lost them");
        let tidings = Tidings::new(EventKind::Alarm, Reason::StorageFault, note).of(device, None);
        self.warn(work, Worry::Gone, tidings, now_ms)
    }

    fn receipt(
        &self,
        record: &AuditRecord,
        (highest, hash): (u64, Hash),
        reach: &Shown,
        now_ms: u64,
    ) -> Result<Outgoing, ServiceError> {
        let receipt = Receipt {
            device: record.device.clone(),
            highest,
            hash,
            answers: record.number,
            missing: reach.missing.clone(),
            server_time_ms: now_ms,
        };
        Ok(self.to_device(&record.device, Lane::Receipt, self.identity.speak(&receipt)?, None))
    }

    fn enter(
        &self,
        work: &Work<'_>,
        record: &AuditRecord,
        hash: &Hash,
        reach: &Shown,
        standing: Standing,
        now_ms: u64,
    ) -> Result<(), ServiceError> {
        let mut entry = Entry {
            what: What::Audited,
            device: Some(record.device.to_string()),
            number: Some(record.number),
            chain: (reach.chain > 1).then_some(reach.chain),
            hash: Some(hex::encode(hash)),
            ..self.entry(now_ms)
        };
        match &record.entry {
            AuditEntry::Attempt { attempt, request, initiator, outcome, reason, policy_version, .. } => {
                entry.policy = attempt.map(|_| *policy_version);
                entry.attempt = attempt.map(|attempt| attempt.to_string());
                entry.request = Some(request.to_string());
                entry.initiator = Some(initiator.to_string());
                entry.outcome = Some(outcome.name().into());
                entry.reason = Some(reason.name().into());
            }
            AuditEntry::Lost { count } => entry.note = Some(format!("{count} records lost on the device")),
            AuditEntry::Gone { first, last } => {
                entry.note = Some(format!("records {first} to {last} are lost on the device"));
            }
            AuditEntry::Started { version, .. } => entry.note = Some(format!("agent {version} started")),
        }
        if standing == Standing::Renewed {
            let note = entry.note.map_or_else(String::new, |note| note + "; ");
            entry.note = Some(note + "signed under a certificate that was revoked since");
        }
        work.append(&entry)?;
        Ok(())
    }

    /// What a new record means: events, and a comparison of what the kiosk showed with what was decided.
    fn weigh(
        &mut self,
        work: &Work<'_>,
        record: &AuditRecord,
        reach: &Shown,
        now_ms: u64,
    ) -> Result<Vec<Outgoing>, ServiceError> {
        let device = &record.device;
        let mut out = Vec::new();
        if let (Some(first), Some(last)) = (reach.missing.first(), reach.missing.last()) {
            let of_chain = if reach.chain > 1 { format!(" of chain {}", reach.chain) } else { String::new() };
            let note = format!("audit records {first} to {last}{of_chain} are missing");
            let tidings = Tidings::new(EventKind::Alarm, Reason::None, note).of(device, None);
            out.extend(self.warn(work, Worry::Gap, tidings, now_ms)?);
        }
        match &record.entry {
            AuditEntry::Attempt { attempt, outcome, reason, .. } => {
                let note = format!("record {}", record.number);
                let tidings = Tidings::new(EventKind::Audited, *reason, note).of(device, *attempt).ended(*outcome);
                out.push(self.tell(tidings, now_ms)?);
                if let Some(attempt) = attempt {
                    out.extend(self.hear_shown(work, device, attempt, *outcome, now_ms)?);
                }
            }
            AuditEntry::Lost { count } => {
                let note = format!("the device lost {count} audit records: its outbox was full or damaged");
                let tidings = Tidings::new(EventKind::Alarm, Reason::StorageFault, note).of(device, None);
                out.extend(self.warn(work, Worry::Lost, tidings, now_ms)?);
            }
            AuditEntry::Gone { first, last } => {
                let note = format!("record {}: records {first} to {last} are lost on the device", record.number);
                out.push(self.tell(Tidings::new(EventKind::Audited, Reason::None, note).of(device, None), now_ms)?);
            }
            AuditEntry::Started { version, .. } => {
                let note = format!("record {}: agent {version} started", record.number);
                out.push(self.tell(Tidings::new(EventKind::Audited, Reason::None, note).of(device, None), now_ms)?);
            }
        }
        if reach.missing.is_empty() {
            out.extend(self.mark_untold(work, work.never_told(device)?, now_ms)?);
        }
        Ok(out)
    }

    /// Verdicts whose showing no record will ever tell.
    pub(super) fn mark_untold(
        &self,
        work: &Work<'_>,
        untold: Vec<Issued>,
        now_ms: u64,
    ) -> Result<Vec<Outgoing>, ServiceError> {
        let mut out = Vec::new();
        for challenge in untold {
            let note = "verdict not delivered: the record that would tell is lost, or its device is gone";
            work.append(&Entry {
                what: What::Undelivered,
                note: Some(note.into()),
                ..self.entry_of(&challenge, now_ms)
            })?;
            let tidings =
                Tidings::new(EventKind::Audited, Reason::None, note).of(&challenge.device, Some(challenge.attempt));
            out.push(self.tell(tidings, now_ms)?);
        }
        Ok(out)
    }

    /// Keeps what the kiosk showed, and compares it with what was decided, if it was.
    fn hear_shown(
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
        let decided = match &challenge.closing {
            Closing::Spent(spent) => Some((spent.outcome, spent.awaited)),
            Closing::Open | Closing::Abandoned => None,
        };
        self.contrast(work, &challenge, decided, shown, now_ms)
    }

    /// The centre's verdict is the truth: where the kiosk showed something else, the ledger says so. `decided` comes
    /// with whether somebody waited for it.
    pub(super) fn contrast(
        &self,
        work: &Work<'_>,
        challenge: &Issued,
        decided: Option<(VerdictOutcome, bool)>,
        shown: Outcome,
        now_ms: u64,
    ) -> Result<Option<Outgoing>, ServiceError> {
        let (kind, note) = match (decided, shown) {
            (Some((VerdictOutcome::Match, _)), Outcome::Grant)
            | (Some((VerdictOutcome::NoMatch, _)), Outcome::Deny)
            | (Some((VerdictOutcome::Spoof, _)), Outcome::Spoof)
            | (Some((VerdictOutcome::Inconclusive, _)), Outcome::Inconclusive)
            | (Some((VerdictOutcome::Refuse, _)), Outcome::Refused) => return Ok(None),
            (_, Outcome::Grant) => (EventKind::Alarm, "the kiosk granted without a match"),
            // The kiosk ended it by itself, or nothing is decided yet: nothing to correct.
            (Some((VerdictOutcome::Inconclusive | VerdictOutcome::Refuse, false)) | None, _) => return Ok(None),
            (Some(_), _) => (EventKind::Audited, "verdict not delivered: the kiosk showed another outcome"),
        };
        work.append(&Entry {
            what: if kind == EventKind::Alarm { What::Alarm } else { What::Undelivered },
            outcome: Some(shown.name().into()),
            note: Some(note.into()),
            ..self.entry_of(challenge, now_ms)
        })?;
        let mut tidings =
            Tidings::new(kind, Reason::None, note).of(&challenge.device, Some(challenge.attempt)).ended(shown);
        if let Some((decided, _)) = decided {
            tidings = tidings.decided(decided);
        }
        Ok(Some(self.tell(tidings, now_ms)?))
    }
}
