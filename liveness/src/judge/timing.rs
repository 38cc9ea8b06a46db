//! Time: frames belong to the slots that lit them, the code is played at once, and the answer comes at once.

use didar_protocol::reason::Reason;
use didar_protocol::transcript::{FrameSample, LightTranscript};

use super::{Case, Doubt, Figures};
use crate::decode::{Decoded, decode_looks};
use crate::fit::looks;
use crate::linear::milli;
use crate::transcript::{Label, label};

/// A code that is played slowly leaves time to ask for the answer elsewhere.
pub(super) fn length(case: &Case<'_>, figures: &mut Figures) -> Option<Doubt> {
    let ms = sequence_ms(case.transcript);
    figures.milli("sequence-ms", ms * 1000);
    (ms > i64::from(case.policy.timing.sequence_ms_max)).then_some(Doubt::Poor(Reason::TooFewFrames))
}

/// The transcript with only those frames whose slot follows from the switching times, in order of time, under switches
/// that follow the code: a label alone proves nothing.
pub(super) fn honest_frames(transcript: &LightTranscript) -> LightTranscript {
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

/// From the first switch to the end of the code, milliseconds.
fn sequence_ms(transcript: &LightTranscript) -> i64 {
    match (transcript.switches.first(), transcript.switches.last()) {
        (Some(first), Some(last)) => i64::from(last.at_us.saturating_sub(first.at_us) / 1000),
        _ => 0,
    }
}

/// By how many whole frames the answer came late, if a delay explains it: the answer travelled to a face elsewhere.
pub(super) fn late_frames(case: &Case<'_>) -> Option<usize> {
    let (transcript, policy) = (case.transcript, case.policy);
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

/// Latest answer that is looked for, in frames.
const LATE_FRAMES_MAX: u32 = 6;
