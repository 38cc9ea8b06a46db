//! What waits for the service: bounded as a whole and for each device, so that whoever floods loses messages of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use didar_protocol::id::DeviceId;
use didar_protocol::topic::Topic;

/// Messages of everybody.
pub(super) const MESSAGES_MAX: usize = 4096;
/// Messages and bytes of everybody.
const ALL_MAX: Load = Load { messages: MESSAGES_MAX, bytes: 32 << 20 };
/// Messages and bytes of one device: an agent has 32 records and some letters under way, and an attempt has 96 KiB.
const ONE_MAX: Load = Load { messages: 64, bytes: 1 << 20 };

/// Who and how much waits.
#[derive(Clone, Default)]
pub(super) struct Waiting(Arc<Mutex<Shares>>);

/// The room that one message takes until this is dropped.
pub(super) struct Place {
    waiting: Waiting,
    device: Option<DeviceId>,
    bytes: usize,
}

/// There is no room.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full {
    /// Whether the device has just now filled its share: worth a line of the log, the next thousand are not.
    pub(super) first: bool,
}

#[derive(Default)]
struct Shares {
    all: Load,
    /// By device; what is on no device's topic shares one place.
    of: HashMap<Option<DeviceId>, (Load, Told)>,
}

#[derive(Clone, Copy, Default)]
struct Load {
    messages: usize,
    bytes: usize,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Told {
    #[default]
    No,
    Yes,
}

impl Waiting {
    /// Room for a message of so many bytes that came on `topic`. The broker lets a device publish on its own topics only.
    pub(super) fn place(&self, topic: &str, bytes: usize) -> Result<Place, Full> {
        let device = match topic.parse() {
            Ok(Topic::Device { device, .. }) => Some(device),
            Ok(_) | Err(_) => None,
        };
        let mut shares = self.lock();
        let all_fit = shares.all.takes(bytes, ALL_MAX);
        let (one, told) = shares.of.entry(device.clone()).or_default();
        if !one.takes(bytes, ONE_MAX) || !all_fit {
            let first = *told == Told::No;
            *told = Told::Yes;
            return Err(Full { first });
        }
        one.add(bytes);
        shares.all.add(bytes);
        Ok(Place { waiting: self.clone(), device, bytes })
    }

    fn lock(&self) -> MutexGuard<'_, Shares> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut shares = self.waiting.lock();
        shares.all.remove(self.bytes);
        if let Some((one, _)) = shares.of.get_mut(&self.device) {
            one.remove(self.bytes);
            if one.messages == 0 {
                shares.of.remove(&self.device);
            }
        }
    }
}

impl Load {
    fn takes(&self, bytes: usize, most: Self) -> bool {
        self.messages < most.messages && self.bytes.saturating_add(bytes) <= most.bytes
    }

    fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, bytes: usize) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn topic(device: usize) -> String {
        format!("didar/1/test/device/kiosk-{device}/up/audit")
    }

    #[test]
    fn one_device_fills_its_own_share_and_nobody_elses() {
        let waiting = Waiting::default();
        let held: Vec<Place> = (0..ONE_MAX.messages).map(|_| waiting.place(&topic(1), 10).unwrap()).collect();
        assert_eq!(waiting.place(&topic(1), 10).err(), Some(Full { first: true }));
        assert_eq!(waiting.place(&topic(1), 10).err(), Some(Full { first: false }));
        assert!(waiting.place(&topic(2), 10).is_ok());
        assert!(waiting.place("no topic of ours", 10).is_ok());
        drop(held);
        assert!(waiting.place(&topic(1), ONE_MAX.bytes).is_ok());
        assert_eq!(waiting.place(&topic(1), ONE_MAX.bytes + 1).err(), Some(Full { first: true }));
    }

    #[test]
    fn everybody_together_is_bounded_and_room_comes_back() {
        let waiting = Waiting::default();
        let held: Vec<Place> = (0..32).map(|device| waiting.place(&topic(device), 1 << 20).unwrap()).collect();
        assert!(waiting.place(&topic(32), 1).is_err());
        drop(held);
        let held: Vec<Place> = (0..ALL_MAX.messages).map(|at| waiting.place(&topic(at / 64), 1).unwrap()).collect();
        assert!(waiting.place(&topic(1000), 1).is_err());
        drop(held);
        let shares = waiting.lock();
        assert_eq!((shares.all.messages, shares.all.bytes), (0, 0));
        assert!(shares.of.values().all(|(one, _)| one.messages == 0));
    }
}
