//! What the loop does when its store is damaged, full, or takes no receipt; and what it keeps for the next start.
#![allow(clippy::unwrap_used)]

mod bench;
mod kiosk;

use std::time::Duration;

use bench::*;
use didar_agent::attempt::event::{Event, Outcome};
use didar_agent::edge::Clock;
use didar_agent::outbox::DiskOutbox;
use didar_agent::run::Refusal;
use didar_agent::time::Heard;
use didar_protocol::message::{AuditEntry, Receipt};
use didar_protocol::reason::Reason;
use tokio::sync::mpsc;

#[test]
fn a_record_that_cannot_be_read_counts_as_unconfirmed() {
    let mut bench = Bench::over_a_plate(3, 100);
    bench.plate.damage(1);
    bench.agent.take(Event::Tick);
    assert_eq!(bench.unconfirmed(), 3);
    bench.plate.fail(Fails::Always);
    bench.agent.take(Event::Tick);
    assert_eq!(bench.unconfirmed(), 3, "of a store that fails nothing new is known");
}

#[test]
fn a_receipt_that_the_store_cannot_take_is_a_fault_until_it_can() {
    // What is not taken: that record 2 is confirmed; the signed time, long after the receipt for record 1.
    for (confirmed, later) in [(2, Duration::ZERO), (1, Duration::from_secs(70))] {
        let mut bench = Bench::over_a_plate(3, 100);
        bench.agent.take(Event::UplinkUp);
        let (first, receipt) = (bench.receipt(1), bench.receipt(confirmed));
        bench.agent.take(Event::Receipt(first));
        bench.pass(later);
        bench.plate.fail(Fails::Always);
        bench.agent.take(Event::Receipt(receipt.clone()));
        assert_eq!(bench.agent.machine.faults(), [Reason::StorageFault], "{confirmed}");
        assert_eq!(bench.unconfirmed(), 2);
        assert!(matches!(bench.agent.begin(kiosk::draft()), Err(Refusal::Unrecorded)));
        bench.pass(Duration::from_secs(2));
        assert_eq!(bench.agent.machine.faults(), [Reason::StorageFault], "{confirmed}: mended too early");
        bench.plate.fail(Fails::Never);
        bench.sent();
        bench.pass(Duration::from_secs(1));
        let again: Vec<_> = bench.sent().into_iter().map(|record| record.number).collect();
        assert_eq!(again, [2, 3], "{confirmed}");
        assert_eq!(bench.told(), [vec![Reason::StorageFault], vec![]], "{confirmed}");
        bench.agent.take(Event::Receipt(receipt));
        assert_eq!(bench.unconfirmed(), 3 - confirmed);
    }
}

#[test]
fn a_receipt_that_reached_the_disk_of_a_store_that_failed_loses_nothing() {
    let mut bench = Bench::over_a_plate(2, 100);
    bench.agent.take(Event::UplinkUp);
    bench.sent();
    let receipt = bench.receipt(2);
    bench.plate.fail(Fails::AfterWriting);
    bench.agent.take(Event::Receipt(receipt));
    bench.plate.fail(Fails::Never);
    bench.pass(Duration::from_secs(1));
    assert!(bench.agent.machine.faults().is_empty());
    assert_eq!((bench.unconfirmed(), bench.sent()), (0, Vec::new()));
}

#[test]
fn a_full_outbox_is_a_fault_until_a_receipt_makes_room() {
    let mut bench = Bench::over_a_plate(2, 2);
    bench.agent.take(Event::UplinkUp);
    assert_eq!(bench.agent.machine.faults(), [Reason::StorageFault]);
    // A store that fails meanwhile is mended, and as full as before.
    let receipt = bench.receipt(1);
    bench.plate.fail(Fails::Always);
    bench.agent.take(Event::Receipt(receipt.clone()));
    bench.pass(Duration::from_secs(2));
    bench.plate.fail(Fails::Never);
    for _ in 0..3 {
        bench.pass(Duration::from_secs(1));
    }
    assert!(matches!(bench.agent.begin(kiosk::draft()), Err(Refusal::Unrecorded)));
    assert_eq!(bench.told(), [vec![Reason::StorageFault]]);
    bench.agent.take(Event::Receipt(receipt));
    assert_eq!(bench.told(), [vec![Reason::StorageFault], vec![]]);
    bench.agent.begin(kiosk::draft()).unwrap();
}

#[test]
fn whoever_is_served_when_the_outbox_becomes_full_is_served_to_the_end() {
    let mut bench = Bench::over_a_plate(1, 2);
    bench.agent.take(Event::UplinkUp);
    let id = bench.agent.begin(kiosk::draft()).unwrap();
    append(bench.agent.outbox.as_mut(), 1);
    bench.agent.take(Event::Tick);
    assert_eq!(bench.agent.machine.serving(), Some(id));
    assert!(bench.agent.machine.faults().is_empty());
    bench.agent.take(Event::Cancelled(id));
    assert_eq!(kiosk::ending(&bench.agent.journal, id).unwrap().outcome, Outcome::Cancelled);
    assert_eq!(bench.sent().len(), 3, "the record had its place");
    assert_eq!(bench.told(), [vec![Reason::StorageFault]]);
}

#[test]
fn what_told_of_a_lost_record_is_told_anew_when_it_is_lost_itself() {
    let mut bench = Bench::over_a_plate(3, 100);
    bench.agent.take(Event::UplinkUp);
    let receipt = Receipt { answers: 3, missing: vec![2], ..bench.receipt(1) };
    bench.plate.lose(2);
    let mut told = Vec::new();
    for _ in 0..2 {
        bench.sent();
        bench.agent.take(Event::Receipt(receipt.clone()));
        told.extend(bench.sent());
        bench.plate.lose(told.last().unwrap().number);
        // Until everything is sent again.
        bench.pass(Duration::from_secs(11));
    }
    let mut told: Vec<_> = told.into_iter().map(|record| (record.number, record.entry)).collect();
    // Each goes in its turn as well.
    told.dedup();
    let gone = AuditEntry::Gone { first: 2, last: 2 };
    assert_eq!(told, [(4, gone.clone()), (5, gone)]);
}

#[test]
fn damage_in_the_store_of_a_running_agent_is_mended_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let signer = signer();
    let mut outbox = DiskOutbox::open(folder.path(), device(), signer.clone(), 100).unwrap();
    append(&mut outbox, 5);
    let mut bench = Bench::over(outbox, signer);
    std::fs::write(folder.path().join("letters/db"), b"").unwrap();
    bench.agent.take(Event::UplinkUp);
    // Whatever of it is noticed first.
    bench.agent.take(Event::Fault(Reason::StorageFault));
    bench.sent();
    bench.pass(Duration::from_secs(1));
    assert!(bench.agent.machine.faults().is_empty());
    let left: Vec<_> = bench.sent().into_iter().map(|record| (record.number, record.entry)).collect();
    assert_eq!(left, [(6, AuditEntry::Lost { count: 5 })]);
}

#[tokio::test(start_paused = true)]
async fn with_damage_that_mending_does_not_repair_the_agent_ends() {
    let mut bench = Bench::over_a_plate(3, 100);
    bench.plate.damage(2);
    bench.agent.take(Event::UplinkUp);
    bench.pass(Duration::from_secs(1));
    let ((_event, events), (_call, calls)) = (mpsc::channel(1), mpsc::channel(1));
    let run = bench.agent.run(events, calls, std::future::pending());
    assert!(tokio::time::timeout(Duration::from_secs(10), run).await.is_ok());
}

/// What the next start would begin with, after the matcher said that it is so much later than the start, and a receipt came.
fn kept_after(bench: &mut Bench, told_ms: u64) -> u64 {
    let now = bench.clock.now();
    bench.clock.calendar().learn(Heard::Now(told_ms), now);
    append(bench.agent.outbox.as_mut(), 1);
    let (next, _) = bench.agent.outbox.head();
    let receipt = bench.receipt(next - 1);
    bench.agent.take(Event::Receipt(receipt));
    bench.agent.outbox.signed_time()
}

#[test]
fn a_time_that_is_far_ahead_is_kept_no_further_than_time_passes() {
    const DAY_MS: u64 = 86_400_000;
    let mut bench = Bench::over_a_plate(1, 100);
    bench.agent.outbox.keep_signed_time(NOW_MS).unwrap();
    // What this start finds may be a month old, and is no older where the device was away for longer.
    assert_eq!(kept_after(&mut bench, NOW_MS + 100 * DAY_MS), NOW_MS + 30 * DAY_MS);
    assert_eq!(kept_after(&mut bench, NOW_MS + 100 * DAY_MS), NOW_MS + 30 * DAY_MS);
    bench.pass(Duration::from_secs(86_400));
    assert_eq!(kept_after(&mut bench, NOW_MS + 100 * DAY_MS), NOW_MS + 31 * DAY_MS);
    // The right time counts at once, also where it is earlier.
    assert_eq!(kept_after(&mut bench, NOW_MS + DAY_MS), NOW_MS + DAY_MS);
    bench.pass(Duration::from_secs(3600));
    assert_eq!(kept_after(&mut bench, NOW_MS + DAY_MS + 3_600_000), NOW_MS + DAY_MS + 3_600_000);
}
