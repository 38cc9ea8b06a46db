//! The service: messages in, messages out. Knows no network and no clock.
//!
//! A message counts only if its topic, the certificate that signed it and the device inside agree (`intake`).
//! `ask` answers requests with challenges, `attempt` answers attempts with verdicts, `audit` keeps what devices
//! tell about themselves, `watch` what no single message tells, `voice` tells operators.

mod ask;
mod attempt;
mod audit;
mod examine;
mod intake;
mod pace;
mod state;
mod voice;
mod watch;

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

use pace::Pace;
pub use voice::Counters;
use voice::{Tidings, Voice};

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
