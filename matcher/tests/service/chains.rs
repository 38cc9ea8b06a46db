//! A device's chain of records: forks, and new chains after a new disk or a copy.

use super::*;

fn started(boot: u8) -> AuditEntry {
    AuditEntry::Started { version: "1".into(), boot: [boot; 16] }
}

/// `count` records of a kiosk after record `after`, whose hash is `previous`.
fn chain(kiosk: &Kiosk, after: u64, mut previous: [u8; 32], count: u64, boot: u8) -> Vec<Vec<u8>> {
    let next = |number| {
        let bytes = kiosk.record(number, previous, started(boot));
        previous = hash_of(&bytes);
        bytes
    };
    (after + 1..=after + count).map(next).collect()
}

/// What was answered to each: how far the receipt reaches, 0 where there is none; and all alarms.
fn send(site: &mut Site, kiosk: &Kiosk, records: &[Vec<u8>], at_ms: u64) -> (Vec<u64>, Vec<String>) {
    let mut heard = Vec::new();
    let mut reach = Vec::new();
    for record in records {
        let out = site.handle(kiosk, Lane::Audit, record, at_ms);
        heard.extend(alarms(&out));
        reach.push(read::<Receipt>(&out, Lane::Receipt).map_or(0, |receipt| receipt.highest));
    }
    (reach, heard)
}

fn begin_chain(site: &mut Site, kiosk: &Kiosk, from: Option<u64>) {
    let work = site.service.store().begin().unwrap();
    assert!(work.begin_chain(&kiosk.id, from, NOW).unwrap().is_some());
    work.commit().unwrap();
}

/// Number and chain of each record that the ledger holds.
fn audited(site: &mut Site) -> Vec<(u64, u64)> {
    let lines = site.ledger().into_iter().filter(|line| line["what"] == "audited");
    lines.map(|line| (line["number"].as_u64().unwrap(), line["chain"].as_u64().unwrap_or(1))).collect()
}

#[test]
fn a_fork_of_the_chain_raises_an_alarm() {
    let (mut site, kiosk) = ready();
    let first = kiosk.record(1, [0; 32], started(1));
    let second = kiosk.record(2, hash_of(&first), started(2));
    assert_eq!(send(&mut site, &kiosk, &[first.clone(), second.clone()], NOW), (vec![1, 2], vec![]));
    for (at_ms, forged) in [
        (NOW, kiosk.record(2, hash_of(&first), started(3))),
        (NOW + 20_000, kiosk.record(3, hash_of(&first), started(3))),
        (NOW + 40_000, kiosk.record(1, [0; 32], started(9))),
    ] {
        let (receipts, heard) = send(&mut site, &kiosk, &[forged.clone(), forged], at_ms);
        assert_eq!((receipts, heard.len()), (vec![0, 0], 1));
        assert!(heard[0].starts_with("audit chain forks"), "{heard:?}");
    }
    // The device itself goes on, and what it repeats has its receipt.
    let third = kiosk.record(3, hash_of(&second), started(2));
    assert_eq!(send(&mut site, &kiosk, &[third, second], NOW), (vec![3, 2], vec![]));
}

#[test]
fn a_new_disk_is_receipted_nothing_until_a_new_chain_begins_and_everything_then() {
    // The old chain is longer, or shorter, than what waits in the new outbox.
    for old in [7, 3] {
        let (mut site, kiosk) = ready();
        let before = chain(&kiosk, 0, [0; 32], old, 1);
        send(&mut site, &kiosk, &before, NOW);
        let mut renewed = site.kiosk("kiosk-1");
        let challenge = site.challenge(&mut renewed, PERSON, NOW);
        site.verdict(&renewed, &renewed.proof(&challenge, 20), NOW + 1000);
        let mut waiting = chain(&renewed, 0, [0; 32], 4, 2);
        let last = hash_of(&waiting[3]);
        waiting.push(renewed.record(5, last, ended(Some(challenge.attempt), Outcome::TimeOut)));
        let (receipts, heard) = send(&mut site, &renewed, &waiting, NOW);
        assert_eq!((receipts, heard.len()), (vec![0; 5], 1), "{heard:?}");
        assert!(heard[0].ends_with("cure: didar-matcher device new-chain"), "{heard:?}");
        assert_eq!(site.last_line(), "alarm request-malformed");
        for later in 1..4 {
            assert_eq!(send(&mut site, &renewed, &waiting, NOW + later * 10_000), (vec![0; 5], vec![]));
        }
        // What is still under way from the old disk confirms nothing of the new one.
        begin_chain(&mut site, &renewed, None);
        assert_eq!(send(&mut site, &renewed, &before[2..], NOW).0, vec![0; before.len() - 2]);
        assert_eq!(send(&mut site, &renewed, &waiting, NOW), ((1..=5).collect(), vec![]));
        assert_eq!(send(&mut site, &renewed, &waiting, NOW), ((1..=5).collect(), vec![]));
        assert_eq!(send(&mut site, &renewed, &before[2..], NOW).0, vec![0; before.len() - 2]);
        let both = (1..=old).map(|number| (number, 1)).chain((1..=5).map(|number| (number, 2)));
        assert_eq!(audited(&mut site), both.collect::<Vec<_>>());
        let marked = site.ledger().into_iter().filter(|line| line["what"] == "undelivered");
        assert_eq!(marked.count(), 1, "it is weighed against the verdict");
    }
}

#[test]
fn after_a_copy_was_at_work_a_new_chain_goes_on_where_the_two_part() {
    let (mut site, kiosk) = ready();
    let common = chain(&kiosk, 0, [0; 32], 5, 1);
    let copys = chain(&kiosk, 5, hash_of(&common[4]), 3, 7);
    let own = chain(&kiosk, 5, hash_of(&common[4]), 4, 1);
    send(&mut site, &kiosk, &common, NOW);
    send(&mut site, &kiosk, &copys, NOW);
    assert_eq!(send(&mut site, &kiosk, &own, NOW).0, vec![0; 4]);
    begin_chain(&mut site, &kiosk, None);
    // Out of order, and with what the outbox still holds of the common part.
    let mixed = [&own[1], &common[4], &own[0], &own[1], &own[2], &own[3]].map(Clone::clone);
    assert_eq!(send(&mut site, &kiosk, &mixed, NOW), (vec![0, 0, 6, 7, 8, 9], vec![]));
    let (receipts, heard) = send(&mut site, &kiosk, &copys, NOW);
    assert_eq!((receipts, heard), (vec![0; 3], vec![]), "the copy's records are nobody's now");
    let next = kiosk.record(11, [9; 32], started(1));
    let (receipts, heard) = send(&mut site, &kiosk, &[next], NOW);
    assert_eq!((receipts, heard), (vec![9], vec!["audit records 10 to 10 of chain 2 are missing".to_owned()]));
}

#[test]
fn an_older_copy_of_the_disk_loses_nothing_and_a_needless_new_chain_does_no_harm() {
    let (mut site, kiosk) = ready();
    let records = chain(&kiosk, 0, [0; 32], 6, 1);
    send(&mut site, &kiosk, &records, NOW);
    // The copy was made when records 3 and 4 had no receipt yet.
    let own = chain(&kiosk, 4, hash_of(&records[3]), 2, 2);
    let waiting = [&records[2..4], &own].concat();
    assert_eq!(send(&mut site, &kiosk, &waiting, NOW).0, [3, 4, 0, 0]);
    begin_chain(&mut site, &kiosk, None);
    assert_eq!(send(&mut site, &kiosk, &own, NOW).0, [5, 6]);
    begin_chain(&mut site, &kiosk, None);
    let more = chain(&kiosk, 6, hash_of(&own[1]), 2, 2);
    assert_eq!(send(&mut site, &kiosk, &more, NOW), (vec![7, 8], vec![]));
}

#[test]
fn a_new_chain_whose_beginning_is_lost_is_named_and_begins_where_the_operator_says() {
    let (mut site, kiosk) = ready();
    send(&mut site, &kiosk, &chain(&kiosk, 0, [0; 32], 3, 1), NOW);
    begin_chain(&mut site, &kiosk, None);
    let rest = chain(&kiosk, 3, [4; 32], 3, 2);
    assert_eq!(send(&mut site, &kiosk, &rest, NOW), (vec![0; 3], vec![]));
    let (receipts, heard) = send(&mut site, &kiosk, &rest, NOW + 30_000);
    assert_eq!(receipts, [0; 3]);
    assert_eq!(heard, ["record 4 follows none that is here; cure: didar-matcher device new-chain --from"]);
    assert_eq!(send(&mut site, &kiosk, &rest, NOW + 60_000), (vec![0; 3], vec![]), "told once");
    begin_chain(&mut site, &kiosk, Some(4));
    assert_eq!(send(&mut site, &kiosk, &rest, NOW), (vec![4, 5, 6], vec![]));
}

#[test]
fn behind_what_is_gone_records_of_a_revoked_key_are_kept_too() {
    let (mut site, kiosk) = ready();
    let old = chain(&kiosk, 0, [0; 32], 5, 1);
    send(&mut site, &kiosk, &old[..2], NOW);
    let work = site.service.store().begin().unwrap();
    assert!(work.revoke_device(&kiosk.id, NOW).unwrap());
    work.commit().unwrap();
    let renewed = site.kiosk("kiosk-1");
    // Record 3 is lost on the device, 4 and 5 wait there.
    let waits = |site: &mut Site, at_ms| send(site, &kiosk, &old[3..], at_ms);
    assert_eq!(waits(&mut site, NOW).0, [0, 0]);
    let next = chain(&renewed, 5, hash_of(&old[4]), 1, 1);
    assert_eq!(send(&mut site, &renewed, &next, NOW).0, [2]);
    let gone = renewed.record(7, hash_of(&next[0]), AuditEntry::Gone { first: 3, last: 3 });
    let (receipts, heard) = send(&mut site, &renewed, &[gone.clone(), gone], NOW);
    assert_eq!(
        (receipts, heard),
        (vec![2, 2], vec!["audit records 3 to 3 will never come: the device lost them".to_owned()])
    );
    assert_eq!(waits(&mut site, NOW + 20_000).0, [4, 7]);
}

#[test]
fn a_record_that_waited_while_its_key_was_revoked_is_kept_and_nothing_else_of_that_key() {
    let (mut site, kiosk) = ready();
    let records = chain(&kiosk, 0, [0; 32], 4, 1);
    send(&mut site, &kiosk, &records[..2], NOW);
    let work = site.service.store().begin().unwrap();
    assert!(work.revoke_device(&kiosk.id, NOW).unwrap());
    work.commit().unwrap();
    let refused = (vec![0], vec!["audit-record of a revoked device".to_owned()]);
    assert_eq!(send(&mut site, &kiosk, &records[2..3], NOW + 20_000), refused, "while it has no other key");

    let mut renewed = site.kiosk("kiosk-1");
    assert_eq!(send(&mut site, &kiosk, &records[3..], NOW + 40_000), refused, "it follows nothing that is here");
    let forged = kiosk.record(2, hash_of(&records[0]), started(9));
    assert_eq!(send(&mut site, &kiosk, &[forged], NOW + 60_000), refused);
    assert_eq!(send(&mut site, &kiosk, &records[2..3], NOW + 80_000), (vec![3], vec![]));
    let noted = site.ledger().pop().unwrap();
    assert_eq!(noted["note"], "agent 1 started; signed under a certificate that was revoked since");
    assert_eq!(send(&mut site, &kiosk, &records[2..3], NOW + 80_000), (vec![3], vec![]), "a repeat");
    let own = chain(&renewed, 3, hash_of(&records[2]), 2, 1);
    assert_eq!(send(&mut site, &renewed, &own, NOW + 80_000), (vec![4, 5], vec![]));
    assert_eq!(site.ledger().pop().unwrap()["note"], "agent 1 started");

    let at = NOW + 100_000;
    let out = site.handle(&kiosk, Lane::State, &kiosk.state(1, 9, true), at);
    assert_eq!(alarms(&out), ["state of a revoked device"]);
    let challenge = site.challenge(&mut renewed, PERSON, at);
    let bytes = kiosk.send(&site.seal_key, &kiosk.proof(&challenge, 20));
    let out = site.handle(&kiosk, Lane::Attempt, &bytes, at);
    assert_eq!(outcome(&read(&out, Lane::Verdict).unwrap()), (VerdictOutcome::Refuse, Reason::DeviceRefused));
    assert_eq!(alarms(&out), ["device is revoked, quarantined or expired"]);
    let mut old = kiosk;
    let asked = ask(&site, &mut old);
    let out = site.handle(&old, Lane::ChallengeRequest, &asked, at + 20_000);
    assert_eq!(read::<Verdict>(&out, Lane::Verdict).unwrap().reason, Reason::DeviceRefused);
    assert_eq!(alarms(&out), ["device is revoked, quarantined or expired"]);
}
