//! What operators hear: signed events without persons, and alarms that nobody can turn into a flood.

use std::collections::BTreeMap;

use didar_protocol::id::{AttemptId, DeviceId};
use didar_protocol::message::{Event, EventKind, Outcome, VerdictOutcome};
use didar_protocol::reason::Reason;
use didar_protocol::topic::Topic;

use super::{Centre, Outgoing, ServiceError};
use crate::identity::SpeakError;
use crate::ledger::{Entry, What};
use crate::store::Work;

/// One alarm of a kind per device and this many milliseconds; the others are counted into the next. So a flood makes six
/// lines of the ledger a minute, device and kind.
const ALARM_EVERY_MS: u64 = 10_000;
/// Kinds and devices whose alarms are counted apart; beyond that they share one count.
const COUNTED_MAX: usize = 4096;
/// Longest note of an event, bytes.
const NOTE_MAX: usize = 120;

/// How many messages of which fate since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Arrived.
    pub received: u64,
    /// Not trusted: unreadable, unsigned, from elsewhere.
    pub distrusted: u64,
    /// Not handled by our own fault.
    pub failed: u64,
}

#[derive(Default)]
pub(super) struct Voice {
    counters: Counters,
    /// Per kind and device, or "" where the topic names none: when the last alarm was, and how many were silent since.
    alarms: BTreeMap<(Worry, String), (u64, u64)>,
}

/// The kinds of alarms that whoever sends messages can cause at will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worry {
    /// A message that is not trusted.
    Distrusted,
    /// An attempt on another device's challenge.
    Foreign,
    /// An attempt on a challenge that has ended.
    Ended,
    /// This matcher's own clock.
    Clock,
    /// More of something than the site allows one device.
    Flood,
    /// The device tells of a fault.
    Fault(Reason),
    /// Audit records are missing.
    Gap,
    /// Audit records were lost on the device, by its count.
    Lost,
    /// Audit records will never come.
    Gone,
    /// An audit record contradicts its chain.
    Fork,
    /// The device heard somebody who is not of this site.
    Stranger,
}

/// An event in the making.
pub(super) struct Tidings {
    kind: EventKind,
    device: Option<DeviceId>,
    attempt: Option<AttemptId>,
    verdict: Option<VerdictOutcome>,
    outcome: Option<Outcome>,
    reason: Reason,
    note: String,
}

impl Tidings {
    pub(super) fn new(kind: EventKind, reason: Reason, note: impl Into<String>) -> Self {
        Self { kind, device: None, attempt: None, verdict: None, outcome: None, reason, note: note.into() }
    }

    /// A device says more than it may.
    pub(super) fn flood(device: &DeviceId, note: impl Into<String>) -> Self {
        Self::new(EventKind::Alarm, Reason::TooManyFailures, note).of(device, None)
    }

    pub(super) fn of(self, device: &DeviceId, attempt: Option<AttemptId>) -> Self {
        Self { device: Some(device.clone()), attempt, ..self }
    }

    pub(super) fn decided(self, verdict: VerdictOutcome) -> Self {
        Self { verdict: Some(verdict), ..self }
    }

    pub(super) fn ended(self, outcome: Outcome) -> Self {
        Self { outcome: Some(outcome), ..self }
    }
}

impl Voice {
    pub(super) fn received(&mut self) {
        self.counters.received += 1;
    }

    pub(super) fn failed(&mut self) {
        self.counters.failed += 1;
    }

    pub(super) fn counters(&self) -> Counters {
        self.counters
    }

    /// The words of an alarm that is due, with how many were silent before; `None` while one of its kind was a moment ago.
    pub(super) fn due_note(
        &mut self,
        worry: Worry,
        device: Option<&DeviceId>,
        why: &str,
        now_ms: u64,
    ) -> Option<String> {
        self.due(worry, device, now_ms).map(|silent| match silent {
            0 => why.to_owned(),
            _ => format!("{why} ({silent} more before)"),
        })
    }

    /// `Some(n)`: an alarm is due, n were silent before.
    fn due(&mut self, worry: Worry, device: Option<&DeviceId>, now_ms: u64) -> Option<u64> {
        let mut name = (worry, device.map(ToString::to_string).unwrap_or_default());
        if self.alarms.len() >= COUNTED_MAX && !self.alarms.contains_key(&name) {
            name.1.clear();
        }
        match self.alarms.get_mut(&name) {
            // A clock that was set back silences nothing.
            Some((last, silent)) if now_ms.abs_diff(*last) < ALARM_EVERY_MS => {
                *silent += 1;
                None
            }
            Some((last, silent)) => {
                *last = now_ms;
                Some(std::mem::take(silent))
            }
            None => {
                self.alarms.insert(name, (now_ms, 0));
                Some(0)
            }
        }
    }
}

impl Centre {
    /// The event as a message. Alarms have a topic of their own.
    pub(super) fn tell(&self, tidings: Tidings, now_ms: u64) -> Result<Outgoing, SpeakError> {
        let Tidings { kind, device, attempt, verdict, outcome, reason, mut note } = tidings;
        let end = note.floor_char_boundary(NOTE_MAX);
        note.truncate(end);
        let topic = match kind {
            EventKind::Alarm => Topic::OperatorAlarms { env: self.env },
            _ => Topic::OperatorEvents { env: self.env },
        };
        let event = Event { at_ms: now_ms, kind, device, attempt, verdict, outcome, reason, note };
        let payload = self.identity.speak(&event)?;
        Ok(Outgoing { topic, payload, retain: false, expiry_s: None, reply: false })
    }

    /// Counts a message that is not trusted, and raises the alarm unless one was raised a moment ago.
    pub(super) fn distrust(
        &mut self,
        work: &Work<'_>,
        device: Option<&DeviceId>,
        why: &str,
        now_ms: u64,
    ) -> Result<Vec<Outgoing>, ServiceError> {
        self.voice.counters.distrusted += 1;
        let mut tidings = Tidings::new(EventKind::Alarm, Reason::RequestMalformed, why);
        if let Some(device) = device {
            tidings = tidings.of(device, None);
        }
        self.warn(work, Worry::Distrusted, tidings, now_ms)
    }

    /// A device says more than it may.
    pub(super) fn warn_of_flood(
        &mut self,
        work: &Work<'_>,
        device: &DeviceId,
        note: impl Into<String>,
        now_ms: u64,
    ) -> Result<Vec<Outgoing>, ServiceError> {
        self.warn(work, Worry::Flood, Tidings::flood(device, note), now_ms)
    }

    /// Writes an alarm into the ledger and says it, unless one of its kind was raised a moment ago.
    pub(super) fn warn(
        &mut self,
        work: &Work<'_>,
        worry: Worry,
        mut tidings: Tidings,
        now_ms: u64,
    ) -> Result<Vec<Outgoing>, ServiceError> {
        let Some(note) = self.voice.due_note(worry, tidings.device.as_ref(), &tidings.note, now_ms) else {
            return Ok(Vec::new());
        };
        let device = tidings.device.as_ref().map(ToString::to_string);
        tracing::warn!(device, why = note, "alarm");
        tidings.note = note;
        work.append(&Entry {
            what: What::Alarm,
            device,
            attempt: tidings.attempt.map(|attempt| attempt.to_string()),
            reason: (tidings.reason != Reason::None).then(|| tidings.reason.name().into()),
            note: Some(tidings.note.clone()),
            ..self.entry(now_ms)
        })?;
        Ok(vec![self.tell(tidings, now_ms)?])
    }
}
