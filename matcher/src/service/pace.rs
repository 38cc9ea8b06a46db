//! How much a device may say: a bucket of tokens per device and kind of message. What comes beyond is not handled, and the
//! ledger tells of it.

use std::collections::BTreeMap;

use didar_protocol::id::DeviceId;

use crate::policy::Rate;

const MINUTE_MS: u64 = 60_000;

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Said {
    /// Requests.
    Request,
    /// Audit records that are new here.
    Record,
    /// States.
    State,
}

/// The buckets of all devices, since the start. Bounded by the devices that are registered.
#[derive(Default)]
pub(super) struct Pace {
    buckets: BTreeMap<(DeviceId, Said), Bucket>,
}

/// Parts are 1/60,000 of a token: what a rate of one token a minute brings in a millisecond.
struct Bucket {
    parts: u64,
    at_ms: u64,
}

impl Pace {
    /// Takes a token; false where there is none.
    pub(super) fn admits(&mut self, device: &DeviceId, said: Said, rate: Rate, now_ms: u64) -> bool {
        let most = u64::from(rate.at_once) * MINUTE_MS;
        let full = Bucket { parts: most, at_ms: now_ms };
        let bucket = self.buckets.entry((device.clone(), said)).or_insert(full);
        // A clock that was set back brings nothing, one that leapt fills the bucket.
        let passed_ms = now_ms.saturating_sub(bucket.at_ms);
        bucket.at_ms = now_ms;
        bucket.parts = bucket.parts.saturating_add(passed_ms.saturating_mul(rate.per_minute.into())).min(most);
        match bucket.parts.checked_sub(MINUTE_MS) {
            Some(left) => {
                bucket.parts = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { at_once: 2, per_minute: 60 };

    fn admitted(pace: &mut Pace, device: &str, said: Said, now_ms: u64) -> bool {
        pace.admits(&device.parse().unwrap(), said, RATE, now_ms)
    }

    #[test]
    fn each_device_and_kind_has_a_bucket_that_fills_with_time() {
        let mut pace = Pace::default();
        let mut request = |device: &str, now_ms| admitted(&mut pace, device, Said::Request, now_ms);
        assert_eq!([1000, 1000, 1000].map(|now_ms| request("kiosk-1", now_ms)), [true, true, false]);
        assert!(request("kiosk-2", 1000));
        assert_eq!([1999, 2000, 2000].map(|now_ms| request("kiosk-1", now_ms)), [false, true, false]);
        // Never more than the bucket holds.
        assert_eq!([90_000, 90_000, 90_000].map(|now_ms| request("kiosk-1", now_ms)), [true, true, false]);
        assert!(admitted(&mut pace, "kiosk-1", Said::State, 90_000));
    }

    #[test]
    fn a_clock_that_is_set_back_brings_no_tokens_and_keeps_nobody_out_for_long() {
        let mut pace = Pace::default();
        let mut at = |now_ms| admitted(&mut pace, "kiosk-1", Said::Record, now_ms);
        assert_eq!([500_000, 500_000].map(&mut at), [true, true]);
        assert_eq!([1000, 1999, 2000].map(&mut at), [false, false, true]);
    }
}
