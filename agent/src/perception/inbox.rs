//! Orders that wait for the thread that looks. Bounded; nobody who puts one in ever waits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Order;

/// Orders that may wait: a whole code's switches with room to spare.
const ORDERS_MAX: usize = 64;

/// What there is to do.
pub(super) enum Work {
    /// An order.
    Order(Order),
    /// Nothing was ordered in time.
    Nothing,
    /// The agent stops.
    Closed,
}

/// The place between the loop and the thread that looks.
pub(super) struct Inbox {
    held: Mutex<Held>,
    changed: Condvar,
    turns: AtomicU64,
}

struct Held {
    orders: VecDeque<Order>,
    closed: bool,
}

impl Inbox {
    pub(super) fn new() -> Self {
        let held = Held { orders: VecDeque::with_capacity(ORDERS_MAX), closed: false };
        Self { held: Mutex::new(held), changed: Condvar::new(), turns: AtomicU64::new(0) }
    }

    pub(super) fn order(&self, order: Order) {
        let mut held = self.lock();
        if held.orders.len() == ORDERS_MAX {
            // The thread hangs in a model: the machine's own deadline ends the attempt.
            held.orders.pop_front();
        }
        held.orders.push_back(order);
        self.changed.notify_all();
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// The next order; [`Work::Nothing`] after `patience`.
    pub(super) fn next(&self, patience: Duration) -> Work {
        self.turns.fetch_add(1, Ordering::Relaxed);
        let idle = |held: &mut Held| !held.closed && held.orders.is_empty();
        let waited = self.changed.wait_timeout_while(self.lock(), patience, idle);
        let (mut held, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if held.closed {
            return Work::Closed;
        }
        held.orders.pop_front().map_or(Work::Nothing, Work::Order)
    }

    /// How often the thread came for its next work.
    pub(super) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing is half done under this lock, so a panic elsewhere leaves it usable.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use didar_protocol::id::{AttemptId, RequestId};

    #[test]
    fn orders_come_in_order_and_the_oldest_of_too_many_is_dropped() {
        let inbox = Inbox::new();
        inbox.order(Order::Watch(RequestId::from_bytes([1; 16])));
        (0..ORDERS_MAX).for_each(|_| inbox.order(Order::Judge(AttemptId::from_bytes([2; 16]))));
        (0..ORDERS_MAX).for_each(|_| assert!(matches!(inbox.next(Duration::ZERO), Work::Order(Order::Judge(_)))));
        assert!(matches!(inbox.next(Duration::ZERO), Work::Nothing));
        inbox.close();
        assert!(matches!(inbox.next(Duration::from_secs(60)), Work::Closed));
    }
}
