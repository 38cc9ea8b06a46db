//! The other end of the wire: opens, verifies, answers at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use didar_agent::attempt::event::Event;
use didar_agent::edge::{Letter, OutboxError, Question, Uplink, UplinkError};
use didar_protocol::id::{AttemptId, Hash, sha256};
use didar_protocol::message::{
    Attempt, AuditEntry, AuditRecord, Challenge, ChallengeRequest, Connection, Kind, MatcherKeys, Message, Receipt,
    Stage, Verdict,
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
    /// With their hashes.
    records: BTreeMap<u64, (Hash, AuditEntry)>,
    /// Everything up to here is kept, or gone.
    reached: u64,
    /// What is still to come once more.
    late: VecDeque<Receipt>,
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
        Self {
            script,
            events,
            device_key,
            pair: pair(),
            records: BTreeMap::new(),
            reached: 0,
            late: VecDeque::new(),
            seen,
        }
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

    fn receipt(&mut self, number: u64, bytes: &[u8]) -> Option<Receipt> {
        let mut script = self.script.lock().unwrap();
        if script.deaf_to_audits > 0 {
            script.deaf_to_audits -= 1;
            return None;
        }
        drop(script);
        let signed = Signed::parse(Kind::AuditRecord, bytes).unwrap();
        let record = AuditRecord::decode(signed.verify(&self.device_key).unwrap()).unwrap();
        assert_eq!(record.number, number);
        self.records.entry(number).or_insert((sha256(bytes), record.entry));
        while let Some(come) = self.comes_after(self.reached) {
            self.seen.lock().unwrap().records.extend(come);
            self.reached += 1;
        }
        let last = self.records.range(..=self.reached).next_back();
        let (highest, hash) = last.map_or((0, [0; 32]), |(number, (hash, _))| (*number, *hash));
        let missing = (self.reached + 1..number).find(|number| self.comes_after(number - 1).is_none());
        Some(Receipt {
            device: device(),
            highest,
            hash,
            answers: number,
            missing: missing.into_iter().collect(),
            server_time_ms: NOW_MS,
        })
    }

    /// The entry after this number, or that there will be none; `None` while it is missing.
    fn comes_after(&self, number: u64) -> Option<Option<AuditEntry>> {
        let next = number + 1;
        let kept = self.records.get(&next).map(|(_, entry)| Some(entry.clone()));
        let is_gone = |(_, entry): &(Hash, AuditEntry)| matches!(entry, AuditEntry::Gone { first, last } if (*first..=*last).contains(&next));
        kept.or_else(|| self.records.values().any(is_gone).then_some(None))
    }
}

impl Uplink for Matcher {
    fn send(&mut self, letter: Letter) -> Result<(), UplinkError> {
        let answer = match letter {
            Letter::RequestChallenge { bytes, .. } => Some(self.challenge(&bytes)),
            Letter::Attempt { bytes, .. } => self.verdict(&bytes),
            Letter::Audit { number, bytes } => {
                self.seen.lock().unwrap().audits_sent += 1;
                let receipt = self.receipt(number, &bytes);
                if self.script.lock().unwrap().late_receipts {
                    self.late.extend(receipt.clone());
                }
                receipt.map(Event::Receipt)
            }
            Letter::Health(_) => None,
        };
        let late = if self.late.len() > 3 { self.late.pop_front() } else { None };
        answer.into_iter().chain(late.map(Event::Receipt)).for_each(|event| self.events.try_send(event).unwrap());
        Ok(())
    }

    fn forget(&mut self, _: Question) {}

    fn connection(&self) -> Result<Connection, OutboxError> {
        Ok(Connection { boot: [7; 16], connects: 1 })
    }
}
