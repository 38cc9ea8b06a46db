//! The judge: every witness' figures, then one answer. Pure; the device and the matcher run the same.

use didar_protocol::light_code::Light;
use didar_protocol::message::{Motion, PassiveSummary};
use didar_protocol::reason::Reason;
use didar_protocol::transcript::{CELLS, FrameSample, LightTranscript};

use crate::decode::{Decoded, decode_looks};
use crate::evidence::{Answer, Evidence, Live};
use crate::fit::{Fit, Look, looks};
use crate::linear::{median, milli};
use crate::mean_face::MEAN_FACE;
use crate::motion::{repeated, sway};
use crate::policy::Policy;
use crate::relief::relief_of;
use crate::transcript::{Label, label};

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
    let transcript = &honest_frames(transcript);
    let figures = Figures::of(transcript, code, passive, motion, continuity_milli, policy);
    let answer = match refusal(&figures, policy) {
        None => Answer::Live(Live::proved()),
        Some(Doubt::Spoof(reason)) => Answer::Spoof(reason),
        Some(Doubt::Poor(reason)) => Answer::Inconclusive(reason),
    };
    Evidence::new(policy.version, answer, figures.named())
}

/// The transcript with only those frames whose slot follows from the switching times, in order of time, under switches
/// that follow the code: a label alone proves nothing.
fn honest_frames(transcript: &LightTranscript) -> LightTranscript {
    let mut kept = transcript.clone();
    let ordered = kept.switches.windows(2).all(|pair| pair[0].at_us < pair[1].at_us);
    let code = &kept.code;
    let follows = kept.switches.len() == code.len() + 1
        && kept.switches.iter().zip(code).all(|(switch, light)| switch.light == *light);
    if !(ordered && follows) {
        kept.frames.clear();
        return kept;
    }
    let (switches, camera) = (&kept.switches, &kept.camera);
    let lawful = |frame: &FrameSample| label(switches, camera, frame) == Label::Slot(frame.slot);
    let mut last = None;
    let flags: Vec<bool> = kept
        .frames
        .iter()
        .map(|frame| {
            let keep = lawful(frame) && last.is_none_or(|last| frame.at_us > last);
            if keep {
                last = Some(frame.at_us);
            }
            keep
        })
        .collect();
    let mut flags = flags.into_iter();
    kept.frames.retain(|_| flags.next().unwrap_or(false));
    kept
}

/// Everything that the answer depends on, thousandths where not said otherwise.
struct Figures {
    code_differs: bool,
    slots: usize,
    wrong_allowed: usize,
    frames: usize,
    missing: usize,
    wrong: usize,
    explained: i64,
    sequence: i64,
    late_frames: Option<usize>,
    dark_lamp: Option<Light>,
    ambient: i64,
    lit: i64,
    clipped: i64,
    left: i64,
    right: i64,
    changes: i64,
    contrast: i64,
    beta: i64,
    beta_cylinder: i64,
    beta_fold: i64,
    deviation: i64,
    cells: usize,
    repeated: usize,
    sway: i64,
    passive_mean: i64,
    passive_worst: i64,
    passive_frames: usize,
    context_missing: usize,
    still_pairs: usize,
    motion_frames: usize,
    path: i64,
    blink: bool,
    continuity: i64,
}

impl Figures {
    fn of(
        transcript: &LightTranscript,
        code: &[Light],
        passive: &PassiveSummary,
        motion: &Motion,
        continuity_milli: i16,
        policy: &Policy,
    ) -> Self {
        let looks = looks(transcript);
        let fit = Fit::new(&looks, &transcript.code, None);
        let decoded = decode_looks(&looks, &transcript.code, usize::MAX);
        let light = Brightness::of(&looks, &fit, &transcript.code);
        let relief = relief_of(transcript, &fit, f64::from(policy.relief.distance_mm));
        let allowed = usize::from(transcript.shape.wrong_allowed);
        let wrong =
            decoded.wrong + decoded.missing > allowed || milli(decoded.explained) < policy.code.explained_milli_min;
        Self {
            code_differs: transcript.code != code || transcript.code.len() != usize::from(transcript.shape.slots),
            slots: transcript.code.len(),
            wrong_allowed: allowed,
            frames: transcript.frames.len(),
            missing: decoded.missing,
            wrong: decoded.wrong,
            explained: milli(decoded.explained),
            sequence: sequence_ms(transcript) * 1000,
            late_frames: if wrong { late_frames(transcript, policy) } else { None },
            dark_lamp: if wrong { dark_lamp(&looks, &transcript.code, policy) } else { None },
            ambient: milli(light.ambient),
            lit: milli(light.lit),
            clipped: milli(light.clipped),
            left: milli(light.left),
            right: milli(light.right),
            changes: milli(light.changes),
            contrast: milli(light.contrast),
            beta: milli(relief.beta),
            beta_cylinder: milli(relief.beta_cylinder),
            beta_fold: milli(relief.beta_fold),
            deviation: milli(relief.deviation),
            cells: relief.cells,
            repeated: repeated(transcript),
            sway: milli(sway(transcript)),
            passive_mean: i64::from(passive.mean_llr_milli),
            passive_worst: i64::from(passive.worst_llr_milli),
            passive_frames: usize::from(passive.frames),
            context_missing: usize::from(passive.context_missing),
            still_pairs: usize::from(motion.still_pairs),
            motion_frames: usize::from(motion.frames),
            path: i64::from(motion.path_px10) * 100,
            blink: motion.blink,
            continuity: i64::from(continuity_milli),
        }
    }

    fn named(&self) -> Vec<(&'static str, i64)> {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX / 1000) * 1000;
        vec![
            ("code-differs", count(usize::from(self.code_differs))),
            ("slots", count(self.slots)),
            ("frames", count(self.frames)),
            ("slots-missing", count(self.missing)),
            ("slots-wrong", count(self.wrong)),
            ("slots-wrong-allowed", count(self.wrong_allowed)),
            ("explained", self.explained),
            ("sequence-ms", self.sequence),
            ("late-frames", self.late_frames.map_or(0, count)),
            ("ambient", self.ambient),
            ("lit", self.lit),
            ("clipped", self.clipped),
            ("response-left", self.left),
            ("response-right", self.right),
            ("changes", self.changes),
            ("contrast", self.contrast),
            ("beta", self.beta),
            ("beta-cylinder", self.beta_cylinder),
            ("beta-fold", self.beta_fold),
            ("beta-deviation", self.deviation),
            ("relief-cells", count(self.cells)),
            ("frames-repeated", count(self.repeated)),
            ("sway", self.sway),
            ("still-pairs", count(self.still_pairs)),
            ("motion-frames", count(self.motion_frames)),
            ("path-px", self.path),
            ("blink", count(usize::from(self.blink))),
            ("passive-frames", count(self.passive_frames)),
            ("passive-mean-llr", self.passive_mean),
            ("passive-worst-llr", self.passive_worst),
            ("context-missing", count(self.context_missing)),
            ("continuity", self.continuity),
        ]
    }

    fn weaker_lamp(&self) -> (i64, Reason) {
        if self.left < self.right { (self.left, Reason::LeftLampDark) } else { (self.right, Reason::RightLampDark) }
    }
}

/// Why an attempt is not live.
enum Doubt {
    Spoof(Reason),
    Poor(Reason),
}

/// The first thing that speaks against life. Order: forged facts, repeated frames, pictures too poor to judge, then the
/// witnesses one by one; so a poor picture never accuses anybody.
fn refusal(f: &Figures, policy: &Policy) -> Option<Doubt> {
    forged(f, policy)
        .or_else(|| poor_picture(f, policy))
        .or_else(|| wrong_code(f, policy))
        .or_else(|| wrong_response(f, policy))
        .or_else(|| wrong_relief(f, policy))
        .or_else(|| other_witnesses(f, policy))
}

fn forged(f: &Figures, policy: &Policy) -> Option<Doubt> {
    if f.code_differs {
        return Some(Doubt::Spoof(Reason::LightCodeWrong));
    }
    let repeated = f.repeated.max(f.still_pairs);
    (repeated > usize::from(policy.motion.repeated_max)).then_some(Doubt::Spoof(Reason::StillOrLooped))
}

fn poor_picture(f: &Figures, policy: &Policy) -> Option<Doubt> {
    if f.frames == 0 || f.sequence > i64::from(policy.code.sequence_ms_max) * 1000 {
        return Some(Doubt::Poor(Reason::TooFewFrames));
    }
    if f.ambient > policy.light.ambient_milli_max {
        return Some(Doubt::Poor(Reason::TooMuchInfrared));
    }
    if f.clipped > policy.light.clipped_milli_max {
        return Some(Doubt::Poor(Reason::TooBright));
    }
    if f.lit < policy.light.lit_milli_min {
        return Some(Doubt::Poor(Reason::TooDark));
    }
    if f.sway > policy.motion.sway_milli_max {
        return Some(Doubt::Poor(Reason::HoldStill));
    }
    let all = i64::try_from(f.passive_frames + f.context_missing).unwrap_or(i64::MAX);
    let judged = i64::try_from(f.passive_frames).unwrap_or(i64::MAX).saturating_mul(1000);
    (judged < all.saturating_mul(policy.passive.judged_milli_min) || all == 0)
        .then_some(Doubt::Poor(Reason::ContextMissing))
}

fn wrong_code(f: &Figures, policy: &Policy) -> Option<Doubt> {
    let explained = f.explained >= policy.code.explained_milli_min;
    if explained && f.wrong + f.missing <= f.wrong_allowed {
        return None;
    }
    if f.changes < policy.light.response_milli_min {
        return Some(Doubt::Spoof(Reason::NoResponse));
    }
    match f.dark_lamp {
        Some(Light::Left) => return Some(Doubt::Poor(Reason::LeftLampDark)),
        Some(Light::Right) => return Some(Doubt::Poor(Reason::RightLampDark)),
        Some(Light::Off | Light::Both) | None => {}
    }
    if f.late_frames.is_some() {
        return Some(Doubt::Spoof(Reason::TooLate));
    }
    // Where a quarter of the slots is missing, the others cannot be decoded either.
    if f.missing > 0 && (f.wrong <= f.wrong_allowed || 4 * f.missing > f.slots) {
        return Some(Doubt::Poor(Reason::TooFewFrames));
    }
    if f.wrong <= f.wrong_allowed + usize::from(policy.code.doubtful_slots) {
        return Some(Doubt::Poor(Reason::HoldStill));
    }
    Some(Doubt::Spoof(Reason::LightCodeWrong))
}

fn wrong_response(f: &Figures, policy: &Policy) -> Option<Doubt> {
    let (weaker, dark) = f.weaker_lamp();
    let stronger = f.left.max(f.right);
    if stronger < policy.light.response_milli_min {
        return Some(Doubt::Spoof(Reason::NoResponse));
    }
    if weaker.saturating_mul(1000) < stronger.saturating_mul(policy.light.balance_milli_min) {
        return Some(Doubt::Poor(dark));
    }
    (f.contrast < policy.light.contrast_milli_min).then_some(Doubt::Spoof(Reason::NoResponse))
}

fn wrong_relief(f: &Figures, policy: &Policy) -> Option<Doubt> {
    if f.cells < usize::from(policy.relief.cells_min) {
        return Some(Doubt::Poor(Reason::PoorQuality));
    }
    let significant = f.beta.saturating_mul(1000) >= f.deviation.saturating_mul(policy.relief.significance_milli_min);
    if f.beta >= policy.relief.beta_milli_min && significant {
        return None;
    }
    // A face may hide behind a weak or an uncertain relief: that costs a second try and accuses nobody.
    let doubtful = f.beta >= policy.relief.doubtful_milli_min || f.deviation > policy.relief.deviation_milli_max;
    Some(if doubtful { Doubt::Poor(Reason::HoldStill) } else { Doubt::Spoof(Reason::NoRelief) })
}

fn other_witnesses(f: &Figures, policy: &Policy) -> Option<Doubt> {
    if f.passive_mean < policy.passive.mean_llr_milli_min {
        return Some(Doubt::Spoof(Reason::LooksFalse));
    }
    (f.continuity < policy.continuity.cosine_milli_min).then_some(Doubt::Spoof(Reason::FaceChanged))
}

/// From the first switch to the end of the code, milliseconds.
fn sequence_ms(transcript: &LightTranscript) -> i64 {
    match (transcript.switches.first(), transcript.switches.last()) {
        (Some(first), Some(last)) => i64::from(last.at_us.saturating_sub(first.at_us) / 1000),
        _ => 0,
    }
}

/// By how many whole frames the answer came late, if a delay explains it: the answer travelled to a face elsewhere.
fn late_frames(transcript: &LightTranscript, policy: &Policy) -> Option<usize> {
    let frame_us = transcript.camera.frame_us.clamp(1, 1_000_000);
    (1..=LATE_FRAMES_MAX)
        .find(|&late| {
            let mut shifted = transcript.clone();
            shifted.camera.delay_us = shifted.camera.delay_us.saturating_add(late * frame_us);
            let (switches, camera) = (&shifted.switches, &shifted.camera);
            for frame in &mut shifted.frames {
                frame.slot = match label(switches, camera, frame) {
                    Label::Slot(slot) => slot,
                    Label::Mixed | Label::Outside => u8::MAX,
                };
            }
            let Decoded { wrong, missing, explained, .. } = decode_looks(&looks(&shifted), &shifted.code, 0);
            let lost = (late as usize).div_ceil(usize::from(shifted.shape.frames_per_slot.max(1))) + 1;
            wrong == 0 && missing <= lost && milli(explained) >= policy.code.explained_milli_min
        })
        .map(|late| late as usize)
}

/// Which lamp is dark, if the frames show the code as it would look without that lamp.
fn dark_lamp(looks: &[Look], code: &[Light], policy: &Policy) -> Option<Light> {
    let without = |lamp: Light, other: Light| -> Vec<Light> {
        code.iter()
            .map(|&light| match light {
                Light::Both => other,
                single if single == lamp => Light::Off,
                single => single,
            })
            .collect()
    };
    [(Light::Left, Light::Right), (Light::Right, Light::Left)].into_iter().find_map(|(lamp, other)| {
        let shown = decode_looks(looks, &without(lamp, other), 0);
        let found = shown.wrong == 0 && milli(shown.explained) >= policy.code.explained_milli_min;
        found.then_some(lamp)
    })
}

/// Brightness of the face's middle cells, of full scale.
struct Brightness {
    ambient: f64,
    lit: f64,
    clipped: f64,
    left: f64,
    right: f64,
    /// Difference between the brightest and the darkest slot.
    changes: f64,
    contrast: f64,
}

impl Brightness {
    fn of(looks: &[Look], fit: &Fit, code: &[Light]) -> Self {
        let covered = |cell: &usize| MEAN_FACE[*cell][0] >= COVER_MIN;
        let cells: Vec<usize> = (0..CELLS).filter(covered).collect();
        let part = |of: &dyn Fn(&crate::fit::Cell) -> f64| {
            median(cells.iter().filter_map(|&cell| fit.face[cell].as_ref().map(of)).collect())
        };
        let level = |look: &Look| median(cells.iter().map(|&cell| look.face[cell]).collect());
        let levels: Vec<f64> = looks.iter().map(level).collect();
        let (low, high) = levels.iter().fold((1.0, 0.0), |(low, high): (f64, f64), &v| (low.min(v), high.max(v)));
        let single: Vec<&Look> =
            looks.iter().filter(|look| matches!(code[look.slot], Light::Left | Light::Right)).collect();
        let clipped: usize = single.iter().map(|look| cells.iter().filter(|&&cell| look.clipped[cell]).count()).sum();
        let (left, right) = (part(&|cell| cell.left), part(&|cell| cell.right));
        let background = fit.background_response();
        Self {
            ambient: part(&|cell| cell.ambient),
            lit: high,
            clipped: clipped as f64 / (single.len() * cells.len()).max(1) as f64,
            left,
            right,
            changes: (high - low).max(0.0),
            contrast: ((left + right) / 2.0 / background.max(BACKGROUND_MIN)).clamp(0.0, CONTRAST_MAX),
        }
    }
}

/// Latest answer that is looked for, in frames.
const LATE_FRAMES_MAX: u32 = 5;
/// Least share of a cell that the mean face covers, thousandths.
const COVER_MIN: i16 = 900;
/// A background darker than this counts as this: a tenth of a code value.
const BACKGROUND_MIN: f64 = 0.0005;
/// Contrasts beyond say nothing more.
const CONTRAST_MAX: f64 = 1000.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Surface, World, code};

    const PASSIVE: PassiveSummary =
        PassiveSummary { frames: 20, mean_llr_milli: 1000, worst_llr_milli: 0, context_missing: 0 };
    const MOTION: Motion = Motion { frames: 40, still_pairs: 0, path_px10: 200, blink: true };

    fn answer(change: impl FnOnce(&mut World), forge: impl FnOnce(&mut LightTranscript)) -> String {
        let mut world = World::face(7);
        change(&mut world);
        let mut transcript = world.play(&code(7));
        forge(&mut transcript);
        let ordered = transcript.code.clone();
        judge(&transcript, &ordered, &PASSIVE, &MOTION, 800, &Policy::shipped()).answer().to_string()
    }

    #[test]
    fn a_face_that_answers_is_live() {
        assert_eq!(answer(|_| {}, |_| {}), "live");
    }

    #[test]
    fn each_witness_refuses_with_its_reason() {
        assert_eq!(answer(|world| world.surface = Surface::Plane { tilt: [0.1, 0.1] }, |_| {}), "spoof: no-relief");
        assert_eq!(answer(|world| world.lamps = 0.0, |_| {}), "spoof: no-response");
        assert_eq!(answer(|_| {}, |t| relabel(t, &code(8))), "spoof: light-code-wrong");
        assert_eq!(answer(|_| {}, |t| t.frames.iter_mut().for_each(|f| f.print = [7; 8])), "spoof: still-or-looped");
        assert_eq!(answer(|world| world.ambient = 1.0, |_| {}), "inconclusive: too-much-infrared");
        assert_eq!(answer(|_| {}, |t| t.frames.truncate(11)), "inconclusive: too-few-frames");
        assert_eq!(answer(|_| {}, |t| t.frames[3].centre_px10[0] += 900), "inconclusive: hold-still");
    }

    /// The same frames under another code, as a recording would be.
    fn relabel(transcript: &mut LightTranscript, code: &[Light]) {
        transcript.code = code.to_vec();
        for (switch, light) in transcript.switches.iter_mut().zip(code) {
            switch.light = *light;
        }
    }

    #[test]
    fn a_relay_is_named() {
        for late in 1..=4u32 {
            let forge = |t: &mut LightTranscript| {
                for switch in &mut t.switches {
                    switch.at_us -= late * 33_333;
                }
                let (switches, camera) = (t.switches.clone(), t.camera.clone());
                for frame in &mut t.frames {
                    if let Label::Slot(slot) = label(&switches, &camera, frame) {
                        frame.slot = slot;
                    }
                }
            };
            let mut world = World::face(7);
            world.start_us = 300_000;
            let mut transcript = world.play(&code(7));
            forge(&mut transcript);
            let ordered = transcript.code.clone();
            let evidence = judge(&transcript, &ordered, &PASSIVE, &MOTION, 800, &Policy::shipped());
            assert_eq!(evidence.answer().to_string(), "spoof: too-late", "{late} frames\n{evidence}");
        }
    }

    #[test]
    fn a_dark_lamp_is_named() {
        for (side, name) in [(0, "inconclusive: left-lamp-dark"), (1, "inconclusive: right-lamp-dark")] {
            assert_eq!(answer(|world| world.strength[side] = 0.0, |_| {}), name);
        }
    }

    #[test]
    fn a_code_that_the_matcher_did_not_choose_is_a_spoof() {
        let transcript = World::face(7).play(&code(7));
        let evidence = judge(&transcript, &code(8), &PASSIVE, &MOTION, 800, &Policy::shipped());
        assert_eq!(evidence.answer().to_string(), "spoof: light-code-wrong");
    }

    #[test]
    fn other_witnesses_count() {
        let transcript = World::face(7).play(&code(7));
        let verdict = |passive: PassiveSummary, motion: Motion, continuity| {
            judge(&transcript, &code(7), &passive, &motion, continuity, &Policy::shipped()).answer().to_string()
        };
        assert_eq!(verdict(PassiveSummary { mean_llr_milli: -90_000, ..PASSIVE }, MOTION, 800), "spoof: looks-false");
        assert_eq!(verdict(PassiveSummary { frames: 0, ..PASSIVE }, MOTION, 800), "inconclusive: context-missing");
        assert_eq!(verdict(PASSIVE, Motion { still_pairs: 30, ..MOTION }, 800), "spoof: still-or-looped");
        assert_eq!(verdict(PASSIVE, MOTION, 100), "spoof: face-changed");
    }

    #[test]
    fn the_same_inputs_give_the_same_bytes() {
        let transcript = World::face(9).play(&code(9));
        let bytes = || judge(&transcript, &code(9), &PASSIVE, &MOTION, 800, &Policy::shipped()).to_bytes();
        assert_eq!(bytes(), bytes());
    }
}
