//! Lamps and camera in virtual time: when frames begin, and when the loop switches the lamps.

use didar_liveness::{Sequencer, TranscriptBuilder};
use didar_protocol::light_code::{CodeShape, Light};

use super::kiosk::CameraModel;
use super::lamps::LampLog;
use super::random::Random;

/// Plays one code against one camera.
pub(crate) struct Clockwork {
    camera: CameraModel,
    sequencer: Sequencer,
    lamps: LampLog,
    random: Random,
    first_us: u64,
    begin_us: u64,
    frames: u32,
    /// Whether lamps switch just before frames and not on a clock of their own.
    in_step: bool,
}

/// Longest time from a due order to the lamp, microseconds: the loop's latency.
const LATENCY_US: f32 = 2_500.0;
/// Where lamps switch in step with the exposure, the order comes so long before a frame, microseconds.
const LEAD_US: u64 = 3_500;
/// The kiosk's clock began some time ago, microseconds.
const CLOCK_US: u64 = 5_000_000;

impl Clockwork {
    /// `before` frames come before the code; it begins anywhere between two frames, or just before one where every frame
    /// is a slot of its own.
    pub(crate) fn new(code: &[Light], shape: CodeShape, camera: CameraModel, before: u32, mut random: Random) -> Self {
        let first_us = CLOCK_US + u64::from(random.next() as u16);
        let frame_us = u64::from(camera.frame_us);
        let after = first_us + u64::from(before) * frame_us;
        let in_step = shape.frames_per_slot == 1;
        let begin_us = if in_step {
            after + frame_us - LEAD_US
        } else {
            after + random.between(0.0, 0.99 * camera.frame_us as f32) as u64
        };
        let slot_us = u32::from(shape.frames_per_slot) * camera.frame_us - if in_step { LEAD_US as u32 } else { 0 };
        let sequencer = Sequencer::new(code, slot_us, begin_us);
        Self { camera, sequencer, lamps: LampLog::default(), random, first_us, begin_us, frames: 0, in_step }
    }

    /// Start of the next frame's exposure; `None` after the frame that saw the code's end. Lamps that are switched before
    /// that exposure ends are told to `builder`.
    pub(crate) fn next_frame(&mut self, builder: &mut TranscriptBuilder) -> Option<u64> {
        if self.sequencer.is_over() {
            return None;
        }
        let start_us = self.first_us + u64::from(self.frames) * u64::from(self.camera.frame_us);
        let end_us = start_us + u64::from(self.camera.exposure_us) + u64::from(self.camera.rolling_us);
        let latest_us = if self.in_step { start_us - LEAD_US } else { end_us - 1 };
        while let Some(due_us) = self.sequencer.deadline_us().filter(|due| *due <= latest_us) {
            let at_us = due_us.max(if self.in_step { latest_us } else { 0 });
            let at_us = at_us + self.random.between(100.0, LATENCY_US) as u64;
            if let Some(order) = self.sequencer.due(at_us) {
                self.lamps.switched(at_us + u64::from(self.camera.lamp_delay_us), order.light());
                builder.switched([self.since_begin(at_us).unwrap_or(0); 2], order.light());
            }
        }
        self.frames += 1;
        Some(start_us)
    }

    /// Frames that have begun.
    pub(crate) fn frames(&self) -> u32 {
        self.frames
    }

    /// What the lamps have done.
    pub(crate) fn lamps(&self) -> &LampLog {
        &self.lamps
    }

    /// Microseconds since the code began; `None` before it.
    pub(crate) fn since_begin(&self, at_us: u64) -> Option<u32> {
        at_us.checked_sub(self.begin_us).map(|us| u32::try_from(us).unwrap_or(u32::MAX))
    }
}
