//! What an attempt comes to: the centre's own judgement of liveness first, then the comparison.

use didar_protocol::light_code::light_code;
use didar_protocol::message::{Attempt, Ending, Picture, Stage, Template, VerdictOutcome};
use didar_protocol::reason::Reason;
use zeroize::Zeroizing;

use super::{Centre, ServiceError};
use crate::consent;
use crate::decide::{Claim, Decision, Face, Liveness, decide};
use crate::reference::{Reference, Source};
use crate::store::{Issued, Work};

/// What an attempt came to, with what only the ledger may know.
pub(super) struct Ruling {
    pub(super) outcome: VerdictOutcome,
    pub(super) reason: Reason,
    pub(super) figures: Vec<(&'static str, i64)>,
    /// The live face that becomes the reference when the outcome is a match.
    pub(super) live: Option<Reference>,
    /// Why an operator must look, if so.
    pub(super) alarm: Option<&'static str>,
}

impl Ruling {
    pub(super) fn refuse(reason: Reason) -> Self {
        Self { outcome: VerdictOutcome::Refuse, reason, figures: Vec::new(), live: None, alarm: None }
    }

    pub(super) fn alarming(self, why: &'static str) -> Self {
        Self { alarm: Some(why), ..self }
    }
}

impl Centre {
    pub(super) fn examine_attempt(
        &mut self,
        work: &Work<'_>,
        challenge: &Issued,
        attempt: &Attempt,
        now_ms: u64,
    ) -> Result<Ruling, ServiceError> {
        let same = attempt.device == challenge.device
            && attempt.attempt == challenge.attempt
            && attempt.nonce == challenge.nonce
            && attempt.request_hash == challenge.request_hash;
        if !same {
            return Ok(Ruling::refuse(Reason::RequestMalformed).alarming("attempt does not answer its challenge"));
        }
        if !work.serves(&challenge.device, &challenge.initiator)? {
            return Ok(Ruling::refuse(Reason::InitiatorNotServed));
        }
        let withdrawn_ms = work.withdrawn_ms(&challenge.subject.tag)?;
        let (given_s, expires_s) = challenge.consent_s;
        if let Err(reason) = consent::lasts(given_s, expires_s, withdrawn_ms, now_ms) {
            return Ok(Ruling::refuse(reason));
        }
        let judged = attempt.transcript.as_ref().map(|transcript| {
            let code = light_code(&challenge.nonce, &challenge.attempt, &challenge.device, transcript.shape);
            self.witness.judge(transcript, &code, &attempt.passive, &attempt.motion, attempt.continuity_milli)
        });
        match &attempt.ending {
            Ending::Stopped { outcome, reason } => {
                let (liveness, figures) =
                    judged.map_or((None, Vec::new()), |(liveness, figures)| (Some(liveness), figures));
                let claim = Claim::Stopped { outcome: *outcome, reason: *reason, liveness };
                Ok(self.rule(&claim, figures, None))
            }
            Ending::Proved { template, picture } => {
                let Some((liveness, figures)) = judged else {
                    return Ok(Ruling::refuse(Reason::RequestMalformed).alarming("proof without a light transcript"));
                };
                if !self.portraits.knows(&attempt.models) {
                    return Ok(
                        Ruling::refuse(Reason::ModelFault).alarming("device uses models that the centre does not know")
                    );
                }
                if liveness != Liveness::Live {
                    return Ok(self.rule(&Claim::Proved { liveness, face: Face::NotCompared }, figures, None));
                }
                self.compare(work, challenge, template, picture.as_ref(), figures, now_ms)
            }
        }
    }

    /// Compares a living face with the reference that the stage demands.
    fn compare(
        &mut self,
        work: &Work<'_>,
        challenge: &Issued,
        template: &Template,
        picture: Option<&Picture>,
        mut figures: Vec<(&'static str, i64)>,
        now_ms: u64,
    ) -> Result<Ruling, ServiceError> {
        let source = match challenge.stage {
            Stage::Primary => Source::Document,
            Stage::Subsequent => Source::Live,
        };
        let Some(reference) = work.reference(&challenge.subject.tag, source, now_ms)? else {
            return Ok(Ruling::refuse(Reason::SubjectUnknown));
        };
        let Some(known) = self.renewed(reference, source) else {
            return Ok(Ruling::refuse(Reason::ModelFault));
        };
        let claim = |face| Claim::Proved { liveness: Liveness::Live, face };
        if challenge.stage == Stage::Subsequent {
            let Some(similarity) = self.portraits.similarity(template, &known) else {
                return Ok(Ruling::refuse(Reason::RequestMalformed).alarming("template cannot be compared"));
            };
            figures.push(("similarity", milli(similarity)));
            return Ok(self.rule(&claim(Face::Compared { similarity, own: None }), figures, None));
        }
        let Some(picture) = picture else {
            return Ok(Ruling::refuse(Reason::RequestMalformed).alarming("primary attempt without a picture"));
        };
        // The centre makes its own template from the picture: it never enrols one that a device computed.
        let own = match self.portraits.reduce(picture.as_jpeg(), Source::Live) {
            Ok(own) => own,
            Err(error) => {
                tracing::info!(attempt = %challenge.attempt, why = %error, "live picture cannot become a reference");
                return Ok(self.rule(&claim(Face::PoorPicture), figures, None));
            }
        };
        let scores = (self.portraits.similarity(&own, &known), self.portraits.similarity(template, &own));
        let (Some(similarity), Some(agreement)) = scores else {
            return Ok(Ruling::refuse(Reason::RequestMalformed).alarming("template cannot be compared"));
        };
        figures.extend([("similarity", milli(similarity)), ("template_and_picture", milli(agreement))]);
        let live = Reference {
            template: own,
            picture: Zeroizing::new(picture.as_jpeg().to_vec()),
            model: self.portraits.model(),
        };
        Ok(self.rule(&claim(Face::Compared { similarity, own: Some(agreement) }), figures, Some(live)))
    }

    /// The reference's template under the model in use: made anew from its picture where another model made it.
    fn renewed(&mut self, reference: Reference, source: Source) -> Option<Template> {
        if reference.model == self.portraits.model() {
            return Some(reference.template);
        }
        self.portraits
            .reduce(&reference.picture, source)
            .inspect_err(|error| tracing::error!(why = %error, "reference cannot be renewed for the model in use"))
            .ok()
    }

    fn rule(&self, claim: &Claim, mut figures: Vec<(&'static str, i64)>, live: Option<Reference>) -> Ruling {
        let Decision { outcome, reason } = decide(claim, &self.rules);
        figures.push(("threshold", milli(self.rules.threshold)));
        Ruling { outcome, reason, figures, live, alarm: None }
    }
}

/// A cosine x 1000, for the ledger.
fn milli(cosine: f32) -> i64 {
    (f64::from(cosine) * 1000.0).round() as i64
}
