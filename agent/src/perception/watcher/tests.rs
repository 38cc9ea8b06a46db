//! What bad pictures do: they are counted, become a fault in the end, and are forgotten when good ones come.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use didar_protocol::id::RequestId;
use didar_vision::PixelFormat;
use tokio::sync::mpsc::{Receiver, channel};

use super::*;
use crate::config::Config;

const SIDES: (u32, u32) = (640, 480);

/// One who looks for a face, by the shipped files, and what it tells.
fn watcher() -> (Watcher, Receiver<Event>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let config = Config::read(&root.join("firmware-config/agent.toml")).unwrap();
    let models = Models::load(&root.join("models/manifest.toml")).unwrap();
    let (events, told) = channel(64);
    let settings = Settings::of(&config.board, &config.placement, &Arc::default());
    let mut watcher = Watcher::new(&models, settings, Viewfinder::default(), events).unwrap();
    watcher.obey(Order::Watch(RequestId::from_bytes([1; 16])));
    (watcher, told)
}

/// Shows a grey frame of `SIDES` that has `pixels`, and says what was told then.
fn show(watcher: &mut Watcher, told: &mut Receiver<Event>, pixels: &[u8]) -> Vec<&'static str> {
    let (width, height) = SIDES;
    watcher.look_at(&Frame {
        format: PixelFormat::Grey8,
        width,
        height,
        stride: width as usize,
        sequence: 0,
        captured_at: Moment::ZERO,
        pixels,
        beside: None,
    });
    let name = |event| match event {
        Event::Fault(Reason::CameraFault) => "fault",
        Event::Mended(Reason::CameraFault) => "mended",
        Event::Guided(..) => "guided",
        _ => "other",
    };
    std::iter::from_fn(|| told.try_recv().ok()).map(name).collect()
}

#[test]
fn short_frames_are_counted_and_too_many_in_a_row_are_a_fault_until_a_whole_one_comes() {
    let (mut watcher, mut told) = watcher();
    let whole = vec![128; (SIDES.0 * SIDES.1) as usize];
    let short = &whole[1..];
    for _ in 1..SPOILED_MAX {
        assert!(show(&mut watcher, &mut told, short).is_empty());
    }
    assert!(show(&mut watcher, &mut told, &whole).iter().all(|event| *event == "guided"), "one whole frame forgives");
    for _ in 1..SPOILED_MAX {
        assert!(show(&mut watcher, &mut told, short).is_empty());
    }
    assert_eq!(show(&mut watcher, &mut told, short), ["fault"]);
    assert!(show(&mut watcher, &mut told, &[]).is_empty(), "told once");
    assert_eq!(watcher.settings.meter.counts().refused, u64::from(2 * SPOILED_MAX));
    assert_eq!(show(&mut watcher, &mut told, &whole)[0], "mended");
}

#[test]
fn black_and_white_pictures_are_counted_and_nobody_is_seen_in_them() {
    let (mut watcher, mut told) = watcher();
    for (value, frames) in [(0, 3), (128, 1), (255, 2)] {
        let pixels = vec![value; (SIDES.0 * SIDES.1) as usize];
        for _ in 0..frames {
            assert!(show(&mut watcher, &mut told, &pixels).iter().all(|event| *event == "guided"));
        }
    }
    let counts = watcher.settings.meter.counts();
    assert_eq!((counts.black, counts.white, counts.refused), (3, 2, 0));
    assert!(matches!(watcher.doing, Doing::Watching { .. }));
}
