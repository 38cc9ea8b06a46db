//! Where the outbox lies: what it asks of a disk, and the real one.
//!
//! **Here:** [`Disk`], so that the outbox's own logic runs over a disk that loses power at any point too; [`SledDisk`].
//! **Not here:** what is kept and in which order (`super::store`), saving what is good in damaged files
//! (`super::salvage`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::salvage::{self, Sound};

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A small ordered store with a file beside it.
pub trait Disk: Send {
    /// The value under `key`.
    ///
    /// # Errors
    /// The disk cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError>;

    /// At most `limit` keys and values from `first` to `last`, both included, in order.
    ///
    /// # Errors
    /// The disk cannot be read.
    fn range(&self, first: &[u8], last: &[u8], limit: usize) -> Result<Vec<Pair>, DiskError>;

    /// The keys from `first` to `last`, both included, in order.
    ///
    /// # Errors
    /// The disk cannot be read.
    fn keys(&self, first: &[u8], last: &[u8]) -> Result<Vec<Vec<u8>>, DiskError>;

    /// Makes all these changes in one step, after all earlier ones. A power cut before [`Disk::flush`] may undo the
    /// latest of them, each as a whole.
    ///
    /// # Errors
    /// The disk cannot be written; nothing is changed.
    fn apply(&mut self, changes: Vec<Change>) -> Result<(), DiskError>;

    /// Everything applied survives a power cut when this returns.
    ///
    /// # Errors
    /// The disk cannot be written.
    fn flush(&mut self) -> Result<(), DiskError>;

    /// Opens the store anew after a failure, and repairs it where it is damaged: what is good is there. What was applied
    /// and not flushed may be there or not.
    ///
    /// # Errors
    /// It cannot be opened, and stays closed.
    fn reopen(&mut self) -> Result<(), DiskError>;

    /// Replaces the small file beside the store, on the disk when this returns.
    ///
    /// # Errors
    /// The disk cannot be written; the old file stays.
    fn write_beside(&mut self, bytes: &[u8]) -> Result<(), DiskError>;

    /// The small file beside the store; `None` when it is not there or cannot be read.
    fn read_beside(&self) -> Option<Vec<u8>>;

    /// Where, for errors.
    fn place(&self) -> &Path;
}

/// One change of a [`Disk`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This value stands under this key.
    Put(Vec<u8>, Vec<u8>),
    /// Nothing stands under this key.
    Remove(Vec<u8>),
}

/// Why the disk cannot be used; the cause inside [`crate::edge::OutboxError::Store`].
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// It was closed after a failure, and could not be opened again yet.
    #[error("closed after a failure; it is opened again as soon as the disk allows")]
    Closed,
    /// Another process holds it.
    #[error("in use by another didar-agent; stop that one first")]
    InUse,
    /// A file cannot be used.
    #[error("{file}: {cause}")]
    File {
        /// Which.
        file: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A letter is not what was written.
    #[error("record {number} does not match its hash")]
    Letter {
        /// Its number.
        number: u64,
    },
    /// Where the chain stands is not what was written.
    #[error("the chain's standing does not match its hash")]
    Standing,
    /// The store's library failed.
    #[error("failed while {doing}: {cause}")]
    Sled {
        /// At what.
        doing: &'static str,
        /// What it said.
        cause: sled::Error,
    },
}

/// A `sled` store in a folder of its own, with the file `standing` beside it.
pub(super) struct SledDisk {
    /// `None` between a failure and the next opening.
    db: Option<sled::Db>,
    folder: PathBuf,
}

/// Name of the file beside the store.
const BESIDE: &str = "standing";

impl SledDisk {
    /// The open store `db`, whose file beside it lies in `folder`.
    pub(super) fn new(db: sled::Db, folder: &Path) -> Self {
        Self { db: Some(db), folder: folder.to_owned() }
    }

    fn db(&self) -> Result<&sled::Db, DiskError> {
        self.db.as_ref().ok_or(DiskError::Closed)
    }
}

impl Disk for SledDisk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        let value = self.db()?.get(key).map_err(|cause| DiskError::Sled { doing: "reading", cause })?;
        Ok(value.map(|bytes| bytes.to_vec()))
    }

    fn range(&self, first: &[u8], last: &[u8], limit: usize) -> Result<Vec<Pair>, DiskError> {
        let read = |item: sled::Result<(sled::IVec, sled::IVec)>| {
            item.map(|(key, value)| (key.to_vec(), value.to_vec()))
                .map_err(|cause| DiskError::Sled { doing: "reading", cause })
        };
        self.db()?.range(first..=last).take(limit).map(read).collect()
    }

    fn keys(&self, first: &[u8], last: &[u8]) -> Result<Vec<Vec<u8>>, DiskError> {
        let read = |key: sled::Result<sled::IVec>| {
            key.map(|key| key.to_vec()).map_err(|cause| DiskError::Sled { doing: "reading", cause })
        };
        self.db()?.range(first..=last).keys().map(read).collect()
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), DiskError> {
        let mut batch = sled::Batch::default();
        for change in changes {
            match change {
                Change::Put(key, value) => batch.insert(key, value),
                Change::Remove(key) => batch.remove(key),
            }
        }
        self.db()?.apply_batch(batch).map_err(|cause| DiskError::Sled { doing: "writing", cause })
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.db()?.flush().map(drop).map_err(|cause| DiskError::Sled { doing: "flushing", cause })
    }

    /// `sled` repeats its first input or output error for ever, also when the disk has room again; and what it has in
    /// memory hides damage of its files.
    fn reopen(&mut self) -> Result<(), DiskError> {
        // Its lock keeps everybody out, us too.
        self.db = None;
        let Sound { disk, damage, .. } = salvage::open_sound(&self.folder)?;
        if let Some(why) = damage {
            tracing::error!("the outbox was damaged, and what is good in it is saved: {why}");
        }
        *self = disk;
        Ok(())
    }

    fn write_beside(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        let file = self.folder.join(BESIDE);
        crate::file::replace(&file, bytes).map_err(|cause| DiskError::File { file, cause })
    }

    fn read_beside(&self) -> Option<Vec<u8>> {
        read_beside(&self.folder)
    }

    fn place(&self) -> &Path {
        &self.folder
    }
}

/// The file beside the store in `folder`, which may not be open yet.
pub(super) fn read_beside(folder: &Path) -> Option<Vec<u8>> {
    fs::read(folder.join(BESIDE)).ok()
}
