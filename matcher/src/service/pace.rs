//! How many requests a device makes: beyond the site's limit they are refused unread, and the ledger tells how many.

use std::collections::BTreeMap;

use didar_protocol::id::DeviceId;

const MINUTE_MS: u64 = 60_000;

/// Requests of each device since its current minute began. Bounded by the devices that are registered.
#[derive(Default)]
pub(super) struct Pace {
    asked: BTreeMap<DeviceId, (u64, u32)>,
}

impl Pace {
    /// Counts a request; false where it is one too many within a minute.
    pub(super) fn admits(&mut self, device: &DeviceId, most: u32, now_ms: u64) -> bool {
        let (began, count) = self.asked.entry(device.clone()).or_insert((now_ms, 0));
        // A clock that was set back begins a minute, too.
        if now_ms.abs_diff(*began) >= MINUTE_MS {
            (*began, *count) = (now_ms, 0);
        }
        *count = count.saturating_add(1);
        *count <= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_has_its_own_minute() {
        let (one, two): (DeviceId, DeviceId) = ("kiosk-1".parse().unwrap(), "kiosk-2".parse().unwrap());
        let mut pace = Pace::default();
        assert!(pace.admits(&one, 2, 1000) && pace.admits(&one, 2, 60_999));
        assert!(!pace.admits(&one, 2, 60_999));
        assert!(pace.admits(&two, 2, 60_999));
        assert!(pace.admits(&one, 2, 61_000));
    }
}
