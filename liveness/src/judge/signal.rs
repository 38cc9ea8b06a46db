//! Weak evidence, added up: what none of them could say alone.
//!
//! Each part is a log-likelihood ratio (natural, live against spoof) with a bound of its own, because each comes from
//! another source: the passive network from the picture's texture, blinks and sway from the person, parallax from the
//! head's shape, the camera's time stamps and noise from the sensor.

use didar_protocol::reason::Reason;
use didar_protocol::transcript::{LightTranscript, NO_NOISE, NOISE_BANDS};

use super::{Case, Doubt, Figures};
use crate::linear::{median, milli};
use crate::motion::{blinks, drift, parallax};
use crate::policy::{InjectionPolicy, MotionPolicy};

/// The sum of the weak evidence.
pub(super) fn fusion(case: &Case<'_>, figures: &mut Figures) -> Option<Doubt> {
    let policy = case.policy;
    let passive = i64::from(case.passive.mean_llr_milli);
    let movement = movement(case, figures, &policy.motion);
    let injection = injection(case.transcript, figures, &policy.injection);
    let total = passive.saturating_add(movement).saturating_add(injection);
    figures.milli("passive-mean-llr", passive);
    figures.milli("passive-worst-llr", i64::from(case.passive.worst_llr_milli));
    figures.milli("movement-llr", movement);
    figures.milli("injection-llr", injection);
    figures.milli("total-llr", total);
    (total < policy.fusion.total_llr_milli_min).then_some(Doubt::Spoof(Reason::LooksFalse))
}

fn movement(case: &Case<'_>, figures: &mut Figures, policy: &MotionPolicy) -> i64 {
    let transcript = case.transcript;
    let observed_us = u64::from(case.motion.frames) * u64::from(transcript.camera.frame_us);
    let observed = i64::try_from(observed_us / 1000).unwrap_or(0);
    let blink = case.motion.blink || blinks(transcript);
    let drift = milli(drift(transcript) * 1000.0);
    let parallax = parallax(transcript).map(milli);
    figures.milli("observed-ms", observed * 1000);
    figures.milli("path-px", i64::from(case.motion.path_px10) * 100);
    figures.count("blink", usize::from(blink));
    figures.milli("drift-permille", drift);
    figures.milli("parallax", parallax.unwrap_or(0));
    // Somebody who blinks a quarter of a second's chance each second: the longer none is seen, the less likely.
    let by_blink = if blink {
        policy.blink_llr_milli
    } else {
        -(observed.saturating_mul(policy.blinks_milli_per_second) / 1000).min(policy.blink_missing_llr_milli)
    };
    let by_drift = if drift < policy.drift_milli_permille_min { -policy.still_llr_milli } else { 0 };
    let by_parallax = match parallax {
        Some(found) if found < policy.parallax_milli_min => -policy.parallax_llr_milli,
        Some(_) | None => 0,
    };
    by_blink + by_drift + by_parallax
}

/// Hints that frames come from a file and not from a sensor.
fn injection(transcript: &LightTranscript, figures: &mut Figures, policy: &InjectionPolicy) -> i64 {
    let irregular = milli(irregularity_us(transcript));
    let bands: [Option<f64>; NOISE_BANDS] = std::array::from_fn(|band| noise(transcript, band));
    let loudest = bands.iter().flatten().copied().fold(None, |most: Option<f64>, v| Some(most.map_or(v, |m| m.max(v))));
    let loudest = loudest.map(milli);
    let follows = milli(follows_brightness(&bands, transcript));
    figures.milli("stamps-irregular-us", irregular);
    figures.milli("noise", loudest.unwrap_or(0));
    figures.milli("noise-follows", follows);
    let calibrated = i64::from(transcript.camera.noise_milli);
    let floor = policy.noise_milli_min.max(calibrated * policy.noise_of_calibrated_milli_min / 1000);
    let few = transcript.frames.len() < STAMPS_LEAST;
    let hints = [
        (!few && irregular < policy.irregular_milli_us_min, policy.regular_llr_milli),
        (loudest.is_some_and(|noise| noise < floor), policy.no_noise_llr_milli),
        (follows > policy.noise_follows_milli_max, policy.noise_follows_llr_milli),
    ];
    -hints.into_iter().filter(|(seen, _)| *seen).map(|(_, llr)| llr).sum::<i64>()
}

/// How far the time stamps lie beside a perfect clock of the camera's rate, microseconds, root of the mean square.
fn irregularity_us(transcript: &LightTranscript) -> f64 {
    let frame_us = f64::from(transcript.camera.frame_us.max(1));
    let Some(first) = transcript.frames.first() else { return 0.0 };
    let (mut n, mut sx, mut sy, mut sxx, mut sxy, mut syy) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for frame in &transcript.frames {
        let y = f64::from(frame.at_us) - f64::from(first.at_us);
        let x = (y / frame_us).round();
        n += 1.0;
        sx += x;
        sy += y;
        sxx += x * x;
        sxy += x * y;
        syy += y * y;
    }
    let down = n * sxx - sx * sx;
    if down <= 0.0 {
        return 0.0;
    }
    let slope = (n * sxy - sx * sy) / down;
    let left = (syy - sy * sy / n) - slope * (sxy - sx * sy / n);
    (left.max(0.0) / n).sqrt()
}

/// Median noise of a band over the frames, code values.
fn noise(transcript: &LightTranscript, band: usize) -> Option<f64> {
    let told = transcript.frames.iter().map(|frame| frame.noise_x256[band]).filter(|noise| *noise != NO_NOISE);
    let told: Vec<f64> = told.map(|noise| f64::from(noise) / 256.0).collect();
    (!told.is_empty()).then(|| median(told))
}

/// Noise of the brightest band against the darkest, and that against what a sensor's shot noise has at this gamma: 1 as on a
/// sensor, less where its read noise fills the dark, far more where noise was painted on. 1 where two bands are not told.
fn follows_brightness(bands: &[Option<f64>; NOISE_BANDS], transcript: &LightTranscript) -> f64 {
    let mut told = bands.iter().enumerate().filter_map(|(band, noise)| noise.map(|noise| (band, noise)));
    let (Some((low, dark)), Some((high, bright))) = (told.next(), told.next_back()) else { return 1.0 };
    // Light = code^gamma; its noise grows with the root, and a code value is light^(1 - 1 / gamma) wide: so noise in code
    // values grows with code^(1 - gamma / 2).
    let gamma = f64::from(transcript.camera.gamma_milli.clamp(400, 4000)) / 1000.0;
    let ratio = (high as f64 + 0.5) / (low as f64 + 0.5);
    let expected = libm::pow(ratio, 1.0 - gamma / 2.0);
    bright / dark.max(NOISE_FLOOR) / expected
}

/// Fewer frames tell nothing of a clock.
const STAMPS_LEAST: usize = 8;
/// Rounding to code values leaves some noise in any picture, code values.
const NOISE_FLOOR: f64 = 0.1;
