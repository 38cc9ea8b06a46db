//! The matcher's only clock. Everything else is told what time it is.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Now, Unix milliseconds.
pub fn now_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the one lawful reading of the clock")]
    let now = SystemTime::now();
    // A machine whose clock stands before 1970 is treated as standing at 1970: every certificate is then refused.
    now.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Looks whether the clock goes on as time does.
pub(crate) struct Pace {
    clock_ms: u64,
    since: Instant,
}

/// A clock may be set by so much, milliseconds: a time service that just began to work does.
const SET_MAX_MS: u64 = 60_000;

impl Pace {
    /// From now on.
    pub(crate) fn begin() -> Self {
        Self { clock_ms: now_ms(), since: steady() }
    }

    /// By how much the clock was set since the last look, milliseconds, where that is more than a minute.
    pub(crate) fn leap(&mut self, now_ms: u64) -> Option<i64> {
        let now = steady();
        let passed_ms = u64::try_from(now.duration_since(self.since).as_millis()).unwrap_or(u64::MAX);
        let expected_ms = self.clock_ms.saturating_add(passed_ms);
        *self = Self { clock_ms: now_ms, since: now };
        (now_ms.abs_diff(expected_ms) > SET_MAX_MS)
            .then(|| now_ms.cast_signed().saturating_sub(expected_ms.cast_signed()))
    }
}

fn steady() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the one lawful reading of the steady clock")]
    Instant::now()
}

/// Lets `duration` pass. Only for pauses between tries and between sweeps.
pub async fn wait(duration: Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one lawful pause: back-off and sweeps have no event to wait for"
    )]
    tokio::time::sleep(duration).await;
}

/// `at_ms` (Unix milliseconds) as RFC 3339 text with milliseconds, UTC.
pub fn text(at_ms: u64) -> String {
    i64::try_from(at_ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| format!("{at_ms} ms"), |at| format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_is_set_leaps() {
        let mut pace = Pace::begin();
        let hour_ms = 3_600_000;
        assert_eq!(pace.leap(now_ms()), None);
        let ahead = pace.leap(now_ms() + hour_ms).unwrap();
        assert!((ahead - hour_ms.cast_signed()).abs() < 1000, "{ahead}");
        assert_eq!(pace.leap(now_ms() + hour_ms), None, "told once");
        let back = pace.leap(now_ms()).unwrap();
        assert!((back + hour_ms.cast_signed()).abs() < 1000, "{back}");
    }
}
