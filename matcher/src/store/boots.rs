//! The boots that a device has told of, and how a connection stands to them: a copy of the device shows by its count.

use std::ops::RangeInclusive;

use didar_protocol::id::DeviceId;
use didar_protocol::message::Connection;
use rusqlite::params;

use super::sqlite::{StoreError, Work, to_sql};

/// Boots of a device that are remembered, so that an old message is not taken for a second machine.
const BOOTS_MAX: i64 = 16;
/// A message may have been on its way for so long, milliseconds: a dead matcher's connection is given up after 15 s, and what
/// waits for one that lives is handled within some.
const LATE_MAX_MS: u64 = 30_000;
/// More boots within that time no machine has.
const BOOTS_RECENT_MAX: i64 = 12;

/// How a connection stands to those that its device has told of before. A device keeps the count before it connects, so no
/// two of its boots have one in common, and a later boot has higher ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// None came after it.
    Newest,
    /// The newest, told before.
    Known,
    /// An older one, which may have been late on its way.
    Earlier,
    /// An older one that was told before, and is too old to be late: somebody plays it again, or uses what it had then.
    Old,
    /// Its count was used by another boot, or a newer boot has been there for too long for this one to be late: two machines
    /// have the device's store and key.
    Copy,
}

/// What the remembered boots of a device say about a connection.
struct Known {
    /// The highest count of its boot.
    reached: Option<i64>,
    /// Whether another boot had its count.
    clashes: bool,
    /// Since when there is another boot with higher counts alone.
    newer_since_ms: Option<i64>,
    /// Boots that were first heard of just now.
    recent: i64,
}

impl Work<'_> {
    /// How a connection stands to those that are remembered of the device; the newest is remembered from now on.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn meet(&self, id: &DeviceId, connection: &Connection, now_ms: u64) -> Result<Met, StoreError> {
        let Connection { boot, connects } = connection;
        let connects = to_sql(*connects);
        let recent_ms = to_sql(now_ms.saturating_sub(LATE_MAX_MS))..=to_sql(now_ms.saturating_add(LATE_MAX_MS));
        let known = self.known(id, boot, connects, &recent_ms)?;
        if known.clashes {
            return Ok(Met::Copy);
        }
        if let Some(since_ms) = known.newer_since_ms {
            let told = known.reached.is_some_and(|reached| connects <= reached);
            // By a clock that was set back since it may lie ahead.
            return Ok(match (recent_ms.contains(&since_ms), told) {
                (true, _) => Met::Earlier,
                (false, true) => Met::Old,
                (false, false) => Met::Copy,
            });
        }
        match known.reached {
            Some(reached) if connects == reached => return Ok(Met::Known),
            Some(reached) if connects < reached => return Ok(Met::Earlier),
            None if known.recent >= BOOTS_RECENT_MAX => return Ok(Met::Copy),
            Some(_) | None => {}
        }
        self.tx.execute(
            "INSERT INTO boots VALUES (?1, ?2, ?3, ?3, ?4) ON CONFLICT DO UPDATE SET connects = ?3",
            params![id.as_str(), boot, connects, to_sql(now_ms)],
        )?;
        self.tx.execute(
            "DELETE FROM boots WHERE device = ?1 AND boot NOT IN
             (SELECT boot FROM boots WHERE device = ?1 ORDER BY connects DESC LIMIT ?2)",
            params![id.as_str(), BOOTS_MAX],
        )?;
        Ok(Met::Newest)
    }

    fn known(
        &self,
        id: &DeviceId,
        boot: &[u8; 16],
        connects: i64,
        recent_ms: &RangeInclusive<i64>,
    ) -> Result<Known, StoreError> {
        let mut statement = self.tx.prepare_cached(
            "SELECT max(connects) FILTER (WHERE boot = ?2),
                    COALESCE(max(boot <> ?2 AND ?3 BETWEEN first AND connects), 0),
                    min(since_ms) FILTER (WHERE boot <> ?2 AND first > ?3),
                    count(*) FILTER (WHERE since_ms BETWEEN ?4 AND ?5)
             FROM boots WHERE device = ?1",
        )?;
        Ok(statement.query_row(params![id.as_str(), boot, connects, recent_ms.start(), recent_ms.end()], |row| {
            Ok(Known { reached: row.get(0)?, clashes: row.get(1)?, newer_since_ms: row.get(2)?, recent: row.get(3)? })
        })?)
    }

    pub(super) fn forget_boots(&self, id: &DeviceId) -> Result<(), StoreError> {
        self.tx.execute("DELETE FROM boots WHERE device = ?1", [id.as_str()])?;
        Ok(())
    }
}
