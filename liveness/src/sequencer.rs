//! Plays a light code: says which order the lamps get and when, and never reads a clock.

use didar_protocol::light_code::Light;

/// A code being played. Ask [`due`](Self::due) whenever [`deadline_us`](Self::deadline_us) has come.
///
/// A slot that begins late keeps its full length: the next one begins that much later. A code therefore never loses
/// the frames that its slots need because the caller was slow.
#[derive(Clone, Debug)]
pub struct Sequencer {
    code: Vec<Light>,
    slot_us: u64,
    played: usize,
    next_us: u64,
}

/// One order for the lamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Begin this slot of the code with this light.
    Slot {
        /// The slot, from 0.
        slot: u8,
        /// What the lamps show during it.
        light: Light,
    },
    /// The code is over: lamps off.
    End,
}

impl Order {
    /// What the lamps must show.
    pub fn light(self) -> Light {
        match self {
            Self::Slot { light, .. } => light,
            Self::End => Light::Off,
        }
    }
}

impl Sequencer {
    /// Plays `code` from `start_us`, each slot `slot_us` long, on any clock that counts microseconds.
    pub fn new(code: &[Light], slot_us: u32, start_us: u64) -> Self {
        Self { code: code.to_vec(), slot_us: u64::from(slot_us), played: 0, next_us: start_us }
    }

    /// The order that is due at `now_us`, once; `None` while there is nothing to switch. Call again until `None`.
    pub fn due(&mut self, now_us: u64) -> Option<Order> {
        if self.is_over() || now_us < self.next_us {
            return None;
        }
        let slot = self.played;
        self.played += 1;
        self.next_us = now_us.saturating_add(self.slot_us);
        match self.code.get(slot) {
            Some(&light) => Some(Order::Slot { slot: u8::try_from(slot).unwrap_or(u8::MAX), light }),
            None => Some(Order::End),
        }
    }

    /// When the next order is due; `None` once the code is over.
    pub fn deadline_us(&self) -> Option<u64> {
        (!self.is_over()).then_some(self.next_us)
    }

    /// Whether [`Order::End`] was given.
    pub fn is_over(&self) -> bool {
        self.played > self.code.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(code: &[Light], step_us: u64) -> Vec<(u64, Order)> {
        let mut sequencer = Sequencer::new(code, 1_000, 5_000);
        let mut orders = Vec::new();
        for now in (0..60_000).step_by(usize::try_from(step_us).unwrap_or(1)) {
            while let Some(order) = sequencer.due(now) {
                orders.push((now, order));
            }
        }
        assert!(sequencer.is_over() && sequencer.deadline_us().is_none());
        orders
    }

    #[test]
    fn every_slot_is_ordered_once_and_the_end_is_dark() {
        let code = [Light::Left, Light::Left, Light::Both];
        let orders = play(&code, 100);
        let expected = [
            (5_000, Order::Slot { slot: 0, light: Light::Left }),
            (6_000, Order::Slot { slot: 1, light: Light::Left }),
            (7_000, Order::Slot { slot: 2, light: Light::Both }),
            (8_000, Order::End),
        ];
        assert_eq!(orders, expected);
        assert_eq!(Order::End.light(), Light::Off);
    }

    #[test]
    fn a_slow_caller_shortens_no_slot() {
        let orders = play(&[Light::Off, Light::Right, Light::Left], 700);
        for pair in orders.windows(2) {
            assert!(pair[1].0 - pair[0].0 >= 1_000, "{orders:?}");
        }
    }

    #[test]
    fn an_empty_code_ends_at_once() {
        assert_eq!(play(&[], 100), [(5_000, Order::End)]);
    }
}
