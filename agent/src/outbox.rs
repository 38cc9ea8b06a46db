//! The outbox: audit records that the matcher does not hold yet, in order, across power cuts.
//!
//! **Here:** [`DiskOutbox`], the device's chain of signed records and their only way out, the matcher's receipt; and
//! [`Memory`], the few facts of the uplink that must outlive a boot and lie in the same store.
//! **Not here:** templates, pictures, requests, names of persons: nothing of them is ever stored; sending.
//! **Start** with [`DiskOutbox::open`].
//!
//! Invariants, held by `tests/outbox.rs`: a kept record is on the disk before `append` returns; numbers have no gap and
//! each record carries the hash of the one before; what is lost is counted, and told by one record; a request that was
//! begun has a record even when the power fails before its end.

mod disk;
mod nowhere;
mod salvage;
mod standing;
mod store;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use didar_protocol::id::{DeviceId, Hash};
use didar_protocol::message::AuditEntry;
use didar_protocol::seal::Signer;

use crate::edge::{Health, Missed, Outbox, OutboxError};
pub use disk::{Change, Disk, DiskError, Pair};
use store::Store;

/// Records that an outbox holds by default: 30 days at 1,000 attempts a day, and some starts.
pub const CAPACITY: u64 = 31_000;

/// The device's records on their way to the matcher. One per folder; a second one is refused.
pub struct DiskOutbox {
    store: Arc<Mutex<Store>>,
    recovery: Option<Recovery>,
}

/// What the uplink remembers over boots, in the outbox's store.
#[derive(Clone)]
pub struct Memory {
    store: Arc<Mutex<Store>>,
}

/// What was found damaged when the outbox was opened or mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Records saved.
    pub saved: u64,
    /// Records that should be there and are not.
    pub lost: u64,
    /// What was wrong with the store.
    pub why: String,
}

impl DiskOutbox {
    /// Opens or creates the outbox of `device` in `folder`, with room for `capacity` records.
    ///
    /// A damaged store is replaced: what can be read is kept, what is missing is counted ([`Self::recovery`]) and told
    /// to the matcher by a record. The damaged files stay in `damaged` beside it until the next damage.
    ///
    /// # Errors
    /// The folder cannot be used, or another process uses it.
    pub fn open(folder: &Path, device: DeviceId, signer: Arc<dyn Signer>, capacity: u64) -> Result<Self, OutboxError> {
        let (store, recovery) = Store::open(folder, device, signer, capacity)?;
        Ok(Self { store: Arc::new(Mutex::new(store)), recovery })
    }

    /// An outbox that keeps nothing and takes nothing, for a device whose store cannot be used: its connections count as 0.
    ///
    /// # Errors
    /// None is known.
    pub fn nowhere(device: DeviceId, signer: Arc<dyn Signer>) -> Result<Self, OutboxError> {
        Self::open_on(Box::new(nowhere::Nowhere), device, signer, 1)
    }

    /// The outbox of `device` on a disk of any kind that reads back what it has flushed.
    ///
    /// # Errors
    /// The disk cannot be used.
    pub fn open_on(
        disk: Box<dyn Disk>,
        device: DeviceId,
        signer: Arc<dyn Signer>,
        capacity: u64,
    ) -> Result<Self, OutboxError> {
        let (store, recovery) = Store::open_on(disk, device, signer, capacity)?;
        Ok(Self { store: Arc::new(Mutex::new(store)), recovery })
    }

    /// What was found damaged last, at opening or mending, if anything: log it, and tell it as a storage fault.
    pub fn recovery(&self) -> Option<&Recovery> {
        self.recovery.as_ref()
    }

    /// Records without receipt.
    pub fn held(&self) -> u64 {
        lock(&self.store).held()
    }

    /// Records lost that no record has told yet: the outbox is full.
    pub fn untold(&self) -> u64 {
        lock(&self.store).standing().lost
    }

    /// The uplink's part.
    pub fn memory(&self) -> Memory {
        Memory { store: Arc::clone(&self.store) }
    }
}

impl Outbox for DiskOutbox {
    /// When the outbox is full the entry is lost and counted, unless it is of an intended attempt; the number is then that of
    /// the record that will say so.
    fn append(&mut self, entry: &AuditEntry) -> Result<u64, OutboxError> {
        lock(&self.store).keep(entry)
    }

    fn intend(&mut self, entry: &AuditEntry) -> Result<(), OutboxError> {
        lock(&self.store).intend(entry)
    }

    fn unacknowledged(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, OutboxError> {
        lock(&self.store).letters(from, limit)
    }

    fn acknowledge(&mut self, up_to: u64, hash: &Hash) -> Result<bool, OutboxError> {
        lock(&self.store).acknowledge(up_to, hash)
    }

    /// A full outbox keeps it too: nothing leaves before the matcher knows that it waits for nothing.
    fn tell_gone(&mut self, number: u64) -> Result<Missed, OutboxError> {
        lock(&self.store).tell_gone(number)
    }

    fn has_room(&self) -> bool {
        lock(&self.store).has_room()
    }

    fn head(&self) -> (u64, Hash) {
        let standing = *lock(&self.store).standing();
        (standing.next, standing.head)
    }

    fn signed_time(&self) -> u64 {
        lock(&self.store).standing().signed_time_ms
    }

    /// Cheap to call for each message: it writes at most once a minute of signed time.
    fn keep_signed_time(&mut self, unix_ms: u64) -> Result<(), OutboxError> {
        lock(&self.store).keep_signed_time(unix_ms)
    }

    fn flush(&mut self) -> Result<(), OutboxError> {
        lock(&self.store).flush()
    }

    fn mend(&mut self) -> Result<(), OutboxError> {
        if let Some(recovery) = lock(&self.store).mend()? {
            let Recovery { saved, lost, why } = &recovery;
            tracing::error!("the outbox is mended: {why}; {saved} records saved, {lost} lost");
            self.recovery = Some(recovery);
        }
        Ok(())
    }
}

impl Memory {
    /// Connections over the device's whole life.
    pub fn connects(&self) -> u64 {
        lock(&self.store).standing().connects
    }

    /// The chain's head as the device's state tells it, without faults.
    pub fn health(&self) -> Health {
        let standing = *lock(&self.store).standing();
        Health { audit_next: standing.next, audit_head: standing.head, faults: Vec::new() }
    }

    /// Counts one more connection; on the disk when this returns the new count.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn connected(&self) -> Result<u64, OutboxError> {
        lock(&self.store).connected()
    }

    /// The count of the newest connection since the store was opened; where none was counted yet the next one is, since the
    /// last one is an earlier boot's.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn connection(&self) -> Result<u64, OutboxError> {
        lock(&self.store).connection()
    }

    /// Keeps the matcher's signed keys message, so that the first request after a start can be sealed. Public keys only.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn keep_matcher_keys(&self, signed: &[u8]) -> Result<(), OutboxError> {
        lock(&self.store).keep_matcher_keys(signed)
    }

    /// The signed keys message as it was kept; whoever uses it verifies it again.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn matcher_keys(&self) -> Result<Option<Vec<u8>>, OutboxError> {
        lock(&self.store).matcher_keys()
    }
}

/// A panic elsewhere cannot leave a `Store` half changed: it changes its memory after the disk, in one assignment.
fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}
