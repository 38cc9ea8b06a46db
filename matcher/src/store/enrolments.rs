//! Who may enrol: one-time codes that an operator gave out, and keys that wait for an operator's approval.

use didar_protocol::id::{DeviceId, Hash, InitiatorId};
use rusqlite::{OptionalExtension as _, params};

use super::sqlite::{StoreError, Work, from_sql, to_sql};

/// Requests that may wait for approval, of one device and of all.
const WAITING_MAX: (i64, i64) = (4, 64);
/// How long a request waits, and how long an approval counts.
const LIFE_MS: u64 = 86_400_000;

/// Whether a key that was shown without a code gets a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Yes; the device may serve these initiators.
    Given(Vec<InitiatorId>),
    /// The operator has not said so yet.
    Waiting,
    /// There is no room for another request to wait.
    Crowded,
}

/// A request that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Which device.
    pub device: String,
    /// SHA-256 of its public key.
    pub fingerprint: Hash,
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
}

impl Work<'_> {
    /// Keeps the hash of a one-time code; an earlier one of this device counts no more.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn invite(
        &self,
        device: &DeviceId,
        code_hash: &Hash,
        initiators: &[InitiatorId],
        until_ms: u64,
    ) -> Result<(), StoreError> {
        self.tx.execute(
            "INSERT OR REPLACE INTO invitations VALUES (?1, ?2, ?3, ?4, NULL)",
            params![device.as_str(), code_hash, joined(initiators), to_sql(until_ms)],
        )?;
        Ok(())
    }

    /// Spends a code on a key: it counts for this one from now on, so that a device whose answer was lost asks again.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn redeem(
        &self,
        device: &DeviceId,
        code_hash: &Hash,
        fingerprint: &Hash,
        now_ms: u64,
    ) -> Result<Option<Vec<InitiatorId>>, StoreError> {
        let initiators: Option<String> = self
            .tx
            .query_row(
                "UPDATE invitations SET fingerprint = ?3
                 WHERE device = ?1 AND code_hash = ?2 AND until_ms > ?4 AND (fingerprint IS NULL OR fingerprint = ?3)
                 RETURNING initiators",
                params![device.as_str(), code_hash, fingerprint, to_sql(now_ms)],
                |row| row.get(0),
            )
            .optional()?;
        initiators.map(|text| split(&text)).transpose()
    }

    /// Says whether the operator has approved this key, and lets it wait where not.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn ask_approval(&self, device: &DeviceId, fingerprint: &Hash, now_ms: u64) -> Result<Grant, StoreError> {
        self.tx.execute("DELETE FROM approvals WHERE since_ms <= ?1", [to_sql(now_ms.saturating_sub(LIFE_MS))])?;
        let found: Option<Option<String>> = self
            .tx
            .query_row(
                "SELECT initiators FROM approvals WHERE device = ?1 AND fingerprint = ?2",
                params![device.as_str(), fingerprint],
                |row| row.get(0),
            )
            .optional()?;
        match found {
            Some(Some(initiators)) => return Ok(Grant::Given(split(&initiators)?)),
            Some(None) => return Ok(Grant::Waiting),
            None => {}
        }
        let (own, all): (i64, i64) = self.tx.query_row(
            "SELECT count(*) FILTER (WHERE device = ?1), count(*) FROM approvals",
            [device.as_str()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        if own >= WAITING_MAX.0 || all >= WAITING_MAX.1 {
            return Ok(Grant::Crowded);
        }
        self.tx.execute(
            "INSERT INTO approvals VALUES (?1, ?2, ?3, NULL)",
            params![device.as_str(), fingerprint, to_sql(now_ms)],
        )?;
        Ok(Grant::Waiting)
    }

    /// Approves a key that waits; false where none of this device and fingerprint does.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn approve(
        &self,
        device: &DeviceId,
        fingerprint: &Hash,
        initiators: &[InitiatorId],
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        Ok(self.tx.execute(
            "UPDATE approvals SET initiators = ?3, since_ms = ?4 WHERE device = ?1 AND fingerprint = ?2",
            params![device.as_str(), fingerprint, joined(initiators), to_sql(now_ms)],
        )? == 1)
    }

    /// No code and no approval that was given to this device counts any more: whoever holds its key gets no certificate by
    /// them.
    ///
    /// # Errors
    /// When the database refuses.
    pub(super) fn forget_grants(&self, device: &DeviceId) -> Result<(), StoreError> {
        self.tx.execute("DELETE FROM invitations WHERE device = ?1", [device.as_str()])?;
        self.tx.execute("DELETE FROM approvals WHERE device = ?1", [device.as_str()])?;
        Ok(())
    }

    /// The requests that wait for approval, oldest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn waiting(&self) -> Result<Vec<Waiting>, StoreError> {
        let mut statement = self.tx.prepare(
            "SELECT device, fingerprint, since_ms FROM approvals WHERE initiators IS NULL ORDER BY since_ms",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(Waiting { device: row.get(0)?, fingerprint: row.get(1)?, since_ms: from_sql(row.get(2)?) })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn joined(initiators: &[InitiatorId]) -> String {
    initiators.iter().map(InitiatorId::as_str).collect::<Vec<_>>().join(" ")
}

fn split(text: &str) -> Result<Vec<InitiatorId>, StoreError> {
    text.split(' ').map(|id| id.parse().map_err(|_| StoreError::Damaged("initiator"))).collect()
}
