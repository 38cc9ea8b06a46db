//! What devices tell of themselves: records, states, faults; keys and alarms.

use super::*;

#[test]
fn audit_records_are_kept_once_and_gaps_are_named() {
    let (mut site, kiosk) = ready();
    let mut chain = Vec::new();
    let mut previous = [0; 32];
    for number in 1..=4 {
        chain.push(kiosk.record(number, previous, AuditEntry::Started { version: "1".into(), boot: [1; 16] }));
        previous = hash_of(&chain[chain.len() - 1]);
    }
    let send = |site: &mut Site, index: usize| site.handle(&kiosk, Lane::Audit, &chain[index], NOW);
    assert_eq!(receipt(&send(&mut site, 0)), (1, vec![]));
    assert_eq!(receipt(&send(&mut site, 0)), (1, vec![]));
    let gap = send(&mut site, 3);
    assert_eq!(receipt(&gap), (1, vec![2, 3]));
    assert_eq!(alarms(&gap), ["audit records 2 to 3 are missing"]);
    assert_eq!(receipt(&send(&mut site, 2)), (1, vec![2]));
    assert_eq!(receipt(&send(&mut site, 1)), (4, vec![]));
    assert_eq!(site.ledger().iter().filter(|line| line["what"] == "audited").count(), 4);
}

#[test]
fn a_record_of_a_number_beyond_all_sense_breaks_nothing() {
    let (mut site, mut kiosk) = ready();
    let started = || AuditEntry::Started { version: "1".into(), boot: [1; 16] };
    let last = 1 << 53;
    for number in [last, last - 2] {
        let out = site.handle(&kiosk, Lane::Audit, &kiosk.record(number, [5; 32], started()), NOW);
        assert_eq!(receipt(&out), (0, (1..=64).collect()));
    }
    let beyond = AuditRecord { device: kiosk.id.clone(), number: last + 1, previous: [5; 32], entry: started() };
    assert!(beyond.encode().is_err());
    // Its bytes are those of a lawful record but for the number.
    let mut bytes = AuditRecord { number: last, ..beyond }.encode().unwrap().to_vec();
    let at = bytes.windows(8).position(|part| part == last.to_be_bytes()).unwrap();
    bytes[at..at + 8].copy_from_slice(&u64::MAX.to_be_bytes());
    let out = site.handle(&kiosk, Lane::Audit, &kiosk.signed(Kind::AuditRecord, &bytes), NOW);
    assert_eq!(alarms(&out).len(), 1, "a message that cannot be read");
    site.challenge(&mut kiosk, PERSON, NOW);
}

#[test]
fn what_a_device_tells_as_gone_holds_up_nothing_and_a_loss_closes_no_gap() {
    let (mut site, kiosk) = ready();
    let started = || AuditEntry::Started { version: "1".into(), boot: [1; 16] };
    let first = kiosk.record(1, [0; 32], started());
    let fifth = kiosk.record(5, [5; 32], started());
    let lost = kiosk.record(6, hash_of(&fifth), AuditEntry::Lost { count: 3 });
    let some = kiosk.record(7, hash_of(&lost), AuditEntry::Gone { first: 2, last: 3 });
    let rest = kiosk.record(8, hash_of(&some), AuditEntry::Gone { first: 4, last: 4 });
    for (answers, bytes, highest, kept, missing) in [
        (1, &first, 1, &first, vec![]),
        (5, &fifth, 1, &first, vec![2, 3, 4]),
        (6, &lost, 1, &first, vec![2, 3, 4]),
        // Behind another gap it closes none; told again, once that one is closed, it does.
        (8, &rest, 1, &first, vec![2, 3, 4, 7]),
        (7, &some, 1, &first, vec![4]),
        (8, &rest, 8, &rest, vec![]),
        (5, &fifth, 5, &fifth, vec![]),
    ] {
        let out = site.handle(&kiosk, Lane::Audit, bytes, NOW);
        let device = kiosk.id.clone();
        let expected = Receipt { device, highest, hash: hash_of(kept), answers, missing, server_time_ms: NOW };
        assert_eq!(read::<Receipt>(&out, Lane::Receipt).unwrap(), expected);
    }
    let notes: Vec<_> = site.ledger().into_iter().map(|line| line["note"].clone()).collect();
    assert!(notes.contains(&"records 2 to 3 are lost on the device".into()), "{notes:?}");
}

#[test]
fn a_verdict_that_the_kiosk_did_not_show_is_marked() {
    let (mut site, mut kiosk) = ready();
    let mut previous = [0; 32];
    for (number, (degrees, shown, marked)) in (1..).zip([
        (20, Outcome::Grant, "audited"),
        (20, Outcome::TimeOut, "undelivered"),
        (120, Outcome::Deny, "audited"),
        (120, Outcome::Grant, "alarm"),
    ]) {
        let challenge = site.challenge(&mut kiosk, PERSON, NOW);
        site.verdict(&kiosk, &kiosk.proof(&challenge, degrees), NOW + 1000);
        let record = kiosk.record(number, previous, ended(Some(challenge.attempt), shown));
        previous = hash_of(&record);
        site.handle(&kiosk, Lane::Audit, &record, NOW + 2000);
        assert_eq!(site.ledger().pop().unwrap()["what"], marked, "{shown:?}");
    }
}

#[test]
fn a_verdict_after_the_kiosks_record_is_marked_as_undelivered() {
    let (mut site, mut kiosk) = ready();
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    let record = kiosk.record(1, [0; 32], ended(Some(challenge.attempt), Outcome::TimeOut));
    site.handle(&kiosk, Lane::Audit, &record, NOW + 1000);
    let audited = site.ledger().pop().unwrap();
    assert_eq!(
        (audited["what"].as_str(), audited["policy"].as_u64()),
        (Some("audited"), Some(1)),
        "the device's policy"
    );
    site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 2000);
    let marks = site.ledger().iter().filter(|line| line["what"] == "undelivered").count();
    assert_eq!(marks, 1);
}

#[test]
fn a_verdict_whose_record_is_lost_is_marked_once_as_undelivered() {
    let (mut site, mut kiosk) = ready();
    let lost = site.challenge(&mut kiosk, PERSON, NOW);
    site.verdict(&kiosk, &kiosk.proof(&lost, 20), NOW + 1000);
    let mut previous = [0; 32];
    for number in 1..=2 {
        let later = NOW + number * 10_000;
        let challenge = site.challenge(&mut kiosk, PERSON, later);
        site.verdict(&kiosk, &kiosk.proof(&challenge, 20), later + 1000);
        let record = kiosk.record(number, previous, ended(Some(challenge.attempt), Outcome::Grant));
        previous = hash_of(&record);
        site.handle(&kiosk, Lane::Audit, &record, later + 2000);
    }
    let marked: Vec<_> = site
        .ledger()
        .into_iter()
        .filter(|line| line["what"] == "undelivered")
        .map(|line| line["attempt"].clone())
        .collect();
    assert_eq!(marked, [lost.attempt.to_string()]);
}

#[test]
fn states_tell_who_is_there() {
    let (mut site, kiosk) = ready();
    let mut send =
        |boot, connects, online| told(&site.handle(&kiosk, Lane::State, &kiosk.state(boot, connects, online), NOW));
    assert_eq!(send(1, 1, true), ["device-online: agent 0.1.0"]);
    assert!(send(1, 1, true).is_empty());
    assert_eq!(send(1, 2, true), ["device-online: agent 0.1.0"]);
    assert!(send(1, 1, false).is_empty(), "the will of an older connection");
    assert_eq!(send(1, 2, false), ["device-offline: agent 0.1.0"]);
    assert!(send(1, 1, true).is_empty(), "a message overtaken on its way");
    assert_eq!(send(2, 3, true), ["device-online: agent 0.1.0"], "after a restart");
}

#[test]
fn a_device_that_was_spoken_to_by_a_stranger_raises_an_alarm() {
    let (mut site, kiosk) = ready();
    let out = site.handle(&kiosk, Lane::State, &kiosk.state_with(1, 1, true, vec![Reason::PeerNotTrusted]), NOW);
    assert_eq!(alarms(&out), ["somebody who is no matcher or broker of this site speaks to the device"]);
}

#[test]
fn each_fault_of_a_device_is_one_alarm_until_it_is_mended() {
    let (mut site, kiosk) = ready();
    let mut now_ms = NOW;
    let mut tell = |connects: u64, online: bool, faults: &[Reason]| {
        now_ms += 2000;
        let state = kiosk.state_with(1, connects, online, faults.to_vec());
        alarms(&site.handle(&kiosk, Lane::State, &state, now_ms))
    };
    assert!(tell(1, true, &[]).is_empty());
    assert_eq!(tell(1, true, &[Reason::StorageFault]), ["the device tells of a fault: storage-fault"]);
    assert!(tell(1, true, &[Reason::StorageFault]).is_empty());
    // A will is what was true when the connection was made.
    assert!(tell(1, false, &[Reason::CameraFault]).is_empty());
    let both = [Reason::StorageFault, Reason::ProgramFault, Reason::NoConnection];
    assert_eq!(tell(2, true, &both), ["the device tells of a fault: program-fault"]);
    assert!(tell(2, true, &[]).is_empty());
    assert_eq!(tell(2, true, &[Reason::StorageFault]), ["the device tells of a fault: storage-fault"]);
    // One that comes and goes is no flood.
    let told: Vec<_> = (0..50).flat_map(|round| tell(2, true, [&[][..], &[Reason::StorageFault]][round % 2])).collect();
    assert_eq!(told.len(), 8, "{told:?}");
    assert!(told.iter().all(|note| note.ends_with("storage-fault (2 more before)")), "{told:?}");
    assert_eq!(site.last_line(), "alarm storage-fault");
}

#[test]
fn a_device_that_can_keep_nothing_says_so_and_is_taken_for_no_copy() {
    let (mut site, mut kiosk) = ready();
    let mut tell = |boot: u8, connects: u64, online: bool, faults: &[Reason]| {
        let state = kiosk.state_with(boot, connects, online, faults.to_vec());
        alarms(&site.handle(&kiosk, Lane::State, &state, NOW))
    };
    assert!(tell(1, 7, true, &[]).is_empty());
    assert_eq!(tell(2, 0, true, &[Reason::StorageFault]), ["the device tells of a fault: storage-fault"]);
    assert!(tell(2, 0, false, &[]).is_empty());
    assert!(tell(3, 8, true, &[]).is_empty(), "mended, it counts on");
    site.challenge(&mut kiosk, PERSON, NOW);
}

#[test]
fn two_machines_with_one_identity_are_both_refused_until_an_operator_has_looked() {
    // The copy comes later, earlier, or more often than the original.
    for (first, second) in [((1, 5), (2, 5)), ((1, 5), (2, 2)), ((2, 9), (1, 6))] {
        let (mut site, mut kiosk) = ready();
        let mut now_ms = NOW;
        let mut send = |site: &mut Site, (boot, connects): (u8, u64)| {
            let out = site.handle(&kiosk, Lane::State, &kiosk.state(boot, connects, true), now_ms);
            now_ms += 31_000;
            out
        };
        assert!(alarms(&send(&mut site, first)).is_empty());
        let out = send(&mut site, second);
        assert_eq!(alarms(&out), ["two machines use one identity: refused until device release"]);
        assert_eq!(site.last_line(), "alarm -");
        let later = (first.0, first.1 + 1);
        assert_eq!(alarms(&send(&mut site, later)), ["state of a quarantined device"]);
        let request = kiosk_request_of(&mut kiosk);
        assert_eq!(site.refused(&mut kiosk, request, NOW), Reason::DeviceRefused);
        let record = kiosk.record(1, [0; 32], AuditEntry::Lost { count: 1 });
        assert!(read::<Receipt>(&site.handle(&kiosk, Lane::Audit, &record, NOW), Lane::Receipt).is_none());

        let work = site.service.store().begin().unwrap();
        assert!(work.release_device(&kiosk.id).unwrap());
        work.commit().unwrap();
        assert!(alarms(&site.handle(&kiosk, Lane::State, &kiosk.state(1, 6, true), NOW)).is_empty());
        site.challenge(&mut kiosk, PERSON, NOW);
    }
}

#[test]
fn an_old_state_that_comes_again_is_no_second_machine() {
    let (mut site, mut kiosk) = ready();
    let send = |site: &mut Site, (boot, connects): (u8, u64)| {
        alarms(&site.handle(&kiosk, Lane::State, &kiosk.state(boot, connects, true), NOW))
    };
    for state in [(1, 1), (1, 2), (2, 3), (3, 4)] {
        assert!(send(&mut site, state).is_empty());
    }
    for state in [(1, 1), (1, 2), (2, 3)] {
        assert!(send(&mut site, state).is_empty(), "{state:?}");
    }
    // A copy of that old boot goes on counting.
    assert_eq!(send(&mut site, (1, 3)), ["two machines use one identity: refused until device release"]);
    let request = kiosk_request_of(&mut kiosk);
    assert_eq!(site.refused(&mut kiosk, request, NOW), Reason::DeviceRefused);
}

#[test]
fn a_device_that_leaves_quarantine_with_a_new_key_leaves_the_old_one_behind() {
    let (mut site, mut kiosk) = ready();
    let mut renewed = site.kiosk("kiosk-1");
    renewed.requests = 10;
    site.challenge(&mut kiosk, PERSON, NOW);
    let work = site.service.store().begin().unwrap();
    work.quarantine_device(&kiosk.id).unwrap();
    work.commit().unwrap();
    site.add(&renewed);
    site.challenge(&mut renewed, PERSON, NOW);
    let request = kiosk_request_of(&mut kiosk);
    assert_eq!(site.refused(&mut kiosk, request, NOW), Reason::DeviceRefused);
}

#[test]
fn a_verdict_of_which_nobody_tells_for_long_is_marked_once() {
    let (mut site, mut kiosk) = ready_with("away_hours = 1000000");
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 1000);
    assert!(site.service.sweep(NOW + 45 * DAY_S * 1000).is_empty());
    assert_eq!(site.service.sweep(NOW + 45 * DAY_S * 1000 + 1).len(), 1);
    assert!(site.service.sweep(NOW + 45 * DAY_S * 1000 + 2).is_empty());
    let line = site.ledger().pop().unwrap();
    assert_eq!((&line["what"], &line["attempt"]), (&"undelivered".into(), &challenge.attempt.to_string().into()));
}

#[test]
fn a_certificate_that_has_run_out_is_alarmed_once_until_the_next_one_does() {
    let (mut site, kiosk) = ready_with("away_hours = 1000000");
    let gone = site.kiosk("kiosk-2");
    let work = site.service.store().begin().unwrap();
    assert!(work.revoke_device(&gone.id, NOW).unwrap());
    work.commit().unwrap();
    let days = |days: u64| NOW + days * DAY_S * 1000;
    assert!(alarms(&site.service.sweep(days(364))).is_empty());
    let told = alarms(&site.service.sweep(days(366)));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("its certificate ended ") && told[0].contains("enrol it again"), "{told:?}");
    assert!(alarms(&site.service.sweep(days(367))).is_empty());
    let later = site::kiosk(&site.ca, kiosk.id.as_str(), days(367), 30);
    site.add(&later);
    assert!(alarms(&site.service.sweep(days(390))).is_empty());
    assert_eq!(alarms(&site.service.sweep(days(400))).len(), 1);
}

#[test]
fn alarms_of_other_programs_are_told_once_and_stand_in_the_ledger() {
    let (mut site, _kiosk) = ready();
    let work = site.service.store().begin().unwrap();
    for number in 0..1000 {
        work.raise(&Notice { at_ms: NOW, device: None, note: format!("note {number}") }).unwrap();
    }
    work.commit().unwrap();
    let told = alarms(&site.service.sweep(NOW + 1));
    assert_eq!((told.len(), told[0].as_str()), (256, "note 0"), "bounded");
    assert!(alarms(&site.service.sweep(NOW + 2)).is_empty());
    assert_eq!(site.last_line(), "alarm -");
}

#[test]
fn a_rotated_key_is_told_and_the_old_one_opens_until_the_overlap_ends() {
    let (mut site, mut kiosk) = ready();
    let old = site.seal_key.clone();
    assert!(site.service.refresh(NOW).is_empty());
    let hours = site.config.keys.overlap_hours;
    seal_keys::rotate(&site.config.keys.seal, hours, NOW / 1000 + 10).unwrap();
    let told: MatcherKeys = open(&site.service.refresh(NOW + 10_000)[0].payload);
    assert_eq!(told.seal_keys.len(), 2);
    assert_eq!(told.seal_keys[1].id(), old.id());
    // A device that has not heard of it yet is served, and hears of it with its challenge.
    let challenge = site.challenge(&mut kiosk, PERSON, NOW + 20_000);
    assert_eq!(challenge.seal_key.id(), told.seal_keys[0].id());
    let after = NOW + 10_000 + u64::from(hours) * 3_600_000;
    let told: MatcherKeys = open(&site.service.refresh(after)[0].payload);
    assert_eq!(told.seal_keys.len(), 1);
    let late = ask(&site, &mut kiosk);
    assert_eq!(
        alarms(&site.handle(&kiosk, Lane::ChallengeRequest, &late, after)),
        ["sealed to a key that is not ours"]
    );
}
