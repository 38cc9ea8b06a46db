//! The judge: every witness' figures, then one answer. Pure; the device and the matcher run the same.

mod code;
mod light;
mod movement;
mod signal;
mod timing;

use didar_protocol::light_code::Light;
use didar_protocol::message::{Motion, PassiveSummary};
use didar_protocol::reason::Reason;
use didar_protocol::transcript::LightTranscript;

use crate::evidence::{Answer, Evidence, Live};
use crate::fit::{Fit, Look, looks};
use crate::linear::milli;
use crate::policy::Policy;
use crate::relief::{distance_mm, relief_of};

/// Judges one attempt.
///
/// `code` is the code of the challenge, derived anew by whoever judges; `continuity_milli` is the worst cosine (x 1000)
/// between the sequence's faces and the embedded one.
pub fn judge(
    transcript: &LightTranscript,
    code: &[Light],
    passive: &PassiveSummary,
    motion: &Motion,
    continuity_milli: i16,
    policy: &Policy,
) -> Evidence {
    let transcript = &timing::honest_frames(transcript);
    let looks = looks(transcript);
    let fit = Fit::new(&looks, &transcript.code, None);
    let case = Case { transcript, demanded: code, passive, motion, continuity_milli, looks, fit, policy };
    hear(&case, |_| true)
}

/// The judge's inputs, and the light of every cell.
struct Case<'a> {
    transcript: &'a LightTranscript,
    demanded: &'a [Light],
    passive: &'a PassiveSummary,
    motion: &'a Motion,
    continuity_milli: i16,
    looks: Vec<Look>,
    fit: Fit,
    policy: &'a Policy,
}

/// Why an attempt is not live.
#[derive(Clone, Copy)]
enum Doubt {
    Spoof(Reason),
    Poor(Reason),
}

/// The figures found so far: thousandths of their units, by name.
#[derive(Default)]
struct Figures(Vec<(&'static str, i64)>);

impl Figures {
    fn milli(&mut self, name: &'static str, milli: i64) {
        self.0.push((name, milli));
    }

    fn count(&mut self, name: &'static str, count: usize) {
        self.0.push((name, i64::try_from(count).unwrap_or(i64::MAX / 1000) * 1000));
    }
}

/// One witness: adds its figures and says what speaks against life.
type Testimony = fn(&Case<'_>, &mut Figures) -> Option<Doubt>;

/// Who is heard, in this order; the first doubt is the answer. Forged facts and repeated pictures come first, then pictures
/// too poor to judge, then the others one by one: so a poor picture never accuses anybody.
const WITNESSES: [(Witness, Testimony); 10] = [
    (Witness::Code, code::demanded),
    (Witness::Motion, movement::replay),
    (Witness::Timing, timing::length),
    (Witness::Picture, light::picture),
    (Witness::Code, code::decoded),
    (Witness::Response, light::response),
    (Witness::Texture, light::texture),
    (Witness::Relief, relief),
    (Witness::Fusion, signal::fusion),
    (Witness::Continuity, continuity),
];

/// The witnesses' names, for the test that takes them away one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Witness {
    Code,
    Motion,
    Timing,
    Picture,
    Response,
    Texture,
    Relief,
    Fusion,
    Continuity,
}

fn hear(case: &Case<'_>, heard: impl Fn(Witness) -> bool) -> Evidence {
    let mut figures = Figures::default();
    let mut first = None;
    for (witness, testify) in WITNESSES {
        let doubt = testify(case, &mut figures);
        first = first.or(doubt.filter(|_| heard(witness)));
    }
    let answer = match first {
        None => Answer::Live(Live::proved()),
        Some(Doubt::Spoof(reason)) => Answer::Spoof(reason),
        // To stand still does not help where the room's light drowns the lamps'.
        Some(Doubt::Poor(Reason::HoldStill)) if light::much_ambient(case) => {
            Answer::Inconclusive(Reason::TooMuchInfrared)
        }
        Some(Doubt::Poor(reason)) => Answer::Inconclusive(reason),
    };
    Evidence::new(case.policy.version, answer, figures.0)
}

fn relief(case: &Case<'_>, figures: &mut Figures) -> Option<Doubt> {
    let policy = &case.policy.relief;
    let distance = distance_mm(case.transcript);
    let found = relief_of(case.transcript, &case.fit, distance);
    let (beta, deviation) = (milli(found.beta), milli(found.deviation));
    figures.milli("distance-mm", milli(distance));
    figures.milli("beta", beta);
    figures.milli("beta-cylinder", milli(found.beta_cylinder));
    figures.milli("beta-fold", milli(found.beta_fold));
    figures.milli("beta-deviation", deviation);
    figures.count("relief-cells", found.cells);
    if found.cells < usize::from(policy.cells_min) {
        return Some(Doubt::Poor(Reason::PoorQuality));
    }
    let significant = beta.saturating_mul(1000) >= deviation.saturating_mul(policy.significance_milli_min);
    if beta >= policy.beta_milli_min && significant {
        return None;
    }
    // Where much is clipped, what is left of a relief is no reason to accuse anybody.
    if milli(light::clipped(case)) > case.policy.light.clipped_doubtful_milli_max {
        return Some(Doubt::Poor(Reason::TooBright));
    }
    // A face may hide behind a weak or an uncertain relief: that costs a second try and accuses nobody.
    let doubtful = beta >= policy.doubtful_milli_min || deviation > policy.deviation_milli_max;
    Some(if doubtful { Doubt::Poor(Reason::HoldStill) } else { light::unless_drowned(case, Reason::NoRelief) })
}

/// The same face from the first slot to the frame that is embedded, and that frame one of those that show the code.
fn continuity(case: &Case<'_>, figures: &mut Figures) -> Option<Doubt> {
    let frames = &case.transcript.frames;
    let embedded = case.transcript.embedded_at_us.is_some_and(|at| frames.iter().any(|frame| frame.at_us == at));
    let tracks = frames.iter().map(|frame| usize::from(frame.track) + 1).max().unwrap_or(0);
    let cosine = i64::from(case.continuity_milli);
    figures.count("embedded-in-code", usize::from(embedded));
    figures.count("tracks", tracks);
    figures.milli("continuity", cosine);
    if cosine < case.policy.continuity.cosine_milli_min {
        return Some(Doubt::Spoof(Reason::FaceChanged));
    }
    if tracks > usize::from(case.policy.continuity.tracks_max) {
        return Some(Doubt::Poor(Reason::HoldStill));
    }
    (!embedded).then_some(Doubt::Poor(Reason::TooFewFrames))
}

#[cfg(test)]
mod tests;
