//! The devices' audit records: kept as signed, chained by hash, never changed.
//!
//! A device writes one chain. Where it cannot go on with it (a new disk, a copy that wrote first), an operator ends it and
//! begins the next: at record 1, or after that record of an ended chain which the device's own records follow.
//! Invariant: what a receipt covers is here, with everything before it; held by `tests/service/chains.rs`.

use didar_protocol::id::{DeviceId, Hash};
use didar_protocol::message::AuditRecord;
use rusqlite::{OptionalExtension as _, params};

use super::sqlite::{StoreError, Work, from_sql, to_sql};

/// Where a record that arrived belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditPlace {
    /// It is here already.
    Repeat,
    /// Right after a record that is here, or at the beginning of its chain.
    Follows,
    /// New; what comes before it is not here yet.
    Ahead,
    /// It contradicts a record that is here.
    Fork {
        /// It follows no other fork: somebody begins another chain.
        branches: bool,
    },
    /// A fork that is kept already.
    ForkAgain,
    /// It follows nothing that is here, in a chain that has not begun or is forked: nobody knows where it belongs.
    Loose {
        /// The chain has begun, and is forked.
        begun: bool,
    },
    /// Of a chain that has ended, and not part of the one that is being written.
    Ended,
}

/// How far the chain that a device is writing reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Which of its chains: 1, and one more for each that an operator has begun.
    pub chain: u64,
    /// Everything up to this number is here, or told as gone.
    pub highest: u64,
    /// Numbers after it that are missing before one that is here, at most 64.
    pub missing: Vec<u64>,
}

/// A chain that an operator has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedChain {
    /// Which of the device's chains.
    pub number: u64,
    /// Everything up to this record of it is here.
    pub reached: u64,
}

/// The chain that a device is writing.
struct Chain {
    number: i64,
    /// It begins after this record; `None` until one has shown it.
    after: Option<i64>,
    /// Every record of it up to this one is here, or told as gone.
    audited: i64,
}

/// Most missing numbers that one receipt names.
const MISSING_MAX: usize = 64;

impl Work<'_> {
    /// Where a record belongs in the chain that its device is writing.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn place_audit(&self, record: &AuditRecord, hash: &Hash) -> Result<AuditPlace, StoreError> {
        let (device, number) = (record.device.as_str(), to_sql(record.number));
        let chain = self.chain(&record.device)?;
        if let Some(fork) = self.is_here(device, &chain, number, hash)? {
            return Ok(if fork { AuditPlace::ForkAgain } else { AuditPlace::Repeat });
        }
        if chain.number > 1 && self.has_ended(device, number, hash)? {
            let stems = chain.after.is_some_and(|after| number <= after);
            return Ok(if stems { AuditPlace::Repeat } else { AuditPlace::Ended });
        }
        if chain.after.is_some_and(|after| number <= after) || self.contradicts(record, hash, &chain)? {
            let follows = self.is_here(device, &chain, number - 1, &record.previous)? == Some(true);
            return Ok(AuditPlace::Fork { branches: !follows });
        }
        let begins = match chain.after {
            Some(after) => number == after + 1,
            None => number == 1 || self.has_ended(device, number - 1, &record.previous)?,
        };
        // Behind what is gone nothing shows what came before.
        let waited_for = number == chain.audited + 1;
        if begins || waited_for || self.is_here(device, &chain, number - 1, &record.previous)? == Some(false) {
            return Ok(AuditPlace::Follows);
        }
        let begun = chain.after.is_some();
        let unsure = !begun || self.is_forked(device, &chain)?;
        Ok(if unsure { AuditPlace::Loose { begun } } else { AuditPlace::Ahead })
    }

    /// Whether the chain holds another record of this number, another one before it, or one after it that follows
    /// another.
    fn contradicts(&self, record: &AuditRecord, hash: &Hash, chain: &Chain) -> Result<bool, StoreError> {
        let kept = |number: u64| {
            self.tx
                .prepare_cached(
                    "SELECT hash, previous FROM audit WHERE device = ?1 AND chain = ?2 AND number = ?3 AND fork = 0",
                )?
                .query_row(params![record.device.as_str(), chain.number, to_sql(number)], |row| {
                    Ok((row.get::<_, Hash>(0)?, row.get::<_, Hash>(1)?))
                })
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

    /// Keeps a record whose signature was verified, at its place; what is no part of the chain is kept beside it.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn keep_audit(
        &self,
        record: &AuditRecord,
        hash: &Hash,
        signed: &[u8],
        place: AuditPlace,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let (device, number) = (record.device.as_str(), to_sql(record.number));
        let chain = self.chain(&record.device)?;
        let fork = matches!(place, AuditPlace::Fork { .. });
        if chain.after.is_none() && place == AuditPlace::Follows {
            self.tx.execute(
                "UPDATE devices SET after = ?2, audited = ?2 WHERE device = ?1",
                params![device, number - 1],
            )?;
        }
        self.tx.prepare_cached("INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(params![
            device,
            chain.number,
            number,
            hash,
            record.previous,
            signed,
            to_sql(now_ms),
            fork
        ])?;
        Ok(())
    }

    /// Ends the device's chain and has the next one begin: at record 1, after a record of an ended chain (whichever the
    /// device sends), or at `from`. `None` where there is no such device.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn begin_chain(
        &self,
        device: &DeviceId,
        from: Option<u64>,
        now_ms: u64,
    ) -> Result<Option<EndedChain>, StoreError> {
        let row = self
            .tx
            .query_row("SELECT chain, audited FROM devices WHERE device = ?1", [device.as_str()], |row| {
                Ok(EndedChain { number: from_sql(row.get(0)?), reached: from_sql(row.get(1)?) })
            })
            .optional()?;
        let Some(ended) = row else {
            return Ok(None);
        };
        self.tx.execute(
            "INSERT INTO audit_ended VALUES (?1, ?2, ?3, ?4)",
            params![device.as_str(), to_sql(ended.number), to_sql(ended.reached), to_sql(now_ms)],
        )?;
        let after = from.map(|from| to_sql(from.saturating_sub(1)));
        self.tx.execute(
            "UPDATE devices SET chain = chain + 1, after = ?2, audited = COALESCE(?2, 0) WHERE device = ?1",
            params![device.as_str(), after],
        )?;
        Ok(Some(ended))
    }

    fn chain(&self, device: &DeviceId) -> Result<Chain, StoreError> {
        Ok(self
            .tx
            .prepare_cached("SELECT chain, after, audited FROM devices WHERE device = ?1")?
            .query_row([device.as_str()], |row| {
                Ok(Chain { number: row.get(0)?, after: row.get(1)?, audited: row.get(2)? })
            })?)
    }

    /// Whether a chain that has ended holds this record, with everything before it.
    fn has_ended(&self, device: &str, number: i64, hash: &Hash) -> Result<bool, StoreError> {
        Ok(self
            .tx
            .prepare_cached(
                "SELECT 1 FROM audit a JOIN audit_ended e USING (device, chain)
                 WHERE a.device = ?1 AND a.number = ?2 AND a.hash = ?3 AND a.fork = 0 AND a.number <= e.reached",
            )?
            .exists(params![device, number, hash])?)
    }

    /// Whether the chain holds this record, or holds it beside itself: `Some(true)` for a fork.
    fn is_here(&self, device: &str, chain: &Chain, number: i64, hash: &Hash) -> Result<Option<bool>, StoreError> {
        Ok(self
            .tx
            .prepare_cached("SELECT fork FROM audit WHERE device = ?1 AND number = ?2 AND hash = ?3 AND chain = ?4")?
            .query_row(params![device, number, hash, chain.number], |row| row.get(0))
            .optional()?)
    }

    fn is_forked(&self, device: &str, chain: &Chain) -> Result<bool, StoreError> {
        Ok(self
            .tx
            .prepare_cached("SELECT 1 FROM audit WHERE device = ?1 AND chain = ?2 AND fork = 1")?
            .exists(params![device, chain.number])?)
    }

    /// A device tells that these records of the chain that it is writing are lost: what is gone for good must not hold up
    /// the receipts of all that follows. `false` where others are missing before them, or none of them is: the device
    /// tells again what a receipt says is missing.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn wait_no_more(&self, device: &DeviceId, first: u64, last: u64) -> Result<bool, StoreError> {
        let changed = self.tx.execute(
            "UPDATE devices SET audited = ?3 WHERE device = ?1 AND ?2 <= audited + 1 AND audited < ?3",
            params![device.as_str(), to_sql(first), to_sql(last)],
        )?;
        Ok(changed == 1)
    }

    /// Number and hash of the last record up to `highest` that is in the chain which the device is writing; 0 and zeros
    /// where there is none.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn last_kept(&self, device: &DeviceId, highest: u64) -> Result<(u64, Hash), StoreError> {
        let found = self
            .tx
            .prepare_cached(
                "SELECT number, hash FROM audit JOIN devices USING (device, chain)
                 WHERE device = ?1 AND number <= ?2 AND fork = 0 ORDER BY number DESC LIMIT 1",
            )?
            .query_row(params![device.as_str(), to_sql(highest)], |row| Ok((from_sql(row.get(0)?), row.get(1)?)))
            .optional()?;
        Ok(found.unwrap_or_default())
    }

    /// How far the chain reaches without a gap, and what is missing after that.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn audit_reach(&self, device: &DeviceId) -> Result<Shown, StoreError> {
        let device_name = device.as_str();
        let (chain, mut highest): (i64, i64) =
            self.tx.query_row("SELECT chain, audited FROM devices WHERE device = ?1", [device_name], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let before = highest;
        let mut next = self
            .tx
            .prepare_cached("SELECT 1 FROM audit WHERE device = ?1 AND chain = ?3 AND fork = 0 AND number = ?2")?;
        while next.exists(params![device_name, highest + 1, chain])? {
            highest += 1;
        }
        if highest > before {
            self.tx.execute("UPDATE devices SET audited = ?2 WHERE device = ?1", params![device_name, highest])?;
        }
        let mut statement = self.tx.prepare_cached(
            "SELECT number FROM audit WHERE device = ?1 AND chain = ?3 AND fork = 0 AND number > ?2
             ORDER BY number LIMIT 65",
        )?;
        let mut expected = highest + 1;
        let mut missing = Vec::new();
        for kept in statement.query_map(params![device.as_str(), highest, chain], |row| row.get::<_, i64>(0))? {
            let kept = kept?;
            while expected < kept && missing.len() < MISSING_MAX {
                missing.push(from_sql(expected));
                expected += 1;
            }
            expected = kept + 1;
        }
        Ok(Shown { chain: from_sql(chain), highest: from_sql(highest), missing })
    }
}
