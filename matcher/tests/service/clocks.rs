//! Matchers whose own clock is wrong.

use super::*;

/// By this the matcher's certificate has ended long ago, and every reference with it.
const IN_40_YEARS: u64 = NOW + 40 * 365 * DAY_S * 1000;

#[test]
fn a_matcher_by_whose_clock_its_certificate_does_not_count_does_nothing_and_is_named() {
    for wrong_ms in [0, IN_40_YEARS] {
        let (mut site, mut kiosk) = ready();
        let challenge = site.challenge(&mut kiosk, PERSON, NOW);
        let request = ask(&site, &mut kiosk);
        let lines = site.ledger().len();
        assert!(site.handle(&kiosk, Lane::ChallengeRequest, &request, wrong_ms).is_empty());
        assert!(site.handle(&kiosk, Lane::State, &kiosk.state(1, 1, true), wrong_ms).is_empty());
        assert!(site.service.greeting(wrong_ms).is_empty());
        for at in 0..5 {
            assert!(site.service.sweep(wrong_ms + at * 1000).is_empty());
        }
        assert_eq!(site.ledger().len(), lines);

        // Nothing was closed or destroyed; one alarm waited for whoever knows the time.
        let told = site.service.sweep(NOW + 1000);
        assert_eq!(alarms(&told).len(), 1, "{told:?}");
        assert!(alarms(&told)[0].starts_with("the clock of matcher-1 is wrong"), "{told:?}");
        let line = site.ledger().pop().unwrap();
        assert!(line["at_ms"].as_u64().unwrap() <= NOW + 1000, "{line}");
        assert_eq!(outcome(&site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 2000)), GRANT);
    }
}

#[test]
fn a_clock_that_was_set_back_silences_no_alarm() {
    let (mut site, kiosk) = ready();
    let mut alarm = |now_ms: u64| alarms(&site.handle(&kiosk, Lane::Audit, b"noise", now_ms)).len();
    let day_ms = DAY_S * 1000;
    assert_eq!([NOW + day_ms, NOW + day_ms + 1, NOW, NOW + 1].map(&mut alarm), [1, 0, 1, 0]);
}

#[test]
fn a_leap_of_the_matchers_clock_is_told() {
    let (mut site, _kiosk) = ready();
    assert_eq!(
        alarms(&site.service.clock_leapt(-7_200_000, NOW)),
        ["the clock of matcher-1 leapt by -120 min while it served: see its time service"]
    );
    assert_eq!(site.last_line(), "alarm clock-fault");
}
