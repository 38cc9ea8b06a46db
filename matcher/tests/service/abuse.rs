//! Devices that say too much, copies of a device, and devices that say nothing any more.

use didar_protocol::id::Hash;

use super::*;

/// Records that follow each other, from `first` after `previous`; the hash of the last.
fn records(kiosk: &Kiosk, first: u64, count: u64, mut previous: Hash) -> (Vec<Vec<u8>>, Hash) {
    let mut all = Vec::new();
    for number in first..first + count {
        let record = kiosk.record(number, previous, AuditEntry::Started { version: "1".into(), boot: [1; 16] });
        previous = hash_of(&record);
        all.push(record);
    }
    (all, previous)
}

fn reached(site: &mut Site, kiosk: &Kiosk, record: &[u8], now_ms: u64) -> Option<u64> {
    let out = site.handle(kiosk, Lane::Audit, record, now_ms);
    read::<Receipt>(&out, Lane::Receipt).map(|receipt| receipt.highest)
}

#[test]
fn more_records_than_a_kiosk_can_have_get_no_receipt_until_their_time_comes_and_none_is_lost() {
    let mut site = site_with("records_at_once = 10");
    let (kiosk, other) = (site.kiosk("kiosk-1"), site.kiosk("kiosk-2"));
    let (all, _) = records(&kiosk, 1, 40, [0; 32]);
    for (at, record) in all.iter().enumerate().take(10) {
        assert_eq!(reached(&mut site, &kiosk, record, NOW), Some(at as u64 + 1));
    }
    let lines = site.ledger().len();
    let told: Vec<String> =
        all[10..].iter().flat_map(|record| alarms(&site.handle(&kiosk, Lane::Audit, record, NOW))).collect();
    assert_eq!(told, ["more than 60 new audit records a minute: not kept"]);
    assert_eq!(site.ledger().len(), lines + 1, "the alarm alone");
    // What is here already costs nothing: its receipt may have been lost on the way.
    assert_eq!(reached(&mut site, &kiosk, &all[9], NOW), Some(10));
    // Another device has a bucket of its own.
    let (others, _) = records(&other, 1, 1, [0; 32]);
    assert_eq!(reached(&mut site, &other, &others[0], NOW), Some(1));
    // One a second from then on, as the device sends them again.
    for (at, record) in (1..).zip(&all[10..]) {
        assert_eq!(reached(&mut site, &kiosk, record, NOW + at * 1000), Some(10 + at));
        assert_eq!(reached(&mut site, &kiosk, &all[39], NOW + at * 1000), (at == 30).then_some(40));
    }
}

#[test]
fn branches_of_a_chain_are_no_way_around_the_rate_of_records() {
    let mut site = site_with("records_at_once = 3");
    let kiosk = site.kiosk("kiosk-1");
    let (all, _) = records(&kiosk, 1, 1, [0; 32]);
    assert_eq!(reached(&mut site, &kiosk, &all[0], NOW), Some(1));
    for branch in 0..50 {
        let entry = AuditEntry::Lost { count: branch + 1 };
        site.handle(&kiosk, Lane::Audit, &kiosk.record(1, [0; 32], entry), NOW);
    }
    let database = rusqlite::Connection::open(&site.config.store.database).unwrap();
    let kept: i64 = database.query_row("SELECT count(*) FROM audit WHERE fork = 1", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 2);
    assert_eq!(site.ledger().last().unwrap()["note"], "more than 60 new audit records a minute: not kept");
}

#[test]
fn states_without_end_are_not_heard_and_are_one_alarm() {
    let mut site = site_with("states_per_minute = 5");
    let kiosk = site.kiosk("kiosk-1");
    let mut tell = |connects: u64, now_ms: u64| {
        let out = site.handle(&kiosk, Lane::State, &kiosk.state(1, connects, true), now_ms);
        (told(&out), alarms(&out))
    };
    let heard: Vec<_> = (1..=100).map(|connects| tell(connects, NOW)).collect();
    assert!(heard[..5].iter().all(|(told, alarms)| told.len() == 1 && alarms.is_empty()), "{heard:?}");
    assert_eq!(heard[5].1, ["more than 5 states a minute: not heard"]);
    assert!(heard[6..].iter().all(|(told, alarms)| told.is_empty() && alarms.is_empty()), "{heard:?}");
    assert_eq!(tell(101, NOW + 12_000).0, ["device-online: agent 0.1.0"]);
}

/// A request that says it goes out on this connection.
fn ask_on(site: &Site, kiosk: &mut Kiosk, boot: u8, connects: u64) -> Vec<u8> {
    let connection = Connection { boot: [boot; 16], connects };
    let request = ChallengeRequest { connection, ..kiosk_request_of(kiosk) };
    kiosk.ask(&site.seal_key, request)
}

const COPY: &str = "two machines use one identity: refused until device release";

#[test]
fn a_copy_that_asks_and_tells_no_state_is_noticed_and_both_are_refused() {
    for (copy, original) in [((2, 5), (1, 6)), ((2, 1_000_000), (1, 6)), ((2, 6), (1, 6))] {
        let (mut site, mut kiosk) = ready();
        assert!(alarms(&site.handle(&kiosk, Lane::State, &kiosk.state(1, 5, true), NOW)).is_empty());
        site.challenge(&mut kiosk, PERSON, NOW);
        // The thief's program may say any count; where it is a new one only the original's next word shows the copy.
        let request = ask_on(&site, &mut kiosk, copy.0, copy.1);
        let mut told = alarms(&site.handle(&kiosk, Lane::ChallengeRequest, &request, NOW));
        if told.is_empty() {
            // For a moment it may be a message that was late.
            let state = kiosk.state(original.0, original.1, true);
            told = alarms(&site.handle(&kiosk, Lane::State, &state, NOW + 30_000));
            // Unless the two have a count in common.
            assert_eq!(told.is_empty(), copy.1 != original.1);
        }
        if told.is_empty() {
            site.challenge(&mut kiosk, PERSON, NOW + 30_000);
            let state = kiosk.state(original.0, original.1, true);
            told = alarms(&site.handle(&kiosk, Lane::State, &state, NOW + 30_001));
        }
        assert_eq!(told, [COPY], "{copy:?}");
        for boot in [1, 2] {
            let request = ask_on(&site, &mut kiosk, boot, 2_000_000);
            let out = site.handle(&kiosk, Lane::ChallengeRequest, &request, NOW);
            assert_eq!(read::<Verdict>(&out, Lane::Verdict).unwrap().reason, Reason::DeviceRefused);
        }
    }
}

#[test]
fn requests_of_a_device_that_starts_and_connects_again_show_no_copy() {
    let (mut site, mut kiosk) = ready_with("open_per_device = 64");
    // The request overtakes the state, comes late, or comes again; the device starts anew.
    for (boot, connects, first) in
        [(1, 1, false), (1, 2, true), (1, 2, false), (2, 3, true), (2, 5, false), (3, 6, true)]
    {
        let state = kiosk.state(boot, connects, true);
        let request = ask_on(&site, &mut kiosk, boot, connects);
        let said = [(Lane::State, &state), (Lane::ChallengeRequest, &request)];
        let order = if first { [0, 1] } else { [1, 0] };
        for (lane, bytes) in order.map(|at| said[at]) {
            assert!(alarms(&site.handle(&kiosk, lane, bytes, NOW)).is_empty(), "{boot} {connects}");
        }
    }
    for (boot, connects) in [(1, 1), (1, 2), (2, 3), (3, 6)] {
        let request = ask_on(&site, &mut kiosk, boot, connects);
        assert!(alarms(&site.handle(&kiosk, Lane::ChallengeRequest, &request, NOW)).is_empty(), "{boot} {connects}");
    }
    // What a connection said of which nothing came before the next boot, and its will.
    for (boot, connects) in [(4, 7), (6, 9)] {
        let request = ask_on(&site, &mut kiosk, boot, connects);
        assert!(alarms(&site.handle(&kiosk, Lane::ChallengeRequest, &request, NOW)).is_empty(), "{boot} {connects}");
    }
    let late = ask_on(&site, &mut kiosk, 5, 8);
    assert!(
        read::<Challenge>(&site.handle(&kiosk, Lane::ChallengeRequest, &late, NOW + 20_000), Lane::Challenge).is_some()
    );
    assert!(alarms(&site.handle(&kiosk, Lane::State, &kiosk.state(5, 8, false), NOW + 50_000)).is_empty());
}

#[test]
fn a_thief_who_asks_as_an_earlier_boot_gets_nothing_and_is_told() {
    let (mut site, mut kiosk) = ready();
    for (boot, connects) in [(1, 7), (2, 8)] {
        let state = kiosk.state(boot, connects, true);
        assert!(alarms(&site.handle(&kiosk, Lane::State, &state, NOW)).is_empty());
    }
    let mut ask = |now_ms: u64| {
        let request = ask_on(&site, &mut kiosk, 1, 7);
        site.handle(&kiosk, Lane::ChallengeRequest, &request, now_ms)
    };
    // A moment after the restart it may have been late.
    assert!(read::<Challenge>(&ask(NOW + 30_000), Lane::Challenge).is_some());
    let late = ask(NOW + 30_001);
    assert_eq!(read::<Verdict>(&late, Lane::Verdict).unwrap().reason, Reason::DeviceRefused);
    assert_eq!(alarms(&late), ["a new request of an earlier boot"]);
    // The device itself is served: a broker could play an old request.
    let request = ask_on(&site, &mut kiosk, 2, 8);
    let out = site.handle(&kiosk, Lane::ChallengeRequest, &request, NOW + 31_000);
    assert!(read::<Challenge>(&out, Lane::Challenge).is_some());
}

#[test]
fn boots_that_a_clock_ahead_has_heard_of_hide_no_thief_once_it_is_right() {
    let (mut site, mut kiosk) = ready();
    site.handle(&kiosk, Lane::State, &kiosk.state(1, 7, true), NOW);
    site.handle(&kiosk, Lane::State, &kiosk.state(2, 8, true), NOW + 30 * DAY_S * 1000);
    let request = ask_on(&site, &mut kiosk, 1, 7);
    let out = site.handle(&kiosk, Lane::ChallengeRequest, &request, NOW + 60_000);
    assert_eq!(alarms(&out), ["a new request of an earlier boot"]);
}

#[test]
fn a_thief_cannot_hide_behind_boots_that_it_makes_up() {
    let (mut site, mut kiosk) = ready();
    let told: Vec<_> = (1..=13)
        .flat_map(|boot| {
            let request = ask_on(&site, &mut kiosk, boot, u64::from(boot));
            alarms(&site.handle(&kiosk, Lane::ChallengeRequest, &request, NOW + u64::from(boot) * 2000))
        })
        .collect();
    assert_eq!(told, [COPY], "no machine starts so often");
}

#[test]
fn a_device_that_stays_away_is_one_alarm_until_it_comes_back() {
    let mut site = site_with("away_hours = 10");
    let (kiosk, gone) = (site.kiosk("kiosk-1"), site.kiosk("kiosk-2"));
    let work = site.service.store().begin().unwrap();
    assert!(work.revoke_device(&gone.id, NOW).unwrap());
    work.commit().unwrap();
    let hours = |hours: u64| NOW + hours * 3_600_000;
    let mut at = |now_ms: u64, state: Option<Vec<u8>>| {
        let out = state.map(|state| site.handle(&kiosk, Lane::State, &state, now_ms)).unwrap_or_default();
        [alarms(&out), alarms(&site.service.sweep(now_ms))].concat()
    };
    // Never heard of since it was added, which the revoked one is not missed for; and not at once after a start, when all
    // come back.
    assert!(at(hours(10), None).is_empty());
    assert!(at(hours(10) + 599_000, None).is_empty());
    let told = at(hours(11), None);
    assert!(told.len() == 1 && told[0].starts_with("silent since "), "{told:?}");
    assert!(at(hours(30), None).is_empty(), "told once");
    assert!(at(hours(31), Some(kiosk.state(1, 1, true))).is_empty());
    assert!(at(hours(40), Some(kiosk.state(1, 1, true))).is_empty());
    assert!(at(hours(45), Some(kiosk.state(1, 1, false))).is_empty(), "gone, not yet for long");
    assert!(at(hours(55), None).is_empty());
    assert_eq!(at(hours(56), None).len(), 1);
    // One that can keep nothing is there all the same.
    assert!(at(hours(60), Some(kiosk.state(2, 0, true))).is_empty());
    assert!(at(hours(69), None).is_empty());
}

#[test]
fn after_a_long_outage_nobody_is_missed_at_once_and_not_everybody_together() {
    let mut site = site_with("away_hours = 10");
    let pem = site.kiosk("kiosk-0").certificate_pem;
    let certificate = Certificate::from_pem(&pem).unwrap();
    let work = site.service.store().begin().unwrap();
    for number in 1..250 {
        let id = format!("kiosk-{number}").parse().unwrap();
        work.add_device(&id, &certificate, &["egov".parse().unwrap()], NOW).unwrap();
    }
    work.commit().unwrap();
    let minutes = |minutes: u64| NOW + minutes * 60_000;
    let told: Vec<usize> = (1200..1220).map(|at| alarms(&site.service.sweep(minutes(at))).len()).collect();
    let expected: Vec<usize> = [[0; 10].as_slice(), &[100, 100, 50], &[0; 7]].concat();
    assert_eq!(told, expected);
}
