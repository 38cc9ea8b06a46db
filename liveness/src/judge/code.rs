//! The light code: the one that was demanded, and shown by every slot but those that the code's shape forgives.

use didar_protocol::light_code::Light;
use didar_protocol::reason::Reason;

use super::{Case, Doubt, Figures, timing};
use crate::decode::{decode_looks, passes};
use crate::fit::Look;
use crate::linear::milli;
use crate::policy::Policy;

/// The device played the code that the challenge demands.
pub(super) fn demanded(case: &Case<'_>, figures: &mut Figures) -> Option<Doubt> {
    let transcript = case.transcript;
    let differs = transcript.code != case.demanded || transcript.code.len() != usize::from(transcript.shape.slots);
    figures.count("code-differs", usize::from(differs));
    figures.count("slots", transcript.code.len());
    figures.count("slots-wrong-allowed", usize::from(transcript.shape.wrong_allowed));
    differs.then_some(Doubt::Spoof(Reason::LightCodeWrong))
}

/// The frames show it.
pub(super) fn decoded(case: &Case<'_>, figures: &mut Figures) -> Option<Doubt> {
    let (transcript, policy) = (case.transcript, case.policy);
    let code = &transcript.code;
    let found = decode_looks(&case.looks, code, usize::MAX);
    let (wrong, missing, allowed) = (found.wrong, found.missing, usize::from(transcript.shape.wrong_allowed));
    let explained = milli(found.explained);
    let right = passes(wrong, missing, transcript.shape) && explained >= policy.code.explained_milli_min;
    let (late, dark) =
        if right { (None, None) } else { (timing::late_frames(case), dark_lamp(&case.looks, code, policy)) };
    let changes = milli(super::light::changes(&case.looks));
    figures.count("slots-missing", missing);
    figures.count("slots-wrong", wrong);
    figures.milli("explained", explained);
    figures.count("late-frames", late.unwrap_or(0));
    figures.milli("changes", changes);
    if right {
        return None;
    }
    // Where a quarter of the slots is missing, the others say nothing either.
    if 4 * missing > code.len() {
        return Some(Doubt::Poor(Reason::TooFewFrames));
    }
    if changes < policy.light.response_milli_min {
        return Some(Doubt::Spoof(Reason::NoResponse));
    }
    if let Some(reason) = dark {
        return Some(Doubt::Poor(reason));
    }
    match late {
        Some(late) if late > usize::from(policy.timing.late_frames_max) => return Some(Doubt::Spoof(Reason::TooLate)),
        // A camera whose delay is not calibrated, or a relay that is fast: neither passes, and nobody is accused.
        Some(_) => return Some(Doubt::Poor(Reason::HoldStill)),
        None => {}
    }
    if missing > 0 && wrong <= allowed {
        return Some(Doubt::Poor(Reason::TooFewFrames));
    }
    if wrong <= allowed + usize::from(policy.code.doubtful_slots) {
        return Some(Doubt::Poor(Reason::HoldStill));
    }
    Some(Doubt::Spoof(Reason::LightCodeWrong))
}

/// Which lamp is dark, if the frames show the code as it would look without that lamp.
fn dark_lamp(looks: &[Look], code: &[Light], policy: &Policy) -> Option<Reason> {
    let without = |lamp: Light, other: Light| -> Vec<Light> {
        code.iter()
            .map(|&light| match light {
                Light::Both => other,
                single if single == lamp => Light::Off,
                single => single,
            })
            .collect()
    };
    let lamps = [(Light::Left, Light::Right, Reason::LeftLampDark), (Light::Right, Light::Left, Reason::RightLampDark)];
    lamps.into_iter().find_map(|(lamp, other, reason)| {
        let shown = decode_looks(looks, &without(lamp, other), 0);
        let found = shown.wrong == 0 && milli(shown.explained) >= policy.code.explained_milli_min;
        found.then_some(reason)
    })
}
