//! Builds the light transcript: which frame shows which slot, by the true times of the lamps and the exposure.

use didar_protocol::light_code::{CodeShape, Light};
use didar_protocol::transcript::{BACKGROUND_MAX, CameraFacts, FRAMES_MAX, FrameSample, LightTranscript};
use didar_protocol::transcript::{SWITCHES_MAX, Switch};

/// Collects lamp switches and frames of one code, in any order, and labels the frames at the end.
///
/// A frame belongs to a slot if that slot's light lit every row of the face during the whole of its exposure. One that
/// straddles a change of light is left out and counted.
#[derive(Clone, Debug)]
pub struct TranscriptBuilder {
    shape: CodeShape,
    code: Vec<Light>,
    camera: CameraFacts,
    switches: Vec<Switch>,
    /// When each of them was ordered.
    ordered_us: Vec<u32>,
    frames: Vec<FrameSample>,
    refused: usize,
}

/// Where one exposure falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Lit by this slot alone.
    Slot(u8),
    /// Lit by two different lights.
    Mixed,
    /// Before the code began or after it ended.
    Outside,
}

/// Most frames that are held before labelling: those of a full transcript and as many mixed and outer ones.
pub const HELD_MAX: usize = 2 * FRAMES_MAX;

impl TranscriptBuilder {
    /// A transcript of `code`, seen by `camera`. All times that follow count from the same start.
    pub fn new(shape: CodeShape, code: &[Light], camera: CameraFacts) -> Self {
        Self {
            shape,
            code: code.to_vec(),
            camera,
            switches: Vec::new(),
            ordered_us: Vec::new(),
            frames: Vec::new(),
            refused: 0,
        }
    }

    /// The lamps switched to `light`: ordered at the first time, obeyed by the second. Call once for every slot, in order,
    /// and once for the end of the code, even where the light stays the same. Switches beyond the code's end and one are
    /// not kept.
    pub fn switched(&mut self, [ordered_us, at_us]: [u32; 2], light: Light) {
        if self.switches.len() <= self.code.len() && self.switches.len() < SWITCHES_MAX {
            self.switches.push(Switch { at_us, light });
            self.ordered_us.push(ordered_us);
        }
    }

    /// A frame; its `slot` is ignored. Frames beyond [`HELD_MAX`] are counted and not kept.
    pub fn frame(&mut self, mut frame: FrameSample) {
        if self.frames.len() == HELD_MAX {
            self.refused += 1;
            return;
        }
        frame.background.truncate(BACKGROUND_MAX);
        self.frames.push(frame);
    }

    /// Frames that were not kept because there were too many.
    pub fn refused(&self) -> usize {
        self.refused
    }

    /// The transcript without an embedded frame: frames of one slot each, in order of time, at most the protocol's bound (the earliest of each
    /// slot win, so that no slot starves).
    /// Leaves nothing behind to finish again.
    pub fn finish(&mut self) -> LightTranscript {
        let mut frames = std::mem::take(&mut self.frames);
        frames.sort_by_key(|frame| frame.at_us);
        let mut labelled: Vec<FrameSample> = Vec::new();
        let mut mixed = 0u16;
        for mut frame in frames {
            match label(&self.switches, &self.camera, &frame) {
                // The light may have changed before the exposure was over, for all that is known.
                Label::Slot(_) if self.is_doubtful(self.exposure(&frame)) => mixed = mixed.saturating_add(1),
                Label::Slot(slot) => {
                    frame.slot = slot;
                    labelled.push(frame);
                }
                Label::Mixed => mixed = mixed.saturating_add(1),
                Label::Outside => {}
            }
        }
        let per_slot = (FRAMES_MAX / usize::from(self.shape.slots).max(1)).max(1);
        let mut taken = [0usize; 256];
        labelled.retain(|frame| {
            let count = &mut taken[usize::from(frame.slot)];
            *count += 1;
            *count <= per_slot
        });
        labelled.truncate(FRAMES_MAX);
        LightTranscript {
            shape: self.shape,
            code: self.code.clone(),
            camera: self.camera.clone(),
            switches: self.switches.clone(),
            frames: labelled,
            mixed,
            embedded_at_us: None,
        }
    }

    /// When the rows of `frame` that saw the face were exposed.
    pub fn exposure(&self, frame: &FrameSample) -> Exposure {
        Exposure::of(&self.camera, frame)
    }

    /// Whether `light` and no other lit the whole of an exposure within the code, by the switches known so far: a later one
    /// may still undo it, so ask again then.
    pub fn shows(&self, exposure: Exposure, light: Light) -> bool {
        lit_by(&self.switches, &self.camera, exposure).is_some_and(|(first, last)| {
            last < self.code.len() && self.switches[first..=last].iter().all(|switch| switch.light == light)
        }) && !self.is_doubtful(exposure)
    }

    /// Whether the exposure ends between the order of a switch to another light and its being done.
    fn is_doubtful(&self, Exposure { until, .. }: Exposure) -> bool {
        let delay = u64::from(self.camera.delay_us);
        let changes = self.switches.windows(2).zip(self.ordered_us.iter().skip(1));
        changes.filter(|(pair, _)| pair[0].light != pair[1].light).any(|(pair, ordered_us)| {
            u64::from(*ordered_us) + delay < until && until <= u64::from(pair[1].at_us) + delay
        })
    }
}

/// From when until when the rows that saw the face were exposed, microseconds of the transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposure {
    from: u64,
    until: u64,
}

impl Exposure {
    fn of(camera: &CameraFacts, frame: &FrameSample) -> Self {
        let row = |milli: u16| u64::from(camera.readout_us) * u64::from(milli.min(1000)) / 1000;
        let [top, bottom] = frame.rows_milli.map(row);
        let at_us = u64::from(frame.at_us);
        Self { from: at_us + top.min(bottom), until: at_us + bottom.max(top) + u64::from(camera.exposure_us) }
    }
}

/// The switches whose light fell into an exposure, the first and the last of them; `None` before the code.
fn lit_by(switches: &[Switch], camera: &CameraFacts, Exposure { from, until }: Exposure) -> Option<(usize, usize)> {
    let lit = |switch: &Switch| u64::from(switch.at_us) + u64::from(camera.delay_us);
    let first = switches.iter().rposition(|switch| lit(switch) <= from)?;
    let last = switches.iter().rposition(|switch| lit(switch) < until).unwrap_or(first).max(first);
    Some((first, last))
}

/// Where a frame's exposure falls, given one switch per slot and one for the end: the exposure of the rows that saw the
/// face, from the first of them to the last.
pub fn label(switches: &[Switch], camera: &CameraFacts, frame: &FrameSample) -> Label {
    let lit = |switch: &Switch| u64::from(switch.at_us) + u64::from(camera.delay_us);
    let exposure @ Exposure { from, until } = Exposure::of(camera, frame);
    let Some((first, last)) = lit_by(switches, camera, exposure) else {
        return Label::Outside;
    };
    let end = switches.len() - 1;
    if last >= end {
        return Label::Outside;
    }
    let steady = switches[first..=last].windows(2).all(|pair| pair[0].light == pair[1].light);
    if !steady {
        return Label::Mixed;
    }
    // Two slots of the same light in a row: the frame counts for the one that lit more of it.
    let slot = (first..=last)
        .max_by_key(|&slot| lit(&switches[slot + 1]).min(until).saturating_sub(lit(&switches[slot]).max(from)));
    slot.and_then(|slot| u8::try_from(slot).ok()).map_or(Label::Outside, Label::Slot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CAMERA, sample};
    use Light::{Both, Left, Off, Right};

    /// Slots of 60 ms from 100 ms on, light 1 ms after the order, exposure 20 ms.
    fn labels(code: &[Light], at_ms: &[u32]) -> Vec<Label> {
        let switches: Vec<Switch> = code
            .iter()
            .chain(&[Off])
            .zip(0u32..)
            .map(|(&light, slot)| Switch { at_us: 100_000 + slot * 60_000, light })
            .collect();
        at_ms.iter().map(|ms| label(&switches, &CAMERA, &sample(ms * 1_000, 0))).collect()
    }

    #[test]
    fn frames_are_labelled_by_the_light_that_lit_all_of_them() {
        assert_eq!(
            labels(&[Left, Right, Both], &[80, 100, 101, 140, 150, 161, 199, 201, 221, 262, 400]),
            [
                Label::Outside,
                Label::Outside,
                Label::Slot(0),
                Label::Slot(0),
                Label::Mixed,
                Label::Slot(1),
                Label::Slot(1),
                Label::Slot(1),
                Label::Slot(2),
                Label::Outside,
                Label::Outside,
            ]
        );
    }

    #[test]
    fn a_frame_over_two_slots_of_one_light_counts_for_the_longer() {
        assert_eq!(labels(&[Left, Left, Off], &[145, 155]), [Label::Slot(0), Label::Slot(1)]);
    }

    #[test]
    fn a_frame_that_ends_while_the_lamps_are_being_switched_is_mixed() {
        let finish = |light, at_ms: u32| {
            let mut builder = TranscriptBuilder::new(CodeShape::AT_30, &[Left, light], CAMERA);
            // The second switch takes from 155 to 160 ms: the light comes 1 ms later.
            for (switched, light) in [([100_000; 2], Left), ([155_000, 160_000], light), ([220_000; 2], Off)] {
                builder.switched(switched, light);
            }
            builder.frame(sample(at_ms * 1_000, 0));
            let transcript = builder.finish();
            (transcript.frames.first().map(|frame| frame.slot), transcript.mixed)
        };
        // Exposed for 20 ms.
        assert_eq!([136, 137, 141].map(|at_ms| finish(Right, at_ms)), [(Some(0), 0), (None, 1), (None, 1)]);
        assert_eq!([142, 160, 161].map(|at_ms| finish(Right, at_ms)), [(None, 1), (None, 1), (Some(1), 0)]);
        assert_eq!(finish(Left, 137), (Some(0), 0), "nothing changes there");
    }

    #[test]
    fn what_a_frame_shows_so_far_is_what_it_is_labelled_as_in_the_end() {
        let code = [Left, Off, Off, Right, Off];
        let switches: Vec<(u32, Light)> =
            (0u32..).map(|slot| 100_000 + slot * 60_000).zip(code.into_iter().chain([Off])).collect();
        for at_ms in 80..460 {
            let frame = sample(at_ms * 1_000, 0);
            let mut builder = TranscriptBuilder::new(CodeShape::AT_30, &code, CAMERA);
            let exposure = builder.exposure(&frame);
            let shown = switches.iter().map(|&(at_us, light)| {
                builder.switched([at_us - 3_000, at_us], light);
                builder.shows(exposure, Off)
            });
            let shown: Vec<bool> = shown.collect();
            builder.frame(frame);
            let slot = builder.finish().frames.first().map(|frame| code[usize::from(frame.slot)]);
            assert_eq!(shown.last().copied(), Some(slot == Some(Off)), "{at_ms} ms");
            // A switch after the exposure changes nothing, and one that takes it away does so at once.
            let next = switches.iter().position(|&(at_us, _)| at_us - 3_000 >= (at_ms + 20) * 1_000);
            if let Some(next) = next {
                assert!(
                    shown[next.saturating_sub(1)..].iter().all(|shows| *shows == shown[shown.len() - 1]),
                    "{at_ms} ms"
                );
            }
        }
    }

    #[test]
    fn the_transcript_keeps_order_and_bounds() {
        let code = crate::testing::code(1);
        let mut builder = TranscriptBuilder::new(CodeShape::AT_30, &code, CAMERA);
        for slot in 0..20u32 {
            builder.switched([slot * 60_000; 2], *code.get(slot as usize).unwrap_or(&Off));
        }
        for at_ms in (0..400).rev() {
            builder.frame(sample(at_ms * 1_000, 0));
        }
        let refused = builder.refused();
        let transcript = builder.finish();
        assert_eq!(refused, 400 - HELD_MAX);
        assert_eq!(transcript.switches.len(), 13);
        assert!(transcript.frames.len() <= FRAMES_MAX);
        assert!(transcript.frames.windows(2).all(|pair| pair[0].at_us <= pair[1].at_us));
    }
}
