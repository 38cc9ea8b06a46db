//! The matcher's only clock. Everything else is told what time it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, Unix milliseconds.
pub fn now_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the one lawful reading of the clock")]
    let now = SystemTime::now();
    // A machine whose clock stands before 1970 is treated as standing at 1970: every certificate is then refused.
    now.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
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
