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

pub mod event;
mod state;
#[cfg(test)]
mod tests;

use std::time::Duration;

use didar_liveness::sequencer::Order;
use didar_protocol::id::{DeviceId, RequestId};
use didar_protocol::light_code::{CodeShape, Light, light_code};
use didar_protocol::message::{Challenge, Verdict, VerdictOutcome};
use didar_protocol::reason::Reason;

pub use event::{Command, Event, Guidance, Hint, Language, Outcome, Request, View};

use crate::time::Moment;
use event::{Closing, Ending, Finding, Findings, Proof, ProofOrder, Refutation};
use state::{Case, Held, Phase, State};

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
        match self.faults.first() {
            Some(&reason) => View::OutOfService { reason },
            None => View::Idle { faults: self.faults() },
        }
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

    fn requested(&mut self, now: Moment, request: Box<Request>) -> Vec<Command> {
        match self.state {
            State::Idle | State::Showing { .. } if !self.stopping => {}
            // The local API asks `serving` first; a request that slipped past is not recorded because none was begun.
            State::Idle | State::Showing { .. } | State::Positioning { .. } => return Vec::new(),
            State::Proving { .. } | State::Awaiting { .. } => return Vec::new(),
        }
        let mut case = Case::new(request, now);
        let hopeless = self.faults.first().map(|&reason| (Outcome::Fault, reason));
        let offline = self.is_offline(now, now).then_some((Outcome::Offline, Reason::NoConnection));
        if let Some((outcome, reason)) = hopeless.or(offline) {
            self.state = State::positioning(case, now);
            return self.conclude(now, outcome, reason, Findings::default());
        }
        let mut orders =
            vec![Command::Watch(case.request.id), Command::Show(View::Positioning { hint: Hint::LookForFace })];
        if self.may_ask() {
            orders.push(case.ask(now));
        }
        self.state = State::positioning(case, now.after(self.limits.position));
        orders
    }

    fn guided(&mut self, id: RequestId, new: Hint) -> Vec<Command> {
        match &mut self.state {
            State::Positioning { case, hint, steady, .. } if case.request.id == id => {
                *steady = false;
                if *hint == new {
                    return Vec::new();
                }
                *hint = new;
                vec![Command::Show(View::Positioning { hint: new })]
            }
            // Another request's, or said before perception heard that the code begins.
            State::Positioning { .. } | State::Proving { .. } => Vec::new(),
            State::Idle | State::Awaiting { .. } | State::Showing { .. } => Vec::new(),
        }
    }

    fn steadied(&mut self, now: Moment, id: RequestId) -> Vec<Command> {
        match &mut self.state {
            State::Positioning { case, hint, steady, .. } if case.request.id == id => {
                *steady = true;
                let changed = *hint != Hint::HoldStill;
                *hint = Hint::HoldStill;
                if case.held.is_some() {
                    return self.prove(now);
                }
                if changed { vec![Command::Show(View::Positioning { hint: Hint::HoldStill })] } else { Vec::new() }
            }
            // Another request's, or said twice.
            State::Positioning { .. } | State::Proving { .. } => Vec::new(),
            State::Idle | State::Awaiting { .. } | State::Showing { .. } => Vec::new(),
        }
    }

    fn lost(&mut self, now: Moment, id: RequestId) -> Vec<Command> {
        match &self.state {
            State::Positioning { .. } => self.guided(id, Hint::LookForFace),
            State::Proving { case, .. } if case.request.id == id => {
                self.conclude(now, Outcome::Inconclusive, Reason::HoldStill, Findings::default())
            }
            // Another request's; or the person leaves after the proof, which needs nobody in front any more.
            State::Proving { .. } | State::Awaiting { .. } => Vec::new(),
            State::Idle | State::Showing { .. } => Vec::new(),
        }
    }

    fn challenged(&mut self, now: Moment, challenge: Box<Challenge>) -> Vec<Command> {
        match &mut self.state {
            State::Positioning { case, steady, .. }
                if case.held.is_none() && challenge.request_hash == case.request.hash =>
            {
                let Some(asked) = case.asked else { return Vec::new() };
                let held = Held::new(challenge, asked);
                if held.expires <= now {
                    return self.conclude(now, Outcome::TimeOut, Reason::ChallengeExpired, Findings::default());
                }
                case.held = Some(held);
                if *steady { self.prove(now) } else { Vec::new() }
            }
            // For an earlier request, or the same one again: it stays unspent at the matcher and expires there.
            State::Positioning { .. } | State::Proving { .. } => Vec::new(),
            State::Idle | State::Awaiting { .. } | State::Showing { .. } => Vec::new(),
        }
    }

    /// Positioning with a challenge in hand becomes proving; anything else stays.
    fn prove(&mut self, now: Moment) -> Vec<Command> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Positioning { mut case, until, hint, steady } => {
                let Some(held) = case.held.take() else {
                    self.state = State::Positioning { case, until, hint, steady };
                    return Vec::new();
                };
                let challenge = &held.challenge;
                let code = light_code(&challenge.nonce, &challenge.attempt, &self.device, self.shape);
                let order = ProofOrder { attempt: challenge.attempt, code, start: now, picture: challenge.picture };
                case.stages.positioning = now.since(case.started);
                let phase = Phase::playing(&order.code, self.slot, now, now.after(LIT_MAX));
                self.state = State::Proving { case, held, phase };
                let mut orders = vec![Command::Prove(Box::new(order))];
                orders.extend(self.play(now));
                orders
            }
            other => {
                self.state = other;
                Vec::new()
            }
        }
    }

    /// Gives the lamp orders that are due; after the last one perception judges.
    fn play(&mut self, now: Moment) -> Vec<Command> {
        let State::Proving { phase, held, case } = &mut self.state else { return Vec::new() };
        let Phase::Playing { sequencer, slots, since, .. } = phase else { return Vec::new() };
        let mut orders = Vec::new();
        while let Some(order) = sequencer.due(now.as_nanos() / 1_000) {
            orders.push(Command::Lamps(order.light()));
            match order {
                Order::Slot { slot, .. } if slot % SLOTS_PER_SHOW == 0 => {
                    let progress = u8::try_from(u32::from(slot) * 100 / (*slots).max(1)).unwrap_or(100);
                    orders.push(Command::Show(View::HoldStill { progress }));
                }
                Order::Slot { .. } => {}
                Order::End => {
                    case.stages.proving = now.since(*since);
                    *phase = Phase::Judging { since: now, until: now.after(self.limits.judge) };
                    orders.push(Command::Judge(held.challenge.attempt));
                    orders.push(Command::Show(View::Checking));
                    break;
                }
            }
        }
        orders
    }

    fn proven(&mut self, now: Moment, proof: Proof) -> Vec<Command> {
        let offline = self.is_offline(now, now);
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Proving { mut case, held, phase: Phase::Judging { since, .. } }
                if held.challenge.attempt == proof.attempt =>
            {
                case.stages.judging = now.since(since);
                if offline {
                    // A live attempt is never kept for later: its template is wiped here.
                    self.state = State::Proving { case, held, phase: Phase::Judging { since, until: now } };
                    return self.conclude(now, Outcome::Offline, Reason::NoConnection, Findings::default());
                }
                let closing = Closing {
                    challenge: held.challenge.clone(),
                    findings: proof.findings,
                    ending: Ending::Proved { template: proof.template, picture: proof.picture },
                    expires: held.expires,
                };
                self.state = State::Awaiting { case, held, since: now };
                vec![Command::Rest, Command::Send(Box::new(closing))]
            }
            // An earlier attempt's proof, or one that nobody ordered to be judged: its template is wiped here.
            other => {
                self.state = other;
                Vec::new()
            }
        }
    }

    fn refuted(&mut self, now: Moment, refutation: Refutation) -> Vec<Command> {
        match &mut self.state {
            State::Proving { held, case, phase } if held.challenge.attempt == refutation.attempt => {
                if let Phase::Judging { since, .. } = phase {
                    case.stages.judging = now.since(*since);
                }
                let outcome = match refutation.finding {
                    Finding::Spoof => Outcome::Spoof,
                    Finding::Inconclusive => Outcome::Inconclusive,
                };
                self.conclude(now, outcome, refutation.reason, refutation.findings)
            }
            // An earlier attempt's.
            State::Proving { .. } | State::Positioning { .. } | State::Awaiting { .. } => Vec::new(),
            State::Idle | State::Showing { .. } => Vec::new(),
        }
    }

    fn replied(&mut self, now: Moment, verdict: &Verdict) -> Vec<Command> {
        match &mut self.state {
            State::Positioning { case, .. }
                if case.asked.is_some()
                    && case.held.is_none()
                    && verdict.attempt.is_none()
                    && verdict.outcome == VerdictOutcome::Refuse
                    && verdict.reply_to == case.request.hash =>
            {
                self.conclude(now, Outcome::Refused, verdict.reason, Findings::default())
            }
            State::Awaiting { case, held, since } if held.is_answered_by(verdict, now) => {
                case.stages.awaiting = now.since(*since);
                let (outcome, reason) = match verdict.outcome {
                    VerdictOutcome::Match => (Outcome::Grant, Reason::None),
                    VerdictOutcome::NoMatch => (Outcome::Deny, verdict.reason),
                    VerdictOutcome::Spoof => (Outcome::Spoof, verdict.reason),
                    VerdictOutcome::Inconclusive => (Outcome::Inconclusive, verdict.reason),
                    VerdictOutcome::Refuse => (Outcome::Refused, verdict.reason),
                };
                self.conclude(now, outcome, reason, Findings::default())
            }
            // Another attempt's, another challenge's, expired, or the answer to a local ending, which awaits none.
            State::Positioning { .. } | State::Proving { .. } | State::Awaiting { .. } => Vec::new(),
            State::Idle | State::Showing { .. } => Vec::new(),
        }
    }

    fn broke(&mut self, now: Moment, reason: Reason) -> Vec<Command> {
        if !self.faults.contains(&reason) {
            self.faults.push(reason);
        }
        match &self.state {
            State::Positioning { .. } | State::Proving { .. } => {
                self.conclude(now, Outcome::Fault, reason, Findings::default())
            }
            State::Idle => vec![Command::Show(self.rest_view())],
            // The proof is on its way, or the ending is shown: nothing that is needed still broke.
            State::Awaiting { .. } | State::Showing { .. } => Vec::new(),
        }
    }

    fn mended(&mut self, reason: Reason) -> Vec<Command> {
        self.faults.retain(|fault| *fault != reason);
        self.show_rest()
    }

    fn link_lost(&mut self, now: Moment) -> Vec<Command> {
        match self.link {
            // Each failed try to connect says so again: the first loss counts.
            Link::Down { .. } => Vec::new(),
            Link::Up => self.link_changed(now, Link::Down { since: now }, self.keyed),
        }
    }

    fn link_changed(&mut self, now: Moment, link: Link, keyed: bool) -> Vec<Command> {
        self.link = link;
        self.keyed = keyed;
        let may_ask = self.may_ask();
        match &mut self.state {
            State::Positioning { case, .. } if may_ask && case.asked.is_none() => vec![case.ask(now)],
            State::Idle => self.show_rest(),
            // The deadline follows the link; the uplink repeats by itself what is under way.
            State::Positioning { .. } | State::Proving { .. } | State::Awaiting { .. } => Vec::new(),
            State::Showing { .. } => Vec::new(),
        }
    }

    fn show_rest(&self) -> Vec<Command> {
        match self.state {
            State::Idle => vec![Command::Show(self.rest_view())],
            State::Positioning { .. } | State::Proving { .. } | State::Awaiting { .. } | State::Showing { .. } => {
                Vec::new()
            }
        }
    }

    fn stop(&mut self, now: Moment) -> Vec<Command> {
        self.stopping = true;
        if self.serving().is_none() {
            return vec![Command::Lamps(Light::Off), Command::Rest];
        }
        self.conclude(now, Outcome::Cancelled, Reason::Stopping, Findings::default())
    }

    fn may_ask(&self) -> bool {
        self.keyed && matches!(self.link, Link::Up)
    }

    /// Until when a lost connection may come back for somebody who waits since `waiting`; `None` while connected.
    fn patience(&self, waiting: Moment) -> Option<Moment> {
        match self.link {
            Link::Down { since } => Some(since.after(self.limits.reconnect)),
            // Connected, but the matcher's keys are missing: nothing can be sealed.
            Link::Up if !self.keyed => Some(waiting.after(self.limits.reconnect)),
            Link::Up => None,
        }
    }

    fn is_offline(&self, now: Moment, waiting: Moment) -> bool {
        self.patience(waiting).is_some_and(|until| now >= until)
    }

    fn expire(&mut self, now: Moment) -> Vec<Command> {
        let (outcome, reason) = match &self.state {
            State::Idle => return Vec::new(),
            State::Showing { .. } => {
                self.state = State::Idle;
                return self.show_rest();
            }
            State::Proving { phase: Phase::Playing { ends, .. }, .. } if now < *ends => return self.play(now),
            // The loop was kept waiting so long that the code has holes.
            State::Proving { phase: Phase::Playing { .. }, .. } => (Outcome::Inconclusive, Reason::TooFewFrames),
            State::Proving { phase: Phase::Judging { until, .. }, .. } if now >= *until => {
                (Outcome::Fault, Reason::ModelFault)
            }
            State::Proving { .. } => (Outcome::TimeOut, Reason::ChallengeExpired),
            State::Positioning { case, until, steady, .. } => match &case.held {
                Some(held) if now >= held.expires => (Outcome::TimeOut, Reason::ChallengeExpired),
                Some(_) => (Outcome::TimeOut, Reason::NoFaceInTime),
                None if self.is_offline(now, case.started) => (Outcome::Offline, Reason::NoConnection),
                None if now >= *until && !*steady => (Outcome::TimeOut, Reason::NoFaceInTime),
                None => (Outcome::TimeOut, Reason::NoAnswerInTime),
            },
            State::Awaiting { since, .. } if self.is_offline(now, *since) => (Outcome::Offline, Reason::NoConnection),
            State::Awaiting { .. } => (Outcome::TimeOut, Reason::NoAnswerInTime),
        };
        self.conclude(now, outcome, reason, Findings::default())
    }

    /// Ends the request that is served: lamps first, then the evidence to the centre, the record, and the person.
    fn conclude(&mut self, now: Moment, outcome: Outcome, reason: Reason, findings: Findings) -> Vec<Command> {
        let shown = State::Showing { until: now.after(self.limits.show) };
        let (case, unsent, mut orders) = match std::mem::replace(&mut self.state, shown) {
            State::Positioning { mut case, .. } => {
                let held = case.held.take();
                let unanswered = case.asked.is_some() && held.is_none();
                let forget = unanswered.then_some(Command::Forget(case.request.id));
                (case, held, [Command::Rest].into_iter().chain(forget).collect::<Vec<_>>())
            }
            State::Proving { case, held, .. } => (case, Some(held), vec![Command::Lamps(Light::Off), Command::Rest]),
            State::Awaiting { mut case, held, .. } => {
                case.attempt = Some((held.challenge.attempt, held.challenge.policy_version));
                (case, None, Vec::new())
            }
            idle @ (State::Idle | State::Showing { .. }) => {
                self.state = idle;
                return Vec::new();
            }
        };
        let named = unsent.as_ref().map(|held| (held.challenge.attempt, held.challenge.policy_version));
        let record = case.record(now, outcome, reason, named);
        if let Some(held) = unsent.filter(|held| outcome != Outcome::Offline && now < held.expires) {
            orders.push(Command::Send(Box::new(Closing {
                challenge: held.challenge,
                findings,
                ending: Ending::Stopped { outcome, reason },
                expires: held.expires,
            })));
        }
        orders.push(Command::Record(Box::new(record)));
        orders.push(Command::Show(View::Result { outcome, reason }));
        orders
    }
}

/// The screen's progress moves once in so many slots: drawing costs time that the camera's thread needs.
const SLOTS_PER_SHOW: u8 = 3;
