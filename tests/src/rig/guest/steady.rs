//! The agent's camera thread as it runs on a kiosk, guidance, mirror and screen with it: what it allocates for a frame.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use didar_agent::attempt::event::{Hint, Language, View};
use didar_agent::board::{self, Devices};
use didar_agent::camera::meter::Meter;
use didar_agent::config::Config;
use didar_agent::display::{Display, Viewfinder};
use didar_agent::edge::{Camera, CameraError, Clock, Controls, Frame, Got, Pick};
use didar_agent::perception::{Eyes, Order, Perception, Settings};
use didar_agent::time::SystemClock;
use didar_protocol::id::RequestId;
use didar_vision::Models;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::CONFIG;
use super::{now_us, sleep_until};

/// Frames that are not counted: the face is found, and memory is made that is kept.
const FIRST: usize = 10;
/// Frames that are counted.
const FRAMES: usize = 24;
/// Longest wait for all of them, microseconds.
const WAIT_US: u64 = 60_000_000;
/// How often is looked whether they have come, microseconds.
const LOOK_US: u64 = 20_000;

/// A camera in whose thread allocations are counted: everything that is done for a frame is done while it is lent.
struct Counted {
    camera: Box<dyn Camera>,
    /// Allocations of each frame.
    allocations: Arc<Mutex<Vec<u64>>>,
}

impl Camera for Counted {
    fn next(&mut self, pick: Pick, within: Duration, look: &mut dyn FnMut(&Frame<'_>)) -> Result<Got, CameraError> {
        let mut got = Ok(Got::Nothing);
        let counted = allocation_counter::measure(|| got = self.camera.next(pick, within, look));
        if matches!(got, Ok(Got::Frame)) {
            self.allocations.lock().unwrap_or_else(PoisonError::into_inner).push(counted.count_total);
        }
        got
    }

    fn control(&mut self, controls: Controls) -> Result<(), CameraError> {
        self.camera.control(controls)
    }

    fn rest(&mut self) {
        self.camera.rest();
    }
}

/// Watches somebody who finds the place, and counts.
pub(super) fn watch() -> Result<Value> {
    let config = Config::read(Path::new(CONFIG))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(0));
    let meter = Arc::<Meter>::default();
    let Devices { camera, screen, .. } = board::open(&config.board, &clock, &meter)?;
    let (events, _heard) = mpsc::channel(64);
    let display = screen.map(|screen| Display::start(screen, config.help.clone(), events.clone())).transpose()?;
    if let Some(display) = &display {
        display.show(View::Positioning { hint: Hint::Closer }, Language::En);
    }
    let allocations = Arc::new(Mutex::new(Vec::with_capacity(4 * (FIRST + FRAMES))));
    let camera = Box::new(Counted { camera, allocations: Arc::clone(&allocations) });
    let settings = Settings::of(&config.board, &config.placement, &meter);
    let finder = display.as_ref().map_or_else(Viewfinder::default, Display::viewfinder);
    let eyes = Perception::start(camera, &Models::load(&config.models)?, settings, finder.clone(), events)?;
    eyes.order(Order::Watch(RequestId::from_bytes([1; 16])));
    let until_us = now_us() + WAIT_US;
    let counted = loop {
        let counted = allocations.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if counted.len() >= FIRST + FRAMES {
            break counted;
        }
        if now_us() > until_us {
            bail!("only {} frames were looked at", counted.len());
        }
        sleep_until(now_us() + LOOK_US);
    };
    let counted = &counted[FIRST..FIRST + FRAMES];
    Ok(json!({
        "frames": counted.len(),
        "allocations_per_frame": counted.iter().sum::<u64>() as f64 / counted.len() as f64,
        "worst": counted.iter().max(),
        "screen_shows_them": finder.is_watched(),
    }))
}
