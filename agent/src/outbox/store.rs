//! The chain's head in memory, and every change of it on the disk before it counts.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use didar_protocol::id::{DeviceId, sha256};
use didar_protocol::message::{AuditEntry, AuditRecord};
use didar_protocol::seal::Signer;

use super::Recovery;
use super::salvage;
use super::standing::{self, Standing};
use crate::ask;
use crate::edge::OutboxError;

/// Least step by which a later signed time is worth a write: a clock needs no better start after a power cut.
const SIGNED_TIME_STEP_MS: u64 = 60_000;

pub(super) const STANDING_KEY: &[u8] = b"S";
pub(super) const MATCHER_KEYS_KEY: &[u8] = b"K";
pub(super) const LETTER_PREFIX: &[u8] = b"L";

/// Why the files cannot be used; the cause inside [`OutboxError::Store`].
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("in use by another didar-agent; stop that one first")]
    InUse,
    #[error("{file}: {cause}")]
    File { file: PathBuf, cause: io::Error },
    #[error("failed while {doing}: {cause}")]
    Sled { doing: &'static str, cause: sled::Error },
}

impl StoreError {
    pub(super) fn at(self, folder: &Path) -> OutboxError {
        OutboxError::Store { path: folder.to_owned(), cause: Box::new(self) }
    }
}

pub(super) struct Store {
    db: sled::Db,
    folder: PathBuf,
    device: DeviceId,
    signer: Arc<dyn Signer>,
    capacity: u64,
    held: u64,
    standing: Standing,
}

impl Store {
    pub(super) fn open(
        folder: &Path,
        device: DeviceId,
        signer: Arc<dyn Signer>,
        capacity: u64,
    ) -> Result<(Self, Option<Recovery>), OutboxError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|cause| StoreError::File { file: folder.to_owned(), cause }.at(folder))?;
        let found = salvage::open_or_rebuild(folder).map_err(|cause| cause.at(folder))?;
        let mut store = Self {
            db: found.db,
            folder: folder.to_owned(),
            device,
            signer,
            capacity: capacity.max(1),
            held: found.held,
            standing: found.standing,
        };
        store.tell_loss()?;
        Ok((store, found.recovery))
    }

    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    pub(super) fn held(&self) -> u64 {
        self.held
    }

    pub(super) fn keep(&mut self, entry: &AuditEntry) -> Result<u64, OutboxError> {
        self.tell_loss()?;
        if self.held >= self.capacity {
            let next = Standing { lost: self.standing.lost + 1, ..self.standing };
            self.write(next, sled::Batch::default())?;
            return Ok(next.next);
        }
        self.append(entry.clone(), self.standing.lost)
    }

    pub(super) fn letters(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, OutboxError> {
        let mut letters = Vec::new();
        for item in self.db.range(letter_key(from)..=letter_key(u64::MAX)).take(limit) {
            let (_, value) = item.map_err(|cause| self.failed("reading", cause))?;
            let (number, bytes) = salvage::read_letter(&value).ok_or_else(|| OutboxError::Damaged {
                path: self.folder.clone(),
                number: letters.last().map_or(from, |(number, _)| number + 1),
                why: "it does not match its hash; a restart saves the others".to_owned(),
            })?;
            letters.push((number, bytes.to_vec()));
        }
        Ok(letters)
    }

    pub(super) fn acknowledge(&mut self, up_to: u64) -> Result<(), OutboxError> {
        let up_to = up_to.min(self.standing.next - 1);
        if up_to <= self.standing.acknowledged {
            return Ok(());
        }
        let mut batch = sled::Batch::default();
        let mut left = 0;
        for key in self.db.range(letter_key(0)..=letter_key(up_to)).keys() {
            batch.remove(key.map_err(|cause| self.failed("reading", cause))?);
            left += 1;
        }
        let held = self.held.saturating_sub(left);
        let mut next = Standing { acknowledged: up_to, ..self.standing };
        next.holes = next.issued().saturating_sub(held);
        // Not flushed: a record that comes back after a power cut is sent again, and dropped there as a repeat.
        batch.insert(STANDING_KEY, next.frame());
        self.db.apply_batch(batch).map_err(|cause| self.failed("forgetting", cause))?;
        self.standing = next;
        self.held = held;
        if held == 0 {
            self.write_beside()?;
        }
        self.tell_loss()
    }

    pub(super) fn connected(&mut self) -> Result<u64, OutboxError> {
        let next = Standing { connects: self.standing.connects + 1, ..self.standing };
        self.write(next, sled::Batch::default())?;
        Ok(next.connects)
    }

    pub(super) fn keep_signed_time(&mut self, unix_ms: u64) -> Result<(), OutboxError> {
        if unix_ms < self.standing.signed_time_ms.saturating_add(SIGNED_TIME_STEP_MS) {
            return Ok(());
        }
        self.write(Standing { signed_time_ms: unix_ms, ..self.standing }, sled::Batch::default())
    }

    pub(super) fn keep_matcher_keys(&mut self, signed: &[u8]) -> Result<(), OutboxError> {
        if self.matcher_keys()?.as_deref() == Some(signed) {
            return Ok(());
        }
        let mut batch = sled::Batch::default();
        batch.insert(MATCHER_KEYS_KEY, signed);
        self.write(self.standing, batch)
    }

    pub(super) fn matcher_keys(&self) -> Result<Option<Vec<u8>>, OutboxError> {
        let value = self.db.get(MATCHER_KEYS_KEY).map_err(|cause| self.failed("reading", cause))?;
        Ok(value.map(|bytes| bytes.to_vec()))
    }

    pub(super) fn flush(&mut self) -> Result<(), OutboxError> {
        self.db.flush().map_err(|cause| self.failed("flushing", cause))?;
        self.write_beside()
    }

    fn tell_loss(&mut self) -> Result<(), OutboxError> {
        let count = self.standing.lost;
        if count > 0 && self.held < self.capacity {
            self.append(AuditEntry::Lost { count }, 0)?;
        }
        Ok(())
    }

    /// Appends the chain's next record; `lost` is what remains to be told after it.
    fn append(&mut self, entry: AuditEntry, lost: u64) -> Result<u64, OutboxError> {
        let number = self.standing.next;
        let record = AuditRecord { device: self.device.clone(), number, previous: self.standing.head, entry };
        let signed = ask::audit(&record, self.signer.as_ref())
            .map_err(|cause| OutboxError::Sign { number, cause: Box::new(cause) })?;
        let next = Standing { next: number + 1, head: sha256(&signed), lost, ..self.standing };
        let mut batch = sled::Batch::default();
        batch.insert(letter_key(number), salvage::frame_letter(number, &signed));
        self.write(next, batch)?;
        self.held += 1;
        Ok(number)
    }

    /// Changes the store by `batch` and the standing in one step, flushes, and repeats the standing beside the store.
    fn write(&mut self, next: Standing, mut batch: sled::Batch) -> Result<(), OutboxError> {
        batch.insert(STANDING_KEY, next.frame());
        self.db.apply_batch(batch).map_err(|cause| self.failed("writing", cause))?;
        self.db.flush().map_err(|cause| self.failed("flushing", cause))?;
        self.standing = next;
        self.write_beside()
    }

    fn write_beside(&self) -> Result<(), OutboxError> {
        standing::write_beside(&self.folder, &self.standing).map_err(|cause| cause.at(&self.folder))
    }

    fn failed(&self, doing: &'static str, cause: sled::Error) -> OutboxError {
        StoreError::Sled { doing, cause }.at(&self.folder)
    }
}

pub(super) fn letter_key(number: u64) -> Vec<u8> {
    [LETTER_PREFIX, &number.to_be_bytes()].concat()
}
