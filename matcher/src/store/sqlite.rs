//! The database file: how it is opened, its tables, and its transactions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use didar_protocol::id::Env;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::vault::{Vault, VaultError};
use crate::files;

/// Tables of version [`VERSION`].
const SCHEMA: &str = include_str!("schema.sql");
/// Version of the tables, kept in the file's `user_version`.
const VERSION: i64 = 5;
/// From version 4 to 5: devices have been heard at the moment of the change, or each would be a silent one.
const FROM_4: &str = "ALTER TABLE devices ADD COLUMN heard_ms INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE devices ADD COLUMN away_ms INTEGER NOT NULL DEFAULT 0;
    UPDATE devices SET heard_ms = unixepoch() * 1000;
    ALTER TABLE boots ADD COLUMN first INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE boots ADD COLUMN since_ms INTEGER NOT NULL DEFAULT 0;
    UPDATE boots SET first = connects;
    CREATE INDEX certificates_revoked ON certificates (revoked_ms) WHERE revoked_ms IS NOT NULL;";
/// The file's `application_id`: "DdrT" of a test site, "DdrP" of one in production.
const fn mark(env: Env) -> i64 {
    match env {
        Env::Test => 0x4464_7254,
        Env::Production => 0x4464_7250,
    }
}
/// How long one program waits for another's transaction.
const BUSY: Duration = Duration::from_secs(10);

/// The open database.
pub struct Store {
    connection: Connection,
    vault: Vault,
}

/// One transaction: undone unless committed.
pub struct Work<'a> {
    pub(super) tx: Transaction<'a>,
    pub(super) vault: &'a Vault,
}

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened.
    #[error("cannot open the database {path}")]
    Open {
        /// Which file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        cause: rusqlite::Error,
    },
    /// Made by another version.
    #[error(
        "database {path} has version {found}, this program reads {VERSION} and brings 4 to it: use the program that made it"
    )]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// Made for the other environment.
    #[error(
        "database {path} was not made for {wanted}: give each environment a database of its own (`database` in [store])"
    )]
    OtherEnvironment {
        /// Which file.
        path: PathBuf,
        /// What the configuration says.
        wanted: Env,
    },
    /// Reading or writing failed.
    #[error("the database refused")]
    Sql(#[from] rusqlite::Error),
    /// Keys.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A certificate that was revoked does not come back.
    #[error("this certificate was revoked: sign a new request of the device")]
    Revoked,
    /// A row that this program cannot have written.
    #[error("the database holds a {0} that cannot be read")]
    Damaged(&'static str),
}

impl Store {
    /// Opens the database of this environment, making it when it is absent, with the key that decrypts it.
    ///
    /// # Errors
    /// When file or key cannot be used, or the file is of another version or of the other environment.
    pub fn open(path: &Path, key: &Path, env: Env) -> Result<Self, StoreError> {
        let vault = Vault::open(key)?;
        let failed = |cause| StoreError::Open { path: path.to_owned(), cause };
        if !path.exists() {
            // Made by ourselves first, so that nobody else may read it for a moment.
            files::write_secret(path, "").map_err(VaultError::File)?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY).map_err(failed)?;
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;")
            .map_err(failed)?;
        let mut store = Self { connection, vault };
        store.prepare(path, env)?;
        Ok(store)
    }

    fn prepare(&mut self, path: &Path, env: Env) -> Result<(), StoreError> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        match tx.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))? {
            0 => {
                tx.execute_batch(SCHEMA)?;
                tx.pragma_update(None, "user_version", VERSION)?;
                tx.pragma_update(None, "application_id", mark(env))?;
            }
            4 => {
                tx.execute_batch(FROM_4)?;
                tx.pragma_update(None, "user_version", VERSION)?;
            }
            VERSION => {}
            found => {
                return Err(StoreError::Version { path: path.to_owned(), found });
            }
        }
        if tx.query_row("PRAGMA application_id", [], |row| row.get::<_, i64>(0))? != mark(env) {
            return Err(StoreError::OtherEnvironment { path: path.to_owned(), wanted: env });
        }
        Ok(tx.commit()?)
    }

    /// Opens a transaction; the only one at a time, among all programs that use the file.
    ///
    /// # Errors
    /// When another one stays open for longer than 10 seconds.
    pub fn begin(&mut self) -> Result<Work<'_>, StoreError> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        Ok(Work { tx, vault: &self.vault })
    }

    /// Opens a transaction that sees the database as it is now, and keeps nobody from writing. It writes nothing itself.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn look(&mut self) -> Result<Work<'_>, StoreError> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        Ok(Work { tx, vault: &self.vault })
    }

    /// 16 hexadecimal digits that only holders of the store's key can tell.
    pub(crate) fn share(&self) -> String {
        self.vault.share()
    }

    /// Moves what was written into the main file and empties the log: after a destruction, no copy stays behind.
    ///
    /// # Errors
    /// When SQLite refuses. While another program reads, the log is emptied later.
    pub fn settle(&self) -> Result<(), StoreError> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }
}

impl Work<'_> {
    pub(crate) fn tx(&self) -> &Transaction<'_> {
        &self.tx
    }

    /// Does a part of it that is undone alone when it fails.
    ///
    /// # Errors
    /// Those of `part`, and when the database refuses.
    pub(crate) fn apart<T, E: From<StoreError>>(&self, part: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.tx.execute_batch("SAVEPOINT part").map_err(StoreError::from)?;
        let result = part();
        // After a fault of the disk SQLite may have undone the whole: then there is nothing left to undo.
        if !self.is_undone() {
            let end = if result.is_ok() { "RELEASE part" } else { "ROLLBACK TO part; RELEASE part" };
            self.tx.execute_batch(end).map_err(StoreError::from)?;
        }
        result
    }

    /// Whether SQLite has undone all of it, as it does after faults of the disk.
    pub(crate) fn is_undone(&self) -> bool {
        self.tx.is_autocommit()
    }

    /// Makes it count.
    ///
    /// # Errors
    /// When it could not be written: then nothing of it was.
    pub fn commit(self) -> Result<(), StoreError> {
        Ok(self.tx.commit()?)
    }
}

/// Milliseconds as SQLite keeps them.
pub(crate) fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// And back; this program never writes a negative one.
pub(crate) fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Entry, LedgerError};
    use crate::store::make_store_key;

    #[test]
    fn a_part_that_fails_is_undone_alone() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("store.key");
        make_store_key(&key).unwrap();
        let mut store = Store::open(&folder.path().join("a.sqlite"), &key, Env::Test).unwrap();
        let work = store.begin().unwrap();
        for note in ["first", "undone", "last"] {
            let part = work.apart(|| {
                work.append(&Entry { note: Some(note.into()), ..Entry::default() })?;
                if note == "undone" { Err(LedgerError::Changed(0)) } else { Ok(()) }
            });
            assert_eq!(part.is_err(), note == "undone");
            assert!(!work.is_undone());
        }
        work.commit().unwrap();
        let mut kept = Vec::new();
        store
            .each_line(|line| {
                kept.push(line.text.contains("first") || line.text.contains("last"));
                Ok(())
            })
            .unwrap();
        assert_eq!(kept, [true, true]);
        store.verify_ledger().unwrap();
    }

    #[test]
    fn whoever_reads_the_ledger_slowly_keeps_nobody_from_writing() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("store.key");
        make_store_key(&key).unwrap();
        let open = || Store::open(&folder.path().join("a.sqlite"), &key, Env::Test).unwrap();
        let (mut reader, mut writer) = (open(), open());
        writer.connection.busy_timeout(Duration::from_millis(10)).unwrap();
        let mut add = || {
            let work = writer.begin().unwrap();
            work.append(&Entry::default()).unwrap();
            work.commit().unwrap();
            writer.settle().unwrap();
        };
        (0..3).for_each(|_| add());
        let mut seen = 0;
        reader
            .each_line(|_| {
                seen += 1;
                add();
                Ok(())
            })
            .unwrap();
        // What was added meanwhile is for the next reader.
        assert_eq!((seen, reader.verify_ledger().unwrap().lines), (3, 6));
    }

    #[test]
    fn a_database_of_the_version_before_is_brought_to_this_one() {
        let folder = tempfile::tempdir().unwrap();
        let (file, key) = (folder.path().join("a.sqlite"), folder.path().join("store.key"));
        make_store_key(&key).unwrap();
        let store = Store::open(&file, &key, Env::Test).unwrap();
        store
            .connection
            .execute_batch(
                "ALTER TABLE devices DROP COLUMN heard_ms; ALTER TABLE devices DROP COLUMN away_ms;
                 ALTER TABLE boots DROP COLUMN first; ALTER TABLE boots DROP COLUMN since_ms;
                 DROP INDEX certificates_revoked;
                 INSERT INTO devices (device, state, added_ms) VALUES ('kiosk-1', 0, 1);
                 INSERT INTO boots VALUES ('kiosk-1', x'0102', 7);
                 PRAGMA user_version = 4;",
            )
            .unwrap();
        drop(store);
        let mut store = Store::open(&file, &key, Env::Test).unwrap();
        let work = store.begin().unwrap();
        assert!(
            work.silent(crate::time::now_ms() - 60_000, u64::MAX).unwrap().is_empty(),
            "heard at the moment of the change"
        );
        let first: i64 = work.tx.query_row("SELECT first FROM boots", [], |row| row.get(0)).unwrap();
        assert_eq!(first, 7);
        work.commit().unwrap();
        store.connection.pragma_update(None, "user_version", 3).unwrap();
        drop(store);
        let error = Store::open(&file, &key, Env::Test).map(drop).unwrap_err().to_string();
        assert!(error.contains("has version 3"), "{error}");
    }

    #[test]
    fn the_trials_database_is_not_used_in_production() {
        let folder = tempfile::tempdir().unwrap();
        let (file, key) = (folder.path().join("a.sqlite"), folder.path().join("store.key"));
        make_store_key(&key).unwrap();
        drop(Store::open(&file, &key, Env::Test).unwrap());
        let error = Store::open(&file, &key, Env::Production).map(drop).unwrap_err().to_string();
        assert!(error.contains("a.sqlite was not made for production"), "{error}");
        drop(Store::open(&file, &key, Env::Test).unwrap());
    }
}
