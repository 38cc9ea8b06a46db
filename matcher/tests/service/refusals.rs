//! What is refused, and what is alarmed.

use super::*;

#[test]
fn another_body_for_a_spent_challenge_is_refused_and_alarmed() {
    let (mut site, mut kiosk) = ready();
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    assert_eq!(outcome(&site.verdict(&kiosk, &kiosk.proof(&challenge, 120), NOW + 1000)), DENY);
    let bytes = kiosk.send(&site.seal_key, &kiosk.proof(&challenge, 20));
    let out = site.handle(&kiosk, Lane::Attempt, &bytes, NOW + 2000);
    let verdict: Verdict = read(&out, Lane::Verdict).unwrap();
    assert_eq!(outcome(&verdict), (VerdictOutcome::Refuse, Reason::ChallengeSpent));
    assert_eq!(alarms(&out), ["another attempt on a spent challenge"]);
}

#[test]
fn a_spent_or_ended_request_gets_no_second_challenge() {
    let (mut site, mut kiosk) = ready();
    let request = ask(&site, &mut kiosk);
    let out = site.handle(&kiosk, Lane::ChallengeRequest, &request, NOW);
    let challenge: Challenge = read(&out, Lane::Challenge).unwrap();
    site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 1000);
    let out = site.handle(&kiosk, Lane::ChallengeRequest, &request, NOW + 2000);
    assert_eq!(read::<Verdict>(&out, Lane::Verdict).unwrap().reason, Reason::ChallengeSpent);
}

#[test]
fn an_attempt_that_does_not_answer_its_challenge_spends_it() {
    let (mut site, mut kiosk) = ready();
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    let mut wrong = challenge.clone();
    wrong.nonce = [9; 32];
    let verdict = site.verdict(&kiosk, &kiosk.proof(&wrong, 20), NOW + 1000);
    assert_eq!(outcome(&verdict), (VerdictOutcome::Refuse, Reason::RequestMalformed));
    let verdict = site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 2000);
    assert_eq!(verdict.reason, Reason::ChallengeSpent);
}

#[test]
fn a_foreign_device_neither_spends_nor_touches_a_challenge() {
    let (mut site, mut kiosk) = ready();
    let thief = site.kiosk("kiosk-2");
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    let stolen = Challenge { device: thief.id.clone(), ..challenge.clone() };
    let bytes = thief.send(&site.seal_key, &thief.proof(&stolen, 20));
    let out = site.handle(&thief, Lane::Attempt, &bytes, NOW + 1000);
    assert_eq!(read::<Verdict>(&out, Lane::Verdict).unwrap().reason, Reason::DeviceRefused);
    assert_eq!(alarms(&out), ["attempt on another device's challenge"]);
    assert_eq!(outcome(&site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 2000)), GRANT);
}

#[test]
fn topic_envelope_and_signature_must_name_one_device() {
    let (mut site, mut kiosk) = ready();
    let mut other = site.kiosk("kiosk-2");
    // Its own bytes on another's topic.
    let request = ask(&site, &mut kiosk);
    let out = site.handle(&other, Lane::ChallengeRequest, &request, NOW);
    assert_eq!((alarms(&out).len(), out.len()), (1, 1));
    // Another's name inside its own envelope.
    let mut request = kiosk_request(&mut other, PERSON, NOW);
    request.device = kiosk.id.clone();
    let bytes = other.ask(&site.seal_key, request);
    let out = site.handle(&other, Lane::ChallengeRequest, &bytes, NOW + 20_000);
    assert_eq!(alarms(&out), ["request names another device"]);
    // Another's signature in an envelope of this name.
    let forged = Kiosk { id: kiosk.id.clone(), ..other };
    let bytes = forged.ask(&site.seal_key, kiosk_request_of(&mut kiosk));
    let out = site.handle(&kiosk, Lane::ChallengeRequest, &bytes, NOW + 40_000);
    assert_eq!((alarms(&out).len(), out.len()), (1, 1));
}

#[test]
fn an_unknown_certificate_gets_no_answer() {
    let (mut site, _kiosk) = ready();
    let mut stranger = kiosk(&site.ca, "kiosk-9", NOW, 365);
    let request = kiosk_request_of(&mut stranger);
    let bytes = stranger.ask(&site.seal_key, request);
    let out = site.handle(&stranger, Lane::ChallengeRequest, &bytes, NOW);
    assert_eq!(alarms(&out), ["signed under an unknown certificate"]);
    assert_eq!(out.len(), 1);
}

#[test]
fn an_expired_or_revoked_device_is_refused() {
    let (mut site, mut kiosk) = ready();
    let late = NOW + 366 * DAY_S * 1000;
    let request = kiosk_request(&mut kiosk, PERSON, late);
    assert_eq!(site.refused(&mut kiosk, request, late), Reason::DeviceRefused);
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    let work = site.service.store().begin().unwrap();
    assert!(work.revoke_device(&kiosk.id, NOW).unwrap());
    work.commit().unwrap();
    let verdict = site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 1000);
    assert_eq!(outcome(&verdict), (VerdictOutcome::Refuse, Reason::DeviceRefused));
    let request = kiosk_request_of(&mut kiosk);
    assert_eq!(site.refused(&mut kiosk, request, NOW), Reason::DeviceRefused);
    // The old certificate does not come back, a new one does; what the old one signs stays refused.
    let certificate = Certificate::from_pem(&kiosk.certificate_pem).unwrap();
    let work = site.service.store().begin().unwrap();
    assert!(work.add_device(&kiosk.id, &certificate, &[], NOW).is_err());
    drop(work);
    let mut renewed = site.kiosk("kiosk-1");
    renewed.requests = 10;
    site.challenge(&mut renewed, PERSON, NOW);
    let request = kiosk_request_of(&mut kiosk);
    assert_eq!(site.refused(&mut kiosk, request, NOW), Reason::DeviceRefused);
}

#[test]
fn an_expired_challenge_is_refused_and_counted_as_abandoned() {
    let (mut site, mut kiosk) = ready();
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    let verdict = site.verdict(&kiosk, &kiosk.proof(&challenge, 20), challenge.expires_ms);
    assert_eq!(outcome(&verdict), (VerdictOutcome::Refuse, Reason::ChallengeExpired));
    let told: Vec<_> = site.ledger().iter().map(|line| line["what"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told, ["challenged", "abandoned", "refused"]);
    let challenge = site.challenge(&mut kiosk, PERSON, NOW + 61_000);
    assert_eq!(outcome(&site.verdict(&kiosk, &kiosk.proof(&challenge, 20), challenge.expires_ms - 1)), GRANT);
}

#[test]
fn abandoned_challenges_are_swept_into_the_ledger_and_count_against_the_device() {
    let mut site = site_with("device_failures = 2");
    let mut kiosk = site.kiosk("kiosk-1");
    site.enrol(PERSON, 20);
    for _ in 0..2 {
        site.challenge(&mut kiosk, PERSON, NOW);
    }
    assert!(site.service.sweep(NOW + 59_999).is_empty());
    assert_eq!(told(&site.service.sweep(NOW + 60_000)), vec!["refused: challenge abandoned"; 2]);
    assert!(site.service.sweep(NOW + 61_000).is_empty());
    assert_eq!(site.last_line(), "abandoned challenge-expired");
    let request = kiosk_request(&mut kiosk, PERSON, NOW + 61_000);
    assert_eq!(site.refused(&mut kiosk, request, NOW + 61_000), Reason::TooManyFailures);
}

#[test]
fn failures_are_limited_per_person_and_a_match_forgives_them() {
    let (mut site, mut kiosk) = ready();
    for attempt in 1..TRIES_MAX {
        let challenge = site.challenge(&mut kiosk, PERSON, NOW);
        let verdict = site.verdict(&kiosk, &kiosk.proof(&challenge, 120), NOW + 1000);
        assert_eq!(u64::from(verdict.attempts_left), TRIES_MAX - attempt);
    }
    let challenge = site.challenge(&mut kiosk, PERSON, NOW + 2000);
    assert_eq!(outcome(&site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 3000)), GRANT);
    for _ in 0..TRIES_MAX {
        let challenge = site.challenge(&mut kiosk, PERSON, NOW + 4000);
        assert_eq!(outcome(&site.verdict(&kiosk, &kiosk.proof(&challenge, 120), NOW + 5000)), DENY);
    }
    let request = kiosk_request(&mut kiosk, PERSON, NOW + 6000);
    assert_eq!(site.refused(&mut kiosk, request, NOW + 6000), Reason::TooManyFailures);
    // Another person is not held up, and the pause ends.
    site.enrol(OTHER, 20);
    site.challenge(&mut kiosk, OTHER, NOW + 6000);
    site.challenge(&mut kiosk, PERSON, NOW + 906_000);
}

#[test]
fn challenges_that_are_open_side_by_side_are_no_more_tries() {
    let (mut site, mut one) = ready();
    let mut two = site.kiosk("kiosk-2");
    let open: Vec<Challenge> =
        (0..8).map(|number| site.challenge(if number < 4 { &mut one } else { &mut two }, PERSON, NOW)).collect();
    let mut outcomes = Vec::new();
    for (number, challenge) in open.iter().enumerate() {
        let kiosk = if number < 4 { &one } else { &two };
        // The last of them would be right.
        let face = if number == 7 { 20 } else { 120 };
        outcomes.push(outcome(&site.verdict(kiosk, &kiosk.proof(challenge, face), NOW + 1000)));
    }
    let tries = usize::try_from(TRIES_MAX).unwrap();
    assert!(outcomes[..tries].iter().all(|outcome| *outcome == DENY), "{outcomes:?}");
    let refused = (VerdictOutcome::Refuse, Reason::TooManyFailures);
    assert!(outcomes[tries..].iter().all(|outcome| *outcome == refused), "{outcomes:?}");
}

#[test]
fn a_device_cannot_hoard_open_challenges() {
    let (mut site, mut kiosk) = ready();
    for _ in 0..4 {
        site.challenge(&mut kiosk, PERSON, NOW);
    }
    let request = kiosk_request_of(&mut kiosk);
    assert_eq!(site.refused(&mut kiosk, request, NOW), Reason::TooManyFailures);
}

#[test]
fn an_attempt_that_is_replayed_after_its_verdict_has_ended_is_refused_and_alarmed() {
    let (mut site, mut kiosk) = ready();
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    let bytes = kiosk.send(&site.seal_key, &kiosk.proof(&challenge, 20));
    let first = site.handle(&kiosk, Lane::Attempt, &bytes, NOW + 1000);
    let repeat = site.handle(&kiosk, Lane::Attempt, &bytes, NOW + 2000);
    assert_eq!(first[0].payload, repeat[0].payload);
    assert!(alarms(&repeat).is_empty());
    let late = site.handle(&kiosk, Lane::Attempt, &bytes, NOW + 3_600_000);
    let verdict: Verdict = read(&late, Lane::Verdict).unwrap();
    assert_eq!(outcome(&verdict), (VerdictOutcome::Refuse, Reason::ChallengeSpent));
    assert_eq!(alarms(&late), ["replayed attempt"]);
    assert_eq!(site.ledger().pop().unwrap()["note"], "replayed attempt");
    let lines = site.ledger().len();
    for at in 1..=100 {
        let again = site.handle(&kiosk, Lane::Attempt, &bytes, NOW + 3_600_000 + at * 150);
        assert_eq!(read::<Verdict>(&again, Lane::Verdict).unwrap().reason, Reason::ChallengeSpent);
    }
    let further = site.ledger().split_off(lines);
    assert_eq!(further.len(), 1, "{further:?}");
    assert_eq!(further[0]["note"], "replayed attempt (66 more before)");
}

#[test]
fn a_flood_of_requests_is_refused_and_is_one_alarm_with_a_count() {
    let mut site = site_with("requests_per_minute = 3");
    let (mut kiosk, mut other) = (site.kiosk("kiosk-1"), site.kiosk("kiosk-2"));
    site.enrol(PERSON, 20);
    // Nobody's number: whoever tries numbers out is refused here already.
    let guess = |site: &mut Site, kiosk: &mut Kiosk, at: u64| {
        let request = kiosk_request(kiosk, OTHER, NOW + at);
        site.refused(kiosk, request, NOW + at)
    };
    for at in 0..3 {
        assert_eq!(guess(&mut site, &mut kiosk, at), Reason::SubjectUnknown);
    }
    for at in 3..40 {
        assert_eq!(guess(&mut site, &mut kiosk, at), Reason::TooManyFailures);
    }
    let lines = site.ledger();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(lines[3]["note"], "more than 3 requests a minute: refused");
    assert_eq!(guess(&mut site, &mut other, 40), Reason::SubjectUnknown, "another device is not held up");
    site.challenge(&mut kiosk, PERSON, NOW + 60_000);
}

#[test]
fn random_bytes_on_every_topic_are_refused_and_the_service_goes_on() {
    let (mut site, mut kiosk) = ready();
    let valid = ask(&site, &mut kiosk);
    let mut random = 7_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize
    };
    let topics: Vec<String> = Lane::ALL
        .iter()
        .map(|lane| format!("didar/1/test/device/kiosk-1/{}", lane.path()))
        .chain(
            ["didar/1/production/device/kiosk-1/up/audit", "didar/1/test/matcher/keys", "didar/2/x", "", "\u{0}"]
                .map(Into::into),
        )
        .collect();
    let mut at = NOW;
    for round in 0..40 {
        for topic in &topics {
            let mut bytes: Vec<u8> =
                if round % 2 == 0 { (0..next() % 300).map(|_| next() as u8).collect() } else { valid.clone() };
            if let Some(byte) = bytes.get_mut(round) {
                *byte ^= 1 << (next() % 8);
            }
            at += 20_000;
            let out = site.service.handle(topic, &bytes, at);
            assert!(!alarms(&out).is_empty(), "round {round} on {topic:?}");
        }
    }
    let counters = site.service.counters();
    assert_eq!((counters.received, counters.distrusted, counters.failed), (480, 480, 0));
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    assert_eq!(outcome(&site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 1000)), GRANT);
}

#[test]
fn a_flood_of_garbage_is_one_alarm_with_a_count() {
    let (mut site, kiosk) = ready();
    let mut heard = Vec::new();
    for at in 0..101 {
        heard.extend(alarms(&site.handle(&kiosk, Lane::Attempt, b"garbage", NOW + at * 100)));
    }
    assert_eq!(heard, ["not a sealed message", "not a sealed message (99 more before)"]);
}

#[test]
fn an_understood_envelope_with_an_unreadable_attempt_spends_the_challenge() {
    let (mut site, mut kiosk) = ready();
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    let bytes = kiosk.sealed(&site.seal_key, Kind::Attempt, Some(&challenge.attempt), b"\xa1\x00\x01");
    let out = site.handle(&kiosk, Lane::Attempt, &bytes, NOW + 1000);
    assert_eq!(read::<Verdict>(&out, Lane::Verdict).unwrap().reason, Reason::RequestMalformed);
    assert_eq!(alarms(&out), ["attempt cannot be read"]);
    assert_eq!(site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 1500).reason, Reason::ChallengeSpent);
}

#[test]
fn every_alarm_that_is_told_stands_in_the_ledger_and_a_flood_is_a_few_lines() {
    let (mut site, mut kiosk) = ready();
    let (thief, mut gone) = (site.kiosk("kiosk-2"), site.kiosk("kiosk-3"));
    let work = site.service.store().begin().unwrap();
    assert!(work.revoke_device(&gone.id, NOW).unwrap());
    work.commit().unwrap();
    let mut told = alarms(&site.handle(&kiosk, Lane::Attempt, b"garbage", NOW));
    told.extend(alarms(&site.service.handle("didar/2/x", b"", NOW)));
    let request = ask(&site, &mut gone);
    told.extend(alarms(&site.handle(&gone, Lane::ChallengeRequest, &request, NOW)));
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    let stolen = Challenge { device: thief.id.clone(), ..challenge.clone() };
    let bytes = thief.send(&site.seal_key, &thief.proof(&stolen, 20));
    told.extend(alarms(&site.handle(&thief, Lane::Attempt, &bytes, NOW)));
    let record = kiosk.record(3, [3; 32], AuditEntry::Lost { count: 1 });
    told.extend(alarms(&site.handle(&kiosk, Lane::Audit, &record, NOW)));
    assert_eq!(told.len(), 6, "{told:?}");
    let alarmed = |site: &mut Site| -> Vec<String> {
        let lines = site.ledger().into_iter().filter(|line| line["what"] == "alarm");
        lines.map(|line| line["note"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(alarmed(&mut site), told);

    for at in 0..200 {
        site.handle(&thief, Lane::Attempt, b"garbage", NOW + 20_000 + at * 300);
        site.handle(&thief, Lane::Attempt, &bytes, NOW + 20_000 + at * 300);
    }
    let lines = alarmed(&mut site).split_off(told.len());
    assert_eq!(lines.len(), 12, "{lines:?}");
    assert!(lines.iter().skip(2).all(|line| line.ends_with("more before)")), "{lines:?}");
}
