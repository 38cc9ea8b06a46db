//! The service: one message in, the messages out. Knows no network and no clock.
//!
//! A message counts only if its topic, the certificate that signed it and the device inside agree (`intake`).
//! `ask` answers requests with challenges, `attempt` answers attempts with verdicts, `audit` keeps what devices
//! tell about themselves, `voice` tells operators.

mod ask;
mod attempt;
mod audit;
mod examine;
mod intake;
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
    /// Whether it answers the message that was handled: its correlation data go along.
    pub reply: bool,
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
    /// What devices last said is broken; those with nothing broken are not in it.
    broken: BTreeMap<DeviceId, Vec<Reason>>,
}

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
                broken: BTreeMap::new(),
            },
        }
    }

    /// Handles one message that arrived on `topic` at `now_ms`. Never fails: what cannot be handled is logged and
    /// left unanswered, and the device asks again.
    pub fn handle(&mut self, topic: &str, payload: &[u8], now_ms: u64) -> Vec<Outgoing> {
        self.receive(topic, payload, now_ms).unwrap_or_else(|error| {
            self.centre.voice.failed();
            tracing::error!(topic, error = &error as &dyn std::error::Error, "message not handled");
            Vec::new()
        })
    }

    /// Closes what time has closed (challenges nobody used, references past their end) and tells the alarms that wait.
    /// Call about once a second.
    pub fn sweep(&mut self, now_ms: u64) -> Vec<Outgoing> {
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

    fn receive(&mut self, topic: &str, payload: &[u8], now_ms: u64) -> Result<Vec<Outgoing>, ServiceError> {
        let Self { store, centre } = self;
        centre.voice.received();
        let (device, lane) = match topic.parse() {
            Ok(Topic::Device { env, device, lane }) if env == centre.env => (device, lane),
            // Our own topics, another environment's, or none of Didar's: the broker should not have let it through.
            Ok(_) | Err(_) => {
                return centre.distrust(None, "message on a topic that devices do not write", now_ms);
            }
        };
        let work = store.begin()?;
        let out = match lane {
            Lane::ChallengeRequest => centre.on_request(&work, &device, payload, now_ms)?,
            Lane::Attempt => centre.on_attempt(&work, &device, payload, now_ms)?,
            Lane::Audit => centre.on_audit(&work, &device, payload, now_ms)?,
            Lane::State => centre.on_state(&work, &device, payload, now_ms)?,
            Lane::Challenge | Lane::Verdict | Lane::Receipt => {
                centre.distrust(Some(&device), "message on a topic that devices do not write", now_ms)?
            }
        };
        work.commit()?;
        Ok(out)
    }

    fn close_expired(&mut self, now_ms: u64) -> Result<Vec<Outgoing>, ServiceError> {
        let Self { store, centre } = self;
        let work = store.begin()?;
        let mut out = Vec::new();
        for notice in work.take_notices()? {
            out.push(centre.alarm(&work, notice)?);
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
