//! The mirror: a small picture of what the camera sees, now and then, for the screen's oval.

use std::time::Duration;

use didar_vision::{FrameView, thumbnail};
use zeroize::Zeroize;

use crate::display::{Snapshot, Viewfinder};
use crate::time::Moment;

/// Makes pictures for the screen while it shows an oval. Its memory is made once; it holds no picture that was handed on.
pub(super) struct Mirror {
    finder: Viewfinder,
    snapshot: Snapshot,
    rgb: Vec<u8>,
    last: Option<Moment>,
}

/// Pixels of a picture: three to four, as the oval is; the screen makes them as large as it needs.
const SIZE: (usize, usize) = (180, 240);
/// How much of the frame's height is shown. A face of the size that guidance asks for then fills most of the oval, and
/// one at the edge of what is allowed is still seen.
const SHARE: f64 = 0.8;
/// At least so long from one picture to the next: at 30 frames a second every third frame.
const INTERVAL: Duration = Duration::from_millis(80);

impl Mirror {
    pub(super) fn new(finder: Viewfinder) -> Self {
        Self { finder, snapshot: Snapshot::default(), rgb: Vec::new(), last: None }
    }

    /// Shows this frame, if it is time for one and somebody looks.
    pub(super) fn show(&mut self, view: &FrameView<'_>, captured_at: Moment) {
        let due = self.last.is_none_or(|last| captured_at.since(last) >= INTERVAL);
        if !due || !self.finder.is_watched() {
            return;
        }
        self.last = Some(captured_at);
        let (width, height) = SIZE;
        self.rgb.resize(width * height * 3, 0);
        thumbnail(view, SHARE, width, &mut self.rgb);
        let pack = |rgb: &[u8]| u16::from(rgb[0] >> 3) << 11 | u16::from(rgb[1] >> 2) << 5 | u16::from(rgb[2] >> 3);
        (self.snapshot.width, self.snapshot.height) = SIZE;
        self.snapshot.pixels.clear();
        self.snapshot.pixels.extend(self.rgb.chunks_exact(3).map(pack));
        self.finder.put(&mut self.snapshot);
    }

    /// Wipes what is left; the next frame is shown at once.
    pub(super) fn rest(&mut self) {
        self.rgb.zeroize();
        self.snapshot.wipe();
        self.last = None;
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.rest();
    }
}
