//! What lies between the kiosk and the matchers: connections that break, messages that are lost, late or doubled.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use didar_agent::uplink::arrival::Arrival;
use didar_agent::uplink::session::Happened;
use didar_matcher::pki::Certificate;
use didar_matcher::service::Outgoing;
use didar_protocol::message::{Challenge, MatcherKeys, Message, Receipt, Verdict};
use didar_protocol::seal::Signed;
use didar_protocol::topic::{Lane, Topic};

use super::{What, World};

impl World<'_> {
    pub(super) fn connect(&mut self) {
        // A count that cannot be kept is counted at the next connection.
        let _ = self.kiosk.memory.connected();
        self.connection += 1;
        let wait = self.within(Duration::from_millis(60));
        let made = if self.now < self.outage { What::Lost(self.connection) } else { What::Accepted(self.connection) };
        self.later(wait, made);
    }

    pub(super) fn cut(&mut self) {
        self.connection += 1;
        (self.connected, self.subscribed) = (false, false);
    }

    /// A message of the kiosk on its way: lost, late, twice.
    pub(super) fn send(&mut self, lane: Lane, bytes: &[u8]) {
        if !self.connected {
            return;
        }
        let copies = if self.calm { 1 } else { [0, 1, 1, 1, 1, 1, 1, 1, 1, 2][self.random.below(10) as usize] };
        for _ in 0..copies {
            let wait = self.latency();
            self.later(wait, What::ToCentre(lane, bytes.to_vec()));
        }
    }

    /// A message at a matcher, which may be dead, or die before it has answered.
    pub(super) fn serve(&mut self, lane: Lane, bytes: &[u8]) {
        let now_ms = self.now_ms();
        if !self.calm && self.random.one_in(12) {
            self.tally.point(|tally| &mut tally.matcher_deaths);
            // Before the commit: as if the message had never come.
            if self.random.one_in(2) {
                return;
            }
            // After it: everything is decided and written, and nobody hears of it.
            let device = self.site.device.clone();
            self.centre.handle(&mut self.random, &device, lane, bytes, now_ms);
            return;
        }
        let device = self.site.device.clone();
        for out in self.centre.handle(&mut self.random, &device, lane, bytes, now_ms) {
            if matches!(out.topic, Topic::Device { .. }) {
                let copies = if !self.calm && self.random.one_in(10) { 2 } else { 1 };
                for _ in 0..copies {
                    let wait = self.latency();
                    self.later(wait, What::ToKiosk(out.clone()));
                }
            }
        }
    }

    /// A message at the kiosk; for a kiosk that is away the broker keeps it, or has forgotten it.
    pub(super) fn deliver(&mut self, outgoing: Outgoing) -> Result<()> {
        if !self.subscribed {
            if !self.calm && !self.random.one_in(3) {
                let wait = self.within(Duration::from_secs(8));
                self.later(wait, What::ToKiosk(outgoing));
            }
            return Ok(());
        }
        let arrival = match outgoing.topic {
            Topic::Device { lane: Lane::Challenge, .. } => Arrival::Challenge(Box::new(open::<Challenge>(&outgoing)?)),
            Topic::Device { lane: Lane::Verdict, .. } => Arrival::Verdict(Box::new(open::<Verdict>(&outgoing)?)),
            Topic::Device { lane: Lane::Receipt, .. } => Arrival::Receipt(open::<Receipt>(&outgoing)?),
            Topic::MatcherKeys { .. } => {
                Arrival::Keys { keys: Box::new(open::<MatcherKeys>(&outgoing)?), signed: outgoing.payload }
            }
            other => bail!("{other} is no topic that a kiosk hears"),
        };
        self.step(Happened::Arrived(Box::new(arrival)))
    }

    /// The connection breaks, and none can be made for at most `outage`.
    pub(super) fn lose(&mut self, outage: Duration) -> Result<()> {
        self.outage = self.now.after(self.within(outage));
        self.cut();
        self.step(Happened::Lost)
    }

    fn latency(&mut self) -> Duration {
        let longest = if !self.calm && self.random.one_in(12) { 4_000 } else { 40 };
        self.within(Duration::from_millis(longest))
    }
}

/// A message of the matcher as its kiosk reads it.
fn open<M: Message>(outgoing: &Outgoing) -> Result<M> {
    let signed = Signed::parse(M::KIND, &outgoing.payload)?;
    let certificate = Certificate::from_der(signed.certificate().context("no certificate")?)?;
    Ok(M::decode(signed.verify(certificate.key())?)?)
}
