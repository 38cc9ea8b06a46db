//! One sentence per case: what happens, and what the machine orders then.

use super::*;

/// Feeds `story` to a connected machine and compares what it orders with `expected`, event by event. Between events the
/// machine is stepped at each of its deadlines; what it orders then is written with the event that follows. The lamps'
/// orders within a code are written as one `code`.
#[track_caller]
fn check(story: &str, expected: &str) {
    let mut machine = machine();
    machine.step(at(0), Event::UplinkUp);
    machine.step(at(0), keys());
    let mut said = Vec::new();
    for word in story.split_whitespace() {
        let (what, when) = word.split_once('@').unwrap();
        let now = at(when.parse().unwrap());
        let mut orders = Vec::new();
        while let Some(due) = machine.deadline().filter(|due| *due < now) {
            orders.extend(machine.step(due, Event::Tick));
        }
        orders.extend(machine.step(now, event(what)));
        said.push(sentence(&orders));
    }
    assert_eq!(said.join(" | "), expected.split_whitespace().collect::<Vec<_>>().join(" "), "\nstory: {story}");
}

fn sentence(orders: &[Command]) -> String {
    let mut words: Vec<String> = Vec::new();
    for order in orders {
        let word = match order {
            Command::Lamps(light) if is_lit(*light) => "code".to_owned(),
            Command::Show(View::HoldStill { .. }) => "code".to_owned(),
            other => say(other),
        };
        let repeats = word == "code" && words.last().is_some_and(|last| last == "code");
        let dark_slot = word == "code" && words.last().is_some_and(|last| last == "lamps(off)");
        if dark_slot {
            words.pop();
        }
        let goes_on = dark_slot && words.last().is_some_and(|last| last == "code");
        if !(repeats || goes_on) {
            words.push(word);
        }
    }
    words.dedup();
    if words.is_empty() { "-".into() } else { words.join(" ") }
}

fn event(word: &str) -> Event {
    let (name, number) = match word.split_once('#') {
        Some((name, number)) => (name, number.parse().unwrap()),
        None => (word, 1),
    };
    let id = RequestId::from_bytes([number; 16]);
    match name {
        "request" => request(number),
        "cancel" => Event::Cancelled(id),
        "stop" => Event::Stopping,
        "closer" => Event::Guided(id, crate::attempt::Hint::Closer),
        "face" => Event::FaceSteady(id),
        "lost" => Event::FaceLost(id),
        "challenge" => challenge(number, 60_000),
        "short-challenge" => challenge(number, 3_000),
        "proven" => proven(number),
        "spoof" => refuted(number, Finding::Spoof, Reason::NoRelief),
        "unclear" => refuted(number, Finding::Inconclusive, Reason::TooMuchInfrared),
        "match" => Event::Replied(Box::new(verdict(number, VerdictOutcome::Match, Reason::None))),
        "no-match" => Event::Replied(Box::new(verdict(number, VerdictOutcome::NoMatch, Reason::NotSamePerson))),
        "foreign-nonce" => {
            let verdict = verdict(number, VerdictOutcome::Match, Reason::None);
            Event::Replied(Box::new(Verdict { reply_to: [0; 32], ..verdict }))
        }
        "expired-match" => {
            let verdict = verdict(number, VerdictOutcome::Match, Reason::None);
            Event::Replied(Box::new(Verdict { expires_ms: 1_001_000, ..verdict }))
        }
        "refuse" => {
            let verdict = verdict(number, VerdictOutcome::Refuse, Reason::ConsentExpired);
            Event::Replied(Box::new(Verdict { attempt: None, reply_to: [number; 32], ..verdict }))
        }
        "unsent" => Event::Unsent(id),
        "up" => Event::UplinkUp,
        "down" => Event::UplinkDown,
        "camera-fault" => Event::Fault(Reason::CameraFault),
        "camera-mended" => Event::Mended(Reason::CameraFault),
        "screen-fault" => Event::Fault(Reason::ScreenFault),
        "screen-mended" => Event::Mended(Reason::ScreenFault),
        "wait" => Event::Tick,
        other => panic!("no event is called {other}"),
    }
}

#[test]
fn the_right_person_is_granted() {
    check(
        "request@0 challenge@90 closer@200 face@900 wait@1800 proven@2000 match@2300 wait@7000",
        "watch look-for-face ask | - | closer | prove code | code lamps(off) judge checking | rest send(proved)
         | record(grant) show(grant) | idle",
    );
}

#[test]
fn a_face_that_waits_for_its_challenge_is_proved_when_it_comes() {
    check("request@0 face@300 challenge@400", "watch look-for-face ask | hold-still | prove code");
}

#[test]
fn another_person_is_denied() {
    check(
        "request@0 challenge@90 face@900 wait@1800 proven@2000 no-match@2300",
        "watch look-for-face ask | - | prove code | code lamps(off) judge checking | rest send(proved)
         | record(deny:not-same-person) show(deny:not-same-person)",
    );
}

#[test]
fn a_stale_foreign_or_expired_match_never_grants() {
    check(
        "request@0 challenge@90 face@900 wait@1800 match@1900 proven@2000 match#2@2300 foreign-nonce@2400
         expired-match@2500 wait@10100",
        "watch look-for-face ask | - | prove code | code lamps(off) judge checking | - | rest send(proved)
         | - | - | - | forget record(timeout:no-answer-in-time) show(timeout:no-answer-in-time)",
    );
}

#[test]
fn a_match_at_the_deadline_is_late() {
    check(
        "request@0 challenge@90 face@900 wait@1800 proven@2000 match@10000",
        "watch look-for-face ask | - | prove code | code lamps(off) judge checking | rest send(proved)
         | forget record(timeout:no-answer-in-time) show(timeout:no-answer-in-time)",
    );
}

#[test]
fn a_spoof_found_here_is_sent_without_a_template_and_waits_for_nobody() {
    check(
        "request@0 challenge@90 face@900 wait@1800 spoof@2000 match@2300",
        "watch look-for-face ask | - | prove code | code lamps(off) judge checking
         | lamps(off) rest send(spoof:no-relief) record(spoof:no-relief) show(spoof:no-relief) | -",
    );
}

#[test]
fn too_little_evidence_is_no_accusation() {
    check(
        "request@0 challenge@90 face@900 wait@1800 unclear@2000",
        "watch look-for-face ask | - | prove code | code lamps(off) judge checking
         | lamps(off) rest send(inconclusive:too-much-infrared) record(inconclusive:too-much-infrared)
         show(inconclusive:too-much-infrared)",
    );
}

#[test]
fn a_face_that_leaves_during_the_code_puts_the_lamps_out_first() {
    check(
        "request@0 challenge@90 face@900 lost@901",
        "watch look-for-face ask | - | prove code
         | lamps(off) rest send(inconclusive:hold-still) record(inconclusive:hold-still)
         show(inconclusive:hold-still)",
    );
}

#[test]
fn proofs_of_others_and_before_the_codes_end_are_ignored() {
    check(
        "request@0 challenge@90 face@900 proven@901 wait@1800 proven#2@1900 spoof#2@1901",
        "watch look-for-face ask | - | prove code | - | code lamps(off) judge checking | - | -",
    );
}

#[test]
fn nobody_in_front_of_the_camera_times_out() {
    check(
        "request@0 challenge@90 wait@20100",
        "watch look-for-face ask | -
         | rest send(timeout:no-face-in-time) record(timeout:no-face-in-time) show(timeout:no-face-in-time)",
    );
}

#[test]
fn a_silent_matcher_times_out() {
    check(
        "request@0 face@100 wait@5001",
        "watch look-for-face ask | hold-still
         | rest forget record(timeout:no-answer-in-time) show(timeout:no-answer-in-time)",
    );
}

#[test]
fn a_refusal_before_the_challenge_ends_it_unless_it_is_for_another_request() {
    check(
        "request@0 refuse#2@100 refuse@200",
        "watch look-for-face ask | - | rest forget record(refused:consent-expired) show(refused:consent-expired)",
    );
}

#[test]
fn a_challenge_ends_at_its_expiry_counted_from_the_asking() {
    check(
        "request@0 short-challenge@900 wait@3001",
        "watch look-for-face ask | -
         | rest record(timeout:challenge-expired) show(timeout:challenge-expired)",
    );
    check(
        "request@0 short-challenge@3000",
        "watch look-for-face ask | rest forget record(timeout:challenge-expired) show(timeout:challenge-expired)",
    );
}

#[test]
fn a_short_loss_of_the_connection_is_forgiven_and_a_long_one_is_not() {
    check(
        "request@0 challenge@90 face@900 wait@1800 proven@2000 down@2100 up@3000 match@3500",
        "watch look-for-face ask | - | prove code | code lamps(off) judge checking | rest send(proved) | - | -
         | record(grant) show(grant)",
    );
    check(
        "request@0 challenge@90 face@900 wait@1800 proven@2000 down@2100 down@3000 wait@4101",
        "watch look-for-face ask | - | prove code | code lamps(off) judge checking | rest send(proved) | - | -
         | forget record(offline:no-connection) show(offline:no-connection)",
    );
}

#[test]
fn without_a_connection_nothing_is_captured_or_kept() {
    check("down@0 request@2500", "idle(offline) | rest record(offline:no-connection) show(offline:no-connection)");
    check(
        "request@0 challenge@90 face@900 down@901 wait@1800 proven@3500",
        "watch look-for-face ask | - | prove code | - | code lamps(off) judge checking
         | lamps(off) rest record(offline:no-connection) show(offline:no-connection)",
    );
}

#[test]
fn a_request_just_after_a_loss_is_asked_when_the_connection_is_back() {
    check("down@0 request@500 up@900", "idle(offline) | watch look-for-face | ask");
}

#[test]
fn the_application_may_cancel_its_own_request_only() {
    check(
        "request@0 challenge@90 cancel#2@100 face@900 cancel@950 cancel@960",
        "watch look-for-face ask | - | - | prove code
         | lamps(off) rest send(cancelled:cancelled-by-application) record(cancelled:cancelled-by-application)
         show(cancelled:cancelled-by-application) | -",
    );
}

#[test]
fn stopping_puts_the_lamps_out_and_takes_no_more_requests() {
    check(
        "request@0 challenge@90 face@900 stop@950 request#2@6000",
        "watch look-for-face ask | - | prove code
         | lamps(off) rest send(cancelled:stopping) record(cancelled:stopping) show(cancelled:stopping) | idle",
    );
    check("stop@5 request@10", "lamps(off) rest | -");
}

#[test]
fn a_second_request_waits_for_nothing_and_gets_nothing() {
    check("request@0 request#2@10 request@20", "watch look-for-face ask | - | -");
}

#[test]
fn a_broken_camera_ends_the_attempt_and_the_service_until_it_is_mended() {
    check(
        "request@0 challenge@90 face@900 camera-fault@950 wait@5000 request#2@5100 wait@9200 camera-mended@9300
         request#3@9400",
        "watch look-for-face ask | - | prove code
         | lamps(off) rest send(fault:camera-fault) record(fault:camera-fault) show(fault:camera-fault)
         | out-of-service(camera-fault) | rest record(fault:camera-fault) show(fault:camera-fault)
         | out-of-service(camera-fault) | idle | watch look-for-face ask",
    );
}

#[test]
fn a_camera_that_breaks_after_the_proof_harms_nobody() {
    check(
        "request@0 challenge@90 face@900 wait@1800 proven@2000 camera-fault@2100 match@2300",
        "watch look-for-face ask | - | prove code | code lamps(off) judge checking | rest send(proved) | -
         | record(grant) show(grant)",
    );
}

#[test]
fn a_broken_screen_stops_nobody() {
    check(
        "screen-fault@0 request@10 screen-mended@20 screen-fault@30 challenge@90 face@900 screen-mended@950 wait@1800
         proven@2000 match@2300 screen-fault@2400 wait@7000 screen-mended@7100",
        "idle(offline) | watch look-for-face ask | - | - | - | prove code | - | code lamps(off) judge checking
         | rest send(proved) | record(grant) show(grant) | - | idle(offline) | idle",
    );
}

#[test]
fn a_judge_that_never_answers_is_a_fault() {
    check(
        "request@0 challenge@90 face@900 wait@1800 wait@4800",
        "watch look-for-face ask | - | prove code | code lamps(off) judge checking
         | lamps(off) rest send(fault:model-fault) record(fault:model-fault) show(fault:model-fault)",
    );
}

#[test]
fn an_attempt_that_cannot_be_put_into_words_ends_at_once() {
    check(
        "request@0 challenge@90 face@900 wait@1800 proven@2000 unsent#2@2001 unsent@2001",
        "watch look-for-face ask | - | prove code | code lamps(off) judge checking | rest send(proved) | -
         | forget record(fault:request-malformed) show(fault:request-malformed)",
    );
    check(
        "request@0 unsent@1",
        "watch look-for-face ask | rest forget record(fault:request-malformed) show(fault:request-malformed)",
    );
}

#[test]
fn a_loop_that_slept_through_the_code_is_dark_and_inconclusive() {
    let mut machine = machine();
    machine.step(at(0), Event::UplinkUp);
    for event in [keys(), request(1), challenge(1, 60_000), event("face")] {
        machine.step(at(10), event);
    }
    let orders = machine.step(at(1_510), Event::Tick);
    assert!(matches!(orders[0], Command::Lamps(Light::Off)), "{:?}", orders.iter().map(say).collect::<Vec<_>>());
    assert!(say(&orders[3]).starts_with("record(inconclusive:too-few-frames"), "{}", say(&orders[3]));
}
