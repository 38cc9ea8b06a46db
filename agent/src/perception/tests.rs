//! The thread with a camera that breaks: what the loop hears, and that the next one is served.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};

use didar_protocol::reason::Reason;

use super::watcher::tests::{frame, watcher, whole};
use super::*;
use crate::edge::{CameraError, Controls, Frame, Pick};
use crate::time::Moment;

/// A camera that cuts its frames short while it is told to.
struct CuttingCamera {
    cuts: Arc<AtomicBool>,
    pixels: Vec<u8>,
}

impl Camera for CuttingCamera {
    fn next(&mut self, _: Pick, _: Duration, look: &mut dyn FnMut(&Frame<'_>)) -> Result<Got, CameraError> {
        let missing = usize::from(self.cuts.load(Ordering::Relaxed));
        look(&frame(&self.pixels[missing..]));
        Ok(Got::Frame)
    }

    fn control(&mut self, _: Controls) -> Result<(), CameraError> {
        Ok(())
    }

    fn rest(&mut self) {}
}

/// An order to prove with a code of one slot.
fn prove() -> Order {
    let attempt = AttemptId::from_bytes([9; 16]);
    Order::Prove(Box::new(ProofOrder { attempt, code: vec![Light::Left], start: Moment::ZERO, picture: false }))
}

#[tokio::test]
async fn frames_that_cannot_be_read_are_a_fault_that_mends_and_the_next_person_is_served() {
    let (watcher, mut told) = watcher();
    let cuts = Arc::new(AtomicBool::new(false));
    let camera = CuttingCamera { cuts: Arc::clone(&cuts), pixels: whole(128) };
    let feed = Feed::new(Box::new(camera), watcher.events(), Duration::from_secs(60));
    let inbox = Arc::new(Inbox::new());
    let shared = Arc::clone(&inbox);
    let thread = std::thread::spawn(move || run(feed, watcher, &shared));
    let mut hear = async || {
        let patience = Duration::from_secs(120);
        tokio::time::timeout(patience, told.recv()).await.expect("something is told").unwrap()
    };
    for request in [1, 2] {
        let request = RequestId::from_bytes([request; 16]);
        cuts.store(true, Ordering::Relaxed);
        inbox.order(Order::Watch(request));
        assert!(matches!(hear().await, Event::Fault(Reason::CameraFault)));
        inbox.order(Order::Rest);
        cuts.store(false, Ordering::Relaxed);
        assert!(matches!(hear().await, Event::Mended(Reason::CameraFault)));
        inbox.order(Order::Watch(request));
        inbox.order(prove());
        // Nobody stands before this camera: that is found by looking.
        assert!(matches!(hear().await, Event::FaceLost(lost) if lost == request));
    }
    inbox.close();
    thread.join().unwrap();
}
