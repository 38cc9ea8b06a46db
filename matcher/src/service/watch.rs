//! What no single message tells: this matcher's own clock, floods, devices that stay away.

use didar_protocol::id::DeviceId;
use didar_protocol::message::EventKind;
use didar_protocol::reason::Reason;

use super::voice::{Tidings, Worry};
use super::{Centre, Outgoing, Service, ServiceError};
use crate::store::{Notice, Work};
use crate::time;

/// A device that is there says so within that time of a matcher's start, milliseconds: it tells its state every five minutes.
const BACK_MS: u64 = 600_000;

/// How often certificates that have run out and devices that are away are looked for, milliseconds.
const LOOK_MS: u64 = 60_000;

impl Service {
    /// Tells of a device whose messages were dropped unread because it sends more than can wait.
    pub fn flooded(&mut self, device: &DeviceId, now_ms: u64) -> Vec<Outgoing> {
        let note = "more messages at once than may wait: those beyond are dropped unread";
        self.tell_alarm(Worry::Flood, Tidings::flood(device, note), now_ms)
    }

    /// Tells that this matcher's clock was set by so much while it served: until then, or from then on, it judged by a wrong time.
    pub fn clock_leapt(&mut self, by_ms: i64, now_ms: u64) -> Vec<Outgoing> {
        self.centre.missed_from_ms = None;
        let note = format!(
            "the clock of {} leapt by {} min while it served: see its time service",
            self.centre.identity.id(),
            by_ms / 60_000
        );
        let tidings = Tidings::new(EventKind::Alarm, Reason::ClockFault, note);
        self.tell_alarm(Worry::Clock, tidings, now_ms)
    }

    /// Whether this matcher may act at all. By a clock of another year it would close every challenge, destroy every
    /// reference and sign what nobody believes. The alarm is told by another matcher of the site, or by this one later.
    pub(crate) fn is_in_time(&mut self, now_ms: u64) -> bool {
        let Self { store, centre } = self;
        let in_force = centre.identity.is_in_force(now_ms);
        if in_force || centre.clock_told {
            centre.clock_told &= !in_force;
            return in_force;
        }
        let note = format!(
            "the clock of {} is wrong ({}), or its certificate is: it does nothing; set the clock, renew the certificate",
            centre.identity.id(),
            time::text(now_ms)
        );
        tracing::error!("{note}");
        let raised = store.begin().and_then(|work| {
            work.raise(&Notice { at_ms: now_ms, device: None, note })?;
            work.commit()
        });
        match raised {
            Ok(()) => centre.clock_told = true,
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "this alarm was not kept"),
        }
        false
    }

    /// An alarm that no message caused.
    fn tell_alarm(&mut self, worry: Worry, tidings: Tidings, now_ms: u64) -> Vec<Outgoing> {
        if !self.is_in_time(now_ms) {
            return Vec::new();
        }
        let Self { store, centre } = self;
        let told = store.begin().map_err(ServiceError::from).and_then(|work| {
            let out = centre.warn(&work, worry, tidings, now_ms)?;
            work.commit()?;
            Ok(out)
        });
        told.unwrap_or_else(|error| {
            centre.voice.failed();
            tracing::error!(error = &error as &dyn std::error::Error, "an alarm was not told");
            Vec::new()
        })
    }
}

impl Centre {
    /// Alarms for devices whose certificate has ended and that did not renew it, and for those that stay away.
    pub(super) fn tell_missing(&mut self, work: &Work<'_>, now_ms: u64) -> Result<Vec<Outgoing>, ServiceError> {
        if now_ms.abs_diff(self.looked_ms) < LOOK_MS {
            return Ok(Vec::new());
        }
        self.looked_ms = now_ms;
        let mut missing = Vec::new();
        for (device, until_s) in work.run_out(now_ms)? {
            let until = time::text(until_s * 1000);
            missing.push((
                device,
                format!("its certificate ended {until} and was not renewed: enrol it again or revoke it"),
            ));
        }
        if now_ms >= *self.missed_from_ms.get_or_insert(now_ms.saturating_add(BACK_MS)) {
            let away_ms = u64::from(self.rules.limits.away_hours) * 3_600_000;
            for (device, since_ms) in work.silent(now_ms.saturating_sub(away_ms), now_ms.saturating_add(away_ms))? {
                let since = time::text(since_ms);
                missing.push((
                    device,
                    format!("silent since {since}: see its screen, its clock and its link, or revoke it"),
                ));
            }
        }
        let alarm = |(device, note)| self.alarm(work, Notice { at_ms: now_ms, device: Some(device), note });
        missing.into_iter().map(alarm).collect()
    }
}
