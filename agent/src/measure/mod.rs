//! Camera and lamps, measured: for `didar-agent doctor` and `didar-agent calibrate`.
//!
//! **Here:** taking frames and lighting lamps, one at a time, briefly. **Not here:** words for people, and serving them:
//! the agent must not be running, because a camera has one user.
//! **Start** with [`Bench::frames`].

pub mod calibration;
pub mod pulse;

use std::sync::Arc;
use std::time::Duration;

use didar_protocol::light_code::Light;
use didar_vision::{Brightness, FrameError, Models, Perceiver, Rect, Unpacker, brightness};

use crate::camera::meter::{Counts, Meter};
use crate::edge::{Camera, CameraError, Clock, Controls, Frame, LampError, Lamps, Pick};
use crate::time::Moment;
use pulse::{Aim, Exposure, Pulse, Response, Sample};

/// What is known of camera and lamps before they are measured.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// How frames are exposed in the picture's middle.
    pub exposure: Exposure,
    /// Frames a second.
    pub rate: u32,
    /// From the order to the light, microseconds, by the board's file or an earlier calibration.
    pub delay_us: u32,
}

/// A board's camera and lamps on the bench.
pub struct Bench {
    /// The camera.
    pub camera: Box<dyn Camera>,
    /// The lamps.
    pub lamps: Box<dyn Lamps>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// What is counted of the camera's frames.
    pub meter: Arc<Meter>,
    /// For compressed frames.
    pub unpacker: Unpacker,
}

/// What a run of frames showed.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Frames a second, by their time stamps.
    pub rate: f64,
    /// What was counted.
    pub counts: Counts,
    /// The last frame's brightness.
    pub brightness: Brightness,
    /// From the end of a frame's exposure until it could be read, the longest, microseconds.
    pub latency_us: u64,
}

/// How frames of two sensors lie together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pairs {
    /// Pairs that came.
    pub pairs: usize,
    /// Infrared frames without a colour frame of their time.
    pub alone: usize,
    /// How far the two frames of a pair were apart at most, microseconds.
    pub apart_us: u64,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The camera failed.
    #[error(transparent)]
    Camera(#[from] CameraError),
    /// The lamps failed.
    #[error(transparent)]
    Lamps(#[from] LampError),
    /// The camera opened and sent nothing.
    #[error("the camera gave {found} frames within {waited:?}, {needed} needed; is anything feeding it?")]
    Silent {
        /// Frames that came.
        found: usize,
        /// Frames that are needed.
        needed: usize,
        /// How long was waited.
        waited: Duration,
    },
    /// A frame cannot be read.
    #[error("the camera's frames cannot be read: {0}")]
    Frame(#[from] FrameError),
    /// A network failed.
    #[error(transparent)]
    Vision(#[from] didar_vision::VisionError),
    /// The networks cannot be used.
    #[error(transparent)]
    Model(#[from] didar_vision::ModelError),
}

/// Longest wait for one frame before the deadline is looked at again.
const STEP: Duration = Duration::from_millis(100);
/// Frames before a lamp is switched on: the dark ones.
const DARK_FRAMES: usize = 4;
/// Frames that were exposed after it: lit for a small part of the lamps' budget.
const LIT_FRAMES: usize = 8;
/// Frames between two pulses, so that the first one's light is gone and the budget is full again.
const SETTLE_FRAMES: usize = 6;
/// Longest wait for the frames of a measurement beyond their own time.
const PATIENCE: Duration = Duration::from_secs(10);

impl Bench {
    /// Takes `count` frames of a camera of `rate` frames a second.
    ///
    /// # Errors
    /// The camera fails, or sends too few.
    pub fn frames(&mut self, count: usize, rate: u32) -> Result<Run, MeasureError> {
        let before = self.meter.counts();
        let clock = Arc::clone(&self.clock);
        let (mut first, mut last, mut latency_us) = (None, Moment::ZERO, 0);
        let mut seen = Brightness { least: 0, most: 0, mean: 0.0 };
        self.each(Pick::Next, count, Moment::ZERO, rate, &mut |frame, unpacker| {
            let view = unpacker.view(frame.format, frame.width, frame.height, frame.stride, frame.pixels)?;
            seen = brightness(&view, None);
            first.get_or_insert(frame.captured_at);
            last = frame.captured_at;
            let latency = clock.now().since(frame.captured_at).as_micros();
            latency_us = latency_us.max(u64::try_from(latency).unwrap_or(u64::MAX));
            Ok(())
        })?;
        let counts = self.meter.counts().since(&before);
        let seconds = last.since(first.unwrap_or(last)).as_secs_f64();
        let intervals = counts.taken.saturating_add(counts.lost).saturating_sub(1);
        let rate = if seconds > 0.0 { intervals as f64 / seconds } else { 0.0 };
        Ok(Run { rate, counts, brightness: seen, latency_us })
    }

    /// Takes `count` infrared frames of a camera with two sensors, `rate` a second each.
    ///
    /// # Errors
    /// A sensor fails, or the two do not see the same moments.
    pub fn pairs(&mut self, count: usize, rate: u32) -> Result<Pairs, MeasureError> {
        let mut found = Pairs::default();
        self.each(Pick::Next, count, Moment::ZERO, rate, &mut |frame, _| {
            let Some(beside) = frame.beside else {
                found.alone += 1;
                return Ok(());
            };
            let (one, other) = (frame.captured_at, beside.captured_at);
            let apart = one.since(other).max(other.since(one)).as_micros();
            found.pairs += 1;
            found.apart_us = found.apart_us.max(u64::try_from(apart).unwrap_or(u64::MAX));
            Ok(())
        })?;
        Ok(found)
    }

    /// Where a face is, as a part of the picture's rows and columns; `None` where nobody looks into the camera.
    ///
    /// # Errors
    /// The camera or a network fails.
    pub fn face(&mut self, models: &Models, rate: u32) -> Result<Option<Rect>, MeasureError> {
        let mut perceiver = Perceiver::new(models)?;
        let mut found = None;
        // The newest: while the networks were made ready, the ring has filled with old ones.
        self.each(Pick::Newest, DARK_FRAMES, Moment::ZERO, rate, &mut |frame, unpacker| {
            let view = unpacker.view(frame.format, frame.width, frame.height, frame.stride, frame.pixels)?;
            if let Some(face) = perceiver.look(&view)?.face {
                found = Some(face.bounding);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Lights the lamps once, when `aim` says, and watches `area`, or the middle of the picture, of frames of `rate` a second.
    ///
    /// # Errors
    /// Camera or lamps fail. The lamps are dark afterwards, whatever happened.
    fn pulse(&mut self, light: Light, area: Option<Rect>, aim: Aim, rate: u32) -> Result<Pulse, MeasureError> {
        self.camera.control(Controls::Held)?;
        let mut samples = Vec::with_capacity(DARK_FRAMES + LIT_FRAMES);
        self.sample(DARK_FRAMES, Moment::ZERO, (area, rate), &mut samples)?;
        let last = samples.last().map_or(Moment::ZERO, |sample| sample.at);
        wait(aim.after(last, Duration::from_secs(1) / rate.max(1), self.clock.now()));
        let switched = self.lamps.set(light)?.done;
        // Frames that waited in the driver's ring are older than the light: they come first and do not count.
        let sampled = self.sample(LIT_FRAMES, switched, (area, rate), &mut samples);
        self.lamps.set(Light::Off)?;
        sampled?;
        Ok(Pulse { switched, samples })
    }

    /// The response of one lamp, and its delays in `pulses` pulses. The light of a pulse is timed where it comes on in the
    /// middle of an exposure: that is aimed at, by the delay that is `known` or was measured last. Every other pulse begins
    /// at a phase of its own until one was timed, in case what is known is wrong.
    ///
    /// # Errors
    /// Camera or lamps fail.
    pub fn respond(
        &mut self,
        light: Light,
        area: Option<Rect>,
        known: Known,
        pulses: usize,
    ) -> Result<(f32, Vec<i64>), MeasureError> {
        let Known { exposure, rate, delay_us } = known;
        let mut responses: Vec<Response> = Vec::with_capacity(pulses);
        let mut timed = None;
        for index in 0..pulses {
            self.each(Pick::Next, SETTLE_FRAMES, Moment::ZERO, rate, &mut |_, _| Ok(()))?;
            let aim = if timed.is_some() || index % 2 == 0 {
                Aim::middle(exposure, timed.unwrap_or(delay_us.into()), index)
            } else {
                Aim::Phase(index as f32 / pulses as f32)
            };
            let response = self.pulse(light, area, aim, rate)?.read(exposure);
            timed = response.and_then(|response| response.delay_us).or(timed);
            responses.extend(response);
        }
        let sum: f32 = responses.iter().map(|response| response.lit_minus_dark).sum();
        let delays = responses.iter().filter_map(|response| response.delay_us).collect();
        Ok((sum / responses.len().max(1) as f32, delays))
    }

    fn sample(
        &mut self,
        count: usize,
        from: Moment,
        (area, rate): (Option<Rect>, u32),
        samples: &mut Vec<Sample>,
    ) -> Result<(), MeasureError> {
        self.each(Pick::Next, count, from, rate, &mut |frame, unpacker| {
            let view = unpacker.view(frame.format, frame.width, frame.height, frame.stride, frame.pixels)?;
            let (width, height) = (frame.width as f32, frame.height as f32);
            let middle = Rect { x: width * 0.25, y: height * 0.25, width: width * 0.5, height: height * 0.5 };
            let mean = brightness(&view, Some(area.unwrap_or(middle))).mean;
            samples.push(Sample { at: frame.captured_at, mean });
            Ok(())
        })
    }

    /// Lends frames, as `pick` says, to `look`, until `count` of them were exposed after `from`.
    fn each(
        &mut self,
        pick: Pick,
        count: usize,
        from: Moment,
        rate: u32,
        look: &mut dyn FnMut(&Frame<'_>, &mut Unpacker) -> Result<(), MeasureError>,
    ) -> Result<(), MeasureError> {
        let waited = PATIENCE + Duration::from_secs(1) / rate.max(1) * u32::try_from(count).unwrap_or(u32::MAX);
        let deadline = self.clock.now().after(waited);
        let mut found = 0;
        while found < count {
            if self.clock.now() > deadline {
                return Err(MeasureError::Silent { found, needed: count, waited });
            }
            let mut looked = Ok(());
            let unpacker = &mut self.unpacker;
            self.camera.next(pick, STEP, &mut |frame| {
                looked = look(frame, unpacker);
                found += usize::from(frame.captured_at >= from);
            })?;
            looked?;
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "a pulse begins at a chosen phase of a frame")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}
