//! Physical trials: what the judge makes of people and of attack instruments before this very device.
//!
//! **Here:** one presentation after another: guiding, playing a code of its own, judging ([`Session`]); the evidence in
//! files ([`folder`]). **Not here:** the matcher: a trial asks nobody and lets nobody in; nor any table of results, which
//! is made where the folder is read.
//!
//! A trial keeps what the judge was given (12 x 12 cells a frame, see [`didar_liveness::recorded`]) and what it said: no
//! picture, no template, no name. The agent must not be running: a camera has one user.

pub mod folder;
pub mod record;

use std::sync::Arc;
use std::time::Duration;

use didar_liveness::sequencer::Sequencer;
use didar_liveness::{Recording, sequencer};
use didar_protocol::id::{AttemptId, DeviceId, RequestId};
use didar_protocol::light_code::{CodeShape, Light, light_code};
use didar_protocol::reason::Reason;
use tokio::sync::mpsc::Receiver;

use crate::attempt::event::{Event, Findings, Hint, Language, ProofOrder, View};
use crate::attempt::{LIT_MAX, Limits};
use crate::display::Display;
use crate::edge::{Clock, LampError, Lamps};
use crate::perception::{Eyes, Order};
use crate::run::nap;
use crate::time::Moment;

/// A device that is being tried: the agent's own edges, without its uplink.
pub struct Session {
    /// This device; the code depends on it.
    pub device: DeviceId,
    /// The code's shape.
    pub shape: CodeShape,
    /// Length of a slot.
    pub slot: Duration,
    /// How long a face may take to stand well (`position`), and judging (`judge`).
    pub limits: Limits,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The lamps.
    pub lamps: Box<dyn Lamps>,
    /// The camera's thread.
    pub eyes: Box<dyn Eyes>,
    /// What it and the screen tell.
    pub events: Receiver<Event>,
    /// The screen's thread and its language; none where there is no screen.
    pub display: Option<(Display, Language)>,
}

/// What came of one presentation.
#[derive(Clone, Debug)]
pub enum Presented {
    /// The code was played and seen.
    Captured(Box<Recording>),
    /// No proof came about: nothing was seen that could be a face, or it went away.
    Missed(Reason),
}

/// Why a trial cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// A device failed.
    #[error("{}; the log says more, and `didar-agent doctor` what to do", .0.name())]
    Fault(Reason),
    /// The lamps did not obey.
    #[error(transparent)]
    Lamps(#[from] LampError),
    /// The system gave no random bytes.
    #[error("the system's random source failed: {0}")]
    Random(getrandom::Error),
    /// The camera's thread ended.
    #[error("the camera's thread ended; the log says why")]
    Blind,
}

impl Session {
    /// One presentation: waits until a face stands well, plays a fresh code, and judges. What the presented should change
    /// is told to `told` and on the screen. The lamps are dark and nobody is watched afterwards, whatever happened.
    ///
    /// # Errors
    /// A device failed; the presentation does not count.
    pub async fn present(&mut self, told: &mut (dyn FnMut(Hint) + Send)) -> Result<Presented, TrialError> {
        let presented = self.prove(told).await;
        self.eyes.order(Order::Rest);
        self.show(View::Idle { faults: Vec::new() });
        let dark = self.lamps.set(Light::Off);
        let presented = presented?;
        dark?;
        Ok(presented)
    }

    async fn prove(&mut self, told: &mut (dyn FnMut(Hint) + Send)) -> Result<Presented, TrialError> {
        self.forget_the_last()?;
        let id = RequestId::from_bytes(*uuid::Uuid::new_v4().as_bytes());
        if !self.place(id, told).await? {
            return Ok(Presented::Missed(Reason::NoFaceInTime));
        }
        let attempt = AttemptId::from_bytes(*uuid::Uuid::new_v4().as_bytes());
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(TrialError::Random)?;
        let code = light_code(&nonce, &attempt, &self.device, self.shape);
        let start = self.clock.now();
        let order = ProofOrder { attempt, code: code.clone(), start, picture: false };
        self.eyes.order(Order::Prove(Box::new(order)));
        self.show(View::HoldStill { progress: 0 });
        if !self.play(id, &code, start).await? {
            return Ok(Presented::Missed(Reason::HoldStill));
        }
        self.eyes.order(Order::Judge(attempt));
        self.show(View::Checking);
        let findings = self.findings(attempt).await?;
        Ok(findings.map_or(Presented::Missed(Reason::TooFewFrames), |findings| {
            let Findings { transcript, passive, motion, continuity_milli, .. } = findings;
            transcript.map_or(Presented::Missed(Reason::TooFewFrames), |transcript| {
                Presented::Captured(Box::new(Recording { transcript, code, passive, motion, continuity_milli }))
            })
        }))
    }

    /// Events of an earlier presentation say nothing of this one, except that a device is broken.
    fn forget_the_last(&mut self) -> Result<(), TrialError> {
        while let Ok(event) = self.events.try_recv() {
            sound(&event)?;
        }
        Ok(())
    }

    /// Whether a face came to stand well in time.
    async fn place(&mut self, id: RequestId, told: &mut (dyn FnMut(Hint) + Send)) -> Result<bool, TrialError> {
        let until = self.clock.now().after(self.limits.position);
        self.eyes.order(Order::Watch(id));
        self.show(View::Positioning { hint: Hint::LookForFace });
        while let Some(event) = self.next(until).await? {
            match event {
                Event::FaceSteady(whose) if whose == id => return Ok(true),
                Event::Guided(whose, hint) if whose == id => {
                    told(hint);
                    self.show(View::Positioning { hint });
                }
                // An earlier presentation's; nothing else is told before a code.
                _ => {}
            }
        }
        Ok(false)
    }

    /// Plays the code; whether the face stayed.
    async fn play(&mut self, id: RequestId, code: &[Light], start: Moment) -> Result<bool, TrialError> {
        let slot_us = u32::try_from(self.slot.as_micros()).unwrap_or(u32::MAX);
        let mut sequencer = Sequencer::new(code, slot_us, micros(start));
        let limit = start.after(LIT_MAX);
        while let Some(due_us) = sequencer.deadline_us() {
            let until = Moment::from_nanos(due_us.saturating_mul(1000)).min(limit);
            if let Some(event) = self.next(until).await? {
                if matches!(event, Event::FaceLost(whose) if whose == id) {
                    return Ok(false);
                }
                continue;
            }
            if self.clock.now() >= limit {
                return Ok(false);
            }
            while let Some(order) = sequencer.due(micros(self.clock.now())) {
                self.switch(order)?;
            }
        }
        Ok(true)
    }

    fn switch(&mut self, order: sequencer::Order) -> Result<(), TrialError> {
        let at = self.lamps.set(order.light())?;
        self.eyes.order(Order::Switched { at, light: order.light() });
        Ok(())
    }

    async fn findings(&mut self, attempt: AttemptId) -> Result<Option<Findings>, TrialError> {
        let until = self.clock.now().after(self.limits.judge);
        while let Some(event) = self.next(until).await? {
            match event {
                // The template is wiped here: a trial compares nobody.
                Event::Proven(proof) if proof.attempt == attempt => return Ok(Some(proof.findings)),
                Event::Refuted(refutation) if refutation.attempt == attempt => return Ok(Some(refutation.findings)),
                _ => {}
            }
        }
        Ok(None)
    }

    /// The next event; `None` when `until` has come.
    async fn next(&mut self, until: Moment) -> Result<Option<Event>, TrialError> {
        let wait = until.since(self.clock.now());
        tokio::select! {
            biased;
            event = self.events.recv() => {
                let event = event.ok_or(TrialError::Blind)?;
                sound(&event)?;
                Ok(Some(event))
            }
            () = nap(wait) => Ok(None),
        }
    }

    fn show(&self, view: View) {
        if let Some((display, language)) = &self.display {
            display.show(view, *language);
        }
    }
}

/// A broken screen does not spoil a trial; anything else that breaks does.
fn sound(event: &Event) -> Result<(), TrialError> {
    match event {
        Event::Fault(reason) if *reason != Reason::ScreenFault => Err(TrialError::Fault(*reason)),
        _ => Ok(()),
    }
}

fn micros(at: Moment) -> u64 {
    at.as_nanos() / 1_000
}
