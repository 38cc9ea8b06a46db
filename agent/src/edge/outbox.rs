//! The edge to the store of audit records.

use std::path::PathBuf;

use didar_protocol::id::Hash;
use didar_protocol::message::AuditEntry;

/// The store of audit records. Numbers, chains and signs them; what it returns is on the disk.
pub trait Outbox: Send {
    /// Keeps a record; returns its number, after it is flushed to the disk.
    ///
    /// # Errors
    /// The record is not kept.
    fn append(&mut self, entry: &AuditEntry) -> Result<u64, OutboxError>;

    /// Keeps the record that is to be appended should the device stop before an attempt's record is; on the disk when
    /// this returns. It takes the place of an earlier one.
    ///
    /// # Errors
    /// It is not kept: nobody can be served.
    fn intend(&mut self, entry: &AuditEntry) -> Result<(), OutboxError>;

    /// Up to `limit` records without receipt, in order, from number `from` on.
    ///
    /// # Errors
    /// The store cannot be read.
    fn unacknowledged(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, OutboxError>;

    /// The matcher holds every record up to number `up_to`, whose hash this is: forget them, but never the chain's head.
    /// `false` where another record has this number here, or none yet: then nothing is forgotten.
    ///
    /// # Errors
    /// The store cannot be read or written; the records stay, and repeats are harmless.
    fn acknowledge(&mut self, up_to: u64, hash: &Hash) -> Result<bool, OutboxError>;

    /// The matcher misses record `number`. Where it was lost here, a new record tells so of it and of those right behind it
    /// that are lost too.
    ///
    /// # Errors
    /// The store cannot be read, or the record is not kept.
    fn tell_gone(&mut self, number: u64) -> Result<Missed, OutboxError>;

    /// Whether one more record has a place. The record of an attempt that was intended while there was one has it too.
    fn has_room(&self) -> bool;

    /// Number of the next record, and the hash of the last one.
    fn head(&self) -> (u64, Hash);

    /// The signed server time that was stored last, Unix milliseconds; 0 if none.
    fn signed_time(&self) -> u64;

    /// Stores a signed server time, an earlier one too: the one before came from a matcher whose clock was wrong.
    ///
    /// # Errors
    /// The store cannot be written.
    fn keep_signed_time(&mut self, unix_ms: u64) -> Result<(), OutboxError>;

    /// Writes everything to the disk; the last call before the process ends.
    ///
    /// # Errors
    /// The store cannot be written.
    fn flush(&mut self) -> Result<(), OutboxError>;

    /// Makes the store usable again after a failure, with everything that was kept; what damage took is counted, and told
    /// by a record.
    ///
    /// # Errors
    /// The store still cannot be written: try again later. [`OutboxError::Damaged`]: trying again is of no use.
    fn mend(&mut self) -> Result<(), OutboxError>;
}

/// What became of a record that the matcher misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// It is here, and can be sent again.
    Here,
    /// It is lost; the record of this number says so.
    Told(u64),
    /// It was confirmed once, or not issued yet: whoever misses it does not mean this.
    Other,
}

/// Why a record was not kept or not read.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The store's files cannot be used.
    #[error("outbox {path}: {cause}; check the disk's space, whether it is mounted writable, and the folder's owner")]
    Store {
        /// Where.
        path: PathBuf,
        /// What the store said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A record could not be signed or encoded.
    #[error("cannot sign audit record {number}: {cause}")]
    Sign {
        /// Which record.
        number: u64,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Stored bytes are not what was written.
    #[error("outbox {path} is damaged at record {number}: {why}")]
    Damaged {
        /// Where.
        path: PathBuf,
        /// Which record.
        number: u64,
        /// What is wrong.
        why: String,
    },
}
