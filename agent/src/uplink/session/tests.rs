//! Single rules as sentences, then [`random_worlds`]: a network that loses, repeats, delays and breaks.

use std::collections::HashMap;

use didar_protocol::message::{Challenge, Receipt, Stage, Verdict, VerdictOutcome};
use didar_protocol::reason::Reason;
use didar_protocol::seal::{Entropy, SealKeyPair};

use super::*;

fn at(ms: u64) -> Moment {
    Moment::from_nanos(ms * 1_000_000)
}

fn attempt(name: u8) -> AttemptId {
    AttemptId::from_bytes([name; 16])
}

fn request(name: u8) -> didar_protocol::id::RequestId {
    didar_protocol::id::RequestId::from_bytes([name; 16])
}

fn attempt_letter(name: u8, expires: Moment) -> Happened {
    Happened::Send(Letter::Attempt { request: request(name), attempt: attempt(name), bytes: vec![name; 4], expires })
}

fn request_letter(name: u8, expires: Moment) -> Happened {
    Happened::Send(Letter::RequestChallenge { request: request(name), hash: [name; 32], bytes: vec![name; 3], expires })
}

fn arrived(arrival: Arrival) -> Happened {
    Happened::Arrived(Box::new(arrival))
}

fn verdict(name: Option<u8>) -> Arrival {
    Arrival::Verdict(Box::new(Verdict {
        attempt: name.map(attempt),
        device: "kiosk-7".parse().unwrap(),
        reply_to: [0; 32],
        outcome: VerdictOutcome::Match,
        reason: Reason::None,
        threshold_class: 0,
        attempts_left: 0,
        server_time_ms: 77,
        expires_ms: 99,
    }))
}

/// Made for the request of this hash.
fn challenge(hash: u8) -> Arrival {
    Arrival::Challenge(Box::new(Challenge {
        attempt: attempt(1),
        device: "kiosk-7".parse().unwrap(),
        request_hash: [hash; 32],
        nonce: [0; 32],
        stage: Stage::Subsequent,
        picture: false,
        policy_version: 1,
        server_time_ms: 77,
        expires_ms: 99,
        seal_key: SealKeyPair::generate(Entropy::new([1; 32])).public().clone(),
    }))
}

/// The acts as words: `connect`, `subscribe`, `state`, `up`, `down`, `send:LANE`, …
fn words(acts: &[Act]) -> String {
    let words: Vec<String> = acts
        .iter()
        .map(|act| match act {
            Act::Connect(_) => "connect".to_owned(),
            Act::Drop => "drop".to_owned(),
            Act::Subscribe => "subscribe".to_owned(),
            Act::PublishState(_) => "state".to_owned(),
            Act::Publish(parcel) => format!("send:{}", parcel.lane.path()),
            Act::Tell(Event::UplinkUp) => "up".to_owned(),
            Act::Tell(Event::UplinkDown) => "down".to_owned(),
            Act::Tell(Event::Challenged(_)) => "challenged".to_owned(),
            Act::Tell(Event::Replied(_)) => "replied".to_owned(),
            Act::Tell(Event::Receipt(_)) => "receipt".to_owned(),
            Act::Tell(_) => "other".to_owned(),
            Act::KeepKeys(_) => "keep-keys".to_owned(),
            Act::Heard(Heard::Now(_)) => "now".to_owned(),
            Act::Heard(Heard::AtLeast(_)) => "at-least".to_owned(),
        })
        .collect();
    words.join(" ")
}

/// A session that is up at 0 ms.
fn up() -> Session {
    let mut session = Session::new(at(0), Health::default());
    assert_eq!(words(&session.step(at(0), Happened::Tick, 0)), "connect");
    assert_eq!(words(&session.step(at(0), Happened::Accepted, 0)), "subscribe");
    assert_eq!(words(&session.step(at(0), Happened::Subscribed, 0)), "state up");
    session
}

fn check(session: &mut Session, now: u64, happened: Happened, expected: &str) {
    assert_eq!(words(&session.step(at(now), happened, 0)), expected);
}

#[test]
fn an_unanswered_attempt_is_sent_again_until_its_verdict() {
    let mut session = up();
    check(&mut session, 0, attempt_letter(1, at(60_000)), "send:up/attempt");
    check(&mut session, 2_999, Happened::Tick, "");
    check(&mut session, 3_000, Happened::Tick, "send:up/attempt");
    check(&mut session, 4_000, arrived(verdict(Some(2))), "");
    check(&mut session, 4_000, arrived(verdict(Some(1))), "now replied");
    check(&mut session, 4_001, arrived(verdict(Some(1))), "");
    check(&mut session, 9_000, Happened::Tick, "");
    assert_eq!(session.ignored().stale, 2);
    assert_eq!(session.deadline(), Some(at(300_000)), "the state's");
}

#[test]
fn nothing_is_sent_after_its_expiry() {
    let mut session = up();
    check(&mut session, 0, attempt_letter(1, at(3_000)), "send:up/attempt");
    check(&mut session, 3_000, Happened::Tick, "");
    check(&mut session, 3_000, attempt_letter(2, at(3_000)), "");
    check(&mut session, 3_000, arrived(verdict(Some(1))), "");
}

/// A refusal of the request of this hash.
fn refusal(hash: u8) -> Arrival {
    let Arrival::Verdict(verdict) = verdict(None) else { unreachable!() };
    Arrival::Verdict(Box::new(Verdict { reply_to: [hash; 32], ..*verdict }))
}

fn keys(server_time_ms: u64) -> Arrival {
    let seal_keys = vec![SealKeyPair::generate(Entropy::new([1; 32])).public().clone()];
    Arrival::Keys { keys: Box::new(MatcherKeys { seal_keys, policy_version: 1, server_time_ms }), signed: Vec::new() }
}

#[test]
fn only_the_answer_to_a_request_in_flight_counts_and_tells_the_time() {
    let mut session = up();
    check(&mut session, 0, arrived(challenge(5)), "");
    check(&mut session, 0, request_letter(5, at(60_000)), "send:up/challenge-request");
    // An old one, played again by whoever kept it: its time and its key are old too.
    check(&mut session, 1, arrived(challenge(4)), "");
    check(&mut session, 1, arrived(refusal(4)), "");
    check(&mut session, 2, arrived(challenge(5)), "now challenged");
    check(&mut session, 2, arrived(refusal(5)), "now replied");
    check(&mut session, 3, Happened::Forget(Question::Request(request(5))), "");
    check(&mut session, 4, arrived(challenge(5)), "");
    check(&mut session, 5, arrived(refusal(5)), "");
    check(&mut session, 9_000, Happened::Tick, "");
}

#[test]
fn keys_of_another_day_do_not_come_back() {
    const DAY_MS: u64 = 86_400_000;
    let mut session = up();
    check(&mut session, 0, arrived(keys(9 * DAY_MS)), "at-least keep-keys other");
    check(&mut session, 1, arrived(keys(8 * DAY_MS)), "at-least keep-keys other");
    check(&mut session, 2, arrived(keys(8 * DAY_MS - 1)), "");
    assert_eq!(session.ignored().stale, 1);
}

#[test]
fn keys_of_a_matcher_whose_clock_ran_ahead_keep_out_no_others_once_the_time_is_told() {
    const DAY_MS: u64 = 86_400_000;
    let mut session = up();
    check(&mut session, 0, arrived(keys(90 * DAY_MS)), "at-least keep-keys other");
    check(&mut session, 1, arrived(keys(9 * DAY_MS)), "");
    check(&mut session, 2, request_letter(5, at(60_000)), "send:up/challenge-request");
    check(&mut session, 3, arrived(challenge(5)), "now challenged");
    check(&mut session, 4, arrived(keys(9 * DAY_MS)), "at-least keep-keys other");
}

#[test]
fn the_state_is_told_again_while_the_link_is_up() {
    let mut session = up();
    assert_eq!(session.deadline(), Some(at(300_000)));
    check(&mut session, 299_999, Happened::Tick, "");
    check(&mut session, 300_000, Happened::Tick, "state");
    check(&mut session, 400_000, Happened::Send(Letter::Health(Health::default())), "state");
    check(&mut session, 699_999, Happened::Tick, "");
    check(&mut session, 700_000, Happened::Tick, "state");
    check(&mut session, 800_000, Happened::Lost, "down");
}

#[test]
fn what_waited_goes_out_when_the_link_is_up_and_not_before() {
    let mut session = Session::new(at(0), Health::default());
    check(&mut session, 0, request_letter(5, at(60_000)), "connect");
    check(&mut session, 1, Happened::Accepted, "subscribe");
    check(&mut session, 2, attempt_letter(1, at(60_000)), "");
    check(&mut session, 3, Happened::Subscribed, "state up send:up/challenge-request send:up/attempt");
    check(&mut session, 4, Happened::Lost, "down");
    check(&mut session, 5, Happened::Lost, "");
}

#[test]
fn what_was_sent_on_a_lost_connection_goes_out_at_once_on_the_next() {
    let mut session = up();
    check(&mut session, 0, attempt_letter(1, at(60_000)), "send:up/attempt");
    check(&mut session, 100, Happened::Lost, "down");
    check(&mut session, 350, Happened::Tick, "connect");
    check(&mut session, 360, Happened::Accepted, "subscribe");
    check(&mut session, 370, Happened::Subscribed, "state up send:up/attempt");
}

#[test]
fn a_broker_that_never_answers_is_given_up() {
    let mut session = Session::new(at(0), Health::default());
    check(&mut session, 0, Happened::Tick, "connect");
    check(&mut session, 15_000, Happened::Tick, "drop");
    check(&mut session, 15_250, Happened::Tick, "connect");
    check(&mut session, 15_251, Happened::Accepted, "subscribe");
    check(&mut session, 30_251, Happened::Tick, "drop");
}

#[test]
fn waits_grow_with_failures_and_start_over_after_a_good_connection() {
    let limit = |failures| backoff(failures, u64::MAX - 1).max(backoff(failures, BACKOFF_MAX.as_millis() as u64));
    for failures in 0..70 {
        for random in [0, 1, 777, u64::MAX] {
            let wait = backoff(failures, random);
            assert!((BACKOFF_MIN..=BACKOFF_MAX).contains(&wait), "{failures} {random} {wait:?}");
        }
    }
    assert!(limit(0) <= BACKOFF_FIRST);
    let mut session = up();
    session.failures = 9;
    session.step(at(9_999), Happened::Lost, 0);
    assert_eq!(session.failures, 10);
    let mut session = up();
    session.failures = 9;
    session.step(at(10_000), Happened::Lost, 0);
    assert_eq!(session.failures, 1);
}

#[test]
fn a_full_table_pushes_out_the_oldest() {
    let mut session = up();
    for name in 0..=FLIGHTS_MAX as u8 {
        session.step(at(1), attempt_letter(name, at(60_000)), 0);
    }
    assert_eq!(session.ignored().crowded_out, 1);
    check(&mut session, 2, arrived(verdict(Some(0))), "");
    check(&mut session, 2, arrived(verdict(Some(1))), "now replied");
}

#[test]
fn audit_records_and_health_go_out_only_when_up() {
    let mut session = Session::new(at(0), Health::default());
    session.step(at(0), Happened::Tick, 0);
    let audit = || Happened::Send(Letter::Audit { number: 1, bytes: vec![1] });
    check(&mut session, 1, audit(), "");
    let health = Health { audit_next: 9, ..Health::default() };
    check(&mut session, 1, Happened::Send(Letter::Health(health.clone())), "");
    session.step(at(2), Happened::Accepted, 0);
    let acts = session.step(at(3), Happened::Subscribed, 0);
    assert!(matches!(&acts[0], Act::PublishState(told) if *told == health));
    check(&mut session, 4, audit(), "send:up/audit");
    let device = "kiosk-7".parse().unwrap();
    let receipt = Receipt { device, highest: 1, hash: [1; 32], answers: 1, missing: vec![], server_time_ms: 5 };
    check(&mut session, 5, arrived(Arrival::Receipt(receipt)), "at-least receipt");
}

/// Random numbers from a seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// A broker and a matcher behind a bad network, and what the session has shown so far.
struct World {
    session: Session,
    random: Random,
    now: u64,
    /// What is under way: when it happens, and what.
    coming: Vec<(u64, Coming)>,
    /// Bytes first sent under each name.
    sent: HashMap<Vec<u8>, Vec<u8>>,
    expires: HashMap<u8, u64>,
    replied: Vec<AttemptId>,
    connected: bool,
    told_up: bool,
    trouble: Trouble,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Yes,
    No,
}

enum Coming {
    Accepted,
    Subscribed,
    Lost,
    Verdict(u8),
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            session: Session::new(at(0), Health::default()),
            random: Random(seed),
            now: 0,
            coming: Vec::new(),
            sent: HashMap::new(),
            expires: HashMap::new(),
            replied: Vec::new(),
            connected: false,
            told_up: false,
            trouble: Trouble::Yes,
        }
    }

    fn step(&mut self, happened: Happened) {
        let random = self.random.next();
        for act in self.session.step(at(self.now), happened, random) {
            self.act(act);
        }
        let deadline = self.session.deadline();
        assert!(deadline.is_none_or(|deadline| deadline > at(self.now)), "a deadline that has passed already");
    }

    fn act(&mut self, act: Act) {
        let later = self.now + 1 + self.random.below(200);
        match act {
            Act::Connect(_) => {
                assert!(!self.connected, "a second connection");
                self.connected = true;
                let fails = self.trouble == Trouble::Yes && self.random.below(3) == 0;
                self.coming.push((later, if fails { Coming::Lost } else { Coming::Accepted }));
            }
            Act::Subscribe => self.coming.push((later, Coming::Subscribed)),
            Act::Drop => self.disconnect(),
            Act::Publish(parcel) => self.publish(parcel, later),
            Act::Tell(Event::UplinkUp) => {
                assert!(!self.told_up);
                self.told_up = true;
            }
            Act::Tell(Event::UplinkDown) => {
                assert!(self.told_up);
                self.told_up = false;
            }
            Act::Tell(Event::Replied(verdict)) => {
                let attempt = verdict.attempt.unwrap();
                assert!(!self.replied.contains(&attempt), "a verdict told twice");
                self.replied.push(attempt);
            }
            Act::Tell(_) | Act::PublishState(_) | Act::KeepKeys(_) | Act::Heard(_) => {}
        }
    }

    fn publish(&mut self, parcel: Parcel, later: u64) {
        assert!(self.told_up, "sent without a connection");
        let name = parcel.correlation[0];
        assert!(self.now < self.expires[&name], "sent after its expiry");
        assert!(parcel.expires_in.unwrap() <= Duration::from_millis(self.expires[&name] - self.now));
        let first = self.sent.entry(parcel.correlation).or_insert_with(|| parcel.bytes.to_vec());
        assert_eq!(first[..], parcel.bytes[..], "a repeat with other bytes");
        let answers = match (self.trouble, self.random.below(4)) {
            (Trouble::Yes, 0) => 0,
            (Trouble::Yes, 1) => 2,
            _ => 1,
        };
        for _ in 0..answers {
            let delay = self.random.below(if self.trouble == Trouble::Yes { 5_000 } else { 100 });
            self.coming.push((later + delay, Coming::Verdict(name)));
        }
    }

    fn disconnect(&mut self) {
        self.connected = false;
        self.coming.retain(|(_, coming)| matches!(coming, Coming::Verdict(_)));
    }

    /// Goes to the next thing that happens and lets it happen.
    fn turn(&mut self) {
        let deadline = self.session.deadline().map(|deadline| deadline.as_nanos().div_ceil(1_000_000));
        let next = self.coming.iter().map(|(when, _)| *when).chain(deadline).min().unwrap_or(self.now + 500);
        self.now = self.now.max(next);
        let Some(index) = self.coming.iter().position(|(when, _)| *when <= self.now) else {
            return self.step(Happened::Tick);
        };
        match self.coming.swap_remove(index).1 {
            Coming::Accepted => self.step(Happened::Accepted),
            Coming::Subscribed => self.step(Happened::Subscribed),
            Coming::Lost => self.lose(),
            // Nothing reaches a session that has no connection; the broker keeps it for later or not at all.
            Coming::Verdict(_) if !self.connected => {}
            Coming::Verdict(name) => self.step(arrived(verdict(Some(name)))),
        }
    }

    fn lose(&mut self) {
        self.disconnect();
        self.step(Happened::Lost);
    }

    fn send(&mut self, name: u8) {
        let expires = self.now + 60_000;
        self.expires.insert(name, expires);
        self.step(attempt_letter(name, at(expires)));
    }
}

#[test]
fn random_worlds() {
    for seed in 0..2_000 {
        let result = std::panic::catch_unwind(|| one_world(seed));
        assert!(result.is_ok(), "world {seed} failed: its message is above");
    }
}

fn one_world(seed: u64) {
    let mut world = World::new(seed);
    let mut names = 0;
    for _ in 0..150 {
        match world.random.below(12) {
            0 if world.connected => world.lose(),
            1 if names < 12 => {
                names += 1;
                world.send(names);
            }
            _ => world.turn(),
        }
    }
    // The network is good again: what is sent now is answered, and so is all that has not expired.
    world.trouble = Trouble::No;
    world.send(99);
    let (quiet, open) = (world.now + 45_000, world.expires.clone());
    while world.now < quiet {
        world.turn();
    }
    for (name, expires) in open {
        let answered = world.replied.contains(&attempt(name));
        assert!(answered || expires <= quiet, "attempt {name} was never answered");
    }
}
