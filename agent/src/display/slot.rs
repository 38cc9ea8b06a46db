//! What waits for the screen's thread: the newest view and the newest picture of the camera. Who puts something in
//! never waits for who takes it out.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zeroize::Zeroize;

use crate::attempt::event::{Language, View};
use crate::screen::{Preview, PreviewError};

/// A small picture of the camera in RGB565, for the oval. Wiped on drop; its memory is used again and again.
#[derive(Default)]
pub struct Snapshot {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height` pixels, as the camera sees them (not mirrored).
    pub pixels: Vec<u16>,
}

impl Snapshot {
    pub(super) fn preview(&self) -> Result<Preview<'_>, PreviewError> {
        Preview::new(self.width, self.height, &self.pixels)
    }

    /// Overwrites the pixels. The memory stays, empty.
    pub fn wipe(&mut self) {
        self.pixels.zeroize();
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// The way of the camera's pictures to the screen. The default leads nowhere: there is no screen.
#[derive(Clone, Default)]
pub struct Viewfinder(pub(super) Arc<Slot>);

impl Viewfinder {
    /// Whether the screen shows an oval: else nobody looks, and no picture is to be made.
    pub fn is_watched(&self) -> bool {
        self.0.lock().watched
    }

    /// Hands a picture on; in return `snapshot` holds memory for the next one. Never waits for the screen: a picture
    /// that was not painted yet is replaced, and one that nobody watches is dropped.
    pub fn put(&self, snapshot: &mut Snapshot) {
        let mut next = self.0.lock();
        if next.watched {
            std::mem::swap(&mut next.snapshot, snapshot);
            next.fresh = true;
            self.0.changed.notify_one();
        }
        snapshot.wipe();
    }
}

#[derive(Default)]
pub(super) struct Slot {
    next: Mutex<Next>,
    changed: Condvar,
}

#[derive(Default)]
struct Next {
    view: Option<(View, Language)>,
    snapshot: Snapshot,
    /// Whether `snapshot` has not been taken yet.
    fresh: bool,
    watched: bool,
    closed: bool,
}

/// What there is to do for the screen's thread.
pub(super) enum Work {
    /// Another view, and perhaps a picture with it.
    View(View, Language),
    /// Another picture for the view that is shown.
    Snapshot,
    /// Nothing came in time.
    Nothing,
    /// The agent stops.
    Closed,
}

impl Slot {
    /// The newest work, within `patience`; a fresh picture is swapped into `snapshot`. What is left to show is shown
    /// before the end.
    pub(super) fn take(&self, snapshot: &mut Snapshot, patience: Option<Duration>) -> Work {
        let idle = |next: &mut Next| next.view.is_none() && !next.fresh && !next.closed;
        let mut next = match patience {
            Some(patience) => {
                self.changed.wait_timeout_while(self.lock(), patience, idle).unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner),
        };
        let fresh = std::mem::take(&mut next.fresh);
        if fresh {
            std::mem::swap(&mut next.snapshot, snapshot);
            next.snapshot.wipe();
        }
        match next.view.take() {
            Some((view, language)) => Work::View(view, language),
            None if next.closed => Work::Closed,
            None if fresh => Work::Snapshot,
            None => Work::Nothing,
        }
    }

    /// Says whether the screen shows an oval now; if not, the picture that waits is wiped.
    pub(super) fn watch(&self, watched: bool) {
        let mut next = self.lock();
        next.watched = watched;
        if !watched {
            next.fresh = false;
            next.snapshot.wipe();
        }
    }

    pub(super) fn show(&self, view: View, language: Language) {
        self.lock().view = Some((view, language));
        self.changed.notify_one();
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Next> {
        // Nothing is half done under this lock, so a panic elsewhere leaves it usable.
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(pixel: u16) -> Snapshot {
        Snapshot { width: 1, height: 1, pixels: vec![pixel] }
    }

    #[test]
    fn a_picture_that_nobody_watches_is_wiped() {
        let finder = Viewfinder::default();
        let mut mine = snapshot(7);
        finder.put(&mut mine);
        assert!(mine.pixels.is_empty() && !finder.is_watched());
        let mut taken = Snapshot::default();
        assert!(matches!(finder.0.take(&mut taken, Some(Duration::ZERO)), Work::Nothing));
        assert!(taken.pixels.is_empty());
    }

    #[test]
    fn the_newest_picture_wins_and_is_gone_once_the_oval_is() {
        let finder = Viewfinder::default();
        finder.0.watch(true);
        (1..4).for_each(|pixel| finder.put(&mut snapshot(pixel)));
        let mut taken = Snapshot::default();
        assert!(matches!(finder.0.take(&mut taken, Some(Duration::ZERO)), Work::Snapshot));
        assert_eq!(taken.pixels, [3]);
        finder.put(&mut snapshot(4));
        finder.0.watch(false);
        assert!(matches!(finder.0.take(&mut taken, Some(Duration::ZERO)), Work::Nothing));
    }

    #[test]
    fn a_view_that_waits_is_shown_before_the_end() {
        let slot = Slot::default();
        slot.show(View::Checking, Language::Kk);
        slot.close();
        assert!(matches!(slot.take(&mut Snapshot::default(), None), Work::View(View::Checking, Language::Kk)));
        assert!(matches!(slot.take(&mut Snapshot::default(), None), Work::Closed));
    }

    #[test]
    fn pictures_travel_without_new_memory() {
        let finder = Viewfinder::default();
        finder.0.watch(true);
        let (mut mine, mut theirs) = (Snapshot::default(), Snapshot::default());
        let mut places = std::collections::HashSet::new();
        for _ in 0..30 {
            mine.pixels.resize(100, 1);
            (mine.width, mine.height) = (10, 10);
            places.insert(mine.pixels.as_ptr());
            finder.put(&mut mine);
            finder.0.take(&mut theirs, Some(Duration::ZERO));
        }
        assert_eq!(places.len(), 3);
    }
}
