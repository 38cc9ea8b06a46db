//! What the camera's thread counts, for the local API and `doctor`. Counters begin with the process and never fall.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one camera. Shared; every one is exact by itself, not together with the others.
#[derive(Debug, Default)]
pub struct Meter {
    taken: AtomicU64,
    lost: AtomicU64,
    passed_over: AtomicU64,
    refused: AtomicU64,
    copied: AtomicU64,
    black: AtomicU64,
    white: AtomicU64,
    opened: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that came from the driver, good ones.
    pub taken: u64,
    /// Frames that the camera numbered and nobody got: the ring of buffers was full, or the cable dropped them.
    pub lost: u64,
    /// Frames of `taken` that were not looked at, because a newer one was ready.
    pub passed_over: u64,
    /// Frames that were cut short, marked as broken or stamped like the one before.
    pub refused: u64,
    /// Whole frames that were copied on their way to the networks; a V4L2 camera copies none.
    pub copied: u64,
    /// Frames that were black all over.
    pub black: u64,
    /// Frames that were white all over.
    pub white: u64,
    /// How often the device was opened: one more than it was lost.
    pub opened: u64,
}

impl Meter {
    /// A good frame came, after `lost` that did not.
    pub fn took(&self, lost: u32) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.lost.fetch_add(lost.into(), Ordering::Relaxed);
    }

    /// A good frame was not looked at.
    pub fn passed_over(&self) {
        self.passed_over.fetch_add(1, Ordering::Relaxed);
    }

    /// A frame could not be used.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A whole frame was copied.
    pub fn copied(&self) {
        self.copied.fetch_add(1, Ordering::Relaxed);
    }

    /// A frame was black all over.
    pub fn black(&self) {
        self.black.fetch_add(1, Ordering::Relaxed);
    }

    /// A frame was white all over.
    pub fn white(&self) {
        self.white.fetch_add(1, Ordering::Relaxed);
    }

    /// The device was opened.
    pub fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// All counters.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            taken: read(&self.taken),
            lost: read(&self.lost),
            passed_over: read(&self.passed_over),
            refused: read(&self.refused),
            copied: read(&self.copied),
            black: read(&self.black),
            white: read(&self.white),
            opened: read(&self.opened),
        }
    }
}

impl Counts {
    /// What was counted since `earlier`.
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            taken: self.taken.saturating_sub(earlier.taken),
            lost: self.lost.saturating_sub(earlier.lost),
            passed_over: self.passed_over.saturating_sub(earlier.passed_over),
            refused: self.refused.saturating_sub(earlier.refused),
            copied: self.copied.saturating_sub(earlier.copied),
            black: self.black.saturating_sub(earlier.black),
            white: self.white.saturating_sub(earlier.white),
            opened: self.opened.saturating_sub(earlier.opened),
        }
    }
}
