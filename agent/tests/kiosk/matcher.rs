//! The other end of the wire: opens, verifies, answers at once.

use std::sync::{Arc, Mutex};

use didar_agent::attempt::event::Event;
use didar_agent::edge::{Letter, Question, Uplink, UplinkError};
use didar_protocol::id::{AttemptId, Hash, sha256};
use didar_protocol::message::{
    Attempt, AuditRecord, Challenge, ChallengeRequest, Kind, MatcherKeys, Message, Receipt, Stage, Verdict,
};
use didar_protocol::seal::{Entropy, SealKeyPair, Sealed, Signed, VerifyingKey};
use tokio::sync::mpsc;

use super::{NOW_MS, Script, Seen, device};

/// A centre whose policy is another one than the device's.
const OTHER_POLICY: u32 = 9_000;

/// A matcher in memory.
pub(crate) struct Matcher {
    script: Arc<Mutex<Script>>,
    events: mpsc::Sender<Event>,
    device_key: VerifyingKey,
    pair: SealKeyPair,
    kept: u64,
    seen: Arc<Mutex<Seen>>,
}

fn pair() -> SealKeyPair {
    SealKeyPair::generate(Entropy::new([5; 32]))
}

pub(crate) fn keys() -> MatcherKeys {
    MatcherKeys { seal_keys: vec![pair().public().clone()], policy_version: OTHER_POLICY, server_time_ms: NOW_MS }
}

impl Matcher {
    pub(crate) fn new(
        script: Arc<Mutex<Script>>,
        events: mpsc::Sender<Event>,
        device_key: VerifyingKey,
        seen: Arc<Mutex<Seen>>,
    ) -> Self {
        Self { script, events, device_key, pair: pair(), kept: 0, seen }
    }

    fn open<M: Message>(&self, bytes: &[u8]) -> (M, Hash) {
        let opened = Sealed::parse(M::KIND, bytes).unwrap().open(&self.pair).unwrap();
        let signed = Signed::parse(M::KIND, &opened).unwrap();
        let payload = signed.verify(&self.device_key).unwrap();
        (M::decode(payload).unwrap(), sha256(payload))
    }

    fn challenge(&self, bytes: &[u8]) -> Event {
        let (request, request_hash) = self.open::<ChallengeRequest>(bytes);
        Event::Challenged(Box::new(Challenge {
            attempt: AttemptId::from_bytes(*uuid::Uuid::now_v7().as_bytes()),
            device: request.device,
            request_hash,
            nonce: sha256(request.request.as_bytes()),
            stage: Stage::Subsequent,
            picture: false,
            policy_version: OTHER_POLICY,
            server_time_ms: NOW_MS,
            expires_ms: NOW_MS + 60_000,
            seal_key: self.pair.public().clone(),
        }))
    }

    fn verdict(&self, bytes: &[u8]) -> Option<Event> {
        let (attempt, _) = self.open::<Attempt>(bytes);
        let answer = self.script.lock().unwrap().verdict;
        let verdict = answer.map(|(outcome, reason)| {
            Event::Replied(Box::new(Verdict {
                attempt: Some(attempt.attempt),
                device: attempt.device.clone(),
                reply_to: attempt.nonce,
                outcome,
                reason,
                threshold_class: 1,
                attempts_left: 4,
                server_time_ms: NOW_MS,
                expires_ms: NOW_MS + 60_000,
            }))
        });
        self.seen.lock().unwrap().attempts.push(attempt);
        verdict
    }

    fn receipt(&mut self, number: u64, bytes: &[u8]) -> Option<Event> {
        let mut script = self.script.lock().unwrap();
        if script.deaf_to_audits > 0 {
            script.deaf_to_audits -= 1;
            return None;
        }
        drop(script);
        let signed = Signed::parse(Kind::AuditRecord, bytes).unwrap();
        let record = AuditRecord::decode(signed.verify(&self.device_key).unwrap()).unwrap();
        assert_eq!(record.number, number);
        if number == self.kept + 1 {
            self.kept = number;
            self.seen.lock().unwrap().records.push(record.entry);
        }
        let missing = (self.kept + 1..number).take(1).collect();
        Some(Event::Receipt(Receipt { device: device(), highest: self.kept, missing, server_time_ms: NOW_MS }))
    }
}

impl Uplink for Matcher {
    fn send(&mut self, letter: Letter) -> Result<(), UplinkError> {
        let answer = match letter {
            Letter::RequestChallenge { bytes, .. } => Some(self.challenge(&bytes)),
            Letter::Attempt { bytes, .. } => self.verdict(&bytes),
            Letter::Audit { number, bytes } => {
                self.seen.lock().unwrap().audits_sent += 1;
                self.receipt(number, &bytes)
            }
            Letter::Health(_) => None,
        };
        answer.into_iter().for_each(|event| self.events.try_send(event).unwrap());
        Ok(())
    }

    fn forget(&mut self, _: Question) {}
}
