//! The service: messages in, messages out. Knows no network and no clock.
//!
//! A message counts only if its topic, the certificate that signed it and the device inside agree (`intake`).
//! `ask` answers requests with challenges, `attempt` answers attempts with verdicts, `audit` keeps what devices
//! tell about themselves, `voice` tells operators.

mod ask;
mod attempt;
mod audit;
mod examine;
mod intake;
mod pace;
mod state;
mod voice;

use std::collections::BTreeMap;

use didar_protocol::id::{DeviceId, Env};
use didar_protocol::message::{EventKind, MatcherKeys};
use didar_protocol::reason::Reason;
use didar_protocol::topic::{Lane, Topic};

use crate::decide::Witness;
use crate::identity::{Identity, SpeakError};
use crate::ledger::{Entry, LedgerError, What};
use crate::policy::Rules;
use crate::reference::Portraits;
use crate::store::{Failure, Notice, Store, StoreError, Work};
use crate::time;

use pace::Pace;
pub use voice::Counters;
use voice::{Tidings, Voice, Worry};

/// A message to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where.
    pub topic: Topic,
    /// The signed bytes.
    pub payload: Vec<u8>,
    /// Whether the broker keeps it for whoever comes later.
    pub retain: bool,
    /// After how many seconds the broker may drop it; `None` for never.
    pub expiry_s: Option<u32>,
    /// Whether it answers the message that was handled: its correlation data and its trace go along.
    pub reply: bool,
}

/// A message that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The topic that it was published on.
    pub topic: String,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// The matcher without network and clock.
pub struct Service {
    store: Store,
    centre: Centre,
}

/// Everything but the store.
struct Centre {
    env: Env,
    identity: Identity,
    rules: Rules,
    portraits: Box<dyn Portraits>,
    witness: Box<dyn Witness>,
    voice: Voice,
    pace: Pace,
    /// Whether it was told that this matcher's own clock is wrong, since that was right last.
    clock_told: bool,
    /// Until then no device is missed, milliseconds: all of them come back after a start. `None` before the first look.
    missed_from_ms: Option<u64>,
    /// When certificates that have run out were last looked for, milliseconds.
    looked_ms: u64,
    /// What devices last said is broken; those with nothing broken are not in it.
    broken: BTreeMap<DeviceId, Vec<Reason>>,
    /// Since when devices send records of a new chain without its beginning, milliseconds; `None` once that was told.
    loose: BTreeMap<DeviceId, Option<u64>>,
}

/// When an audit record is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Receipting {
    /// At once.
    Now,
    /// Another record of the device is handled next: its receipt covers this one too.
    Later,
}

/// What messages have in common is one transaction, and so one wait for the disk: for so long at most, milliseconds, so
/// that neither their answers nor other programs wait longer for it.
const TOGETHER_MS: u64 = 20;

/// A verdict of which no record has told for so long will be told of by none: a device without a link keeps a month.
const UNTOLD_MS: u64 = 45 * 86_400_000;

/// A device that is there says so within that time of a matcher's start, milliseconds: it tells its state every five minutes.
const BACK_MS: u64 = 600_000;

/// How often certificates that have run out and devices that are away are looked for, milliseconds.
const LOOK_MS: u64 = 60_000;

/// Why a message could not be handled: our fault, not the sender's.
#[derive(Debug, thiserror::Error)]
enum ServiceError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Speak(#[from] SpeakError),
    #[error("the system gives no random bytes")]
    Random(#[from] getrandom::Error),
}

impl Service {
    /// A service for one environment.
    pub fn new(
        env: Env,
        store: Store,
        identity: Identity,
        rules: Rules,
        portraits: Box<dyn Portraits>,
        witness: Box<dyn Witness>,
    ) -> Self {
        Self {
            store,
            centre: Centre {
                env,
                identity,
                rules,
                portraits,
                witness,
                voice: Voice::default(),
                pace: Pace::default(),
                clock_told: false,
                missed_from_ms: None,
                looked_ms: 0,
                broken: BTreeMap::new(),
                loose: BTreeMap::new(),
            },
        }
    }

    /// Handles one message that arrived on `topic` at `now_ms`. Never fails: what cannot be handled is logged and
    /// left unanswered, and the device asks again.
    pub fn handle(&mut self, topic: &str, payload: &[u8], now_ms: u64) -> Vec<Outgoing> {
        let message = Incoming { topic: topic.to_owned(), payload: payload.to_owned() };
        self.handle_together(&[&message], || now_ms).pop().unwrap_or_default()
    }

    /// Handles the first of `messages`, as many as one transaction takes and at least one, each at its moment of `clock`
    /// (milliseconds since 1970). The answers to each, in their order. Never fails, as [`Self::handle`]; one that cannot
    /// be handled harms no other. None is answered by a clock that is outside of this matcher's certificate.
    pub fn handle_together(&mut self, messages: &[&Incoming], clock: impl Fn() -> u64) -> Vec<Vec<Outgoing>> {
        if !self.is_in_time(clock()) {
            return vec![Vec::new(); messages.len()];
        }
        self.receive(messages, clock).unwrap_or_else(|error| {
            let lost = messages.len();
            messages.iter().for_each(|_| self.centre.voice.failed());
            tracing::error!(lost, error = &error as &dyn std::error::Error, "messages not handled");
            vec![Vec::new(); lost]
        })
    }

    /// Closes what time has closed (challenges nobody used, references past their end) and tells the alarms that wait.
    /// Call about once a second.
    pub fn sweep(&mut self, now_ms: u64) -> Vec<Outgoing> {
        if !self.is_in_time(now_ms) {
            return Vec::new();
        }
        self.close_expired(now_ms).unwrap_or_else(|error| {
            self.centre.voice.failed();
            tracing::error!(error = &error as &dyn std::error::Error, "expired challenges not closed");
            Vec::new()
        })
    }

    /// Tells of a device whose messages were dropped unread because it sends more than can wait.
    pub fn flooded(&mut self, device: &DeviceId, now_ms: u64) -> Vec<Outgoing> {
        let note = "more messages at once than may wait: those beyond are dropped unread";
        self.tell_alarm(
            Worry::Flood,
            Tidings::new(EventKind::Alarm, Reason::TooManyFailures, note).of(device, None),
            now_ms,
        )
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

    /// Uses new keys where there are any, and tells them. Call about once a second.
    pub fn refresh(&mut self, now_ms: u64) -> Vec<Outgoing> {
        match self.centre.identity.refresh(now_ms) {
            Ok(false) => Vec::new(),
            Ok(true) => {
                tracing::info!("the matcher's keys have changed");
                self.greeting(now_ms)
            }
            // Half of a change, most likely: the next look finds the other half.
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "new keys not used");
                Vec::new()
            }
        }
    }

    /// What is published on every connection: the sealing keys, retained.
    pub fn greeting(&mut self, now_ms: u64) -> Vec<Outgoing> {
        if !self.is_in_time(now_ms) {
            return Vec::new();
        }
        let centre = &self.centre;
        let keys = MatcherKeys {
            seal_keys: centre.identity.seal_public(),
            policy_version: centre.witness.policy_version(),
            server_time_ms: now_ms,
        };
        match centre.identity.speak(&keys) {
            Ok(payload) => {
                let topic = Topic::MatcherKeys { env: centre.env };
                vec![Outgoing { topic, payload, retain: true, expiry_s: None, reply: false }]
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "sealing keys not published");
                Vec::new()
            }
        }
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

    /// How many messages of which fate since the start.
    pub fn counters(&self) -> Counters {
        self.centre.voice.counters()
    }

    /// Which environment it serves.
    pub fn env(&self) -> Env {
        self.centre.env
    }

    /// What the name of the matchers' shared subscription ends in: the same for every matcher of the site, and known
    /// to nobody else.
    pub fn share(&self) -> String {
        self.store.share()
    }

    /// The store, for tests and tools.
    pub fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    fn receive(&mut self, messages: &[&Incoming], clock: impl Fn() -> u64) -> Result<Vec<Vec<Outgoing>>, ServiceError> {
        let Self { store, centre } = self;
        let work = store.begin()?;
        let began_ms = clock();
        let mut out = Vec::with_capacity(messages.len());
        for (index, message) in messages.iter().enumerate() {
            let now_ms = clock();
            if !out.is_empty() && now_ms.abs_diff(began_ms) >= TOGETHER_MS {
                break;
            }
            let more = messages[index + 1..].iter().any(|later| later.topic == message.topic);
            let receipt = if more { Receipting::Later } else { Receipting::Now };
            match work.apart(|| centre.receive(&work, message, receipt, now_ms)) {
                Ok(answers) => out.push(answers),
                // Everything is undone, the messages before this one too.
                Err(error) if work.is_undone() => return Err(error),
                Err(error) => {
                    centre.voice.failed();
                    let topic = &message.topic;
                    tracing::error!(topic, error = &error as &dyn std::error::Error, "message not handled");
                    out.push(Vec::new());
                }
            }
        }
        work.commit()?;
        Ok(out)
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

    fn close_expired(&mut self, now_ms: u64) -> Result<Vec<Outgoing>, ServiceError> {
        let Self { store, centre } = self;
        let work = store.begin()?;
        let mut out = Vec::new();
        for notice in work.take_notices()? {
            // Whoever raised it may have a clock that is wrong.
            out.push(centre.alarm(&work, Notice { at_ms: notice.at_ms.min(now_ms), ..notice })?);
        }
        for challenge in work.expired_challenges(now_ms)? {
            centre.abandon(&work, &challenge, now_ms)?;
            out.push(
                centre.tell(
                    Tidings::new(EventKind::Refused, Reason::ChallengeExpired, "challenge abandoned")
                        .of(&challenge.device, Some(challenge.attempt)),
                    now_ms,
                )?,
            );
        }
        out.extend(centre.mark_untold(&work, work.untold_since(now_ms.saturating_sub(UNTOLD_MS))?, now_ms)?);
        out.extend(centre.tell_missing(&work, now_ms)?);
        let destroyed = work.destroy_expired(now_ms)?;
        for (_, references) in &destroyed {
            work.append(&Entry {
                what: What::Destroyed,
                number: Some(*references as u64),
                note: Some("the reference's time was over".into()),
                ..centre.entry(now_ms)
            })?;
        }
        work.drop_failures(centre.rules.window_start_ms(now_ms))?;
        work.commit()?;
        if !destroyed.is_empty() {
            store.settle()?;
        }
        Ok(out)
    }
}

impl Centre {
    fn receive(
        &mut self,
        work: &Work<'_>,
        message: &Incoming,
        receipt: Receipting,
        now_ms: u64,
    ) -> Result<Vec<Outgoing>, ServiceError> {
        self.voice.received();
        let Incoming { topic, payload } = message;
        let (device, lane) = match topic.parse() {
            Ok(Topic::Device { env, device, lane }) if env == self.env => (device, lane),
            // Our own topics, another environment's, or none of Didar's: the broker should not have let it through.
            Ok(_) | Err(_) => {
                return self.distrust(work, None, "message on a topic that devices do not write", now_ms);
            }
        };
        match lane {
            Lane::ChallengeRequest => self.on_request(work, &device, payload, now_ms),
            Lane::Attempt => self.on_attempt(work, &device, payload, now_ms),
            Lane::Audit => self.on_audit(work, &device, payload, receipt, now_ms),
            Lane::State => self.on_state(work, &device, payload, now_ms),
            Lane::Challenge | Lane::Verdict | Lane::Receipt => {
                self.distrust(work, Some(&device), "message on a topic that devices do not write", now_ms)
            }
        }
    }

    /// An empty ledger entry of this moment.
    fn entry(&self, now_ms: u64) -> Entry {
        Entry { at_ms: now_ms, matcher: self.identity.id().to_owned(), ..Entry::default() }
    }

    /// Writes an alarm into the ledger and says it.
    fn alarm(&self, work: &Work<'_>, notice: Notice) -> Result<Outgoing, ServiceError> {
        let Notice { at_ms, device, note } = notice;
        work.append(&Entry {
            what: What::Alarm,
            device: device.as_ref().map(ToString::to_string),
            note: Some(note.clone()),
            ..self.entry(at_ms)
        })?;
        let mut tidings = Tidings::new(EventKind::Alarm, Reason::DeviceRefused, note);
        if let Some(device) = &device {
            tidings = tidings.of(device, None);
        }
        Ok(self.tell(tidings, at_ms)?)
    }

    /// Alarms for devices whose certificate has ended and that did not renew it, and for those that stay away.
    fn tell_missing(&mut self, work: &Work<'_>, now_ms: u64) -> Result<Vec<Outgoing>, ServiceError> {
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
            for (device, since_ms) in work.silent(now_ms.saturating_sub(away_ms))? {
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

    /// Closes a challenge that nobody used: it counts against the device, because probing is never free.
    fn abandon(&self, work: &Work<'_>, challenge: &crate::store::Issued, now_ms: u64) -> Result<(), ServiceError> {
        work.abandon(&challenge.attempt)?;
        work.count_failure(None, &challenge.device, Failure::Abandoned, now_ms)?;
        work.append(&Entry {
            what: What::Abandoned,
            reason: Some(Reason::ChallengeExpired.name().into()),
            ..self.entry_of(challenge, now_ms)
        })?;
        Ok(())
    }

    /// A ledger entry with everything that names this challenge.
    fn entry_of(&self, challenge: &crate::store::Issued, now_ms: u64) -> Entry {
        Entry {
            device: Some(challenge.device.to_string()),
            attempt: Some(challenge.attempt.to_string()),
            request: Some(challenge.request.to_string()),
            initiator: Some(challenge.initiator.to_string()),
            reference: Some(challenge.reference.clone()),
            person: Some(hex::encode(challenge.subject.person)),
            stage: Some(stage_name(challenge.stage).into()),
            ..self.entry(now_ms)
        }
    }

    fn to_device(&self, device: &DeviceId, lane: Lane, payload: Vec<u8>, expiry_s: Option<u32>) -> Outgoing {
        let topic = Topic::Device { env: self.env, device: device.clone(), lane };
        Outgoing { topic, payload, retain: false, expiry_s, reply: true }
    }
}

fn stage_name(stage: didar_protocol::message::Stage) -> &'static str {
    match stage {
        didar_protocol::message::Stage::Primary => "primary",
        didar_protocol::message::Stage::Subsequent => "subsequent",
    }
}
