//! One attempt at a time, as a pure machine: facts and times come in, orders go out.
//!
//! ```text
//! Idle ─Requested─▶ Positioning ─FaceSteady and a challenge─▶ Proving ─Proven─▶ Awaiting ─Replied─▶ Showing ─▶ Idle
//! ```
//!
//! **Here:** [`Machine::step`] and [`Machine::deadline`]; the words are in [`event`], the states in `state`.
//! **Not here:** clocks, waiting, input and output, failure: what broke arrives as an event and leaves as an outcome.
//! **Start** with [`Machine::step`].
//!
//! Invariants, held by `tests::worlds`: the lamps are never on for [`LIT_MAX`]; no grant without a match for this
//! attempt and nonce; at most one letter per challenge; exactly one record per request.

mod course;
mod ending;
pub mod event;
mod state;
#[cfg(test)]
mod tests;

use std::time::Duration;

use didar_protocol::id::{DeviceId, RequestId};
use didar_protocol::light_code::CodeShape;
use didar_protocol::reason::Reason;

pub use event::{Command, Event, Guidance, Hint, Language, Outcome, Request, View};

use crate::time::Moment;
use event::Findings;
use state::{Phase, State};

/// Longest time from the first lamp order of a code to its last. The code itself takes at most 900 ms; the rest is
/// for a loop that was kept waiting. The lamps' driver enforces the same limit by itself.
pub const LIT_MAX: Duration = Duration::from_millis(1_500);

/// How long each stage may take. From the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the request to a steady face.
    pub position: Duration,
    /// From the request's sending to the challenge.
    pub challenge: Duration,
    /// From the code's end to the template or the refutation.
    pub judge: Duration,
    /// From the attempt's sending to the verdict.
    pub reply: Duration,
    /// How long a result stays on the screen.
    pub show: Duration,
    /// How long a lost connection may take to come back before an attempt ends as offline.
    pub reconnect: Duration,
}

/// The attempt machine. Lives as long as the agent.
pub struct Machine {
    limits: Limits,
    device: DeviceId,
    shape: CodeShape,
    slot: Duration,
    link: Link,
    keyed: bool,
    stopping: bool,
    faults: Vec<Reason>,
    state: State,
}

/// Whether nobody can be served while this is broken. Without a screen the kiosk's application still guides the person.
const fn stops_service(fault: Reason) -> bool {
    !matches!(fault, Reason::ScreenFault)
}

/// The way to the matcher, as last heard.
#[derive(Clone, Copy, Debug)]
enum Link {
    Up,
    Down { since: Moment },
}

impl Machine {
    /// An idle machine. `slot` is the length of one slot of the code; `now` the agent's start.
    pub fn new(limits: Limits, device: DeviceId, shape: CodeShape, slot: Duration, now: Moment) -> Self {
        Self {
            limits,
            device,
            shape,
            slot,
            link: Link::Down { since: now },
            keyed: false,
            stopping: false,
            faults: Vec::new(),
            state: State::Idle,
        }
    }

    /// Advances by one fact. Never waits, never fails. What time alone demands comes first: a fact that arrives at a
    /// deadline is late.
    pub fn step(&mut self, now: Moment, event: Event) -> Vec<Command> {
        let mut orders = Vec::new();
        while self.deadline().is_some_and(|until| now >= until) {
            orders.extend(self.expire(now));
        }
        orders.extend(self.take(now, event));
        orders
    }

    /// The moment at which [`Self::step`] must be called even if nothing happens.
    pub fn deadline(&self) -> Option<Moment> {
        match &self.state {
            State::Idle => None,
            State::Positioning { case, until, .. } => match &case.held {
                Some(held) => Some((*until).min(held.expires)),
                None => {
                    let answer_until = case.asked.map(|at| at.after(self.limits.challenge));
                    [answer_until, self.patience(case.started)].into_iter().flatten().chain([*until]).min()
                }
            },
            State::Proving { phase: Phase::Playing { sequencer, ends, .. }, .. } => {
                let next = sequencer.deadline_us().map(|us| Moment::from_nanos(us.saturating_mul(1_000)));
                Some(next.unwrap_or(*ends).min(*ends))
            }
            State::Proving { phase: Phase::Judging { until, .. }, held, .. } => Some((*until).min(held.expires)),
            State::Awaiting { held, since, .. } => {
                let until = since.after(self.limits.reply).min(held.expires);
                Some(self.patience(*since).map_or(until, |link| link.min(until)))
            }
            State::Showing { until } => Some(*until),
        }
    }

    /// The request that is being served; `None` when another one would be taken.
    pub fn serving(&self) -> Option<RequestId> {
        match &self.state {
            State::Positioning { case, .. } | State::Proving { case, .. } | State::Awaiting { case, .. } => {
                Some(case.request.id)
            }
            State::Idle | State::Showing { .. } => None,
        }
    }

    /// What is broken now, the lost connection included.
    pub fn faults(&self) -> Vec<Reason> {
        let offline = matches!(self.link, Link::Down { .. }).then_some(Reason::NoConnection);
        self.faults.iter().copied().chain(offline).collect()
    }

    /// What an idle kiosk shows.
    pub fn rest_view(&self) -> View {
        match self.grounded() {
            Some(reason) => View::OutOfService { reason },
            None => View::Idle { faults: self.faults() },
        }
    }

    /// The fault that stops all service; `None` where there is none, or only such as service goes on with.
    fn grounded(&self) -> Option<Reason> {
        self.faults.iter().copied().find(|fault| stops_service(*fault))
    }

    fn take(&mut self, now: Moment, event: Event) -> Vec<Command> {
        match event {
            Event::Requested(request) => self.requested(now, request),
            Event::Cancelled(id) if self.serving() == Some(id) => {
                self.conclude(now, Outcome::Cancelled, Reason::CancelledByApplication, Findings::default())
            }
            // The request ended before its cancellation came.
            Event::Cancelled(_) => Vec::new(),
            Event::Stopping => self.stop(now),
            Event::Unsent(id) if self.serving() == Some(id) => {
                self.conclude(now, Outcome::Fault, Reason::RequestMalformed, Findings::default())
            }
            // It ended before its letter was made.
            Event::Unsent(_) => Vec::new(),
            Event::Guided(id, hint) => self.guided(id, hint),
            Event::FaceSteady(id) => self.steadied(now, id),
            Event::FaceLost(id) => self.lost(now, id),
            Event::Proven(proof) => self.proven(now, *proof),
            Event::Refuted(refutation) => self.refuted(now, *refutation),
            Event::Challenged(challenge) => self.challenged(now, challenge),
            Event::Replied(verdict) => self.replied(now, &verdict),
            Event::Keys(_) => self.link_changed(now, self.link, true),
            Event::UplinkUp => self.link_changed(now, Link::Up, self.keyed),
            Event::UplinkDown => self.link_lost(now),
            Event::Fault(reason) => self.broke(now, reason),
            Event::Mended(reason) => self.mended(reason),
            // Receipts concern the outbox; a tick says only what `step` has done already.
            Event::Receipt(_) | Event::Tick => Vec::new(),
        }
    }
}
