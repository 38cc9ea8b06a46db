//! The camera's thread: takes frames, stamps nothing, waits for no model.

use std::time::Duration;

use didar_protocol::reason::Reason;
use tokio::sync::mpsc::Sender;

use super::inbox::{Inbox, Wanted};
use crate::attempt::event::Event;
use crate::edge::{Camera, Frame};

/// How often a broken camera is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How often a resting thread looks whether it is still needed.
const IDLE: Duration = Duration::from_secs(1);

/// Whether the camera works, as far as known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Unknown,
    Good,
    Broken,
}

/// Runs until the inbox closes. `stall` is the longest silence of a camera that works.
pub(super) fn run(mut camera: Box<dyn Camera>, inbox: &Inbox, events: &Sender<Event>, stall: Duration) {
    let mut health = Health::Unknown;
    let mut resting = false;
    loop {
        let patience = if health == Health::Good { IDLE } else { Duration::ZERO };
        let Some(wanted) = inbox.wanted(patience) else { return };
        if wanted == Wanted::Nothing && health == Health::Good {
            if !resting {
                camera.rest();
            }
            resting = true;
            continue;
        }
        let mut frame = inbox.spare();
        let mut result = camera.next(&mut frame, stall);
        if resting && result.is_err() {
            // What broke while nobody looked may have come back long ago: opening it anew tells.
            result = camera.next(&mut frame, stall);
        }
        resting = false;
        match result {
            Ok(()) => {
                if health == Health::Broken {
                    tracing::info!("the camera works again");
                    let _ = events.blocking_send(Event::Mended(Reason::CameraFault));
                }
                health = Health::Good;
                hand_on(frame, wanted, inbox);
            }
            Err(error) => {
                if health != Health::Broken {
                    tracing::error!("{error}");
                    let _ = events.blocking_send(Event::Fault(Reason::CameraFault));
                }
                health = Health::Broken;
                inbox.pause(RETRY);
            }
        }
    }
}

fn hand_on(frame: Frame, wanted: Wanted, inbox: &Inbox) {
    match wanted {
        Wanted::Newest | Wanted::Every => inbox.put(frame),
        // The probe of a camera while nobody is served: dropped unread, and wiped.
        Wanted::Nothing => drop(frame),
    }
}
