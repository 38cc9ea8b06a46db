//! What the uplink doubts, and tells: somebody who speaks as a matcher or a broker and is none, and its own clock.

use std::time::Duration;

use didar_protocol::reason::Reason;

use super::super::session::Heard;
use super::{Driver, LinkFault, LoopGone, Online, Outbound};
use crate::attempt::Event;
use crate::edge::Health;
use crate::identity::day;

/// Between two tellings that somebody speaks who is no matcher.
const SUSPICION_EVERY: Duration = Duration::from_secs(10);
/// Faults that a state message holds.
const FAULTS_MAX: usize = 16;
/// A clock that is further off than this, an hour, needs somebody's hand: consents and certificates are judged by it.
const CLOCK_OFF_MAX_MS: u64 = 3_600_000;

impl Driver {
    /// Tells the centre, in a state of its own that the next one replaces, that somebody tried to speak as a matcher or
    /// as the broker. At most one in [`SUSPICION_EVERY`]: noise must not become traffic.
    pub(super) fn tell_suspicion(&mut self, health: &Health) {
        let now = self.clock.now();
        if self.suspicion.is_none() || self.suspicion_told.is_some_and(|told| now.since(told) < SUSPICION_EVERY) {
            return;
        }
        self.tell_once(health, Reason::PeerNotTrusted);
        (self.suspicion, self.suspicion_told) = (None, Some(now));
    }

    /// Tells a fault in a state of its own that the next one replaces: the centre raises one alarm.
    fn tell_once(&mut self, health: &Health, reason: Reason) {
        let mut once = health.clone();
        once.faults.truncate(FAULTS_MAX - 1);
        once.faults.push(reason);
        for health in [&once, health] {
            if let Some(state) = self.state(health, Online::Yes) {
                self.post(Outbound::Publish(state));
            }
        }
    }

    /// The matcher's time corrects the clock, forward only where it may be an old one. A clock that was far off needs
    /// somebody's hand.
    pub(super) fn correct_clock(&mut self, heard: Heard) {
        let own_ms = self.clock.unix_ms(self.clock.now());
        let compared = self.clock_compared;
        let unix_ms = match heard {
            Heard::AtLeast(unix_ms) if unix_ms <= own_ms => return,
            Heard::AtLeast(unix_ms) => unix_ms,
            Heard::Now(unix_ms) => {
                self.trust.time_is_told();
                self.clock_compared = true;
                unix_ms
            }
        };
        self.clock.learn(unix_ms);
        if !compared && own_ms.abs_diff(unix_ms) > CLOCK_OFF_MAX_MS {
            self.clock_compared = true;
            let [own, told] = [own_ms, unix_ms].map(|ms| day(i64::try_from(ms / 1000).unwrap_or(i64::MAX)));
            tracing::error!(
                "this device's clock said {own}, off by {} min, and is corrected to the matcher's {told} until the next \
                 start: set it, or give the board a battery for it",
                own_ms.abs_diff(unix_ms) / 60_000
            );
            let health = self.session.health().clone();
            self.tell_once(&health, Reason::ClockFault);
        }
    }

    /// A broker whose certificate is not accepted on a day on which ours has ended too, a day that nobody has confirmed:
    /// most likely the clock is wrong, and no fault of the broker's.
    pub(super) fn or_the_clock(&self, fault: LinkFault, now_s: i64) -> LinkFault {
        let doubtful = !self.clock.is_signed() && self.identity.facts().not_after_s < now_s;
        match fault {
            LinkFault::Server { address, .. } if doubtful => LinkFault::Clock { today: day(now_s), address },
            other => other,
        }
    }

    /// Tells the loop when the clock has become the reason that there is no connection, and when it no longer is.
    pub(super) async fn tell_clock(&mut self) -> Result<(), LoopGone> {
        let wrong = matches!(*self.said.borrow(), Some(LinkFault::Clock { .. }));
        if wrong == self.clock_told {
            return Ok(());
        }
        self.clock_told = wrong;
        let event = if wrong { Event::Fault(Reason::ClockFault) } else { Event::Mended(Reason::ClockFault) };
        self.events.send(event).await.map_err(|_| LoopGone)
    }
}
