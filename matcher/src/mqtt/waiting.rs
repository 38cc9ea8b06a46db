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
/// Dropped messages of one device that are a flood: an agent says what has no answer again after 3 s at the earliest, and
/// has 32 records and some letters to say.
const FLOOD: u32 = 256;

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
    /// The device, where so many of its messages were dropped since its share was empty that it must be sending without
    /// waiting for answers, as no agent does.
    pub(super) flood: Option<DeviceId>,
}

#[derive(Default)]
struct Shares {
    all: Load,
    /// By device; what is on no device's topic shares one place.
    of: HashMap<Option<DeviceId>, Share>,
}

#[derive(Default)]
struct Share {
    load: Load,
    /// Messages dropped since it was empty.
    dropped: u32,
}

#[derive(Clone, Copy, Default)]
struct Load {
    messages: usize,
    bytes: usize,
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
        let share = shares.of.entry(device.clone()).or_default();
        if !share.load.takes(bytes, ONE_MAX) || !all_fit {
            share.dropped = share.dropped.saturating_add(1);
            let is_flood = all_fit && share.dropped.is_multiple_of(FLOOD);
            return Err(Full { flood: device.filter(|_| is_flood) });
        }
        share.load.add(bytes);
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
        if let Some(share) = shares.of.get_mut(&self.device) {
            share.load.remove(self.bytes);
            if share.load.messages == 0 {
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
        let dropped: Vec<Full> = (0..2 * FLOOD).filter_map(|_| waiting.place(&topic(1), 10).err()).collect();
        let floods: Vec<usize> = (0..dropped.len()).filter(|at| dropped[*at].flood.is_some()).collect();
        assert_eq!((dropped.len(), floods), (512, vec![255, 511]));
        assert_eq!(dropped[255].flood, Some("kiosk-1".parse().unwrap()));
        assert!(waiting.place(&topic(2), 10).is_ok());
        assert!(waiting.place("no topic of ours", 10).is_ok());
        drop(held);
        assert!(waiting.place(&topic(1), ONE_MAX.bytes).is_ok());
        assert_eq!(waiting.place(&topic(1), ONE_MAX.bytes + 1).err(), Some(Full { flood: None }));
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
        assert!(shares.of.values().all(|share| share.load.messages == 0));
    }
}
