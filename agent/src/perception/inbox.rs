//! What waits for the vision thread: orders first, then frames. Bounded; nobody who puts something in ever waits.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Order;
use crate::edge::Frame;

/// Frames that may wait while the code plays: a quarter of a second at 30 frames a second.
const FRAMES_MAX: usize = 8;
/// Orders that may wait: a whole code's switches with room to spare.
const ORDERS_MAX: usize = 64;

/// Which frames are of use now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// None: the camera rests.
    Nothing,
    /// The newest: older ones are dropped.
    Newest,
    /// Every one, in order.
    Every,
}

/// What there is to do.
pub(super) enum Work {
    /// An order.
    Order(Order),
    /// A frame; give it back after use.
    Frame(Frame),
    /// Nothing came in time.
    Nothing,
    /// The agent stops.
    Closed,
}

/// The place between the camera's thread, the loop and the vision thread.
pub(super) struct Inbox {
    held: Mutex<Held>,
    changed: Condvar,
}

struct Held {
    orders: VecDeque<Order>,
    frames: VecDeque<Frame>,
    spare: Vec<Frame>,
    wanted: Wanted,
    closed: bool,
}

impl Inbox {
    pub(super) fn new() -> Self {
        let held = Held {
            orders: VecDeque::with_capacity(ORDERS_MAX),
            frames: VecDeque::with_capacity(FRAMES_MAX),
            spare: Vec::with_capacity(FRAMES_MAX),
            wanted: Wanted::Nothing,
            closed: false,
        };
        Self { held: Mutex::new(held), changed: Condvar::new() }
    }

    /// Says which frames are of use from now on; those of the time before are dropped.
    pub(super) fn want(&self, wanted: Wanted) {
        let mut held = self.lock();
        held.wanted = wanted;
        if wanted == Wanted::Nothing {
            // Dropping wipes them: no picture of a person outlives the service.
            held.frames.clear();
            held.spare.clear();
        }
        self.changed.notify_all();
    }

    pub(super) fn order(&self, order: Order) {
        let mut held = self.lock();
        if held.orders.len() == ORDERS_MAX {
            // The vision thread hangs in a model: the machine's own deadline ends the attempt.
            held.orders.pop_front();
        }
        held.orders.push_back(order);
        self.changed.notify_all();
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// An empty frame to fill, from those given back where there is one.
    pub(super) fn spare(&self) -> Frame {
        self.lock().spare.pop().unwrap_or_else(Frame::empty)
    }

    /// Takes a filled frame; one that nobody wants, or the oldest of too many, becomes spare.
    pub(super) fn put(&self, frame: Frame) {
        let mut held = self.lock();
        let excess = match held.wanted {
            Wanted::Nothing => {
                return;
            }
            Wanted::Newest => held.frames.pop_front(),
            Wanted::Every if held.frames.len() == FRAMES_MAX => held.frames.pop_front(),
            Wanted::Every => None,
        };
        held.spare.extend(excess);
        held.frames.push_back(frame);
        self.changed.notify_all();
    }

    pub(super) fn give_back(&self, frame: Frame) {
        let mut held = self.lock();
        if held.wanted != Wanted::Nothing && held.spare.len() < FRAMES_MAX {
            held.spare.push(frame);
        }
    }

    /// The next thing to do, orders first; [`Work::Nothing`] after `patience`.
    pub(super) fn next(&self, patience: Duration) -> Work {
        let idle = |held: &mut Held| !held.closed && held.orders.is_empty() && held.frames.is_empty();
        let waited = self.changed.wait_timeout_while(self.lock(), patience, idle);
        let (mut held, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if held.closed {
            return Work::Closed;
        }
        if let Some(order) = held.orders.pop_front() {
            return Work::Order(order);
        }
        held.frames.pop_front().map_or(Work::Nothing, Work::Frame)
    }

    /// Waits until frames are of use, at most `patience`; says what is wanted then, `None` once closed.
    pub(super) fn wanted(&self, patience: Duration) -> Option<Wanted> {
        let idle = |held: &mut Held| !held.closed && held.wanted == Wanted::Nothing;
        let waited = self.changed.wait_timeout_while(self.lock(), patience, idle);
        let (held, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (!held.closed).then_some(held.wanted)
    }

    /// Waits for `pause`, or until closed.
    pub(super) fn pause(&self, pause: Duration) {
        let waited = self.changed.wait_timeout_while(self.lock(), pause, |held| !held.closed);
        drop(waited);
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing is half done under this lock, so a panic elsewhere leaves it usable.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use didar_protocol::id::RequestId;

    fn frame(sequence: u32) -> Frame {
        let mut frame = Frame::empty();
        frame.sequence = sequence;
        frame
    }

    fn taken(inbox: &Inbox) -> Vec<u32> {
        let mut taken = Vec::new();
        while let Work::Frame(frame) = inbox.next(Duration::ZERO) {
            taken.push(frame.sequence);
        }
        taken
    }

    #[test]
    fn the_newest_frame_wins_while_a_person_finds_the_place() {
        let inbox = Inbox::new();
        inbox.want(Wanted::Newest);
        (0..5).for_each(|sequence| inbox.put(frame(sequence)));
        assert_eq!(taken(&inbox), [4]);
    }

    #[test]
    fn every_frame_waits_while_the_code_plays_up_to_a_bound() {
        let inbox = Inbox::new();
        inbox.want(Wanted::Every);
        (0..10).for_each(|sequence| inbox.put(frame(sequence)));
        assert_eq!(taken(&inbox), [2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn nothing_is_kept_when_nobody_is_served() {
        let inbox = Inbox::new();
        inbox.put(frame(1));
        inbox.want(Wanted::Every);
        inbox.put(frame(2));
        inbox.want(Wanted::Nothing);
        assert!(taken(&inbox).is_empty());
    }

    #[test]
    fn orders_come_before_frames() {
        let inbox = Inbox::new();
        inbox.want(Wanted::Every);
        inbox.put(frame(1));
        inbox.order(Order::Watch(RequestId::from_bytes([1; 16])));
        assert!(matches!(inbox.next(Duration::ZERO), Work::Order(Order::Watch(_))));
        assert!(matches!(inbox.next(Duration::ZERO), Work::Frame(_)));
        assert!(matches!(inbox.next(Duration::ZERO), Work::Nothing));
    }
}
