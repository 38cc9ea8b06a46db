//! Matchers whose own clock is wrong.

use std::path::Path;

use didar_matcher::ca::Ca;
use didar_matcher::config::Config;
use didar_matcher::est::desk::{Answer, Desk, Refusal};
use didar_matcher::site::{Site as Folder, Wishes};
use didar_matcher::store::Store;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject as _;

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

        assert!(
            site.service.flooded(&kiosk.id, wrong_ms).is_empty() && site.service.clock_leapt(1, wrong_ms).is_empty()
        );

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

#[test]
fn a_clock_that_stays_wrong_is_one_alarm_until_it_was_right() {
    let (mut site, _kiosk) = ready();
    for spell in 0..2 {
        for at in 0..100 {
            assert!(site.service.sweep(IN_40_YEARS + at * 1000).is_empty());
        }
        assert_eq!(alarms(&site.service.sweep(NOW + spell * 1000)).len(), 1);
    }
}

#[test]
fn the_list_of_revoked_certificates_counts_whenever_it_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Ca::init(folder.path(), NOW).unwrap();
    for made_ms in [0, NOW - 18_000_000, IN_40_YEARS] {
        let pem = authority.revocation_list(&[], made_ms).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let (_, list) = x509_parser::parse_x509_crl(&pem.contents).unwrap();
        let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap();
        assert!(seconds(list.last_update()) <= NOW / 1000 && seconds(list.next_update().unwrap()) > NOW / 1000);
    }
}

#[test]
fn a_certificate_that_a_clock_ahead_has_renewed_counts_once_it_is_set_right() {
    let (mut site, kiosk) = ready();
    let config = site.config.clone();
    let store = Store::open(&config.store.database, &config.keys.store, config.env).unwrap();
    let authority = Ca::open(&site.folder.path().join("ca")).unwrap();
    let mut desk = Desk::new(authority, store, config.id.clone(), config.broker.certificate.clone(), 365);
    let shown = Certificate::from_pem(&kiosk.certificate_pem).unwrap();
    let (request, _) = request_for("kiosk-1");
    let csr = CertificateSigningRequestDer::from_pem_slice(request.as_bytes()).unwrap();
    let mut renewed = |now_ms: u64| match desk.renew(&csr, Some(shown.der()), now_ms).unwrap() {
        Answer::Issued(der) => Some(Certificate::from_der(&der).unwrap()),
        Answer::Refused(Refusal::Clock) => None,
        other => panic!("{other:?}"),
    };
    let ahead_ms = NOW + 120 * DAY_S * 1000;
    let next = renewed(ahead_ms).unwrap();
    assert_eq!((next.not_before_s(), next.not_after_s()), (shown.not_before_s(), ahead_ms / 1000 + 365 * DAY_S));
    assert!([0, IN_40_YEARS].map(&mut renewed).iter().all(Option::is_none), "what would not count is not signed");
    assert!(site.ledger().iter().filter(|line| line["what"] == "device-added").count() == 1);
}

#[test]
fn a_site_that_started_ahead_of_its_time_is_mended_by_a_start_and_none_begins_before_its_authority() {
    let folder = tempfile::tempdir().unwrap();
    let site = Folder::new(&folder.path().join("site"));
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/manifest.toml");
    let wishes = Wishes { bind: [127, 0, 0, 1].into(), port: Some(1883), names: Vec::new(), models };
    let in_force = |config: &Config| {
        let own = Certificate::from_pem(&std::fs::read_to_string(&config.broker.certificate).unwrap()).unwrap();
        (own.not_before_s()..=own.not_after_s()).contains(&(NOW / 1000))
    };
    assert!(in_force(&site.prepare(&wishes, NOW).unwrap().0));
    assert!(!in_force(&site.prepare(&wishes, NOW + 300 * DAY_S * 1000).unwrap().0), "renewed, to begin then");
    assert!(in_force(&site.prepare(&wishes, NOW).unwrap().0));
    // By a clock for which the matcher's certificate has ended no new one is made, unless somebody says so.
    let year_ms = NOW + 400 * DAY_S * 1000;
    let error = site.prepare(&wishes, year_ms).unwrap_err().to_string();
    assert!(error.contains("matcher.pem has ended: set the clock; or if that is right"), "{error}");
    site.renew_matcher(year_ms).unwrap();
    site.prepare(&wishes, year_ms).unwrap();
    for wrong_ms in [0, IN_40_YEARS] {
        let error = site.prepare(&wishes, wrong_ms).unwrap_err().to_string();
        assert!(error.starts_with("the clock says ") && error.ends_with("set the clock"), "{error}");
    }
}
