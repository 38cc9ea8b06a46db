//! What the kiosk's application may know of its authentications: the last few, with every event in order.
//!
//! **Here:** the one place that the loop writes and the local API reads. **Not here:** persons; a request is known by its
//! id alone.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use didar_protocol::id::RequestId;
use didar_protocol::message::Outcome;
use didar_protocol::reason::Reason;
use tokio::sync::watch;

use crate::attempt::event::{Hint, Stages, View};

/// The last authentications. Shared by the loop and the local API.
pub struct Journal {
    pages: Mutex<Pages>,
    changed: watch::Sender<u64>,
}

/// How the kiosk is, for the local API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The request that is being served.
    pub serving: Option<RequestId>,
    /// What is broken now.
    pub faults: Vec<Reason>,
    /// Audit records that the matcher has not confirmed.
    pub unconfirmed: u64,
}

/// One thing that the kiosk's application may show or log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The person should change something.
    Positioning(Hint),
    /// The lamps play; percent.
    HoldStill(u8),
    /// The proof is judged.
    Checking,
    /// It is over.
    Outcome(Ended),
}

/// How an authentication ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// From the request to the end.
    pub took: Duration,
    /// How long each stage took.
    pub stages: Stages,
}

#[derive(Default)]
struct Pages {
    standing: Standing,
    authentications: VecDeque<(RequestId, Vec<Entry>)>,
}

/// Authentications that can still be asked for.
const KEPT: usize = 32;
/// Entries of one authentication; guidance beyond it is not kept, the outcome always is.
const ENTRIES_MAX: usize = 512;

impl Default for Journal {
    fn default() -> Self {
        Self { pages: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl Journal {
    /// A new authentication; the oldest is forgotten.
    pub fn open(&self, id: RequestId) {
        let mut pages = self.pages();
        pages.authentications.push_back((id, Vec::new()));
        if pages.authentications.len() > KEPT {
            pages.authentications.pop_front();
        }
    }

    /// What the screen shows is told to the application as well.
    pub fn shown(&self, id: RequestId, view: &View) {
        let entry = match view {
            View::Positioning { hint } => Entry::Positioning(*hint),
            View::HoldStill { progress } => Entry::HoldStill(*progress),
            View::Checking => Entry::Checking,
            // The outcome is told with its figures by `ended`; the others concern nobody's authentication.
            View::Idle { .. } | View::Result { .. } | View::OutOfService { .. } => return,
        };
        self.add(id, entry);
    }

    /// The authentication is over.
    pub fn ended(&self, id: RequestId, ended: Ended) {
        self.add(id, Entry::Outcome(ended));
    }

    /// How the kiosk is now.
    pub fn stand(&self, standing: Standing) {
        let mut pages = self.pages();
        if pages.standing != standing {
            pages.standing = standing;
        }
    }

    /// How the kiosk is.
    pub fn standing(&self) -> Standing {
        self.pages().standing.clone()
    }

    /// The entries of an authentication from number `from` on; `None` where it is unknown or forgotten.
    pub fn entries(&self, id: RequestId, from: usize) -> Option<Vec<Entry>> {
        let pages = self.pages();
        let (_, entries) = pages.authentications.iter().find(|(known, _)| *known == id)?;
        Some(entries.get(from..).unwrap_or_default().to_vec())
    }

    /// Tells when there is more to read.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn add(&self, id: RequestId, entry: Entry) {
        {
            let mut pages = self.pages();
            let Some((_, entries)) = pages.authentications.iter_mut().find(|(known, _)| *known == id) else { return };
            let last = matches!(entry, Entry::Outcome(_));
            if entries.last() == Some(&entry) || (entries.len() >= ENTRIES_MAX && !last) {
                return;
            }
            entries.push(entry);
        }
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_in_order_and_once() {
        let journal = Journal::default();
        let id = RequestId::from_bytes([1; 16]);
        journal.open(id);
        for view in [View::Positioning { hint: Hint::Closer }, View::Positioning { hint: Hint::Closer }, View::Checking]
        {
            journal.shown(id, &view);
        }
        assert_eq!(journal.entries(id, 0).unwrap(), [Entry::Positioning(Hint::Closer), Entry::Checking]);
        assert_eq!(journal.entries(id, 1).unwrap(), [Entry::Checking]);
        assert!(journal.entries(id, 9).unwrap().is_empty());
        assert!(journal.entries(RequestId::from_bytes([2; 16]), 0).is_none());
    }

    #[test]
    fn old_authentications_are_forgotten_and_floods_are_bounded() {
        let journal = Journal::default();
        let ids: Vec<RequestId> = (0..=KEPT as u8).map(|n| RequestId::from_bytes([n; 16])).collect();
        ids.iter().for_each(|id| journal.open(*id));
        assert!(journal.entries(ids[0], 0).is_none());
        for n in 0..2_000 {
            journal.shown(ids[KEPT], &View::HoldStill { progress: (n % 100) as u8 });
        }
        assert_eq!(journal.entries(ids[KEPT], 0).unwrap().len(), ENTRIES_MAX);
    }
}
