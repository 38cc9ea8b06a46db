//! The one loop with simulated edges: real signatures, real seals, a real outbox, scripted eyes and a matcher in memory.
//!
//! Time is tokio's paused clock: it moves only when everything waits, so nothing here sleeps or depends on the machine.
#![allow(clippy::unwrap_used)]

mod kiosk;

use std::time::Duration;

use didar_agent::attempt::event::{Ending, Outcome};
use didar_agent::journal::Entry;
use didar_agent::run::Refusal;
use didar_liveness::Policy;
use didar_protocol::id::RequestId;
use didar_protocol::light_code::Light;
use didar_protocol::message::{AuditEntry, Ending as WireEnding, VerdictOutcome};
use didar_protocol::reason::Reason;
use kiosk::{Kiosk, Script};

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
