//! Who stands before the kiosk, as its perception tells it.

use std::time::Duration;

use didar_agent::attempt::Event;
use didar_agent::attempt::event::{Finding, Findings, Proof, ProofOrder, Refutation};
use didar_agent::perception::Order;
use didar_protocol::id::AttemptId;
use didar_protocol::light_code::{CodeShape, Light};
use didar_protocol::message::{Motion, PassiveSummary, Picture, Quality};
use didar_protocol::reason::Reason;
use didar_protocol::transcript::{CameraFacts, LightTranscript, Spectrum};

use super::centre::{PERSONS, face, photograph};
use super::{What, World};

impl World<'_> {
    /// What the person does before the camera.
    pub(super) fn look(&mut self, order: Order) {
        match order {
            Order::Watch(request) => {
                // Some never find the place.
                if !self.random.one_in(20) {
                    let wait = self.within(Duration::from_millis(900));
                    self.later(wait, What::Seen(self.life, Event::FaceSteady(request)));
                }
            }
            Order::Prove(order) => self.proof = Some(*order),
            Order::Judge(attempt) => {
                let Some(order) = self.proof.take().filter(|order| order.attempt == attempt) else { return };
                let wait = self.within(Duration::from_millis(300));
                let event = self.judged(attempt, order);
                self.later(wait, What::Seen(self.life, event));
            }
            Order::Switched { .. } | Order::Rest => {}
        }
    }

    /// Mostly the right person, sometimes another one, a relay or a mask.
    fn judged(&mut self, attempt: AttemptId, order: ProofOrder) -> Event {
        let kind = self.random.below(10);
        let mut code = order.code;
        if kind == 0 {
            code.reverse();
        }
        let findings = findings(code);
        if kind == 1 {
            let (finding, reason) = (Finding::Spoof, Reason::NoRelief);
            return Event::Refuted(Box::new(Refutation { attempt, finding, reason, findings }));
        }
        let person = if kind == 2 { (self.person + PERSONS / 2) % PERSONS } else { self.person };
        let picture = order.picture.then(|| Picture::from_jpeg(photograph(person)));
        Event::Proven(Box::new(Proof { attempt, findings, template: face(person), picture }))
    }
}

fn findings(code: Vec<Light>) -> Findings {
    let camera = CameraFacts {
        gamma_milli: 2200,
        frame_us: 33_333,
        exposure_us: 20_000,
        delay_us: 0,
        baseline_mm: 90,
        readout_us: 0,
        focal_px10: 7_300,
        noise_milli: 0,
        spectrum: Spectrum::ColourNoFilter,
    };
    Findings {
        transcript: Some(LightTranscript {
            shape: CodeShape::AT_30,
            code,
            camera,
            switches: Vec::new(),
            frames: Vec::new(),
            mixed: 0,
            embedded_at_us: None,
        }),
        passive: PassiveSummary { frames: 10, mean_llr_milli: 1000, worst_llr_milli: 0, context_missing: 0 },
        motion: Motion { frames: 20, still_pairs: 0, path_px10: 30, blink: true },
        quality: Quality { faces: 1, ..Quality::default() },
        continuity_milli: 900,
    }
}
