//! The session with the matcher, as pure logic: when to connect, what is still unanswered, what to send again.
//!
//! **Here:** [`Session`], a machine over [`Happened`] and [`Act`]. It owns the table of what is in flight; the client
//! library's own tables start empty at each connection and are never relied on.
//! **Not here:** sockets, certificates, signatures, clocks, random sources ([`super::mqtt`] brings them).
//! **Start** with [`Session::step`].
//!
//! Invariants, held by `random_worlds` below: nothing is sent after its expiry or without a connection; every repeat
//! has the same bytes; a verdict is passed on once; an unanswered letter is sent again within [`RESEND_EVERY`].

use std::sync::Arc;
use std::time::Duration;

use didar_protocol::id::{AttemptId, Hash, RequestId};
use didar_protocol::message::MatcherKeys;
use didar_protocol::topic::Lane;
use didar_protocol::trace::TraceParent;

use super::arrival::Arrival;
use crate::attempt::Event;
use crate::edge::{Health, Letter, Question};
use crate::time::{Heard, Moment};

/// First wait after a lost connection, at most; it doubles with each failure.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Longest wait between two tries: a centre that returns is found within this.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Shortest wait: a refusing broker is not hammered.
pub const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// A connection that held this long was a good one: the next failure begins with short waits again.
pub const STEADY: Duration = Duration::from_secs(10);
/// The state is told again this often: no matcher may have listened when it changed, and what is retained does not come
/// to those who share a subscription.
pub const STATE_EVERY: Duration = Duration::from_secs(300);
/// Keys that are older than those in use by more than this, a day, are not used: matchers' clocks differ by less.
const KEYS_SLACK_MS: u64 = 86_400_000;
/// How long an unanswered letter rests before it is sent again: a matcher's answer takes well under a second.
pub const RESEND_EVERY: Duration = Duration::from_secs(3);
/// Longest wait for a connection, and for the broker to accept our subscriptions.
pub const SETTLE_MAX: Duration = Duration::from_secs(15);
/// Most letters that wait for an answer at once. The kiosk serves one person; the rest are endings of earlier attempts.
pub const FLIGHTS_MAX: usize = 16;

/// Something that happened to the session.
#[derive(Debug)]
pub enum Happened {
    /// The broker accepted the connection.
    Accepted,
    /// The broker accepted our subscriptions.
    Subscribed,
    /// The connection is gone, or was not made.
    Lost,
    /// The agent wants something sent.
    Send(Letter),
    /// The agent needs no answer to this any more.
    Forget(Question),
    /// A message of the matcher, verified and for this device.
    Arrived(Box<Arrival>),
    /// Only time passed.
    Tick,
}

/// What to do now, in this order.
#[derive(Debug)]
pub enum Act {
    /// Begin a connection; its will carries this.
    Connect(Health),
    /// Close the connection: it is of no use.
    Drop,
    /// Subscribe to the device's topics.
    Subscribe,
    /// Publish the retained state.
    PublishState(Health),
    /// Publish a letter.
    Publish(Parcel),
    /// Pass on to the agent's loop.
    Tell(Event),
    /// Keep these signed keys for the next start.
    KeepKeys(Vec<u8>),
    /// The matcher's clock said this.
    Heard(Heard),
}

/// One message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// The device's topic.
    pub lane: Lane,
    /// What an answer should carry back.
    pub correlation: Vec<u8>,
    /// The request that it is about, for whoever follows it through the systems.
    pub trace: Option<TraceParent>,
    /// The signed or sealed bytes.
    pub bytes: Arc<[u8]>,
    /// After this the broker may forget it.
    pub expires_in: Option<Duration>,
}

/// How many messages were ignored, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// Answers to nothing that is in flight: late, repeated or foreign.
    pub stale: u64,
    /// Letters pushed out of a full table, oldest first.
    pub crowded_out: u64,
}

/// The session.
pub struct Session {
    link: Link,
    /// Failures in a row.
    failures: u32,
    flights: Vec<Flight>,
    /// The matchers' time in the newest keys that are used.
    keys_ms: u64,
    /// While connected: when to tell the state again.
    tell_at: Moment,
    health: Health,
    ignored: Ignored,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Resting { until: Moment },
    Connecting { until: Moment },
    Subscribing { until: Moment },
    Up { since: Moment },
}

struct Flight {
    name: Question,
    /// Its trace.
    request: RequestId,
    /// Of a request: what its answer must name.
    hash: Option<Hash>,
    bytes: Arc<[u8]>,
    expires: Moment,
    send_at: Moment,
}

impl Session {
    /// A session that wants to connect at once.
    ///
    /// `health` is what is told of the device until the loop tells more.
    pub fn new(now: Moment, health: Health) -> Self {
        Self {
            link: Link::Resting { until: now },
            failures: 0,
            flights: Vec::new(),
            keys_ms: 0,
            tell_at: now,
            health,
            ignored: Ignored::default(),
        }
    }

    /// Takes what happened and says what to do. `random` is a fresh random number, for the waits' jitter.
    pub fn step(&mut self, now: Moment, happened: Happened, random: u64) -> Vec<Act> {
        self.flights.retain(|flight| flight.expires > now);
        let mut acts = Vec::new();
        match happened {
            Happened::Accepted => self.accepted(now, &mut acts),
            Happened::Subscribed => self.subscribed(now, &mut acts),
            Happened::Lost => self.lost(now, random, &mut acts),
            Happened::Send(letter) => self.take(now, letter, &mut acts),
            Happened::Forget(question) => self.flights.retain(|flight| flight.name != question),
            Happened::Arrived(arrived) => self.arrived(*arrived, &mut acts),
            Happened::Tick => {}
        }
        self.timers(now, random, &mut acts);
        acts
    }

    /// When to call [`Self::step`] at the latest.
    pub fn deadline(&self) -> Option<Moment> {
        let link = match self.link {
            Link::Resting { until } | Link::Connecting { until } | Link::Subscribing { until } => Some(until),
            Link::Up { .. } => Some(self.tell_at),
        };
        let resend = self.flights.iter().map(|flight| match self.link {
            Link::Up { .. } => flight.send_at.min(flight.expires),
            Link::Resting { .. } | Link::Connecting { .. } | Link::Subscribing { .. } => flight.expires,
        });
        link.into_iter().chain(resend).min()
    }

    /// Whether letters go out now.
    pub fn is_up(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    /// The health that was told last.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// What was ignored since the start.
    pub fn ignored(&self) -> Ignored {
        self.ignored
    }

    fn accepted(&mut self, now: Moment, acts: &mut Vec<Act>) {
        match self.link {
            Link::Connecting { .. } => {
                self.link = Link::Subscribing { until: now.after(SETTLE_MAX) };
                acts.push(Act::Subscribe);
            }
            // A connection that was given up meanwhile: nothing to accept.
            Link::Resting { .. } | Link::Subscribing { .. } | Link::Up { .. } => {}
        }
    }

    fn subscribed(&mut self, now: Moment, acts: &mut Vec<Act>) {
        match self.link {
            Link::Subscribing { .. } => {
                self.link = Link::Up { since: now };
                self.tell_state(now, acts);
                acts.push(Act::Tell(Event::UplinkUp));
                // The broker may have forgotten everything: all that is unanswered goes out again at once.
                for flight in &mut self.flights {
                    flight.send_at = now;
                }
            }
            Link::Resting { .. } | Link::Connecting { .. } | Link::Up { .. } => {}
        }
    }

    fn tell_state(&mut self, now: Moment, acts: &mut Vec<Act>) {
        self.tell_at = now.after(STATE_EVERY);
        acts.push(Act::PublishState(self.health.clone()));
    }

    fn lost(&mut self, now: Moment, random: u64, acts: &mut Vec<Act>) {
        match self.link {
            // Reported already.
            Link::Resting { .. } => return,
            Link::Connecting { .. } | Link::Subscribing { .. } => {}
            Link::Up { since } => {
                acts.push(Act::Tell(Event::UplinkDown));
                if now.since(since) >= STEADY {
                    self.failures = 0;
                }
            }
        }
        self.link = Link::Resting { until: now.after(backoff(self.failures, random)) };
        self.failures = self.failures.saturating_add(1);
    }

    fn take(&mut self, now: Moment, letter: Letter, acts: &mut Vec<Act>) {
        match letter {
            Letter::RequestChallenge { request, hash, bytes, expires } => {
                self.board(now, Question::Request(request), (request, Some(hash)), bytes, expires);
            }
            Letter::Attempt { request, attempt, bytes, expires } => {
                self.board(now, Question::Attempt(attempt), (request, None), bytes, expires);
            }
            Letter::Audit { number, bytes } if self.is_up() => acts.push(Act::Publish(Parcel {
                lane: Lane::Audit,
                correlation: number.to_be_bytes().to_vec(),
                trace: None,
                bytes: bytes.into(),
                expires_in: None,
            })),
            // The loop sends what no receipt covers after each `UplinkUp`: the outbox keeps it until then.
            Letter::Audit { .. } => {}
            Letter::Health(health) => {
                self.health = health;
                if self.is_up() {
                    self.tell_state(now, acts);
                }
            }
        }
    }

    /// Puts a letter on the table; a letter of the same name there stays as it is, so repeats have the same bytes.
    fn board(
        &mut self,
        now: Moment,
        name: Question,
        (request, hash): (RequestId, Option<Hash>),
        bytes: Vec<u8>,
        expires: Moment,
    ) {
        if expires <= now || self.flights.iter().any(|flight| flight.name == name) {
            return;
        }
        if self.flights.len() == FLIGHTS_MAX {
            self.flights.remove(0);
            self.ignored.crowded_out += 1;
        }
        self.flights.push(Flight { name, request, hash, bytes: bytes.into(), expires, send_at: now });
    }

    fn arrived(&mut self, arrival: Arrival, acts: &mut Vec<Act>) {
        match arrival {
            // What signs the hash of a request in flight was made after that request: it tells the time.
            Arrival::Challenge(challenge) if self.asks(&challenge.request_hash) => {
                acts.push(self.now_is(challenge.server_time_ms));
                acts.push(Act::Tell(Event::Challenged(challenge)));
            }
            Arrival::Verdict(verdict) => match verdict.attempt {
                Some(attempt) if self.land(attempt) => {
                    acts.push(self.now_is(verdict.server_time_ms));
                    acts.push(Act::Tell(Event::Replied(verdict)));
                }
                None if self.asks(&verdict.reply_to) => {
                    acts.push(self.now_is(verdict.server_time_ms));
                    acts.push(Act::Tell(Event::Replied(verdict)));
                }
                Some(_) | None => self.ignored.stale += 1,
            },
            Arrival::Challenge(_) => self.ignored.stale += 1,
            Arrival::Receipt(receipt) => {
                acts.push(Act::Heard(Heard::AtLeast(receipt.server_time_ms)));
                acts.push(Act::Tell(Event::Receipt(receipt)));
            }
            // Whoever kept an old message may not bring back a key that was given up.
            Arrival::Keys { keys, .. } if keys.server_time_ms.saturating_add(KEYS_SLACK_MS) < self.keys_ms => {
                self.ignored.stale += 1;
            }
            Arrival::Keys { keys, signed } => {
                self.know_keys(&keys);
                acts.push(Act::Heard(Heard::AtLeast(keys.server_time_ms)));
                acts.push(Act::KeepKeys(signed));
                acts.push(Act::Tell(Event::Keys(keys)));
            }
        }
    }

    /// The time is told. Keys of a later time than that came from a matcher whose clock was wrong: they must not keep out
    /// those that follow.
    fn now_is(&mut self, unix_ms: u64) -> Act {
        self.keys_ms = self.keys_ms.min(unix_ms);
        Act::Heard(Heard::Now(unix_ms))
    }

    /// Whether the request of this hash is in flight.
    fn asks(&self, hash: &Hash) -> bool {
        self.flights.iter().any(|flight| flight.hash.as_ref() == Some(hash))
    }

    /// These keys are used: much older ones are not, from now on.
    pub fn know_keys(&mut self, keys: &MatcherKeys) {
        self.keys_ms = self.keys_ms.max(keys.server_time_ms);
    }

    /// Takes the attempt off the table; whether it was there.
    fn land(&mut self, attempt: AttemptId) -> bool {
        let before = self.flights.len();
        self.flights.retain(|flight| flight.name != Question::Attempt(attempt));
        self.flights.len() < before
    }

    fn timers(&mut self, now: Moment, random: u64, acts: &mut Vec<Act>) {
        match self.link {
            Link::Resting { until } if until <= now => {
                self.link = Link::Connecting { until: now.after(SETTLE_MAX) };
                acts.push(Act::Connect(self.health.clone()));
            }
            Link::Connecting { until } | Link::Subscribing { until } if until <= now => {
                acts.push(Act::Drop);
                self.lost(now, random, acts);
            }
            Link::Resting { .. } | Link::Connecting { .. } | Link::Subscribing { .. } => {}
            Link::Up { .. } => {
                acts.extend(self.flights.iter_mut().filter_map(|flight| flight.send_due(now)));
                if self.tell_at <= now {
                    self.tell_state(now, acts);
                }
            }
        }
    }
}

impl Flight {
    /// The parcel, when it is time to send it (again).
    fn send_due(&mut self, now: Moment) -> Option<Act> {
        if self.send_at > now {
            return None;
        }
        self.send_at = now.after(RESEND_EVERY);
        let (lane, name) = match self.name {
            Question::Request(request) => (Lane::ChallengeRequest, *request.as_bytes()),
            Question::Attempt(attempt) => (Lane::Attempt, *attempt.as_bytes()),
        };
        // Its step in the trace is named by the last half of its own name.
        let trace = TraceParent::of(self.request, std::array::from_fn(|at| name[8 + at]));
        let expires_in = Some(self.expires.since(now));
        Some(Act::Publish(Parcel {
            lane,
            correlation: name.to_vec(),
            trace,
            bytes: Arc::clone(&self.bytes),
            expires_in,
        }))
    }
}

/// A wait chosen at random up to a limit that doubles, so that a thousand kiosks don't return in step.
fn backoff(failures: u32, random: u64) -> Duration {
    let limit = BACKOFF_FIRST.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX);
    let spread = (limit - BACKOFF_MIN).as_millis() as u64;
    BACKOFF_MIN + Duration::from_millis(random % (spread + 1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
