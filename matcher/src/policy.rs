//! The rules of this site in numbers, and how many tries they leave. Pure.

use didar_protocol::reason::Reason;

use crate::config::{ChallengeConfig, Config, LimitsConfig};

/// Everything numeric that a verdict or a challenge depends on.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Cosine from which two faces are one person's.
    pub threshold: f32,
    /// What a verdict tells of it: N for a false match rate of 1e-N.
    pub threshold_class: u8,
    /// Least cosine between a device's template and its picture.
    pub continuity: f32,
    /// Limits of failures.
    pub limits: LimitsConfig,
    /// Lives of challenges and verdicts.
    pub challenge: ChallengeConfig,
    /// Longest life of a reference, milliseconds.
    pub retention_ms: u64,
}

/// How fast a device may go on saying things of one kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// So many at once.
    pub(crate) at_once: u32,
    /// And so many a minute from then on.
    pub(crate) per_minute: u32,
}

impl Rate {
    fn of(per_minute: u32) -> Self {
        Self { at_once: per_minute, per_minute }
    }
}

/// Failures within the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// No-match and spoof of the person.
    pub person: u32,
    /// Inconclusive ones of the person.
    pub unclear: u32,
    /// All of the device.
    pub device: u32,
}

impl Rules {
    /// From the configuration and the threshold that the models' manifest names for it.
    pub fn new(config: &Config, threshold: f32) -> Self {
        Self {
            threshold,
            threshold_class: config.comparison.false_match_exponent,
            continuity: config.comparison.continuity_milli as f32 / 1000.0,
            limits: config.limits,
            challenge: config.challenge,
            retention_ms: u64::from(config.reference.retention_days) * 86_400_000,
        }
    }

    /// The beginning of the window that counts at `now_ms`.
    pub fn window_start_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(u64::from(self.limits.window_s) * 1000)
    }

    /// How many requests a device may make.
    pub(crate) fn request_rate(&self) -> Rate {
        Rate::of(self.limits.requests_per_minute)
    }

    /// How many new audit records a device may tell: all that it gathered without a link, and then a steady few.
    pub(crate) fn record_rate(&self) -> Rate {
        let LimitsConfig { records_at_once, records_per_minute, .. } = self.limits;
        Rate { at_once: records_at_once, per_minute: records_per_minute }
    }

    /// How often a device may tell its state.
    pub(crate) fn state_rate(&self) -> Rate {
        Rate::of(self.limits.states_per_minute)
    }

    /// Whether another attempt is allowed.
    ///
    /// # Errors
    /// [`Reason::TooManyFailures`] where a limit is reached.
    pub fn admit(&self, failures: Failures) -> Result<(), Reason> {
        let LimitsConfig { person_failures, person_unclear, device_failures, .. } = self.limits;
        let over = failures.person >= person_failures
            || failures.unclear >= person_unclear
            || failures.device >= device_failures;
        if over { Err(Reason::TooManyFailures) } else { Ok(()) }
    }

    /// Attempts that the person has left before a pause.
    pub fn attempts_left(&self, failures: Failures) -> u8 {
        let left = self.limits.person_failures.saturating_sub(failures.person);
        u8::try_from(left).unwrap_or(u8::MAX)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn rules() -> Rules {
        Rules {
            threshold: 0.4,
            threshold_class: 4,
            continuity: 0.35,
            limits: LimitsConfig {
                window_s: 900,
                person_failures: 5,
                person_unclear: 15,
                device_failures: 50,
                requests_per_minute: 60,
                records_at_once: 65_536,
                records_per_minute: 60,
                states_per_minute: 120,
                away_hours: 72,
            },
            challenge: ChallengeConfig { lifetime_s: 60, verdict_s: 30, open_per_device: 4 },
            retention_ms: 86_400_000,
        }
    }

    #[test]
    fn each_limit_stops_by_itself() {
        let admit = |person, unclear, device| rules().admit(Failures { person, unclear, device });
        assert_eq!(admit(4, 14, 49), Ok(()));
        assert_eq!(admit(5, 0, 0), Err(Reason::TooManyFailures));
        assert_eq!(admit(0, 15, 0), Err(Reason::TooManyFailures));
        assert_eq!(admit(0, 0, 50), Err(Reason::TooManyFailures));
    }

    #[test]
    fn tries_left_count_down_to_none() {
        let left = |person| rules().attempts_left(Failures { person, ..Failures::default() });
        assert_eq!([left(0), left(4), left(5), left(9)], [5, 1, 0, 0]);
    }
}
