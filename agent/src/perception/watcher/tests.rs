//! What bad pictures do: they are counted, and whoever shows them hears that they cannot be read.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use didar_protocol::id::RequestId;
use didar_vision::PixelFormat;
use tokio::sync::mpsc::{Receiver, channel};

use super::*;
use crate::config::Config;

/// Width and height of the frames shown.
const SIDES: (u32, u32) = (640, 480);

/// One who looks for a face, by the shipped files, and what it tells.
pub(in crate::perception) fn watcher() -> (Watcher, Receiver<Event>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let config = Config::read(&root.join("firmware-config/agent.toml")).unwrap();
    let models = Models::load(&root.join("models/manifest.toml")).unwrap();
    let (events, told) = channel(64);
    let settings = Settings::of(&config.board, &config.placement, &Arc::default());
    (Watcher::new(&models, settings, Viewfinder::default(), events).unwrap(), told)
}

/// A grey frame of `SIDES` that has `pixels`.
pub(in crate::perception) fn frame(pixels: &[u8]) -> Frame<'_> {
    let (width, height) = SIDES;
    Frame {
        format: PixelFormat::Grey8,
        width,
        height,
        stride: width as usize,
        sequence: 0,
        captured_at: Moment::ZERO,
        pixels,
        beside: None,
    }
}

/// The bytes of a whole frame.
pub(in crate::perception) fn whole(value: u8) -> Vec<u8> {
    vec![value; (SIDES.0 * SIDES.1) as usize]
}

#[test]
fn frames_that_cannot_be_read_are_counted_and_told_at_rest_as_well() {
    let (mut watcher, mut told) = watcher();
    let whole = whole(128);
    for refused in [1, 2] {
        assert!(matches!(watcher.look_at(&frame(&whole[1..])), Err(FrameError::Short { .. })));
        assert_eq!(watcher.settings.meter.counts().refused, refused);
        assert_eq!(watcher.look_at(&frame(&whole)), Ok(()));
        watcher.obey(Order::Watch(RequestId::from_bytes([1; 16])));
    }
    assert!(told.try_recv().is_err(), "who holds the camera tells of it");
}

#[test]
fn black_and_white_pictures_are_counted_and_nobody_is_seen_in_them() {
    let (mut watcher, mut told) = watcher();
    watcher.look_at(&frame(&whole(0))).unwrap();
    assert_eq!(watcher.settings.meter.counts().black, 0, "nothing is looked at while nobody is served");
    watcher.obey(Order::Watch(RequestId::from_bytes([1; 16])));
    for (value, frames) in [(0, 3), (128, 1), (255, 2)] {
        let pixels = whole(value);
        for _ in 0..frames {
            watcher.look_at(&frame(&pixels)).unwrap();
        }
    }
    while let Ok(event) = told.try_recv() {
        assert!(matches!(event, Event::Guided(..)));
    }
    let counts = watcher.settings.meter.counts();
    assert_eq!((counts.black, counts.white, counts.refused), (3, 2, 0));
    assert!(matches!(watcher.doing, Doing::Watching { .. }));
}
