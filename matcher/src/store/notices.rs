//! Alarms that the service has not told yet: raised by the programs and threads beside it, told by its next sweep.

use didar_protocol::id::DeviceId;
use rusqlite::params;

use super::sqlite::{StoreError, Work, from_sql, to_sql};

/// Notices that may wait; while so many do, further ones are dropped: the operator has plenty to look at.
const WAITING_MAX: i64 = 256;

/// Something that an operator must hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// When it happened, Unix milliseconds.
    pub at_ms: u64,
    /// Where, if that is known.
    pub device: Option<DeviceId>,
    /// In words, no person.
    pub note: String,
}

impl Work<'_> {
    /// Has an alarm told by the matcher that serves; at the latest when it serves again.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn raise(&self, notice: &Notice) -> Result<(), StoreError> {
        let device = notice.device.as_ref().map(DeviceId::as_str);
        self.tx.execute(
            "INSERT INTO notices (at_ms, device, note)
             SELECT ?1, ?2, ?3 WHERE (SELECT count(*) FROM notices) < ?4",
            params![to_sql(notice.at_ms), device, notice.note, WAITING_MAX],
        )?;
        Ok(())
    }

    /// Takes the waiting notices, oldest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn take_notices(&self) -> Result<Vec<Notice>, StoreError> {
        let mut statement = self.tx.prepare_cached("SELECT at_ms, device, note FROM notices ORDER BY number")?;
        let rows = statement.query_map([], |row| {
            let device: Option<String> = row.get(1)?;
            let device = device.and_then(|id| id.parse().ok());
            Ok(Notice { at_ms: from_sql(row.get(0)?), device, note: row.get(2)? })
        })?;
        let notices = rows.collect::<Result<Vec<_>, _>>()?;
        if !notices.is_empty() {
            self.tx.execute("DELETE FROM notices", [])?;
        }
        Ok(notices)
    }
}
