//! The course of an attempt: what leads on from the request to the verdict, and what is ignored on the way.

use didar_liveness::sequencer::Order;
use didar_protocol::id::RequestId;
use didar_protocol::light_code::light_code;
use didar_protocol::message::{Challenge, Verdict, VerdictOutcome};
use didar_protocol::reason::Reason;

use super::event::View;
use super::event::{
    Closing, Command, Ending, Finding, Findings, Hint, Outcome, Proof, ProofOrder, Refutation, Request,
};
use super::state::{Case, Held, Phase, State};
use super::{LIT_MAX, Machine};
use crate::time::Moment;

/// The screen's progress moves once in so many slots: drawing costs time that the camera's thread needs.
const SLOTS_PER_SHOW: u8 = 3;

impl Machine {
    pub(super) fn requested(&mut self, now: Moment, request: Box<Request>) -> Vec<Command> {
        match self.state {
            State::Idle | State::Showing { .. } if !self.stopping => {}
            // The local API asks `serving` first; a request that slipped past is not recorded because none was begun.
            State::Idle | State::Showing { .. } | State::Positioning { .. } => return Vec::new(),
            State::Proving { .. } | State::Awaiting { .. } => return Vec::new(),
        }
        let mut case = Case::new(request, now);
        let hopeless = self.grounded().map(|reason| (Outcome::Fault, reason));
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

    pub(super) fn guided(&mut self, id: RequestId, new: Hint) -> Vec<Command> {
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

    pub(super) fn steadied(&mut self, now: Moment, id: RequestId) -> Vec<Command> {
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

    pub(super) fn lost(&mut self, now: Moment, id: RequestId) -> Vec<Command> {
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

    pub(super) fn challenged(&mut self, now: Moment, challenge: Box<Challenge>) -> Vec<Command> {
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
    pub(super) fn prove(&mut self, now: Moment) -> Vec<Command> {
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
    pub(super) fn play(&mut self, now: Moment) -> Vec<Command> {
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

    pub(super) fn proven(&mut self, now: Moment, proof: Proof) -> Vec<Command> {
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
                    request: case.request.id,
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

    pub(super) fn refuted(&mut self, now: Moment, refutation: Refutation) -> Vec<Command> {
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

    pub(super) fn replied(&mut self, now: Moment, verdict: &Verdict) -> Vec<Command> {
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
}
