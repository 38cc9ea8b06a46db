//! The one who looks: a frame in, what is to be said of it out.

use std::time::Duration;

use didar_liveness::Policy;
use didar_protocol::id::RequestId;
use didar_protocol::reason::Reason;
use didar_vision::{FrameError, FrameView, ModelError, Models, Perceiver, Unpacker, VisionError, brightness};
use tokio::sync::mpsc::Sender;

use super::beside::{Second, Shown, is_same_face};
use super::guide::{Guide, Seen, Told};
use super::mirror::Mirror;
use super::proof::Collector;
use super::{Order, Settings};
use crate::attempt::event::{Event, Hint};
use crate::camera::meter::Meter;
use crate::display::Viewfinder;
use crate::edge::{Controls, Frame, Pick};
use crate::time::Moment;

/// What is being done.
enum Doing {
    Resting,
    Watching { request: RequestId, guide: Guide },
    Proving { request: RequestId, collector: Box<Collector> },
}

/// The one who looks.
pub(super) struct Watcher {
    perceiver: Perceiver,
    unpacker: Unpacker,
    /// Where a colour sensor stands beside an infrared one.
    second: Option<Second>,
    mirror: Mirror,
    settings: Settings,
    events: Sender<Event>,
    doing: Doing,
}

/// How long the last frames of a code may be under way before judging begins without them.
pub(super) const LAST_FRAME_WAIT: Duration = Duration::from_millis(250);

/// Why a frame tells nothing.
#[derive(Debug, thiserror::Error)]
enum Blind {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Vision(#[from] VisionError),
}

impl Watcher {
    pub(super) fn new(
        models: &Models,
        settings: Settings,
        viewfinder: Viewfinder,
        events: Sender<Event>,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            perceiver: Perceiver::new(models)?,
            unpacker: Unpacker::new(),
            second: settings.beside.map(|lens| Second::new(models, lens)).transpose()?,
            mirror: Mirror::new(viewfinder),
            settings,
            events,
            doing: Doing::Resting,
        })
    }

    #[cfg(test)]
    pub(super) fn events(&self) -> Sender<Event> {
        self.events.clone()
    }

    pub(super) const fn is_resting(&self) -> bool {
        matches!(self.doing, Doing::Resting)
    }

    /// While the code plays every frame counts; before, only the newest.
    pub(super) const fn pick(&self) -> Pick {
        match self.doing {
            Doing::Proving { .. } => Pick::Next,
            Doing::Resting | Doing::Watching { .. } => Pick::Newest,
        }
    }

    /// From the time that a face is nearly in place, so that the camera has settled when the code begins.
    pub(super) fn controls(&self) -> Controls {
        match &self.doing {
            Doing::Proving { .. } => Controls::Held,
            Doing::Watching { guide, .. } if guide.is_settling() => Controls::Held,
            Doing::Resting | Doing::Watching { .. } => Controls::Automatic,
        }
    }

    pub(super) fn obey(&mut self, order: Order) {
        match order {
            Order::Watch(request) => {
                self.perceiver.reset();
                if let Some(second) = &mut self.second {
                    second.reset();
                }
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

    /// Looks at a frame, and tells what is to be said of it. At rest it is the probe of a camera while nobody is served:
    /// nothing is looked for in it.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn look_at(&mut self, frame: &Frame<'_>) -> Result<(), FrameError> {
        let looked = if self.is_resting() { self.probe(frame).map(|()| None) } else { self.look(frame) };
        let event = match looked {
            Ok(event) => event,
            Err(Blind::Frame(error)) => {
                self.settings.meter.refused();
                return Err(error);
            }
            Err(Blind::Vision(error)) => {
                tracing::error!("vision: {error}; restart didar-agent, and run `didar-agent check` if it comes again");
                self.doing = Doing::Resting;
                Some(Event::Fault(Reason::ModelFault))
            }
        };
        if matches!(event, Some(Event::FaceLost(_))) {
            self.doing = Doing::Resting;
        }
        if let Some(event) = event {
            self.tell(event);
        }
        Ok(())
    }

    /// Whether a frame can be read.
    fn probe(&mut self, frame: &Frame<'_>) -> Result<(), Blind> {
        self.unpacker.view(frame.format, frame.width, frame.height, frame.stride, frame.pixels)?;
        if let Some((second, beside)) = self.second.as_mut().zip(frame.beside) {
            second.unpacker.view(beside.format, beside.width, beside.height, beside.stride, beside.pixels)?;
        }
        Ok(())
    }

    /// One look at one frame, or at one of each sensor, and what is to be said of it.
    fn look(&mut self, frame: &Frame<'_>) -> Result<Option<Event>, Blind> {
        let Self { perceiver, unpacker, second, mirror, settings, doing, .. } = self;
        let view = unpacker.view(frame.format, frame.width, frame.height, frame.stride, frame.pixels)?;
        let at = frame.captured_at;
        match (second, frame.beside) {
            (None, _) => {
                mirror.show(&view, at);
                count(&settings.meter, &view);
                let sight = perceiver.look(&view)?;
                let shown = sight.face.as_ref().map(|face| Shown { view: &view, face });
                Ok(note(doing, sight.faces, (shown, shown), at))
            }
            (Some(second), Some(beside)) => {
                let colour_view =
                    second.unpacker.view(beside.format, beside.width, beside.height, beside.stride, beside.pixels)?;
                mirror.show(&colour_view, at);
                count(&settings.meter, &colour_view);
                let (sight, colour) = (perceiver.look(&view)?, second.perceiver.look(&colour_view)?);
                let code = sight.face.as_ref().map(|face| Shown { view: &view, face });
                let face = colour.face.as_ref().map(|face| Shown { view: &colour_view, face });
                let same = |code, face| is_same_face(code, settings.camera.focal_px10, face, second.lens);
                let is_same = code.zip(face).is_some_and(|(code, face)| same(code, face));
                second.strange.note(code.is_some(), face.is_some(), is_same);
                Ok(note(doing, sight.faces.max(colour.faces), (code, face.filter(|_| is_same)), at))
            }
            (Some(_), None) => {
                if !matches!(doing, Doing::Proving { .. }) {
                    return Ok(None);
                }
                let sight = perceiver.look(&view)?;
                let code = sight.face.as_ref().map(|face| Shown { view: &view, face });
                Ok(note(doing, sight.faces, (code, None), at))
            }
        }
    }

    /// Whether the code is over, and its last frame has been seen or cannot be expected any more.
    pub(super) fn is_complete(&self, seen: Option<Moment>) -> bool {
        matches!(&self.doing, Doing::Proving { collector, .. } if collector.is_complete(seen))
    }

    pub(super) fn judge(&mut self, policy: &Policy) {
        let Doing::Proving { collector, .. } = std::mem::replace(&mut self.doing, Doing::Resting) else { return };
        let event = collector.judge(&mut self.perceiver, policy).unwrap_or_else(|error| {
            tracing::error!("vision: {error}");
            Event::Fault(Reason::ModelFault)
        });
        self.tell(event);
    }

    fn tell(&self, event: Event) {
        // The loop's end closes the channel; then nobody needs to be told anything.
        let _ = self.events.blocking_send(event);
    }
}

fn count(meter: &Meter, view: &FrameView<'_>) {
    let bright = brightness(view, None);
    if bright.is_black() {
        meter.black();
    } else if bright.is_white() {
        meter.white();
    }
}

/// What is to be said of the face that the code falls on and of the same face in the light of the template: with one sensor
/// they are the same.
fn note(
    doing: &mut Doing,
    faces: usize,
    (code, face): (Option<Shown<'_>>, Option<Shown<'_>>),
    captured_at: Moment,
) -> Option<Event> {
    match doing {
        Doing::Resting => None,
        Doing::Watching { request, guide } => {
            match guide.step(faces, face.map(|face| Seen::of(face.view, face.face))) {
                Told::Nothing | Told::Change(Hint::HoldStill) => None,
                Told::Change(hint) => Some(Event::Guided(*request, hint)),
                Told::Steady => Some(Event::FaceSteady(*request)),
            }
        }
        Doing::Proving { request, collector } => {
            collector.see(faces, code, face, captured_at);
            collector.has_lost_the_face().then(|| Event::FaceLost(*request))
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
