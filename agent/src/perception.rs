//! What the camera sees, told in events: guidance while the person finds the place, evidence while the code plays.
//!
//! One plain thread, which takes a frame where the driver put it and looks at it there: nothing is copied. Meanwhile the
//! driver fills the other buffers of its ring. Between thread and loop stands the bounded `inbox`.
//!
//! **Here:** the thread and its orders; `feed` is the camera, broken or whole; `guide` decides what a person should change, `proof` collects and judges.
//! **Not here:** lamps (the loop's), models (`didar_vision`), thresholds of liveness (`didar_liveness`).
//! **Start** with [`Perception::start`].
//!
//! No camera without consent: frames are taken only between an order to watch and the order to rest. The one exception
//! is the probe that tells a missing camera before anybody is served: its frames are dropped unread.

mod feed;
mod guide;
mod inbox;
mod mirror;
mod proof;
mod sample;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use didar_liveness::Policy;
use didar_protocol::id::{AttemptId, RequestId};
use didar_protocol::light_code::{CodeShape, Light};
use didar_protocol::message::{ModelRef, ModelRole};
use didar_protocol::reason::Reason;
use didar_protocol::transcript::CameraFacts;
use didar_vision::{FrameView, ModelError, Models, Perceiver, Role, Sight, Unpacker, VisionError, brightness};
use tokio::sync::mpsc::Sender;

use crate::attempt::event::{Event, Hint, ProofOrder};
use crate::camera::meter::Meter;
use crate::display::Viewfinder;
use crate::edge::{Camera, Controls, Frame, Got, Pick};
use crate::time::Moment;
use feed::{Feed, Health, RETRY};
pub use guide::Placement;
use guide::{Guide, Seen, Told};
use inbox::{Inbox, Work};
use mirror::Mirror;
use proof::Collector;
pub use sample::sample;

/// What the loop orders.
pub enum Order {
    /// Look for a face and guide it into place.
    Watch(RequestId),
    /// The code begins: sample every frame.
    Prove(Box<ProofOrder>),
    /// The lamps were switched.
    Switched {
        /// When.
        at: Moment,
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
    /// What is counted of its frames.
    pub meter: Arc<Meter>,
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
        let watcher = Watcher {
            perceiver: Perceiver::new(models)?,
            unpacker: Unpacker::new(),
            mirror: Mirror::new(viewfinder),
            settings,
            events,
            doing: Doing::Resting,
            spoiled: 0,
        };
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

/// What the thread is doing.
enum Doing {
    Resting,
    Watching { request: RequestId, guide: Guide },
    Proving { request: RequestId, collector: Box<Collector> },
}

/// The one who looks.
struct Watcher {
    perceiver: Perceiver,
    unpacker: Unpacker,
    mirror: Mirror,
    settings: Settings,
    events: Sender<Event>,
    doing: Doing,
    /// Frames in a row that were no pictures.
    spoiled: u32,
}

/// So many frames in a row that cannot be read are a broken camera and not a bad cable's single hiccup.
const SPOILED_MAX: u32 = 15;
/// How long the last frames of a code may be under way before judging begins without them.
const LAST_FRAME_WAIT: Duration = Duration::from_millis(250);

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
            watcher.look_at(frame);
            seen = Some(frame.captured_at);
        });
        let waited_enough = got == Got::Nothing && feed.silent() >= LAST_FRAME_WAIT;
        if (seen.is_some() || waited_enough) && watcher.is_complete(seen) {
            // Judging takes longer than a frame, and nobody wants frames any more.
            feed.rest();
            watcher.judge(&policy);
        }
    }
}

impl Watcher {
    const fn is_resting(&self) -> bool {
        matches!(self.doing, Doing::Resting)
    }

    /// While the code plays every frame counts; before, only the newest.
    const fn pick(&self) -> Pick {
        match self.doing {
            Doing::Proving { .. } => Pick::Next,
            Doing::Resting | Doing::Watching { .. } => Pick::Newest,
        }
    }

    /// From the time that a face is nearly in place, so that the camera has settled when the code begins.
    fn controls(&self) -> Controls {
        match &self.doing {
            Doing::Proving { .. } => Controls::Held,
            Doing::Watching { guide, .. } if guide.is_settling() => Controls::Held,
            Doing::Resting | Doing::Watching { .. } => Controls::Automatic,
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Watch(request) => {
                self.perceiver.reset();
                self.doing = Doing::Watching { request, guide: Guide::new(self.settings.placement.clone()) };
            }
            Order::Prove(order) => {
                if let Doing::Watching { request, .. } = self.doing {
                    let collector = Collector::new(*order, self.settings.shape, self.settings.camera.clone());
                    self.doing = Doing::Proving { request, collector: Box::new(collector) };
                }
            }
            Order::Switched { at, light } => {
                if let Doing::Proving { collector, .. } = &mut self.doing {
                    collector.switched(at, light);
                }
            }
            Order::Judge(attempt) => {
                if let Doing::Proving { collector, .. } = &mut self.doing {
                    collector.code_is_over(attempt);
                }
            }
            Order::Rest => {
                self.doing = Doing::Resting;
                self.mirror.rest();
            }
        }
    }

    fn look_at(&mut self, frame: &Frame<'_>) {
        if self.is_resting() {
            // The probe of a camera while nobody is served.
            return;
        }
        let view = self.unpacker.view(frame.format, frame.width, frame.height, frame.stride, frame.pixels);
        let view = match view {
            Ok(view) => view,
            Err(error) => {
                self.settings.meter.refused();
                self.spoiled += 1;
                if self.spoiled == SPOILED_MAX {
                    tracing::error!("camera: {error}");
                    let _ = self.events.blocking_send(Event::Fault(Reason::CameraFault));
                }
                return;
            }
        };
        if self.spoiled >= SPOILED_MAX {
            let _ = self.events.blocking_send(Event::Mended(Reason::CameraFault));
        }
        self.spoiled = 0;
        self.mirror.show(&view, frame.captured_at);
        let bright = brightness(&view, None);
        if bright.is_black() {
            self.settings.meter.black();
        } else if bright.is_white() {
            self.settings.meter.white();
        }
        let event = match see(&mut self.perceiver, &mut self.doing, &view, frame.captured_at) {
            Ok(event) => event,
            Err(error) => {
                tracing::error!("vision: {error}; restart didar-agent, and run `didar-agent check` if it comes again");
                self.doing = Doing::Resting;
                Some(Event::Fault(Reason::ModelFault))
            }
        };
        if matches!(event, Some(Event::FaceLost(_))) {
            self.doing = Doing::Resting;
        }
        // The loop's end closes the channel; then nobody needs to be told anything.
        if let Some(event) = event {
            let _ = self.events.blocking_send(event);
        }
    }

    /// Whether the code is over, and its last frame has been seen or cannot be expected any more.
    fn is_complete(&self, seen: Option<Moment>) -> bool {
        matches!(&self.doing, Doing::Proving { collector, .. } if collector.is_complete(seen))
    }

    fn judge(&mut self, policy: &Policy) {
        let Doing::Proving { collector, .. } = std::mem::replace(&mut self.doing, Doing::Resting) else { return };
        let event = collector.judge(&mut self.perceiver, policy).unwrap_or_else(|error| {
            tracing::error!("vision: {error}");
            Event::Fault(Reason::ModelFault)
        });
        let _ = self.events.blocking_send(event);
    }
}

/// One look at one frame, and what is to be said of it.
fn see(
    perceiver: &mut Perceiver,
    doing: &mut Doing,
    view: &FrameView<'_>,
    captured_at: Moment,
) -> Result<Option<Event>, VisionError> {
    let sight: Sight = perceiver.look(view)?;
    Ok(match doing {
        Doing::Resting => None,
        Doing::Watching { request, guide } => {
            let seen = sight.face.as_ref().map(|face| Seen::of(view, face));
            match guide.step(sight.faces, seen) {
                Told::Nothing => None,
                Told::Change(Hint::HoldStill) => None,
                Told::Change(hint) => Some(Event::Guided(*request, hint)),
                Told::Steady => Some(Event::FaceSteady(*request)),
            }
        }
        Doing::Proving { request, collector } => {
            collector.see(view, &sight, captured_at);
            collector.has_lost_the_face().then(|| Event::FaceLost(*request))
        }
    })
}

#[cfg(test)]
mod tests;
