//! What the camera sees, told in events: guidance while the person finds the place, evidence while the code plays.
//!
//! Two plain threads: one takes frames from the camera and never waits for a model, one looks at them. Between them and
//! the loop stands the bounded `inbox`.
//!
//! **Here:** the threads and their orders; `guide` decides what a person should change, `proof` collects and judges.
//! **Not here:** lamps (the loop's), models (`didar_vision`), thresholds of liveness (`didar_liveness`).
//! **Start** with [`Perception::start`].
//!
//! No camera without consent: frames are taken only between an order to watch and the order to rest. The one exception
//! is the probe that tells a missing camera before anybody is served: its frames are dropped unread.

mod capture;
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
use didar_vision::{FrameView, ModelError, Models, Perceiver, Role, Sight, Unpacker, VisionError};
use tokio::sync::mpsc::Sender;

use crate::attempt::event::{Event, Hint, ProofOrder};
use crate::display::Viewfinder;
use crate::edge::{Camera, Frame};
use crate::time::Moment;
pub use guide::Placement;
use guide::{Guide, Seen, Told};
use inbox::{Inbox, Wanted, Work};
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
}

/// The two threads. Dropping it ends them.
pub struct Perception {
    inbox: Arc<Inbox>,
    threads: Vec<JoinHandle<()>>,
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
    /// Makes the networks ready and starts the threads; what they see arrives over `events`, and pictures for the oval
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
        let watcher = Watcher {
            perceiver: Perceiver::new(models)?,
            unpacker: Unpacker::new(),
            mirror: Mirror::new(viewfinder),
            settings: settings.clone(),
            events: events.clone(),
            doing: Doing::Resting,
            spoiled: 0,
        };
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(body).map_err(PerceptionError::Thread)
        };
        let (for_capture, for_watcher) = (Arc::clone(&inbox), Arc::clone(&inbox));
        let threads = vec![
            spawn("camera", Box::new(move || capture::run(camera, &for_capture, &events, settings.stall)))?,
            spawn("vision", Box::new(move || watcher.run(&for_watcher)))?,
        ];
        Ok(Self { inbox, threads, models: references })
    }
}

impl Eyes for Perception {
    fn order(&self, order: Order) {
        match &order {
            Order::Watch(_) => self.inbox.want(Wanted::Newest),
            Order::Prove(_) => self.inbox.want(Wanted::Every),
            Order::Rest => self.inbox.want(Wanted::Nothing),
            Order::Switched { .. } | Order::Judge(_) => {}
        }
        self.inbox.order(order);
    }

    fn models(&self) -> &[ModelRef] {
        &self.models
    }
}

impl Drop for Perception {
    fn drop(&mut self) {
        self.inbox.close();
        for thread in self.threads.drain(..) {
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

/// What the vision thread is doing.
enum Doing {
    Resting,
    Watching { request: RequestId, guide: Guide },
    Proving { request: RequestId, collector: Box<Collector> },
}

/// The vision thread.
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

impl Watcher {
    fn run(mut self, inbox: &Inbox) {
        let policy = Policy::shipped();
        loop {
            match inbox.next(LAST_FRAME_WAIT) {
                Work::Order(order) => self.obey(order),
                Work::Frame(frame) => {
                    self.look_at(&frame);
                    let captured_at = frame.captured_at;
                    inbox.give_back(frame);
                    self.judge_if_complete(Some(captured_at), &policy);
                }
                Work::Nothing => self.judge_if_complete(None, &policy),
                Work::Closed => return,
            }
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

    fn look_at(&mut self, frame: &Frame) {
        if matches!(self.doing, Doing::Resting) {
            return;
        }
        let view = self.unpacker.view(frame.format, frame.width, frame.height, frame.stride, &frame.pixels);
        let view = match view {
            Ok(view) => view,
            Err(error) => {
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

    /// Judges once the code is over and its last frame has been seen, or cannot be expected any more.
    fn judge_if_complete(&mut self, seen: Option<Moment>, policy: &Policy) {
        let Doing::Proving { collector, .. } = &self.doing else { return };
        if !collector.is_complete(seen) {
            return;
        }
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
