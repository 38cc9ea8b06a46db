//! The device's calendar against a real Mosquitto and matchers with clocks of their own, right and wrong ones.
#![allow(clippy::unwrap_used)]

mod broker;
mod ends;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use broker::{Authority, Validity};
use didar_agent::attempt::Event;
use didar_agent::edge::Clock;
use didar_agent::time::{Calendar, Heard, Moment, SystemClock};
use didar_agent::uplink::fault::LinkFault;
use didar_agent::uplink::trust::TrustAnchor;
use didar_protocol::message::{Challenge, MatcherKeys, Receipt};
use didar_protocol::reason::Reason;
use ends::*;

/// 1 January 2035, Unix milliseconds.
const YEAR_2035_MS: u64 = 2_051_222_400_000;
const DAY_MS: u64 = 86_400_000;

#[tokio::test]
async fn a_clock_in_1970_reaches_the_centre_and_corrects_itself() {
    let site = Site::new();
    let mut matcher = Matcher::connect(&site).await;
    let clock = Arc::new(SystemClock::at(0));
    let device = site.authority.device(ID, Validity::Now).unwrap();
    let mut kiosk = site.kiosk_with(&device, &site.authority.pem, clock.clone());
    kiosk.up().await;
    // What comes first at a real site: the retained keys, and the receipt for the record of this start.
    matcher.publish("matcher/keys", matcher.sign(&matcher.keys())).await;
    assert!(matches!(kiosk.event().await, Event::Keys(_)));
    assert!(clock.calendar().is_signed() && !clock.calendar().is_told());
    assert!(clock.unix_ms(clock.now()).abs_diff(matcher.now_ms()) < 10_000);
    // The centre is told once that somebody should look at this clock.
    while !matcher.state_of(&kiosk).await.faults.contains(&Reason::ClockFault) {}
    assert!(!matcher.state_of(&kiosk).await.faults.contains(&Reason::ClockFault));
    matcher.publish("device/kiosk-7/down/receipt", matcher.sign(&matcher.receipt())).await;
    assert!(matches!(kiosk.event().await, Event::Receipt(_)));
    kiosk.ask();
    let challenge = matcher.sign(&matcher.challenge());
    matcher.publish_correlated("device/kiosk-7/down/challenge", challenge, Some(REQUEST.as_bytes())).await;
    assert!(matches!(kiosk.event().await, Event::Challenged(_)));
    assert!(clock.unix_ms(clock.now()).abs_diff(matcher.now_ms()) < 10_000);
}

#[tokio::test]
async fn a_matcher_whose_clock_says_2100_moves_none_and_the_one_that_is_right_is_heard() {
    let site = Site::new();
    let mut matcher = Matcher::connect(&site).await;
    let mut kiosk = site.kiosk();
    kiosk.up().await;
    matcher.state_of(&kiosk).await;
    kiosk.ask();
    let keys = MatcherKeys { server_time_ms: YEAR_2100_MS, ..matcher.keys() };
    matcher.publish("matcher/keys", matcher.sign(&keys)).await;
    let receipt = Receipt { server_time_ms: YEAR_2100_MS, ..matcher.receipt() };
    matcher.publish("device/kiosk-7/down/receipt", matcher.sign(&receipt)).await;
    let challenge =
        Challenge { server_time_ms: YEAR_2100_MS, expires_ms: YEAR_2100_MS + 60_000, ..matcher.challenge() };
    matcher.publish("device/kiosk-7/down/challenge", matcher.sign(&challenge)).await;
    // The centre hears that something came that a kiosk does not believe.
    while !matcher.state_of(&kiosk).await.faults.contains(&Reason::PeerNotTrusted) {}

    matcher.publish("matcher/keys", matcher.sign(&matcher.keys())).await;
    assert!(matches!(kiosk.event().await, Event::Keys(keys) if keys.server_time_ms < YEAR_2100_MS));
    matcher.publish("device/kiosk-7/down/challenge", matcher.sign(&matcher.challenge())).await;
    assert!(matches!(kiosk.event().await, Event::Challenged(told) if told.server_time_ms < YEAR_2100_MS));
    assert!(kiosk.clock.unix_ms(kiosk.clock.now()).abs_diff(matcher.now_ms()) < 10_000);
}

#[tokio::test]
async fn a_clock_in_2100_is_named_and_told_to_the_loop_until_it_is_right() {
    let site = Site::new();
    let clock = Arc::new(SystemClock::at(YEAR_2100_MS));
    let device = site.authority.device(ID, Validity::Now).unwrap();
    let mut kiosk = site.kiosk_with(&device, &site.authority.pem, clock.clone());
    assert!(matches!(kiosk.event().await, Event::Fault(Reason::ClockFault)));
    let fault = kiosk.first_fault().await;
    assert!(fault.to_string().starts_with("this device's clock says 2100-01-01"), "{fault}");
    let real = SystemClock::new(0);
    clock.calendar().learn(Heard::Now(real.unix_ms(real.now())), clock.now());
    loop {
        match kiosk.event().await {
            Event::Mended(Reason::ClockFault) => break,
            Event::UplinkDown | Event::UplinkUp => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn once_the_time_is_told_a_certificate_of_the_future_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("site").unwrap();
    fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
    let future = authority.client("matcher-1", "urn:didar:matcher:matcher-1", Validity::Future).unwrap();
    let expired = authority.client("matcher-1", "urn:didar:matcher:matcher-1", Validity::Expired).unwrap();
    let clock = Arc::new(SystemClock::new(0));
    let trust = TrustAnchor::open(folder.path(), clock.clone()).unwrap();
    assert!(trust.matcher(&future.der).is_ok());
    assert!(trust.matcher(&expired.der).is_err());
    clock.calendar().learn(Heard::Now(clock.unix_ms(clock.now())), clock.now());
    let why = trust.matcher(&future.der).unwrap_err().to_string();
    assert!(why.starts_with("matcher's certificate is valid from 2080-01-01 only"), "{why}");
}

/// The matcher's answer to the kiosk's question, by a clock that says `unix_ms`.
async fn answer(kiosk: &mut Kiosk, matcher: &Matcher, unix_ms: u64) {
    kiosk.ask();
    let challenge = Challenge { server_time_ms: unix_ms, expires_ms: unix_ms + 60_000, ..matcher.challenge() };
    matcher.publish("device/kiosk-7/down/challenge", matcher.sign(&challenge)).await;
    assert!(matches!(kiosk.event().await, Event::Challenged(_)));
}

fn off(kiosk: &Kiosk, unix_ms: u64) -> u64 {
    kiosk.clock.unix_ms(kiosk.clock.now()).abs_diff(unix_ms)
}

#[tokio::test]
async fn a_matcher_that_is_a_day_ahead_is_set_right_by_the_next_answer_and_told() {
    let site = Site::new();
    let mut matcher = Matcher::connect(&site).await;
    let mut kiosk = site.kiosk();
    kiosk.up().await;
    matcher.state_of(&kiosk).await;
    let now_ms = matcher.now_ms();
    answer(&mut kiosk, &matcher, now_ms).await;
    // Nobody asked for these: they may be old, or of a clock that is wrong.
    for ahead in [DAY_MS, 100 * DAY_MS] {
        let keys = MatcherKeys { server_time_ms: now_ms + ahead, ..matcher.keys() };
        matcher.publish("matcher/keys", matcher.sign(&keys)).await;
        assert!(matches!(kiosk.event().await, Event::Keys(_)));
        let receipt = Receipt { server_time_ms: now_ms + ahead, ..matcher.receipt() };
        matcher.publish("device/kiosk-7/down/receipt", matcher.sign(&receipt)).await;
        assert!(matches!(kiosk.event().await, Event::Receipt(_)));
    }
    assert!(off(&kiosk, now_ms) < 10_000);

    answer(&mut kiosk, &matcher, now_ms + DAY_MS).await;
    assert!(off(&kiosk, now_ms + DAY_MS) < 10_000);
    while !matcher.state_of(&kiosk).await.faults.contains(&Reason::ClockFault) {}
    answer(&mut kiosk, &matcher, now_ms).await;
    assert!(off(&kiosk, now_ms) < 30_000);
}

/// A clock whose time can be made to pass.
struct LeapClock {
    real: SystemClock,
    leapt_s: AtomicU64,
}

impl Clock for LeapClock {
    fn now(&self) -> Moment {
        self.real.now().after(Duration::from_secs(self.leapt_s.load(Ordering::Relaxed)))
    }

    fn calendar(&self) -> &Calendar {
        self.real.calendar()
    }
}

#[tokio::test]
async fn a_time_by_which_no_certificate_counts_is_forgotten_and_the_centre_reached_again() {
    let authority = Authority::new("site").unwrap();
    let server = authority.server("localhost", Validity::Until(2030)).unwrap();
    let mut site = Site::with_server(authority, &server);
    let matcher = Matcher::connect(&site).await;
    let clock = Arc::new(LeapClock { real: SystemClock::new(0), leapt_s: AtomicU64::new(0) });
    let device = site.authority.device(ID, Validity::Now).unwrap();
    let mut kiosk = site.kiosk_with(&device, &site.authority.pem, clock.clone());
    kiosk.up().await;
    answer(&mut kiosk, &matcher, YEAR_2035_MS).await;
    assert!(off(&kiosk, YEAR_2035_MS) < 10_000);

    site.broker.kill();
    assert!(matches!(kiosk.event().await, Event::UplinkDown));
    site.broker.restart().unwrap();
    let mut faults = kiosk.uplink.fault();
    let refused = |fault: &Option<LinkFault>| matches!(fault, Some(LinkFault::Server { dates: true, .. }));
    tokio::time::timeout(PATIENCE, faults.wait_for(refused)).await.expect("2035 is after the broker's end").unwrap();
    assert!(off(&kiosk, YEAR_2035_MS) < 60_000, "not at the first refusal");
    clock.leapt_s.store(121, Ordering::Relaxed);
    kiosk.up().await;
    assert!(off(&kiosk, matcher.now_ms()) < 300_000);
}

#[tokio::test]
async fn a_strangers_certificate_that_has_ended_says_nothing_about_the_time() {
    for (authority, of_dates) in [("site", true), ("another site", false)] {
        let own = Authority::new("site").unwrap();
        let ended = |issuer: &Authority| issuer.server("localhost", Validity::Expired).unwrap();
        let server = if of_dates { ended(&own) } else { ended(&Authority::new(authority).unwrap()) };
        let site = Site::with_server(own, &server);
        let fault = site.kiosk().first_fault().await;
        assert!(matches!(fault, LinkFault::Server { dates, .. } if dates == of_dates), "{authority}: {fault}");
    }
}

#[test]
fn only_an_answer_sets_a_told_calendar_and_forgetting_brings_the_start_back() {
    let at = |s: u64| Moment::ZERO.after(Duration::from_secs(s));
    let calendar = Calendar::new(5_000, at(2));
    assert_eq!((calendar.unix_ms(at(3)), calendar.is_signed(), calendar.is_told()), (6_000, false, false));
    assert!(!calendar.learn(Heard::AtLeast(5_000), at(3)), "an old message");
    assert!(calendar.learn(Heard::AtLeast(90_000), at(3)));
    assert_eq!((calendar.unix_ms(at(4)), calendar.is_signed(), calendar.is_told()), (91_000, true, false));
    assert!(calendar.learn(Heard::Now(50_000), at(5)));
    assert!(!calendar.learn(Heard::AtLeast(90_000), at(6)));
    assert_eq!((calendar.unix_ms(at(6)), calendar.is_told()), (51_000, true));
    calendar.forget();
    assert_eq!((calendar.unix_ms(at(6)), calendar.is_signed(), calendar.is_told()), (9_000, false, false));
}
