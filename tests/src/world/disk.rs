//! A disk that loses power: what was not flushed is gone from some point on, and the power may fail at any operation.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use didar_agent::outbox::{Change, Disk, DiskError};

use crate::scene::Random;

/// The disk, shared by the outbox that uses it and the world that breaks it.
#[derive(Clone, Default)]
pub(crate) struct Platter(Arc<Mutex<State>>);

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Default)]
struct State {
    durable: Pairs,
    /// Applied and not flushed yet, oldest first.
    pending: Vec<Vec<Change>>,
    /// What a reader sees: `durable` with everything pending.
    seen: Pairs,
    beside: Option<Vec<u8>>,
    /// Operations until the power fails.
    fuse: Option<u32>,
    failed: bool,
    full: bool,
}

impl Platter {
    /// The power will fail at this operation from now, 0 being the next one.
    pub(super) fn light_fuse(&self, operations: u32) {
        self.state().fuse = Some(operations);
    }

    /// Whether the power has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.state().failed
    }

    /// No room for anything, until told otherwise. The power does not fail meanwhile.
    pub(super) fn fill(&self, full: bool) {
        let mut state = self.state();
        (state.full, state.fuse) = (full, None);
    }

    /// The power returns: of what was not flushed, a random first part is there.
    pub(super) fn restart(&self, random: &mut Random) {
        let mut state = self.state();
        let survived = random.below(state.pending.len() as u64 + 1) as usize;
        let pending = std::mem::take(&mut state.pending);
        for change in pending.into_iter().take(survived).flatten() {
            change.make(&mut state.durable);
        }
        state.seen = state.durable.clone();
        (state.fuse, state.failed, state.full) = (None, false, false);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

trait Make {
    fn make(self, pairs: &mut Pairs);
}

impl Make for Change {
    fn make(self, pairs: &mut Pairs) {
        match self {
            Self::Put(key, value) => drop(pairs.insert(key, value)),
            Self::Remove(key) => drop(pairs.remove(&key)),
        }
    }
}

impl State {
    /// Whether a write may happen now.
    fn write(&mut self) -> Result<(), DiskError> {
        if let Some(left) = self.fuse {
            self.fuse = left.checked_sub(1);
            self.failed |= left == 0;
        }
        let refused = |kind| Err(DiskError::File { file: "simulated".into(), cause: io::Error::from(kind) });
        match (self.failed, self.full) {
            (true, _) => refused(io::ErrorKind::BrokenPipe),
            (false, true) => refused(io::ErrorKind::StorageFull),
            (false, false) => Ok(()),
        }
    }
}

impl Disk for Platter {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        Ok(self.state().seen.get(key).cloned())
    }

    fn range(&self, first: &[u8], last: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, DiskError> {
        let state = self.state();
        let found = state.seen.range(first.to_vec()..=last.to_vec()).take(limit);
        Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn keys(&self, first: &[u8], last: &[u8]) -> Result<Vec<Vec<u8>>, DiskError> {
        Ok(self.state().seen.range(first.to_vec()..=last.to_vec()).map(|(key, _)| key.clone()).collect())
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), DiskError> {
        let mut state = self.state();
        state.write()?;
        changes.iter().for_each(|change| change.clone().make(&mut state.seen));
        state.pending.push(changes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        let mut state = self.state();
        state.write()?;
        let pending = std::mem::take(&mut state.pending);
        pending.into_iter().flatten().for_each(|change| change.make(&mut state.durable));
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), DiskError> {
        let mut state = self.state();
        state.pending.clear();
        state.seen = state.durable.clone();
        Ok(())
    }

    fn write_beside(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        let mut state = self.state();
        state.write()?;
        state.beside = Some(bytes.to_vec());
        Ok(())
    }

    fn read_beside(&self) -> Option<Vec<u8>> {
        self.state().beside.clone()
    }

    fn place(&self) -> &Path {
        Path::new("simulated")
    }
}
