//! Failures of persons and devices within a window: what the limits count.

use didar_protocol::id::{DeviceId, sha256};
use rusqlite::params;

use super::references::SubjectTag;
use super::sqlite::{StoreError, Work, from_sql, to_sql};

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Failure {
    /// Another person, or a fake.
    Failed = 0,
    /// Could not be judged.
    Unclear = 1,
    /// A challenge that nobody used.
    Abandoned = 2,
}

const PERSON: u8 = 0;
const DEVICE: u8 = 1;

impl Work<'_> {
    /// Counts a failure against the device and, unless it was abandoned, the person.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn count_failure(
        &self,
        person: Option<&SubjectTag>,
        device: &DeviceId,
        kind: Failure,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        if let Some(tag) = person {
            self.count(PERSON, tag, kind, now_ms)?;
        }
        self.count(DEVICE, &sha256(device.as_str().as_bytes()), kind, now_ms)
    }

    fn count(&self, scope: u8, who: &[u8; 32], kind: Failure, now_ms: u64) -> Result<(), StoreError> {
        self.tx
            .execute("INSERT INTO failures VALUES (?1, ?2, ?3, ?4)", params![scope, who, kind as u8, to_sql(now_ms)])?;
        Ok(())
    }

    /// Failures of this kind of the person since `since_ms`.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn person_failures(&self, tag: &SubjectTag, kind: Failure, since_ms: u64) -> Result<u32, StoreError> {
        Ok(self.tx.query_row(
            "SELECT count(*) FROM failures WHERE scope = 0 AND who = ?1 AND kind = ?2 AND at_ms > ?3",
            params![tag, kind as u8, to_sql(since_ms)],
            |row| row.get(0),
        )?)
    }

    /// Failures of any kind of the device since `since_ms`.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn device_failures(&self, device: &DeviceId, since_ms: u64) -> Result<u32, StoreError> {
        let who = sha256(device.as_str().as_bytes());
        let query = "SELECT count(*) FROM failures WHERE scope = 1 AND who = ?1 AND at_ms > ?2";
        Ok(self.tx.query_row(query, params![who, to_sql(since_ms)], |row| row.get(0))?)
    }

    /// Forgets a person's failures: they were recognised.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn clear_failures(&self, tag: &SubjectTag) -> Result<(), StoreError> {
        self.tx.execute("DELETE FROM failures WHERE scope = 0 AND who = ?1", [tag])?;
        Ok(())
    }

    /// Drops what no window reaches any more; says how many.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn drop_failures(&self, until_ms: u64) -> Result<u64, StoreError> {
        let dropped = self.tx.execute("DELETE FROM failures WHERE at_ms <= ?1", [to_sql(until_ms)])?;
        Ok(from_sql(i64::try_from(dropped).unwrap_or(i64::MAX)))
    }
}
