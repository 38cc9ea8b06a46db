//! Many messages in one transaction, and two matchers over one database.
#![allow(clippy::unwrap_used, missing_docs)]

mod site;

use std::cell::Cell;

use didar_matcher::service::{Incoming, Outgoing, Service};
use didar_matcher::store::Store;
use didar_protocol::id::Env;
use didar_protocol::message::{AuditEntry, Challenge, Receipt};
use didar_protocol::topic::{Lane, Topic};
use site::*;

const TRIES_MAX: u32 = 10;

fn incoming(kiosk: &Kiosk, lane: Lane, payload: Vec<u8>) -> Incoming {
    let topic = Topic::Device { env: Env::Test, device: kiosk.id.clone(), lane }.to_string();
    Incoming { topic, payload }
}

/// The first `count` records of a kiosk.
fn chain(kiosk: &Kiosk, count: u64) -> Vec<Incoming> {
    let mut previous = [0; 32];
    let mut next = |number| {
        let bytes = kiosk.record(number, previous, AuditEntry::Started { version: "1".into(), boot: [1; 16] });
        previous = hash_of(&bytes);
        incoming(kiosk, Lane::Audit, bytes)
    };
    (1..=count).map(&mut next).collect()
}

/// Hands everything over, as often as it takes; what was answered to each.
fn hand_over(service: &mut Service, messages: &[Incoming]) -> Vec<Vec<Outgoing>> {
    let mut out = Vec::new();
    while out.len() < messages.len() {
        let rest: Vec<&Incoming> = messages[out.len()..].iter().collect();
        out.extend(service.handle_together(&rest, || NOW));
    }
    out
}

fn audited(site: &mut Site) -> Vec<(String, u64)> {
    let lines = site.ledger().into_iter().filter(|line| line["what"] == "audited");
    let mut numbers: Vec<_> =
        lines.map(|line| (line["device"].as_str().unwrap().to_owned(), line["number"].as_u64().unwrap())).collect();
    numbers.sort();
    numbers
}

#[test]
fn a_run_of_records_has_one_receipt_and_garbage_among_them_harms_none() {
    let mut site = site();
    let (one, other) = (site.kiosk("kiosk-1"), site.kiosk("kiosk-2"));
    let [first, second, third] = chain(&one, 3).try_into().unwrap();
    let [alone] = chain(&other, 1).try_into().unwrap();
    let garbage = incoming(&other, Lane::State, vec![7; 40]);
    let answers = hand_over(&mut site.service, &[first, alone, garbage, second, third]);
    let receipts = answers.iter().map(|answers| read::<Receipt>(answers, Lane::Receipt).map(|receipt| receipt.highest));
    assert_eq!(receipts.collect::<Vec<_>>(), [None, Some(1), None, None, Some(3)]);
    assert_eq!(alarms(&answers[2]), ["not a signed message"]);
    assert_eq!(audited(&mut site).len(), 4);
}

#[test]
fn nobody_waits_for_a_transaction_longer_than_its_time() {
    let mut site = site();
    let kiosk = site.kiosk("kiosk-1");
    let messages = chain(&kiosk, 5);
    let all: Vec<&Incoming> = messages.iter().collect();
    let now = Cell::new(NOW);
    let slow = || now.replace(now.get() + 8);
    let answers = site.service.handle_together(&all, slow);
    assert_eq!(answers.len(), 2, "the third would begin 24 ms after the first look");
    assert_eq!(audited(&mut site).len(), 2);
    // A clock that stands far ahead at once: one is handled all the same.
    let leaping = || now.replace(now.get() + 1_000_000);
    assert_eq!(site.service.handle_together(&all[2..], leaping).len(), 1);
}

#[test]
fn two_matchers_on_one_database_keep_everything_once() {
    let mut site = site();
    let kiosks = ["kiosk-1", "kiosk-2"].map(|id| site.kiosk(id));
    let chains = kiosks.each_ref().map(|kiosk| chain(kiosk, 60));
    // Each matcher hears every record: half of them first, half of them as a repeat, in runs as the broker deals them.
    std::thread::scope(|scope| {
        for turn in 0..2 {
            let (config, chains) = (&site.config, &chains);
            scope.spawn(move || {
                let mut service = service(config);
                for round in 0..10 {
                    for records in [turn, 1 - turn].map(|kiosk| &chains[kiosk][round * 6..(round + 1) * 6]) {
                        // On a starved machine one may wait too long for the other: then the device sends again.
                        let answered = (0..TRIES_MAX).find_map(|_| {
                            let answers = hand_over(&mut service, records);
                            read::<Receipt>(answers.last().unwrap(), Lane::Receipt)
                        });
                        let receipt = answered.expect("a receipt");
                        assert!(receipt.highest >= (round as u64 + 1) * 6 && receipt.missing.is_empty());
                    }
                }
            });
        }
    });
    let expected = kiosks.iter().flat_map(|kiosk| (1..=60).map(|number| (kiosk.id.to_string(), number)));
    assert_eq!(audited(&mut site), expected.collect::<Vec<_>>());
    site.service.store().verify_ledger().unwrap();
}

/// Takes the ten seconds for which a matcher waits.
#[test]
fn what_a_busy_database_kept_waiting_too_long_is_unanswered_and_answered_when_it_is_sent_again() {
    let mut site = site();
    let mut kiosk = site.kiosk("kiosk-1");
    site.enrol(PERSON, 20);
    let request = kiosk_request(&mut kiosk, PERSON, NOW);
    let request = incoming(&kiosk, Lane::ChallengeRequest, kiosk.ask(&site.seal_key, request));
    let record = chain(&kiosk, 1).remove(0);
    let lines = site.ledger().len();
    let mut other = Store::open(&site.config.store.database, &site.config.keys.store, site.config.env).unwrap();
    let held = other.begin().unwrap();
    let unanswered = site.service.handle_together(&[&request, &record], || NOW);
    assert_eq!(unanswered, [vec![], vec![]]);
    drop(held);
    assert_eq!(site.ledger().len(), lines);
    assert_eq!(site.service.counters().failed, 2);
    let answers = hand_over(&mut site.service, &[request, record]);
    assert!(read::<Challenge>(&answers[0], Lane::Challenge).is_some());
    assert_eq!(receipt(&answers[1]), (1, vec![]));
}
