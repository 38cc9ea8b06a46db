//! What the camera sees, told in events: guidance while the person finds the place, evidence while the code plays.
//!
//! One plain thread, which takes a frame where the driver put it and looks at it there: nothing is copied. Meanwhile the
//! driver fills the other buffers of its ring. Between thread and loop stands the bounded `inbox`.
//!
//! **Here:** the thread and its orders; `feed` is the camera, broken or whole; `watcher` looks, `guide` decides
//! what a person should change, `proof` collects and judges, `beside` joins what two sensors see.
//! **Not here:** lamps (the loop's), models (`didar_vision`), thresholds of liveness (`didar_liveness`).
//! **Start** with [`Perception::start`].
//!
//! No camera without consent: frames are taken only between an order to watch and the order to rest. The one exception
//! is the probe that tells a broken camera before anybody is served: of its frames only is told whether they can be read.

mod beside;
mod feed;
mod guide;
mod inbox;
mod mirror;
mod proof;
mod sample;
mod watcher;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use didar_liveness::Policy;
use didar_protocol::id::{AttemptId, RequestId};
use didar_protocol::light_code::{CodeShape, Light};
use didar_protocol::message::{ModelRef, ModelRole};
use didar_protocol::transcript::CameraFacts;
use didar_vision::{ModelError, Models, Role};
use tokio::sync::mpsc::Sender;

use crate::attempt::event::{Event, ProofOrder};
use crate::camera::meter::Meter;
use crate::config::Board;
use crate::display::Viewfinder;
use crate::edge::{Camera, Got, Switching};
pub use beside::Lens;
use feed::{Feed, Health, RETRY};
pub use guide::Placement;
use inbox::{Inbox, Work};
pub use sample::sample;
use watcher::{LAST_FRAME_WAIT, Watcher};

/// What the loop orders.
pub enum Order {
    /// Look for a face and guide it into place.
    Watch(RequestId),
    /// The code begins: sample every frame.
    Prove(Box<ProofOrder>),
    /// The lamps were switched.
    Switched {
        /// When.
        at: Switching,
        /// To what.
        light: Light,
    },
    /// The code is over: judge.
    Judge(AttemptId),
    /// Stop looking; wipe what was kept.
    Rest,
}

/// What the loop sees through: [`Perception`], or a script in tests. Events come back over the loop's channel.
pub trait Eyes: Send {
    /// Hands on an order; never waits.
    fn order(&self, order: Order);

    /// The models in use, as messages name them.
    fn models(&self) -> &[ModelRef];

    /// How often the camera's thread has come round; one that rests still does, every second.
    fn turns(&self) -> u64;
}

/// Facts and thresholds that perception works by. From the board's file and the configuration.
#[derive(Clone)]
pub struct Settings {
    /// The code's shape.
    pub shape: CodeShape,
    /// Facts of the camera and lamps, as calibrated.
    pub camera: CameraFacts,
    /// Where a face must be.
    pub placement: Placement,
    /// How long the camera may be silent before it counts as broken.
    pub stall: Duration,
    /// The colour sensor beside the infrared one, where the board has two: template and mirror see by it.
    pub beside: Option<Lens>,
    /// What is counted of its frames.
    pub meter: Arc<Meter>,
}

impl Settings {
    /// Of a board, with what the configuration says of `placement`.
    pub fn of(board: &Board, placement: &Placement, meter: &Arc<Meter>) -> Self {
        Self {
            shape: board.code,
            camera: board.facts.clone(),
            placement: placement.clone(),
            stall: board.stall,
            beside: board.colour.as_ref().map(|colour| colour.lens),
            meter: Arc::clone(meter),
        }
    }
}

/// The thread. Dropping it ends it.
pub struct Perception {
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<()>>,
    models: Vec<ModelRef>,
}

/// Perception did not start.
#[derive(Debug, thiserror::Error)]
pub enum PerceptionError {
    /// A model cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The system gave no thread.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

impl Perception {
    /// Makes the networks ready and starts the thread; what it sees arrives over `events`, and pictures for the oval
    /// go to `viewfinder`.
    ///
    /// # Errors
    /// A model does not fit its manifest, or the system gave no thread.
    pub fn start(
        camera: Box<dyn Camera>,
        models: &Models,
        settings: Settings,
        viewfinder: Viewfinder,
        events: Sender<Event>,
    ) -> Result<Self, PerceptionError> {
        let inbox = Arc::new(Inbox::new());
        let references = references(models);
        let feed = Feed::new(camera, events.clone(), settings.stall);
        let watcher = Watcher::new(models, settings, viewfinder, events)?;
        let shared = Arc::clone(&inbox);
        let thread = std::thread::Builder::new()
            .name("vision".into())
            .spawn(move || run(feed, watcher, &shared))
            .map_err(PerceptionError::Thread)?;
        Ok(Self { inbox, thread: Some(thread), models: references })
    }
}

impl Eyes for Perception {
    fn order(&self, order: Order) {
        self.inbox.order(order);
    }

    fn models(&self) -> &[ModelRef] {
        &self.models
    }

    fn turns(&self) -> u64 {
        self.inbox.turns()
    }
}

impl Drop for Perception {
    fn drop(&mut self) {
        self.inbox.close();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so on its own; there is nothing left to do with it.
            let _ = thread.join();
        }
    }
}

/// Role and hash of every model, as messages name them.
pub fn references(models: &Models) -> Vec<ModelRef> {
    let role = |role| match role {
        Role::Detector => ModelRole::Detector,
        Role::Mesh => ModelRole::Mesh,
        Role::Passive => ModelRole::Passive,
        Role::Embedding => ModelRole::Embedding,
    };
    models.references().into_iter().map(|(found, sha256)| ModelRef { role: role(found), sha256 }).collect()
}

/// How often a resting thread looks whether it is still needed.
const IDLE: Duration = Duration::from_secs(1);

fn run(mut feed: Feed, mut watcher: Watcher, inbox: &Inbox) {
    let policy = Policy::shipped();
    loop {
        let patience = match (feed.health(), watcher.is_resting()) {
            (Health::Broken, _) => RETRY,
            (Health::Good, true) => IDLE,
            (Health::Good, false) | (Health::Unknown, _) => Duration::ZERO,
        };
        match inbox.next(patience) {
            Work::Order(order) => {
                watcher.obey(order);
                continue;
            }
            Work::Closed => return feed.rest(),
            Work::Nothing => {}
        }
        if watcher.is_resting() && feed.health() == Health::Good {
            feed.rest();
            continue;
        }
        feed.control(watcher.controls());
        let mut seen = None;
        let got = feed.next(watcher.pick(), &mut |frame| {
            seen = Some(frame.captured_at);
            watcher.look_at(frame)
        });
        let waited_enough = got == Got::Nothing && feed.silent() >= LAST_FRAME_WAIT;
        if (seen.is_some() || waited_enough) && watcher.is_complete(seen) {
            // Judging takes longer than a frame, and nobody wants frames any more.
            feed.rest();
            watcher.judge(&policy);
        }
    }
}

#[cfg(test)]
mod tests;
