//! The chain's head in memory, and every change of it on the disk before it counts.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use didar_protocol::id::{DeviceId, Hash, sha256};
use didar_protocol::message::{AuditEntry, AuditRecord, Message};
use didar_protocol::seal::Signer;

use super::Recovery;
use super::disk::{Change, Disk, DiskError};
use super::salvage::{self, Found};
use super::standing::Standing;
use crate::ask;
use crate::edge::{Missed, OutboxError};

/// Least step by which another signed time is worth a write: a clock needs no better start after a power cut.
const SIGNED_TIME_STEP_MS: u64 = 60_000;

pub(super) const STANDING_KEY: &[u8] = b"S";
pub(super) const MATCHER_KEYS_KEY: &[u8] = b"K";
pub(super) const LETTER_PREFIX: &[u8] = b"L";
pub(super) const INTENT_KEY: &[u8] = b"I";

pub(super) struct Store {
    disk: Box<dyn Disk>,
    device: DeviceId,
    signer: Arc<dyn Signer>,
    capacity: u64,
    held: u64,
    standing: Standing,
    /// Whether a connection was counted since this was opened.
    counted: bool,
}

impl Store {
    pub(super) fn open(
        folder: &Path,
        device: DeviceId,
        signer: Arc<dyn Signer>,
        capacity: u64,
    ) -> Result<(Self, Option<Recovery>), OutboxError> {
        let at = |cause| failed(folder, cause);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|cause| at(DiskError::File { file: folder.to_owned(), cause }))?;
        let (disk, found) = salvage::open_or_rebuild(folder).map_err(at)?;
        Self::over(disk, found, device, signer, capacity)
    }

    pub(super) fn open_on(
        mut disk: Box<dyn Disk>,
        device: DeviceId,
        signer: Arc<dyn Signer>,
        capacity: u64,
    ) -> Result<(Self, Option<Recovery>), OutboxError> {
        let beside = disk.read_beside().as_deref().and_then(Standing::read);
        let found = salvage::take_over(disk.as_mut(), beside).map_err(|cause| failed(disk.place(), cause))?;
        Self::over(disk, found, device, signer, capacity)
    }

    fn over(
        disk: Box<dyn Disk>,
        found: Found,
        device: DeviceId,
        signer: Arc<dyn Signer>,
        capacity: u64,
    ) -> Result<(Self, Option<Recovery>), OutboxError> {
        let Found { held, standing, recovery } = found;
        let mut store = Self { disk, device, signer, capacity: capacity.max(1), held, standing, counted: false };
        store.tell_loss()?;
        if let Some(intended) = store.intended()? {
            store.keep(&intended)?;
        }
        Ok((store, recovery))
    }

    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    pub(super) fn held(&self) -> u64 {
        self.held
    }

    pub(super) fn keep(&mut self, entry: &AuditEntry) -> Result<u64, OutboxError> {
        self.tell_loss()?;
        if !self.has_room() && !self.is_intended(entry)? {
            let next = Standing { lost: self.standing.lost + 1, ..self.standing };
            self.write(next, done_with_intent(entry))?;
            return Ok(next.next);
        }
        self.append(entry, self.standing.lost)
    }

    pub(super) fn has_room(&self) -> bool {
        self.held < self.capacity
    }

    /// Nobody is told an outcome without a record: an attempt that was begun has its place.
    fn is_intended(&self, entry: &AuditEntry) -> Result<bool, OutboxError> {
        Ok(matches!(entry, AuditEntry::Attempt { .. }) && self.intended()?.is_some())
    }

    /// Keeps `entry` for the next opening, unless a record of an attempt is kept before.
    pub(super) fn intend(&mut self, entry: &AuditEntry) -> Result<(), OutboxError> {
        let Standing { next: number, head: previous, .. } = self.standing;
        let record = AuditRecord { device: self.device.clone(), number, previous, entry: entry.clone() };
        let encoded = record.encode().map_err(|cause| OutboxError::Sign { number, cause: Box::new(cause) })?;
        let framed = salvage::frame_intent(number, &encoded);
        self.write(self.standing, vec![Change::Put(INTENT_KEY.to_vec(), framed)])
    }

    fn intended(&self) -> Result<Option<AuditEntry>, OutboxError> {
        let Some(framed) = self.disk.get(INTENT_KEY).map_err(|cause| self.failed(cause))? else { return Ok(None) };
        // An unreadable one would be damage that its own store did not notice: the others are no worse for it.
        Ok(salvage::read_intent(&framed)
            .and_then(|(_, encoded)| AuditRecord::decode(encoded).ok())
            .map(|record| record.entry))
    }

    pub(super) fn letters(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, OutboxError> {
        let mut letters = Vec::new();
        let last = self.standing.next - 1;
        if from > last {
            return Ok(letters);
        }
        // What lies behind is of a write that failed half-way: its number is used again.
        let found = self.disk.range(&letter_key(from), &letter_key(last), limit);
        for (key, value) in found.map_err(|cause| self.failed(cause))? {
            let (number, bytes) = salvage::read_letter_at(&key, &value).map_err(|cause| self.failed(cause))?;
            letters.push((number, bytes.to_vec()));
        }
        Ok(letters)
    }

    pub(super) fn acknowledge(&mut self, up_to: u64, hash: &Hash) -> Result<bool, OutboxError> {
        if up_to <= self.standing.acknowledged {
            return Ok(true);
        }
        let letters = self.letters(up_to, 1)?;
        let Some((_, signed)) = letters.first().filter(|(number, _)| *number == up_to) else {
            // Of one that was lost here nobody can say whether it was the same.
            return Ok(up_to < self.standing.next);
        };
        if sha256(signed) != *hash {
            return Ok(false);
        }
        let keys = self.disk.keys(&letter_key(0), &letter_key(up_to)).map_err(|cause| self.failed(cause))?;
        let held = self.held.saturating_sub(keys.len() as u64);
        let mut next = Standing { acknowledged: up_to, ..self.standing };
        next.holes = next.issued().saturating_sub(held);
        let mut changes: Vec<_> = keys.into_iter().map(Change::Remove).collect();
        changes.push(Change::Put(STANDING_KEY.to_vec(), next.frame()));
        // Not flushed: a record that comes back after a power cut is sent again, and dropped there as a repeat.
        self.disk.apply(changes).map_err(|cause| self.failed(cause))?;
        self.standing = next;
        self.held = held;
        if held == 0 {
            self.write_beside()?;
        }
        self.tell_loss()?;
        Ok(true)
    }

    pub(super) fn tell_gone(&mut self, number: u64) -> Result<Missed, OutboxError> {
        let Standing { next, lost, acknowledged, .. } = self.standing;
        if number <= acknowledged || number >= next {
            return Ok(Missed::Other);
        }
        let here = self.letters(number, 1)?.first().map_or(next, |(here, _)| *here);
        if here == number {
            return Ok(Missed::Here);
        }
        self.append(&AuditEntry::Gone { first: number, last: here - 1 }, lost).map(Missed::Told)
    }

    pub(super) fn connected(&mut self) -> Result<u64, OutboxError> {
        let next = Standing { connects: self.standing.connects + 1, ..self.standing };
        self.write(next, Vec::new())?;
        self.counted = true;
        Ok(next.connects)
    }

    pub(super) fn connection(&mut self) -> Result<u64, OutboxError> {
        if self.counted { Ok(self.standing.connects) } else { self.connected() }
    }

    pub(super) fn keep_signed_time(&mut self, unix_ms: u64) -> Result<(), OutboxError> {
        if unix_ms.abs_diff(self.standing.signed_time_ms) < SIGNED_TIME_STEP_MS {
            return Ok(());
        }
        self.write(Standing { signed_time_ms: unix_ms, ..self.standing }, Vec::new())
    }

    pub(super) fn keep_matcher_keys(&mut self, signed: &[u8]) -> Result<(), OutboxError> {
        if self.matcher_keys()?.as_deref() == Some(signed) {
            return Ok(());
        }
        self.write(self.standing, vec![Change::Put(MATCHER_KEYS_KEY.to_vec(), signed.to_vec())])
    }

    pub(super) fn matcher_keys(&self) -> Result<Option<Vec<u8>>, OutboxError> {
        self.disk.get(MATCHER_KEYS_KEY).map_err(|cause| self.failed(cause))
    }

    pub(super) fn flush(&mut self) -> Result<(), OutboxError> {
        self.disk.flush().map_err(|cause| self.failed(cause))?;
        self.write_beside()
    }

    /// After a failure: opens the disk anew, and has there what is known here. Of a write that failed half-way nothing
    /// was told or sent, so it is undone, but for a receipt; what was acknowledged and has come back goes again. What is
    /// missing then is lost, and counted and told as at a start.
    pub(super) fn mend(&mut self) -> Result<Option<Recovery>, OutboxError> {
        self.disk.reopen().map_err(|cause| self.failed(cause))?;
        let in_store = self.disk.get(STANDING_KEY).map_err(|cause| self.failed(cause))?;
        let known = match in_store.as_deref().and_then(Standing::read) {
            Some(other) if other.acknowledged < self.standing.next => self.standing.with_receipts_of(other),
            Some(_) | None => self.standing,
        };
        let Standing { next, acknowledged, .. } = known;
        let mut changes = Vec::new();
        for (first, last) in [(0, acknowledged), (next, u64::MAX)] {
            let keys = self.disk.keys(&letter_key(first), &letter_key(last)).map_err(|cause| self.failed(cause))?;
            changes.extend(keys.into_iter().map(Change::Remove));
        }
        self.write(known, changes)?;
        let found = salvage::take_over(self.disk.as_mut(), None).map_err(|cause| failed(self.disk.place(), cause))?;
        (self.held, self.standing) = (found.held, found.standing);
        self.tell_loss()?;
        Ok(found.recovery)
    }

    fn tell_loss(&mut self) -> Result<(), OutboxError> {
        let count = self.standing.lost;
        if count > 0 && self.has_room() {
            self.append(&AuditEntry::Lost { count }, 0)?;
        }
        Ok(())
    }

    /// Appends the chain's next record; `lost` is what remains to be told after it.
    fn append(&mut self, entry: &AuditEntry, lost: u64) -> Result<u64, OutboxError> {
        let number = self.standing.next;
        let record =
            AuditRecord { device: self.device.clone(), number, previous: self.standing.head, entry: entry.clone() };
        let signed = ask::audit(&record, self.signer.as_ref())
            .map_err(|cause| OutboxError::Sign { number, cause: Box::new(cause) })?;
        let next = Standing { next: number + 1, head: sha256(&signed), lost, ..self.standing };
        let mut changes = done_with_intent(entry);
        changes.push(Change::Put(letter_key(number), salvage::frame_letter(number, &signed)));
        self.write(next, changes)?;
        self.held += 1;
        Ok(number)
    }

    /// Makes these changes and that of the standing in one step, flushes, and repeats the standing beside the store.
    fn write(&mut self, next: Standing, mut changes: Vec<Change>) -> Result<(), OutboxError> {
        changes.push(Change::Put(STANDING_KEY.to_vec(), next.frame()));
        self.disk.apply(changes).map_err(|cause| self.failed(cause))?;
        self.disk.flush().map_err(|cause| self.failed(cause))?;
        self.standing = next;
        // It is kept: an error here would have it kept twice. The next change writes the file anew.
        if let Err(error) = self.write_beside() {
            tracing::error!("{error}");
        }
        Ok(())
    }

    fn write_beside(&mut self) -> Result<(), OutboxError> {
        self.disk.write_beside(&self.standing.frame()).map_err(|cause| self.failed(cause))
    }

    fn failed(&self, cause: DiskError) -> OutboxError {
        failed(self.disk.place(), cause)
    }
}

fn failed(place: &Path, cause: DiskError) -> OutboxError {
    let path = place.to_owned();
    match cause {
        DiskError::Letter { number } => OutboxError::Damaged { path, number, why: "it does not match its hash".into() },
        cause => OutboxError::Store { path, cause: Box::new(cause) },
    }
}

/// The record of an attempt takes the place of what was intended for it, in one step.
fn done_with_intent(entry: &AuditEntry) -> Vec<Change> {
    match entry {
        AuditEntry::Attempt { .. } => vec![Change::Remove(INTENT_KEY.to_vec())],
        AuditEntry::Lost { .. } | AuditEntry::Gone { .. } | AuditEntry::Started { .. } => Vec::new(),
    }
}

pub(super) fn letter_key(number: u64) -> Vec<u8> {
    [LETTER_PREFIX, &number.to_be_bytes()].concat()
}
