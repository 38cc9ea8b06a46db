//! The devices' audit records: kept as signed, chained by hash, never changed.

use didar_protocol::id::{DeviceId, Hash};
use didar_protocol::message::AuditRecord;
use rusqlite::{OptionalExtension as _, params};

use super::sqlite::{StoreError, Work, from_sql, to_sql};

/// What became of a record that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditKept {
    /// New, and it fits its neighbours, as far as they are here.
    New,
    /// It was here already.
    Repeat,
    /// It contradicts a record that was here before: kept beside the chain.
    Fork,
}

/// How far the chain of a device reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Everything up to this number is here.
    pub highest: u64,
    /// Numbers after it that are missing before one that is here, at most 64.
    pub missing: Vec<u64>,
}

/// Most missing numbers that one receipt names.
const MISSING_MAX: usize = 64;
/// Most records that one message can tell as lost: more than an outbox holds.
const TOLD_MAX: u64 = 100_000;

impl Work<'_> {
    /// Keeps a record whose signature was verified.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn keep_audit(
        &self,
        record: &AuditRecord,
        hash: &Hash,
        signed: &[u8],
        now_ms: u64,
    ) -> Result<AuditKept, StoreError> {
        let device = record.device.as_str();
        let number = to_sql(record.number);
        let known = self
            .tx
            .prepare_cached("SELECT 1 FROM audit WHERE device = ?1 AND number = ?2 AND hash = ?3")?
            .exists(params![device, number, hash])?;
        if known {
            return Ok(AuditKept::Repeat);
        }
        let fork = self.contradicts(record, hash)?;
        self.tx.execute(
            "INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![device, number, hash, record.previous, signed, to_sql(now_ms), fork],
        )?;
        Ok(if fork { AuditKept::Fork } else { AuditKept::New })
    }

    /// Whether the chain holds another record of this number, another one before it, or one after it that follows
    /// another.
    fn contradicts(&self, record: &AuditRecord, hash: &Hash) -> Result<bool, StoreError> {
        let kept = |number: u64| {
            self.tx
                .query_row(
                    "SELECT hash, previous FROM audit WHERE device = ?1 AND number = ?2 AND fork = 0",
                    params![record.device.as_str(), to_sql(number)],
                    |row| Ok((row.get::<_, Hash>(0)?, row.get::<_, Hash>(1)?)),
                )
                .optional()
        };
        if kept(record.number)?.is_some() {
            return Ok(true);
        }
        let before = record.number.checked_sub(1).map(kept).transpose()?.flatten();
        if before.is_some_and(|(before, _)| before != record.previous) {
            return Ok(true);
        }
        let after = record.number.checked_add(1).map(kept).transpose()?.flatten();
        Ok(after.is_some_and(|(_, previous)| previous != *hash))
    }

    /// A device tells that it lost `count` records before its record `number` (a damaged store): the oldest gaps are
    /// closed, since what is gone for good must not hold up the receipts of all that follows.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn close_told_gaps(&self, device: &DeviceId, number: u64, count: u64) -> Result<(), StoreError> {
        let mut left = count.min(TOLD_MAX);
        while left > 0 {
            let reach = self.audit_reach(device)?;
            let gaps: Vec<u64> = reach.missing.into_iter().filter(|gap| *gap < number).collect();
            if gaps.is_empty() {
                return Ok(());
            }
            for gap in gaps.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
                self.tx.execute("INSERT INTO audit_told VALUES (?1, ?2)", params![device.as_str(), to_sql(gap)])?;
                left -= 1;
            }
        }
        Ok(())
    }

    /// How far the chain reaches without a gap, and what is missing after that.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn audit_reach(&self, device: &DeviceId) -> Result<Shown, StoreError> {
        let device_name = device.as_str();
        let mut highest: i64 =
            self.tx.query_row("SELECT audited FROM devices WHERE device = ?1", [device_name], |row| row.get(0))?;
        let before = highest;
        let mut next = self.tx.prepare_cached(
            "SELECT 1 FROM audit WHERE device = ?1 AND fork = 0 AND number = ?2
             UNION ALL SELECT 1 FROM audit_told WHERE device = ?1 AND number = ?2",
        )?;
        while next.exists(params![device_name, highest + 1])? {
            highest += 1;
        }
        if highest > before {
            self.tx.execute("UPDATE devices SET audited = ?2 WHERE device = ?1", params![device_name, highest])?;
        }
        let mut statement = self.tx.prepare_cached(
            "SELECT number FROM audit WHERE device = ?1 AND fork = 0 AND number > ?2
             UNION SELECT number FROM audit_told WHERE device = ?1 AND number > ?2 ORDER BY number LIMIT 65",
        )?;
        let mut expected = highest + 1;
        let mut missing = Vec::new();
        for kept in statement.query_map(params![device.as_str(), highest], |row| row.get::<_, i64>(0))? {
            let kept = kept?;
            while expected < kept && missing.len() < MISSING_MAX {
                missing.push(from_sql(expected));
                expected += 1;
            }
            expected = kept + 1;
        }
        Ok(Shown { highest: from_sql(highest), missing })
    }
}
