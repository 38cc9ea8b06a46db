//! The ends of an attempt: deadlines, faults, the lost connection, the stop; and the one way out of every state.

use didar_protocol::light_code::Light;
use didar_protocol::reason::Reason;

use super::event::{Closing, Command, Ending, Findings, Outcome, View};
use super::state::{Phase, State};
use super::{Link, Machine, stops_service};
use crate::edge::Question;
use crate::time::Moment;

impl Machine {
    pub(super) fn broke(&mut self, now: Moment, reason: Reason) -> Vec<Command> {
        if !self.faults.contains(&reason) {
            self.faults.push(reason);
        }
        match &self.state {
            State::Positioning { .. } | State::Proving { .. } if stops_service(reason) => {
                self.conclude(now, Outcome::Fault, reason, Findings::default())
            }
            State::Idle => vec![Command::Show(self.rest_view())],
            // Without this part the person is served all the same.
            State::Positioning { .. } | State::Proving { .. } => Vec::new(),
            // Without a store no answer can be recorded, so none may be given.
            State::Awaiting { .. } if reason == Reason::StorageFault => {
                self.conclude(now, Outcome::Fault, reason, Findings::default())
            }
            // The proof is on its way, or the ending is shown: nothing that is needed still broke.
            State::Awaiting { .. } | State::Showing { .. } => Vec::new(),
        }
    }

    pub(super) fn mended(&mut self, reason: Reason) -> Vec<Command> {
        self.faults.retain(|fault| *fault != reason);
        self.show_rest()
    }

    pub(super) fn link_lost(&mut self, now: Moment) -> Vec<Command> {
        match self.link {
            // Each failed try to connect says so again: the first loss counts.
            Link::Down { .. } => Vec::new(),
            Link::Up => self.link_changed(now, Link::Down { since: now }, self.keyed),
        }
    }

    pub(super) fn link_changed(&mut self, now: Moment, link: Link, keyed: bool) -> Vec<Command> {
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

    pub(super) fn show_rest(&self) -> Vec<Command> {
        match self.state {
            State::Idle => vec![Command::Show(self.rest_view())],
            State::Positioning { .. } | State::Proving { .. } | State::Awaiting { .. } | State::Showing { .. } => {
                Vec::new()
            }
        }
    }

    pub(super) fn stop(&mut self, now: Moment) -> Vec<Command> {
        self.stopping = true;
        if self.serving().is_none() {
            return vec![Command::Lamps(Light::Off), Command::Rest];
        }
        self.conclude(now, Outcome::Cancelled, Reason::Stopping, Findings::default())
    }

    pub(super) fn may_ask(&self) -> bool {
        self.keyed && matches!(self.link, Link::Up)
    }

    /// Until when a lost connection may come back for somebody who waits since `waiting`; `None` while connected.
    pub(super) fn patience(&self, waiting: Moment) -> Option<Moment> {
        match self.link {
            Link::Down { since } => Some(since.after(self.limits.reconnect)),
            // Connected, but the matcher's keys are missing: nothing can be sealed.
            Link::Up if !self.keyed => Some(waiting.after(self.limits.reconnect)),
            Link::Up => None,
        }
    }

    pub(super) fn is_offline(&self, now: Moment, waiting: Moment) -> bool {
        self.patience(waiting).is_some_and(|until| now >= until)
    }

    pub(super) fn expire(&mut self, now: Moment) -> Vec<Command> {
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
    pub(super) fn conclude(
        &mut self,
        now: Moment,
        outcome: Outcome,
        reason: Reason,
        findings: Findings,
    ) -> Vec<Command> {
        let shown = State::Showing { until: now.after(self.limits.show) };
        let (case, unsent, mut orders) = match std::mem::replace(&mut self.state, shown) {
            State::Positioning { mut case, .. } => {
                let held = case.held.take();
                let unanswered = case.asked.is_some() && held.is_none();
                let forget = unanswered.then_some(Command::Forget(Question::Request(case.request.id)));
                (case, held, [Command::Rest].into_iter().chain(forget).collect::<Vec<_>>())
            }
            State::Proving { case, held, .. } => (case, Some(held), vec![Command::Lamps(Light::Off), Command::Rest]),
            State::Awaiting { mut case, held, .. } => {
                let attempt = held.challenge.attempt;
                case.attempt = Some(attempt);
                let unanswered =
                    matches!(outcome, Outcome::TimeOut | Outcome::Offline | Outcome::Cancelled | Outcome::Fault);
                let forget = unanswered.then_some(Command::Forget(Question::Attempt(attempt)));
                (case, None, forget.into_iter().collect())
            }
            idle @ (State::Idle | State::Showing { .. }) => {
                self.state = idle;
                return Vec::new();
            }
        };
        let named = unsent.as_ref().map(|held| held.challenge.attempt);
        let record = case.record(now, outcome, reason, named);
        if let Some(held) = unsent.filter(|held| outcome != Outcome::Offline && now < held.expires) {
            orders.push(Command::Send(Box::new(Closing {
                request: case.request.id,
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
