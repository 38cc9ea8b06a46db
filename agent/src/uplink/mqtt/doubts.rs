//! What the uplink doubts, and tells: somebody who speaks as a matcher or a broker and is none, and its own clock.

use std::time::Duration;

use didar_protocol::reason::Reason;

use super::{Driver, LinkFault, LoopGone, Online, Outbound};
use crate::attempt::Event;
use crate::edge::Health;
use crate::identity::day;
use crate::time::Heard;

/// Between two tellings that somebody speaks who is no matcher.
const SUSPICION_EVERY: Duration = Duration::from_secs(10);
/// So long may certificates be refused for their dates, and nothing be believed, before the told time is given up.
const DATES_MAX: Duration = Duration::from_secs(120);
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

    /// The matcher's time corrects the clock. One that was far off needs somebody's hand: the board's, or where a matcher
    /// had told the time before, a matcher's.
    pub(super) fn correct_clock(&mut self, heard: Heard) {
        let now = self.clock.now();
        let calendar = self.clock.calendar();
        let (own_ms, told_before) = (self.clock.unix_ms(now), calendar.is_told());
        if !calendar.learn(heard, now) {
            return;
        }
        let told_ms = self.clock.unix_ms(now);
        let is_off = own_ms.abs_diff(told_ms) > CLOCK_OFF_MAX_MS;
        // What keys and receipts had moved already is the same wrong clock.
        if !is_off || (self.clock_alarmed && !told_before) {
            return;
        }
        self.clock_alarmed = true;
        let [own, told] = [own_ms, told_ms].map(|ms| day(i64::try_from(ms / 1000).unwrap_or(i64::MAX)));
        let minutes = own_ms.abs_diff(told_ms) / 60_000;
        if told_before {
            tracing::error!("matchers' clocks differ by {minutes} min: one said {own}, another says {told}: set them");
        } else {
            tracing::error!(
                "this device's clock said {own}, off by {minutes} min, and is corrected to the matcher's {told} until the \
                 next start: set it, or give the board a battery for it"
            );
        }
        let health = self.session.health().clone();
        self.tell_once(&health, Reason::ClockFault);
    }

    /// A matcher's or the broker's certificate is good but for its dates. Where nothing else comes for [`DATES_MAX`], the
    /// time that a matcher told was wrong, most likely: by it nobody is believed, and so nobody can tell the right one. The
    /// clock is what it was at the start again.
    pub(super) fn doubt_dates(&mut self) {
        let now = self.clock.now();
        let since = *self.dates_refused.get_or_insert(now);
        if !self.clock.calendar().is_signed() || now.since(since) < DATES_MAX {
            return;
        }
        tracing::error!(
            "the time that a matcher told fits nobody's certificate: it is forgotten; see the matchers' clocks"
        );
        self.clock.calendar().forget();
        (self.dates_refused, self.clock_alarmed) = (None, false);
    }

    /// A broker whose certificate is not accepted on a day on which ours has ended too, a day that nobody has confirmed:
    /// most likely the clock is wrong, and no fault of the broker's.
    pub(super) fn or_the_clock(&self, fault: LinkFault, now_s: i64) -> LinkFault {
        let doubtful = !self.clock.calendar().is_signed() && self.identity.facts().not_after_s < now_s;
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
