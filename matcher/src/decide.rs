//! The verdict: facts in, decision out. Pure; it reads no clock, store or model.
//!
//! Liveness comes before identity, always: whoever is not alive here and now is not compared.

use didar_liveness::{Answer, Policy};
use didar_protocol::light_code::Light;
use didar_protocol::message::{Motion, Outcome, PassiveSummary, VerdictOutcome};
use didar_protocol::reason::Reason;
use didar_protocol::transcript::LightTranscript;

use crate::policy::Rules;

/// What the centre itself found out about the liveness of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Alive, here and now.
    Live,
    /// Not.
    Spoof(Reason),
    /// Could not be told.
    Inconclusive(Reason),
}

/// What an attempt claims, with what the centre found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Claim {
    /// The device ended it; with the centre's own finding where there was a transcript.
    Stopped {
        /// How the device ended it.
        outcome: Outcome,
        /// Why.
        reason: Reason,
        /// What the transcript says.
        liveness: Option<Liveness>,
    },
    /// The device says that it proved a live face.
    Proved {
        /// What the transcript says.
        liveness: Liveness,
        /// How the face compares.
        face: Face,
    },
}

/// How the face compares with the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Face {
    /// Not compared, because it was not alive.
    NotCompared,
    /// The picture that came with it is not good enough.
    PoorPicture,
    /// Cosine with the reference; on the primary stage also between the device's template and its picture.
    Compared {
        /// With the reference.
        similarity: f32,
        /// Of template and picture.
        own: Option<f32>,
    },
}

/// The decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What.
    pub outcome: VerdictOutcome,
    /// Why.
    pub reason: Reason,
}

/// The edge to the liveness judge.
pub trait Witness: Send {
    /// Judges a transcript against the code that the centre derived; with every figure x 1000.
    fn judge(
        &self,
        transcript: &LightTranscript,
        code: &[Light],
        passive: &PassiveSummary,
        motion: &Motion,
        continuity_milli: i16,
    ) -> (Liveness, Vec<(&'static str, i64)>);

    /// Version of the policy that judges.
    fn policy_version(&self) -> u32;
}

impl Witness for Policy {
    fn judge(
        &self,
        transcript: &LightTranscript,
        code: &[Light],
        passive: &PassiveSummary,
        motion: &Motion,
        continuity_milli: i16,
    ) -> (Liveness, Vec<(&'static str, i64)>) {
        let evidence = didar_liveness::judge(transcript, code, passive, motion, continuity_milli, self);
        let liveness = match evidence.answer() {
            Answer::Live(_) => Liveness::Live,
            Answer::Spoof(reason) => Liveness::Spoof(*reason),
            Answer::Inconclusive(reason) => Liveness::Inconclusive(*reason),
        };
        (liveness, evidence.figures().to_vec())
    }

    fn policy_version(&self) -> u32 {
        self.version
    }
}

/// Decides.
pub fn decide(claim: &Claim, rules: &Rules) -> Decision {
    let (outcome, reason) = match *claim {
        Claim::Stopped { liveness: Some(Liveness::Spoof(reason)), .. }
        | Claim::Proved { liveness: Liveness::Spoof(reason), .. } => (VerdictOutcome::Spoof, reason),
        Claim::Stopped { outcome: Outcome::Spoof, reason, .. } => (VerdictOutcome::Spoof, reason),
        // Whatever else the device says, without a proof there is nothing to compare.
        Claim::Stopped { reason, .. } | Claim::Proved { liveness: Liveness::Inconclusive(reason), .. } => {
            (VerdictOutcome::Inconclusive, reason)
        }
        Claim::Proved { liveness: Liveness::Live, face } => compare(face, rules),
    };
    Decision { outcome, reason }
}

fn compare(face: Face, rules: &Rules) -> (VerdictOutcome, Reason) {
    match face {
        Face::NotCompared | Face::PoorPicture => (VerdictOutcome::Inconclusive, Reason::PoorQuality),
        Face::Compared { similarity, own } => {
            // Every comparison with a figure that is no number is false: it never passes.
            let one_face = own.is_none_or(|own| own >= rules.continuity);
            let same_person = similarity >= rules.threshold;
            match (one_face, same_person) {
                (false, _) => (VerdictOutcome::Spoof, Reason::FaceChanged),
                (true, false) => (VerdictOutcome::NoMatch, Reason::NotSamePerson),
                (true, true) => (VerdictOutcome::Match, Reason::None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::rules;

    fn proved(liveness: Liveness, similarity: f32, own: Option<f32>) -> (VerdictOutcome, Reason) {
        let claim = Claim::Proved { liveness, face: Face::Compared { similarity, own } };
        let Decision { outcome, reason } = decide(&claim, &rules());
        (outcome, reason)
    }

    fn stopped(outcome: Outcome, reason: Reason, liveness: Option<Liveness>) -> (VerdictOutcome, Reason) {
        let decision = decide(&Claim::Stopped { outcome, reason, liveness }, &rules());
        (decision.outcome, decision.reason)
    }

    #[test]
    fn only_a_living_face_over_the_threshold_matches() {
        use Liveness::*;
        let no_match = (VerdictOutcome::NoMatch, Reason::NotSamePerson);
        assert_eq!(proved(Live, 0.40, None), (VerdictOutcome::Match, Reason::None));
        assert_eq!(proved(Live, 0.399, None), no_match);
        assert_eq!(proved(Live, f32::NAN, None), no_match);
        assert_eq!(proved(Live, -1.0, None), no_match);
        assert_eq!(proved(Spoof(Reason::NoRelief), 1.0, None), (VerdictOutcome::Spoof, Reason::NoRelief));
        assert_eq!(
            proved(Inconclusive(Reason::HoldStill), 1.0, None),
            (VerdictOutcome::Inconclusive, Reason::HoldStill)
        );
    }

    #[test]
    fn a_picture_of_another_face_than_the_template_is_a_swap() {
        let swap = (VerdictOutcome::Spoof, Reason::FaceChanged);
        assert_eq!(proved(Liveness::Live, 0.9, Some(0.34)), swap);
        assert_eq!(proved(Liveness::Live, 0.9, Some(f32::NAN)), swap);
        assert_eq!(proved(Liveness::Live, 0.9, Some(0.35)), (VerdictOutcome::Match, Reason::None));
    }

    #[test]
    fn a_picture_that_cannot_be_used_costs_a_retry() {
        for face in [Face::PoorPicture, Face::NotCompared] {
            let decision = decide(&Claim::Proved { liveness: Liveness::Live, face }, &rules());
            assert_eq!(decision.outcome, VerdictOutcome::Inconclusive);
        }
    }

    #[test]
    fn a_device_cannot_claim_a_match_without_a_proof() {
        use Outcome::*;
        for outcome in [Grant, Deny, Inconclusive, Refused, TimeOut, Offline, Fault, Cancelled] {
            let decided = stopped(outcome, Reason::HoldStill, Some(Liveness::Live));
            assert_eq!(decided, (VerdictOutcome::Inconclusive, Reason::HoldStill), "{outcome:?}");
        }
        assert_eq!(stopped(Spoof, Reason::LooksFalse, None), (VerdictOutcome::Spoof, Reason::LooksFalse));
        assert_eq!(
            stopped(TimeOut, Reason::NoAnswerInTime, Some(Liveness::Spoof(Reason::TooLate))),
            (VerdictOutcome::Spoof, Reason::TooLate)
        );
    }
}
