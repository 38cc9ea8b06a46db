//! The one loop with simulated edges: real signatures, real seals, a real outbox, scripted eyes and a matcher in memory.
//!
//! Time is tokio's paused clock: it moves only when everything waits, so nothing here sleeps or depends on the machine.
#![allow(clippy::unwrap_used)]

mod kiosk;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use didar_agent::attempt::event::{Ending, Event, Language, Outcome};
use didar_agent::attempt::{Limits, Machine};
use didar_agent::edge::{
    Clock, LampError, Lamps, Letter, Outbox, OutboxError, Question, Switching, Uplink, UplinkError,
};
use didar_agent::journal::{Entry, Journal};
use didar_agent::outbox::{Change, Disk, DiskError, DiskOutbox, Pair};
use didar_agent::perception::{Eyes, Order};
use didar_agent::run::{Agent, LoopState, Refusal};
use didar_agent::time::{Calendar, Heard, Moment};
use didar_liveness::Policy;
use didar_protocol::id::{RequestId, sha256};
use didar_protocol::light_code::{CodeShape, Light};
use didar_protocol::message::{
    AuditEntry, AuditRecord, Connection, Ending as WireEnding, Kind, Message, ModelRef, Receipt, VerdictOutcome,
};
use didar_protocol::reason::Reason;
use didar_protocol::seal::{Signed, SoftwareSigner};
use kiosk::{Kiosk, Script};
use rcgen::{CertificateParams, KeyPair};
use tokio::sync::mpsc;

fn outcomes(entries: &[AuditEntry]) -> Vec<(Outcome, Reason)> {
    let attempts = entries.iter().filter_map(|entry| match entry {
        AuditEntry::Attempt { outcome, reason, .. } => Some((*outcome, *reason)),
        AuditEntry::Lost { .. } | AuditEntry::Gone { .. } | AuditEntry::Started { .. } => None,
    });
    attempts.collect()
}

#[tokio::test(start_paused = true)]
async fn the_right_person_is_granted_and_the_record_arrives() {
    let kiosk = Kiosk::start(Script::default());
    let id = kiosk.begin().await.unwrap();
    let ended = kiosk.outcome(id).await;
    assert_eq!((ended.outcome, ended.reason), (Outcome::Grant, Reason::None));
    kiosk.until(|kiosk| kiosk.standing().unconfirmed == 0).await;

    let seen = kiosk.stop().await;
    assert_eq!(seen.attempts.len(), 1, "one letter for one challenge");
    assert!(matches!(&seen.attempts[0].ending, WireEnding::Proved { template, .. } if template.values() == [1, 2, 3]));
    assert_eq!(outcomes(&seen.records), [(Outcome::Grant, Reason::None)]);
    let judged_by = seen.records.iter().find_map(|entry| match entry {
        AuditEntry::Attempt { policy_version, .. } => Some(*policy_version),
        AuditEntry::Lost { .. } | AuditEntry::Gone { .. } | AuditEntry::Started { .. } => None,
    });
    assert_eq!(judged_by, Some(Policy::shipped().version), "the device's own, not the centre's");
    assert_eq!(seen.lamps.last(), Some(&Light::Off));
    assert_eq!(seen.lamps.iter().filter(|light| **light != Light::Off).count(), seen.lit_slots);
}

#[tokio::test(start_paused = true)]
async fn a_denial_is_shown_with_its_reason() {
    let kiosk =
        Kiosk::start(Script { verdict: Some((VerdictOutcome::NoMatch, Reason::NotSamePerson)), ..Script::default() });
    let id = kiosk.begin().await.unwrap();
    let ended = kiosk.outcome(id).await;
    assert_eq!((ended.outcome, ended.reason), (Outcome::Deny, Reason::NotSamePerson));
}

#[tokio::test(start_paused = true)]
async fn a_spoof_goes_to_the_centre_without_a_template() {
    let kiosk = Kiosk::start(Script { live: false, ..Script::default() });
    let id = kiosk.begin().await.unwrap();
    assert_eq!(kiosk.outcome(id).await.outcome, Outcome::Spoof);
    let seen = kiosk.stop().await;
    let expected = WireEnding::Stopped { outcome: Outcome::Spoof, reason: Reason::NoRelief };
    assert_eq!(seen.attempts.iter().map(|attempt| &attempt.ending).collect::<Vec<_>>(), [&expected]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_matcher_ends_as_a_time_out() {
    let kiosk = Kiosk::start(Script { verdict: None, ..Script::default() });
    let id = kiosk.begin().await.unwrap();
    let ended = kiosk.outcome(id).await;
    assert_eq!((ended.outcome, ended.reason), (Outcome::TimeOut, Reason::NoAnswerInTime));
}

#[tokio::test(start_paused = true)]
async fn one_person_at_a_time() {
    let kiosk = Kiosk::start(Script { face: false, ..Script::default() });
    let first = kiosk.begin().await.unwrap();
    assert!(matches!(kiosk.begin().await, Err(Refusal::Busy)));
    kiosk.cancel(first).await;
    let ended = kiosk.outcome(first).await;
    assert_eq!((ended.outcome, ended.reason), (Outcome::Cancelled, Reason::CancelledByApplication));
    kiosk.begin().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn offline_is_said_at_once_and_the_record_arrives_later() {
    let kiosk = Kiosk::start(Script::default());
    kiosk.unplug().await;
    kiosk.pass(Duration::from_secs(3)).await;
    let id = kiosk.begin().await.unwrap();
    let ended = kiosk.outcome(id).await;
    assert_eq!((ended.outcome, ended.reason), (Outcome::Offline, Reason::NoConnection));
    assert_eq!(kiosk.standing().unconfirmed, 1);
    kiosk.plug().await;
    kiosk.until(|kiosk| kiosk.standing().unconfirmed == 0).await;
    let seen = kiosk.stop().await;
    assert!(seen.attempts.is_empty(), "a live attempt is never kept for later");
    assert_eq!(outcomes(&seen.records), [(Outcome::Offline, Reason::NoConnection)]);
}

#[tokio::test(start_paused = true)]
async fn a_record_without_receipt_is_sent_again() {
    let kiosk = Kiosk::start(Script { deaf_to_audits: 2, ..Script::default() });
    let id = kiosk.begin().await.unwrap();
    kiosk.outcome(id).await;
    kiosk.until(|kiosk| kiosk.standing().unconfirmed == 0).await;
    let seen = kiosk.stop().await;
    assert_eq!(outcomes(&seen.records), [(Outcome::Grant, Reason::None)]);
}

/// A month offline: each receipt asks for no more than the window holds, and a hole is gone back to once.
#[tokio::test(start_paused = true)]
async fn a_long_backlog_arrives_in_order_without_a_flood() {
    let kiosk = Kiosk::start(Script { backlog: 500, deaf_to_audits: 3, ..Script::default() });
    kiosk.pass(Duration::from_secs(1)).await;
    kiosk.until(|kiosk| kiosk.standing().unconfirmed == 0).await;
    let seen = kiosk.stop().await;
    assert_eq!(seen.records.len(), 500);
    assert!((503..600).contains(&seen.audits_sent), "{} were sent", seen.audits_sent);
}

/// Damage took records out of the middle of a long backlog: what is left arrives, and the matcher is told what will not.
#[tokio::test(start_paused = true)]
async fn a_backlog_with_holes_arrives_and_what_is_gone_is_told() {
    let holes = &[1, 40, 41, 42, 90, 499];
    let gone = |first, last| AuditEntry::Gone { first, last };
    let lost = [AuditEntry::Lost { count: 6 }, gone(1, 1), gone(40, 42), gone(90, 90), gone(499, 499)];
    for (deaf_to_audits, late_receipts) in [(0, false), (40, false), (0, true)] {
        let kiosk = Kiosk::start(Script { backlog: 500, holes, deaf_to_audits, late_receipts, ..Script::default() });
        // The link breaks while a hole is open.
        kiosk.unplug().await;
        kiosk.plug().await;
        kiosk.pass(Duration::from_secs(1)).await;
        kiosk.until(|kiosk| kiosk.standing().unconfirmed == 0).await;
        let seen = kiosk.stop().await;
        let (starts, told): (Vec<_>, Vec<_>) =
            seen.records.into_iter().partition(|entry| matches!(entry, AuditEntry::Started { .. }));
        assert_eq!(starts.len(), 494);
        assert_eq!(told, lost, "{deaf_to_audits} {late_receipts}");
        assert!(seen.audits_sent < 1200, "{} were sent", seen.audits_sent);
    }
}

#[tokio::test(start_paused = true)]
async fn broken_lamps_end_the_attempt_and_the_next_one_finds_them_mended() {
    let kiosk = Kiosk::start(Script { lamp_failures: 3, ..Script::default() });
    let first = kiosk.begin().await.unwrap();
    let ended = kiosk.outcome(first).await;
    assert_eq!((ended.outcome, ended.reason), (Outcome::Fault, Reason::LampFault));
    kiosk.until(|kiosk| kiosk.standing().faults.is_empty()).await;
    let second = kiosk.begin().await.unwrap();
    assert_eq!(kiosk.outcome(second).await.outcome, Outcome::Grant);
}

/// Whether an attempt has come to a state.
type IsThere = fn(&Kiosk, RequestId) -> bool;

/// In every state of an attempt: the camera's fault, then the camera again, then the next attempt in the same loop. While the
/// proof is under way nobody needs a camera, and what was told stays told.
#[tokio::test(start_paused = true)]
async fn a_camera_that_is_pulled_in_any_state_ends_the_attempt_and_the_next_one_works() {
    // A kiosk at which the attempt stays in the state that is wanted.
    let nobody = Script { face: false, ..Script::default() };
    let unanswered = Script { verdict: None, ..Script::default() };
    let states: [(&str, Script, IsThere, Outcome); 4] = [
        (
            "positioning",
            nobody,
            |kiosk, id| kiosk.has_told(id, |entry| matches!(entry, Entry::Positioning(_))),
            Outcome::Fault,
        ),
        ("proving", Script::default(), |kiosk, _| kiosk.is_lit(), Outcome::Fault),
        ("awaiting", unanswered, |kiosk, _| kiosk.letters() == 1, Outcome::TimeOut),
        ("showing", Script::default(), |kiosk, id| kiosk::ending(&kiosk.journal(), id).is_some(), Outcome::Grant),
    ];
    for (state, script, is_there, expected) in states {
        let kiosk = Kiosk::start(script);
        let id = kiosk.begin().await.unwrap();
        kiosk.until(|kiosk| is_there(kiosk, id)).await;
        kiosk.unplug_camera().await;
        assert_eq!(kiosk.outcome(id).await.outcome, expected, "{state}");
        assert!(!kiosk.is_lit(), "{state}");
        kiosk.until(|kiosk| kiosk.standing().serving.is_none()).await;
        let without = kiosk.begin().await.unwrap();
        let ended = kiosk.outcome(without).await;
        assert_eq!(
            (ended.outcome, ended.reason),
            (Outcome::Fault, Reason::CameraFault),
            "{state}: begun without a camera"
        );
        kiosk.plug_camera().await;
        kiosk.change(Script::default());
        let next = kiosk.begin().await.unwrap();
        assert_eq!(kiosk.outcome(next).await.outcome, Outcome::Grant, "{state}: the next attempt");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_record_nobody_is_granted_and_the_store_takes_the_record_when_it_works_again() {
    let kiosk = Kiosk::start(Script { store_failures: 3, ..Script::default() });
    let first = kiosk.begin().await.unwrap();
    let ended = kiosk.outcome(first).await;
    assert_eq!((ended.outcome, ended.reason), (Outcome::Fault, Reason::StorageFault));
    kiosk.until(|kiosk| kiosk.standing().faults == [Reason::StorageFault]).await;
    assert!(matches!(kiosk.begin().await, Err(Refusal::Unrecorded)), "what cannot be recorded is not begun");
    kiosk.until(|kiosk| kiosk.standing().faults.is_empty() && kiosk.standing().unconfirmed == 0).await;
    let seen = kiosk.stop().await;
    assert_eq!(outcomes(&seen.records), [(Outcome::Fault, Reason::StorageFault)]);
}

#[tokio::test(start_paused = true)]
async fn a_full_outbox_begins_nobody_until_the_centre_has_confirmed() {
    let kiosk = Kiosk::start(Script { backlog: 3, capacity: 3, deaf_to_audits: 3, ..Script::default() });
    assert!(matches!(kiosk.begin().await, Err(Refusal::Unrecorded)), "what cannot be recorded is not begun");
    // Longer than a store that failed waits to be mended.
    kiosk.pass(Duration::from_secs(5)).await;
    assert_eq!(kiosk.standing().faults, [Reason::StorageFault]);
    kiosk.until(|kiosk| kiosk.standing().unconfirmed == 0).await;
    assert!(kiosk.standing().faults.is_empty());
    let id = kiosk.begin().await.unwrap();
    assert_eq!(kiosk.outcome(id).await.outcome, Outcome::Grant);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_that_cannot_be_read_is_a_fault_until_it_can() {
    let kiosk = Kiosk::start(Script { backlog: 3, unreadable: 1, ..Script::default() });
    kiosk.until(|kiosk| kiosk.standing().faults == [Reason::StorageFault]).await;
    assert!(matches!(kiosk.begin().await, Err(Refusal::Unrecorded)));
    kiosk.until(|kiosk| kiosk.standing().faults.is_empty() && kiosk.standing().unconfirmed == 0).await;
}

#[tokio::test(start_paused = true)]
async fn with_a_store_that_stays_damaged_the_agent_ends_so_that_its_next_start_repairs_it() {
    let kiosk = Kiosk::start(Script { backlog: 3, unreadable: u32::MAX, ..Script::default() });
    kiosk.until(|kiosk| kiosk.standing().faults == [Reason::StorageFault]).await;
    kiosk.until(Kiosk::has_ended).await;
}

#[tokio::test(start_paused = true)]
async fn stopping_in_the_middle_of_the_code_leaves_dark_lamps_and_a_record() {
    let kiosk = Kiosk::start(Script::default());
    let id = kiosk.begin().await.unwrap();
    kiosk.until(|kiosk| kiosk.is_lit()).await;
    let ended = {
        let journal = kiosk.journal();
        let seen = kiosk.stop().await;
        assert_eq!(seen.lamps.last(), Some(&Light::Off));
        assert!(matches!(seen.attempts[0].ending, WireEnding::Stopped { outcome: Outcome::Cancelled, .. }));
        assert_eq!(outcomes(&seen.stored), [(Outcome::Cancelled, Reason::Stopping)]);
        kiosk::ending(&journal, id).unwrap()
    };
    assert_eq!((ended.outcome, ended.reason), (Outcome::Cancelled, Reason::Stopping));
}

#[test]
fn nothing_of_a_person_shows_in_debug() {
    let template = didar_protocol::message::Template::new(0.5, vec![77, -77]);
    let text = format!("{:?}", Ending::Proved { template, picture: None });
    assert!(!text.contains("77"), "{text}");
    let draft = format!("{:?}", kiosk::draft());
    assert!(!draft.contains(kiosk::subject().as_str()), "{draft}");
}

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

/// The loop without its timers, offline until told otherwise. What it sends is kept.
struct Bench {
    agent: Agent,
    plate: Plate,
    clock: Arc<StoppedClock>,
    letters: Arc<Mutex<Vec<Letter>>>,
    signer: Arc<SoftwareSigner>,
}

fn device() -> didar_protocol::id::DeviceId {
    "kiosk-7".parse().unwrap()
}

fn signer() -> Arc<SoftwareSigner> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    Arc::new(SoftwareSigner::from_pkcs8_pem(&key.serialize_pem(), certificate.der()).unwrap())
}

fn append(outbox: &mut dyn Outbox, records: u64) {
    for _ in 0..records {
        outbox.append(&AuditEntry::Started { version: "0.1.0".to_owned(), boot: [7; 16] }).unwrap();
    }
}

impl Bench {
    /// With an outbox of so many records on a disk that does as it is told.
    fn over_a_plate(records: u64, capacity: u64) -> Self {
        let (plate, signer) = (Plate::default(), signer());
        let mut outbox = DiskOutbox::open_on(Box::new(plate.clone()), device(), signer.clone(), capacity).unwrap();
        append(&mut outbox, records);
        Self { plate, ..Self::over(outbox, signer) }
    }

    fn over(outbox: DiskOutbox, signer: Arc<SoftwareSigner>) -> Self {
        let second = Duration::from_secs(1);
        let limits = Limits {
            position: second * 20,
            challenge: second * 5,
            judge: second * 3,
            reply: second * 8,
            show: second * 4,
            reconnect: second * 2,
        };
        let (clock, letters) = (Arc::new(StoppedClock::new()), Arc::default());
        let agent = Agent {
            device: device(),
            machine: Machine::new(limits, device(), CodeShape::AT_30, Duration::from_micros(66_667), clock.now()),
            limits,
            clock: clock.clone(),
            signer: signer.clone(),
            lamps: Box::new(Dark(clock.clone())),
            perception: Box::new(Blind),
            display: None,
            buzzer: None,
            uplink: Box::new(Tray(Arc::clone(&letters))),
            outbox: Box::new(outbox),
            journal: Arc::new(Journal::default()),
            language: Language::Kk,
            state: LoopState::default(),
        };
        Self { agent, plate: Plate::default(), clock, letters, signer }
    }

    /// Time passes; the loop is woken at its end.
    fn pass(&mut self, time: Duration) {
        let mut now = self.clock.now.lock().unwrap();
        *now = now.after(time);
        drop(now);
        self.agent.wake();
    }

    /// A receipt for everything up to this record.
    fn receipt(&self, highest: u64) -> Receipt {
        let (_, bytes) = self.agent.outbox.unacknowledged(highest, 1).unwrap().swap_remove(0);
        let hash = sha256(&bytes);
        Receipt { device: device(), highest, hash, answers: highest, missing: Vec::new(), server_time_ms: NOW_MS }
    }

    fn unconfirmed(&self) -> u64 {
        self.agent.journal.standing().unconfirmed
    }

    /// The records that were sent since this was asked last.
    fn sent(&self) -> Vec<AuditRecord> {
        let read = |letter: &Letter| match letter {
            Letter::Audit { bytes, .. } => {
                let signed = Signed::parse(Kind::AuditRecord, bytes).unwrap();
                Some(AuditRecord::decode(signed.verify(&self.signer.verifying_key()).unwrap()).unwrap())
            }
            Letter::Health(_) | Letter::RequestChallenge { .. } | Letter::Attempt { .. } => None,
        };
        let mut letters = self.letters.lock().unwrap();
        let sent = letters.iter().filter_map(read).collect();
        letters.retain(|letter| matches!(letter, Letter::Health(_)));
        sent
    }

    /// The faults that the centre was told of, each set once for as long as it stood.
    fn told(&self) -> Vec<Vec<Reason>> {
        let faults = |letter: &Letter| match letter {
            Letter::Health(health) => Some(health.faults.clone()),
            Letter::Audit { .. } | Letter::RequestChallenge { .. } | Letter::Attempt { .. } => None,
        };
        let mut told: Vec<_> = self.letters.lock().unwrap().iter().filter_map(faults).collect();
        told.dedup();
        let healthy_at_first = told.first().is_some_and(Vec::is_empty);
        told.drain(..usize::from(healthy_at_first));
        told
    }
}

const NOW_MS: u64 = 1_795_000_000_000;

/// Moves only when told, and shows the matcher's time.
struct StoppedClock {
    now: Mutex<Moment>,
    calendar: Calendar,
}

impl StoppedClock {
    fn new() -> Self {
        let calendar = Calendar::new(0, Moment::ZERO);
        calendar.learn(Heard::Now(NOW_MS), Moment::ZERO);
        Self { now: Mutex::new(Moment::ZERO), calendar }
    }
}

impl Clock for StoppedClock {
    fn now(&self) -> Moment {
        *self.now.lock().unwrap()
    }

    fn calendar(&self) -> &Calendar {
        &self.calendar
    }
}

struct Dark(Arc<StoppedClock>);

impl Lamps for Dark {
    fn set(&mut self, _: Light) -> Result<Switching, LampError> {
        Ok(Switching { ordered: self.0.now(), done: self.0.now() })
    }
}

struct Blind;

impl Eyes for Blind {
    fn order(&self, _: Order) {}

    fn turns(&self) -> u64 {
        0
    }

    fn models(&self) -> &[ModelRef] {
        &[]
    }
}

struct Tray(Arc<Mutex<Vec<Letter>>>);

impl Uplink for Tray {
    fn send(&mut self, letter: Letter) -> Result<(), UplinkError> {
        self.0.lock().unwrap().push(letter);
        Ok(())
    }

    fn forget(&mut self, _: Question) {}

    fn connection(&self) -> Result<Connection, OutboxError> {
        Ok(Connection { boot: [7; 16], connects: 1 })
    }
}

/// A disk that fails, loses and damages what it is told to.
#[derive(Clone, Default)]
struct Plate(Arc<Mutex<Platter>>);

#[derive(Default)]
struct Platter {
    pairs: BTreeMap<Vec<u8>, Vec<u8>>,
    beside: Option<Vec<u8>>,
    fails: Fails,
    /// It failed, and does so until it is opened anew.
    closed: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Fails {
    #[default]
    Never,
    Always,
    /// What is written is there all the same.
    AfterWriting,
}

impl Plate {
    fn state(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap()
    }

    fn unless(&self, fails: Fails) -> Result<MutexGuard<'_, Platter>, DiskError> {
        let mut state = self.state();
        state.closed |= state.fails == fails;
        let cause = io::ErrorKind::StorageFull.into();
        if state.closed { Err(DiskError::File { file: "plate".into(), cause }) } else { Ok(state) }
    }

    fn working(&self) -> Result<MutexGuard<'_, Platter>, DiskError> {
        self.unless(Fails::Always)
    }

    fn fail(&self, fails: Fails) {
        self.state().fails = fails;
    }

    fn damage(&self, number: u64) {
        self.state().pairs.get_mut(&key(number)).unwrap()[60] ^= 1;
    }

    fn lose(&self, number: u64) {
        assert!(self.state().pairs.remove(&key(number)).is_some());
    }
}

fn key(number: u64) -> Vec<u8> {
    [b"L".as_slice(), &number.to_be_bytes()].concat()
}

impl Disk for Plate {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        Ok(self.working()?.pairs.get(key).cloned())
    }

    fn range(&self, first: &[u8], last: &[u8], limit: usize) -> Result<Vec<Pair>, DiskError> {
        let state = self.working()?;
        let found = state.pairs.range(first.to_vec()..=last.to_vec()).take(limit);
        Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn keys(&self, first: &[u8], last: &[u8]) -> Result<Vec<Vec<u8>>, DiskError> {
        Ok(self.working()?.pairs.range(first.to_vec()..=last.to_vec()).map(|(key, _)| key.clone()).collect())
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), DiskError> {
        let mut state = self.working()?;
        for change in changes {
            match change {
                Change::Put(key, value) => drop(state.pairs.insert(key, value)),
                Change::Remove(key) => drop(state.pairs.remove(&key)),
            }
        }
        drop(state);
        self.unless(Fails::AfterWriting).map(drop)
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.working().map(drop)
    }

    fn reopen(&mut self) -> Result<(), DiskError> {
        self.state().closed = false;
        self.working().map(drop)
    }

    fn write_beside(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.working()?.beside = Some(bytes.to_vec());
        Ok(())
    }

    fn read_beside(&self) -> Option<Vec<u8>> {
        self.state().beside.clone()
    }

    fn place(&self) -> &Path {
        Path::new("plate")
    }
}
