//! What one lamp's switching looked like to the camera: how much light it gave, and how long after the order it came.
//!
//! Pure.

use std::time::Duration;

use crate::time::Moment;

/// One frame of a pulse.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Start of its exposure.
    pub at: Moment,
    /// Mean code value of the region, 0 to 255.
    pub mean: f32,
}

/// Frames before and after one switching from dark to lit.
#[derive(Clone, Debug)]
pub struct Pulse {
    /// When the lamps were switched.
    pub switched: Moment,
    /// Frames in order, dark ones first.
    pub samples: Vec<Sample>,
}

/// When a pulse's order is given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// So far into a frame's time from now, as a share.
    Phase(f32),
    /// So many microseconds after the start of some frame's exposure; may be negative.
    Into(i64),
}

impl Aim {
    /// At the middle of an exposure, for light that comes `delay_us` after its order; a little before, at and after it with
    /// growing `index`.
    pub fn middle(exposure: Exposure, delay_us: i64, index: usize) -> Self {
        let share = [40, 50, 60][index % 3];
        let middle_us = i64::from(exposure.row_us) + i64::from(exposure.exposure_us) * share / 100;
        Self::Into(middle_us - delay_us)
    }

    /// How long to wait at `now`, where a frame's exposure began at `last` and another one every `frame`.
    pub fn after(self, last: Moment, frame: Duration, now: Moment) -> Duration {
        match self {
            Self::Phase(share) => frame.mul_f32(share),
            Self::Into(into_us) => {
                let frame_us = i64::try_from(frame.as_micros()).unwrap_or(i64::MAX).max(1);
                let ahead_us = (micros(last) + into_us - micros(now)).rem_euclid(frame_us);
                Duration::from_micros(ahead_us.unsigned_abs())
            }
        }
    }
}

/// How frames are exposed.
#[derive(Clone, Copy, Debug)]
pub struct Exposure {
    /// Exposure of a row, microseconds.
    pub exposure_us: u32,
    /// From the frame's start to the exposure of the region's middle row, microseconds.
    pub row_us: u32,
    /// Gamma x 1000, as in the board's file.
    pub gamma_milli: u16,
}

/// What a pulse tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Response {
    /// Lit minus dark, code values.
    pub lit_minus_dark: f32,
    /// From the order to the light, microseconds; `None` where no frame was partly lit. Negative where frames are taken to
    /// have been exposed earlier than they were.
    pub delay_us: Option<i64>,
}

/// Light cannot come before its order, so an earlier one, in microseconds, means that frames are taken to have been exposed
/// earlier than they were. Less than this is a share of light of 8 bits, and an order that took its time.
pub const EARLIEST_US: i64 = -2_000;
/// Less than this, in code values, is noise and not light.
pub const LEAST_LIGHT: f32 = 3.0;
/// A frame counts as partly lit between these shares of the full light.
const PARTLY: std::ops::Range<f64> = 0.15..0.85;
/// Frames at the end of a pulse that are surely lit.
const SURE: usize = 3;

impl Pulse {
    /// Reads the pulse; `None` where it has too few frames.
    pub fn read(&self, exposure: Exposure) -> Option<Response> {
        let before: Vec<_> =
            self.samples.iter().filter(|sample| sample.at.after(exposure.length()) < self.switched).collect();
        let sure = self.samples.len().checked_sub(SURE).filter(|from| *from > before.len())?;
        if before.is_empty() {
            return None;
        }
        let mean = |samples: &mut dyn Iterator<Item = f32>| {
            let (sum, count) = samples.fold((0.0, 0.0), |(sum, count), mean| (sum + mean, count + 1.0));
            sum / count
        };
        let dark = mean(&mut before.iter().map(|sample| sample.mean));
        let lit = mean(&mut self.samples[sure..].iter().map(|sample| sample.mean));
        let lit_minus_dark = lit - dark;
        let delay_us = if lit_minus_dark < LEAST_LIGHT { None } else { self.delay(exposure, dark, lit) };
        Some(Response { lit_minus_dark, delay_us })
    }

    /// By the frame that the light came on in the middle of: the share of its light tells when.
    fn delay(&self, exposure: Exposure, dark: f32, lit: f32) -> Option<i64> {
        let linear = |mean: f32| (f64::from(mean) / 255.0).powf(f64::from(exposure.gamma_milli) / 1000.0);
        let share = |mean: f32| (linear(mean) - linear(dark)) / (linear(lit) - linear(dark));
        let partly = self.samples.iter().find(|sample| PARTLY.contains(&share(sample.mean)))?;
        let dark_part = 1.0 - share(partly.mean);
        let into_frame_us = f64::from(exposure.row_us) + f64::from(exposure.exposure_us) * dark_part;
        let frame_us = micros(partly.at) - micros(self.switched);
        Some(frame_us + into_frame_us.round() as i64)
    }
}

impl Exposure {
    fn length(self) -> Duration {
        Duration::from_micros((self.exposure_us + self.row_us).into())
    }
}

/// The middle one of several delays, and how far they lie apart.
pub fn median(mut delays: Vec<i64>) -> Option<(i64, i64)> {
    delays.sort_unstable();
    let (first, last) = (delays.first()?, delays.last()?);
    Some((delays[delays.len() / 2], last - first))
}

fn micros(at: Moment) -> i64 {
    i64::try_from(at.as_nanos() / 1_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const EXPOSURE: Exposure = Exposure { exposure_us: 12_000, row_us: 2_000, gamma_milli: 2_200 };

    /// A lamp that answers `delay_us` after its order, seen at 30 frames a second; ambient and lamp in linear light.
    fn pulse(delay_us: u64, phase_us: u64, ambient: f64, lamp: f64) -> Pulse {
        let switched_us = 1_000_000 + phase_us;
        let light_us = switched_us + delay_us;
        let samples = (0..12u64).map(|frame| {
            let at_us = 800_000 + frame * 33_333;
            let start = at_us + u64::from(EXPOSURE.row_us);
            let end = start + u64::from(EXPOSURE.exposure_us);
            let share = end.saturating_sub(light_us.max(start)) as f64 / f64::from(EXPOSURE.exposure_us);
            let mean = 255.0 * (ambient + lamp * share).powf(1.0 / 2.2);
            Sample { at: Moment::from_nanos(at_us * 1_000), mean: mean as f32 }
        });
        Pulse { switched: Moment::from_nanos(switched_us * 1_000), samples: samples.collect() }
    }

    #[test]
    fn the_share_of_light_in_a_mixed_frame_tells_the_delay() {
        let delays: Vec<_> = (0..33)
            .filter_map(|step| pulse(3_000, step * 1_000, 0.05, 0.10).read(EXPOSURE).unwrap().delay_us)
            .collect();
        assert!(delays.len() > 5, "{delays:?}");
        assert!(delays.iter().all(|delay| (2_950..=3_050).contains(delay)), "{delays:?}");
        assert!(median(delays).unwrap().1 < 100);
    }

    #[test]
    fn an_aimed_pulse_comes_on_in_the_middle_of_an_exposure() {
        let frame = Duration::from_micros(33_333);
        let last = Moment::from_nanos(800_000_000);
        for delay_us in [0_u16, 400, 9_000, 30_000] {
            for (index, late_us) in [(0, 16_000), (1, 40_000), (5, 0)] {
                let now = last.after(Duration::from_micros(late_us));
                let wait = Aim::middle(EXPOSURE, delay_us.into(), index).after(last, frame, now);
                assert!(wait < frame);
                let order_us = now.after(wait).since(last).as_micros() as u64;
                let (phase_us, delay) = (order_us % 33_333, u64::from(delay_us));
                // The frames of `pulse` begin at 800 ms, and its order at 1 s.
                let order_us = 800_000 + phase_us + 33_333 * 6 - 1_000_000;
                let response = pulse(delay, order_us, 0.05, 0.10).read(EXPOSURE).unwrap();
                let found = response.delay_us.unwrap();
                assert!((found - i64::from(delay_us)).abs() <= 50, "{delay_us} us: {found}");
            }
        }
        assert_eq!(Aim::Phase(0.5).after(last, frame, last), frame / 2);
    }

    #[test]
    fn a_lamp_that_gives_no_light_has_no_delay() {
        let response = pulse(3_000, 5_000, 0.05, 0.0005).read(EXPOSURE).unwrap();
        assert!(response.lit_minus_dark < LEAST_LIGHT && response.delay_us.is_none());
        assert!(pulse(3_000, 5_000, 0.05, 0.10).read(EXPOSURE).unwrap().lit_minus_dark > 20.0);
    }

    #[test]
    fn too_few_frames_tell_nothing() {
        let whole = pulse(3_000, 5_000, 0.05, 0.10);
        let cut = Pulse { samples: whole.samples[..4].to_vec(), ..whole.clone() };
        assert_eq!(cut.read(EXPOSURE), None);
        let late = Pulse { samples: whole.samples[8..].to_vec(), ..whole };
        assert_eq!(late.read(EXPOSURE), None);
        assert_eq!(median(Vec::new()), None);
        assert_eq!(median(vec![30, 10, 20]), Some((20, 20)));
    }
}
