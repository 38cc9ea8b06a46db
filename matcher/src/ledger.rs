//! The matcher's ledger: numbered, chained by hash, append-only. Every attempt is in it, refused and abandoned ones
//! too, and so is every reference made or destroyed.
//!
//! An entry is one line of JSON, chained as [`chain`] says; [`exported`] is the ledger as a file. Persons stand in it as
//! an HMAC under a key of their own, which dies with their reference.

pub mod chain;
pub mod exported;

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};

use rusqlite::{OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use chain::{Break, Chain, line_hash};
pub use chain::{Checked, Head, Line, Unseen};
use exported::Unwritable;

use crate::store::{Store, StoreError, Work, from_sql, to_sql};

const LAST: &str = "SELECT number, previous, hash, entry FROM ledger ORDER BY number DESC LIMIT 1";
const PAGE_OF: &str =
    "SELECT number, previous, hash, entry FROM ledger WHERE number > ?1 AND number <= ?2 ORDER BY number LIMIT ?3";
/// Lines that are read in one transaction.
const PAGE: i64 = 1000;

/// One entry. Absent fields are not written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// What happened.
    pub what: What,
    /// Which matcher writes.
    pub matcher: String,
    /// Which device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Which attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
    /// The device's name of its request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// On whose behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiator: Option<String>,
    /// The initiator's own reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Whom it concerns: an HMAC, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// `primary` or `subsequent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Verdict or, in `audited` and `undelivered`, the outcome at the kiosk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The reason's stable name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Figures x 1000: similarity, threshold, and everything that the liveness judgement found.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, i64>,
    /// The audit record's number, how far a chain of them had reached, or how many references.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Which of the device's chains of records; absent for its first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<u64>,
    /// In `decided`: false where the kiosk had ended the attempt by itself, so that nobody waits for the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaited: Option<bool>,
    /// SHA-256 of the audit record or of the attempt's bytes, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Version of the liveness policy: in `decided` the centre's, in `audited` the device's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<u32>,
    /// In words; no person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What an entry tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A challenge was issued.
    #[default]
    Challenged,
    /// An attempt was decided.
    Decided,
    /// A request or attempt was refused.
    Refused,
    /// A challenge expired unused.
    Abandoned,
    /// A device's audit record was kept.
    Audited,
    /// The kiosk showed something else than the verdict.
    Undelivered,
    /// A reference from a document's picture was made.
    Enrolled,
    /// A reference from a live face was made.
    Referenced,
    /// References were destroyed: the receipt of destruction.
    Destroyed,
    /// A device was added, or got a further certificate.
    DeviceAdded,
    /// A device was revoked.
    DeviceRevoked,
    /// A quarantined device was released by an operator.
    DeviceReleased,
    /// An operator ended a device's chain of records, which had reached `number`, and began the next.
    ChainBegun,
    /// Something that a person must look at.
    Alarm,
}

/// Why a ledger does not hold, or could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database refused.
    #[error("the database refused")]
    Sql(#[from] rusqlite::Error),
    /// A number is missing.
    #[error("ledger: line {expected} is missing, line {found} follows")]
    Gap {
        /// The number expected.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// A line was changed.
    #[error("ledger: line {0} was changed, or a line before it")]
    Changed(u64),
    /// A line that was seen earlier is not there.
    #[error(transparent)]
    Unseen(#[from] Unseen),
    /// An entry cannot be written: a bug of ours.
    #[error("ledger entry")]
    Entry(#[from] serde_json::Error),
    /// A line was not exported.
    #[error(transparent)]
    Export(#[from] Unwritable),
}

impl From<Break> for LedgerError {
    fn from(found: Break) -> Self {
        match found {
            Break::Gap { expected, found } => Self::Gap { expected, found },
            Break::Changed(number) => Self::Changed(number),
            Break::Unseen(why) => Self::Unseen(why),
        }
    }
}

impl Work<'_> {
    /// Appends an entry; gives its number.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn append(&self, entry: &Entry) -> Result<u64, LedgerError> {
        let (number, previous) = self.last_line()?.map_or((1, [0; 32]), |line| (line.number + 1, line.hash));
        let text = serde_json::to_string(entry)?;
        let hash = line_hash(&previous, number, &text);
        self.tx()
            .execute("INSERT INTO ledger VALUES (?1, ?2, ?3, ?4)", params![to_sql(number), previous, hash, text])?;
        Ok(number)
    }

    fn last_line(&self) -> Result<Option<Line>, LedgerError> {
        let mut statement = self.tx().prepare_cached(LAST)?;
        Ok(statement.query_row([], read).optional()?)
    }

    /// The lines after this number and up to that one, in order; at most [`PAGE`].
    fn page(&self, after: u64, until: u64) -> Result<Vec<Line>, LedgerError> {
        let mut statement = self.tx().prepare_cached(PAGE_OF)?;
        let rows = statement.query_map([to_sql(after), to_sql(until), PAGE], read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl Store {
    /// Reads every line that is there now, in order, and keeps nobody from writing meanwhile, however long `each` takes.
    ///
    /// # Errors
    /// When the database or `each` refuses.
    pub fn each_line(&mut self, mut each: impl FnMut(&Line) -> Result<(), LedgerError>) -> Result<(), LedgerError> {
        let until = self.look()?.last_line()?.map_or(0, |line| line.number);
        let mut after = 0;
        loop {
            let page = self.look()?.page(after, until)?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.number;
            page.iter().try_for_each(&mut each)?;
        }
    }

    /// Checks numbers and hashes from the first line to the last.
    ///
    /// # Errors
    /// Names the first line that does not hold.
    pub fn verify_ledger(&mut self) -> Result<Checked, LedgerError> {
        self.verify(Chain::after(Head::NONE))
    }

    /// The same, and this line, which an earlier check has seen, must still be there: only so is a cut end noticed, or
    /// another ledger in the place of this one.
    ///
    /// # Errors
    /// Names the first line that does not hold, and what is there in the place of the line seen.
    pub fn verify_ledger_since(&mut self, seen: Head) -> Result<Checked, LedgerError> {
        self.verify(Chain::with_seen(Head::NONE, seen)?)
    }

    fn verify(&mut self, mut chain: Chain) -> Result<Checked, LedgerError> {
        self.each_line(|line| Ok(chain.link(line)?))?;
        Ok(chain.end()?)
    }

    /// Writes every line that is there now, as [`exported`] reads it.
    ///
    /// # Errors
    /// When the database refuses, or the output: what was written until then is not whole.
    pub fn export_ledger(&mut self, out: impl Write) -> Result<(), LedgerError> {
        let mut out = BufWriter::new(out);
        self.each_line(|line| Ok(exported::write(line, &mut out)?))?;
        Ok(out.flush().map_err(Unwritable::Output)?)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Line> {
    Ok(Line { number: from_sql(row.get(0)?), previous: row.get(1)?, hash: row.get(2)?, text: row.get(3)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use didar_protocol::id::Env;

    use crate::store::make_store_key;

    fn ledger() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        make_store_key(&folder.path().join("store.key")).unwrap();
        let mut store =
            Store::open(&folder.path().join("a.sqlite"), &folder.path().join("store.key"), Env::Test).unwrap();
        let work = store.begin().unwrap();
        for at_ms in 1..=5 {
            assert_eq!(work.append(&Entry { at_ms, matcher: "m".into(), ..Entry::default() }).unwrap(), at_ms);
        }
        work.commit().unwrap();
        (folder, store)
    }

    fn outside(folder: &tempfile::TempDir, sql: &str) -> Result<(), rusqlite::Error> {
        rusqlite::Connection::open(folder.path().join("a.sqlite")).unwrap().execute_batch(sql)
    }

    #[test]
    fn a_whole_ledger_holds() {
        let (_folder, mut store) = ledger();
        assert_eq!(store.verify_ledger().unwrap().lines, 5);
    }

    #[test]
    fn lines_cannot_be_changed_or_deleted_by_the_way() {
        let (folder, _store) = ledger();
        assert!(outside(&folder, "UPDATE ledger SET entry = '' WHERE number = 3").is_err());
        assert!(outside(&folder, "DELETE FROM ledger WHERE number = 3").is_err());
    }

    #[test]
    fn whoever_removes_the_guard_is_still_seen() {
        let check = |sql: &str| {
            let (folder, mut store) = ledger();
            outside(&folder, "DROP TRIGGER ledger_stays; DROP TRIGGER ledger_keeps;").unwrap();
            outside(&folder, sql).unwrap();
            store.verify_ledger().unwrap_err().to_string()
        };
        assert_eq!(
            check("UPDATE ledger SET entry = replace(entry, '3', '4') WHERE number = 3"),
            "ledger: line 3 was changed, or a line before it"
        );
        assert_eq!(check("DELETE FROM ledger WHERE number = 3"), "ledger: line 3 is missing, line 4 follows");
    }
}
