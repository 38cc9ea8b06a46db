//! The uplink against a real Mosquitto with real certificates, good, expired and foreign ones.
#![allow(clippy::unwrap_used)]

mod broker;
mod ends;

use std::time::Duration;

use broker::{Authority, Validity, free_port};
use didar_agent::attempt::Event;
use didar_agent::edge::{Letter, Question, Uplink, UplinkError};
use didar_agent::uplink::fault::LinkFault;
use didar_protocol::message::{Challenge, Kind, Message, State, Verdict, VerdictOutcome};
use didar_protocol::reason::Reason;
use didar_protocol::seal::{Signed, SoftwareSigner, sign_with_certificate};
use didar_protocol::trace::TraceParent;
use ends::*;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

#[tokio::test]
async fn an_attempt_goes_through_and_the_keys_outlive_a_restart() {
    let site = Site::new();
    let mut matcher = Matcher::connect(&site).await;
    let mut kiosk = site.kiosk();
    kiosk.up().await;

    let state = matcher.next("up/state").await;
    let state = Signed::parse(Kind::State, &state.payload).unwrap();
    let state = State::decode(state.verify(&kiosk.signer).unwrap()).unwrap();
    assert!(state.online);
    assert_eq!((state.connects, state.audit_next), (1, 1));

    matcher.publish("matcher/keys", matcher.sign(&matcher.keys())).await;
    assert!(matches!(kiosk.event().await, Event::Keys(_)));

    kiosk.ask();
    let request = matcher.next("up/challenge-request").await;
    assert_eq!((&request.payload[..], correlation(&request)), (&b"sealed request"[..], &REQUEST.as_bytes()[..]));
    let [asked, closed] =
        [REQUEST.as_bytes(), ATTEMPT.as_bytes()].map(|name| TraceParent::of(REQUEST, name[8..].try_into().unwrap()));
    assert_eq!(trace(&request), asked);
    let properties = request.properties.as_ref().unwrap();
    assert!((1..=60).contains(&properties.message_expiry_interval.unwrap()));
    assert_eq!(properties.content_type.as_deref(), Some("application/vnd.didar.sealed+cbor"));

    let challenge = matcher.sign(&matcher.challenge());
    matcher.publish_correlated("device/kiosk-7/down/challenge", challenge, Some(REQUEST.as_bytes())).await;
    assert!(matches!(kiosk.event().await, Event::Challenged(challenge) if challenge.attempt == ATTEMPT));
    kiosk.uplink.forget(Question::Request(REQUEST));
    assert!(kiosk.clock.calendar().is_told());

    kiosk.close();
    let attempt = matcher.next("up/attempt").await;
    assert_eq!(&attempt.payload[..], b"sealed attempt");
    assert_eq!((trace(&attempt), correlation(&attempt)), (closed, &ATTEMPT.as_bytes()[..]));
    for _ in 0..2 {
        matcher.publish("device/kiosk-7/down/verdict", matcher.sign(&matcher.verdict())).await;
    }
    assert!(matches!(kiosk.event().await, Event::Replied(_)));
    matcher.publish("device/kiosk-7/down/receipt", matcher.sign(&matcher.receipt())).await;
    assert!(matches!(kiosk.event().await, Event::Receipt(_)), "the repeated verdict must not come through");

    let Kiosk { uplink, outbox, mut events, .. } = kiosk;
    uplink.stop().await;
    let farewell = matcher.next("up/state").await;
    let farewell = Signed::parse(Kind::State, &farewell.payload).unwrap();
    assert!(!State::decode(farewell.verify(&kiosk.signer).unwrap()).unwrap().online);
    events.close();
    drop(outbox);

    let mut again = site.kiosk();
    assert!(matches!(again.event().await, Event::Keys(_)), "kept keys come before any connection");
    again.up().await;
}

#[tokio::test]
async fn a_killed_broker_is_noticed_at_once_and_what_is_unanswered_is_sent_again() {
    let mut site = Site::new();
    let mut kiosk = site.kiosk();
    let mut matcher = Matcher::connect(&site).await;
    kiosk.up().await;
    kiosk.close();
    let first = matcher.next("up/attempt").await;

    site.broker.kill();
    let noticed = timeout(Duration::from_secs(2), kiosk.event()).await.expect("a reset is noticed at once");
    assert!(matches!(noticed, Event::UplinkDown));
    kiosk.ask();
    site.broker.restart().unwrap();
    let mut matcher = Matcher::connect(&site).await;
    kiosk.up().await;
    let (attempt, request) = (matcher.next("up/attempt").await, matcher.next("up/challenge-request").await);
    assert_eq!(attempt.payload, first.payload);
    assert_eq!(&request.payload[..], b"sealed request");
    matcher.publish("device/kiosk-7/down/verdict", matcher.sign(&matcher.verdict())).await;
    assert!(matches!(kiosk.event().await, Event::Replied(_)));
    assert_eq!(kiosk.outbox.memory().connects(), 2);
}

#[tokio::test]
async fn a_broker_that_falls_silent_is_noticed_within_30_seconds() {
    let site = Site::new();
    let mut kiosk = site.kiosk();
    kiosk.up().await;
    site.broker.freeze(true).unwrap();
    assert!(matches!(kiosk.event().await, Event::UplinkDown));
    assert!(matches!(kiosk.first_fault().await, LinkFault::Silent { .. }));
    site.broker.freeze(false).unwrap();
    kiosk.up().await;
}

#[tokio::test]
async fn noise_and_foreign_messages_change_nothing() {
    let site = Site::new();
    let matcher = Matcher::connect(&site).await;
    let mut kiosk = site.kiosk();
    kiosk.up().await;
    kiosk.ask();

    let other = Authority::new("another site").unwrap().matcher("matcher-1").unwrap();
    let no_matcher = site.authority.device(ID, Validity::Now).unwrap();
    let expired = site.authority.client("matcher-1", "urn:didar:matcher:matcher-1", Validity::Expired).unwrap();
    for topic in
        ["device/kiosk-7/down/challenge", "device/kiosk-7/down/verdict", "device/kiosk-7/down/receipt", "matcher/keys"]
    {
        for noise in [vec![], vec![0xff; 9000], b"\xd2\x84".to_vec(), b"hello".to_vec()] {
            matcher.publish(topic, noise).await;
        }
    }
    for forger in [&other, &no_matcher, &expired] {
        let signer = SoftwareSigner::from_pkcs8_pem(&forger.key, &forger.der).unwrap();
        let bytes = matcher.challenge().encode().unwrap();
        let forged = sign_with_certificate(Kind::Challenge, &bytes, &signer, &forger.der).unwrap();
        matcher.publish("device/kiosk-7/down/challenge", forged).await;
        // A certificate that is good beside a signature that is another's.
        let mixed = sign_with_certificate(Kind::Challenge, &bytes, &signer, &matcher.certificate);
        if let Ok(mixed) = mixed {
            matcher.publish("device/kiosk-7/down/challenge", mixed).await;
        }
    }
    let elsewhere = Challenge { device: "kiosk-8".parse().unwrap(), ..matcher.challenge() };
    matcher.publish("device/kiosk-7/down/challenge", matcher.sign(&elsewhere)).await;
    matcher.publish("device/kiosk-7/down/verdict", matcher.sign(&matcher.challenge())).await;

    matcher.publish("device/kiosk-7/down/receipt", matcher.sign(&matcher.receipt())).await;
    let event = kiosk.event().await;
    assert!(matches!(event, Event::Receipt(_)), "{event:?}");
}

#[tokio::test]
async fn a_forged_verdict_is_ignored_and_alarmed() {
    let site = Site::new();
    let mut matcher = Matcher::connect(&site).await;
    let mut kiosk = site.kiosk();
    kiosk.up().await;
    kiosk.close();
    matcher.next("up/attempt").await;

    let forger = Authority::new("another site").unwrap().matcher("matcher-1").unwrap();
    let signer = SoftwareSigner::from_pkcs8_pem(&forger.key, &forger.der).unwrap();
    let bytes = matcher.verdict().encode().unwrap();
    let forged = sign_with_certificate(Kind::Verdict, &bytes, &signer, &forger.der).unwrap();
    matcher.publish("device/kiosk-7/down/verdict", forged).await;
    while !matcher.state_of(&kiosk).await.faults.contains(&Reason::PeerNotTrusted) {}
    // The true one still counts, and is the first that does.
    let true_one = Verdict { outcome: VerdictOutcome::NoMatch, reason: Reason::NotSamePerson, ..matcher.verdict() };
    matcher.publish("device/kiosk-7/down/verdict", matcher.sign(&true_one)).await;
    let event = kiosk.event().await;
    assert!(matches!(&event, Event::Replied(verdict) if verdict.outcome == VerdictOutcome::NoMatch), "{event:?}");
}

#[tokio::test]
async fn a_wrong_certificate_on_either_side_is_a_named_fault() {
    let site = Site::new();
    let ours = &site.authority.pem;
    let device = site.authority.device(ID, Validity::Now).unwrap();
    let other = Authority::new("another site").unwrap();

    let wrong_ca = site.fault(&device, &other.pem).await;
    assert!(wrong_ca.to_string().starts_with("server certificate not issued by the pinned CA"), "{wrong_ca}");

    let foreign = site.fault(&other.device(ID, Validity::Now).unwrap(), ours).await;
    assert!(matches!(foreign, LinkFault::OurCertificate { .. }), "{foreign}");

    let expired = site.fault(&site.authority.device(ID, Validity::Expired).unwrap(), ours).await;
    assert!(expired.to_string().contains("refused our certificate (expired 2021-01-01)"), "{expired}");
}

#[tokio::test]
async fn a_broker_with_a_wrong_certificate_is_refused() {
    let authority = Authority::new("site").unwrap();
    let expired = authority.server("localhost", Validity::Expired).unwrap();
    let site = Site::with_server(authority, &expired);
    let device = site.authority.device(ID, Validity::Now).unwrap();
    let fault = site.fault(&device, &site.authority.pem).await.to_string();
    assert!(fault.starts_with("server certificate expired 2021-01-01"), "{fault}");

    let authority = Authority::new("site").unwrap();
    let misnamed = authority.server("elsewhere.example", Validity::Now).unwrap();
    let site = Site::with_server(authority, &misnamed);
    let device = site.authority.device(ID, Validity::Now).unwrap();
    let fault = site.fault(&device, &site.authority.pem).await.to_string();
    assert!(fault.starts_with("server certificate is for another name"), "{fault}");
}

#[tokio::test]
async fn nothing_there_and_something_else_there_are_told_apart() {
    let mut site = Site::new();
    let device = site.authority.device(ID, Validity::Now).unwrap();
    site.broker.kill();
    let fault = site.fault(&device, &site.authority.pem).await;
    assert_eq!(fault.to_string(), format!("cannot reach localhost:{}: refused", site.broker.port));

    // What a server without TLS says, and one that speaks TLS 1.2 at most: a fatal alert `protocol_version`.
    for speech in [&b"220 mail.example ESMTP\r\n"[..], b"\x15\x03\x03\x00\x02\x02\x46"] {
        site.broker.port = serve(speech).await;
        let fault = site.fault(&device, &site.authority.pem).await;
        assert!(fault.to_string().contains("does not speak TLS 1.3"), "{fault}");
    }
}

/// Answers every connection with these bytes; returns the port.
async fn serve(speech: &'static [u8]) -> u16 {
    let port = free_port().unwrap();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(speech).await;
            open.push(stream);
        }
    });
    port
}

#[tokio::test]
async fn many_records_go_out_in_order_and_a_full_uplink_says_so() {
    const RECORDS: u64 = 1000;
    let site = Site::new();
    let mut matcher = Matcher::connect(&site).await;
    let mut kiosk = site.kiosk();
    kiosk.up().await;
    let (mut number, mut refused) = (1, 0);
    while number <= RECORDS {
        match kiosk.uplink.send(Letter::Audit { number, bytes: vec![7; 300] }) {
            Ok(()) => number += 1,
            Err(UplinkError::Full { .. }) => {
                refused += 1;
                tokio::task::yield_now().await;
            }
            Err(UplinkError::Stopped) => panic!("the uplink has stopped"),
        }
    }
    assert!(refused > 0, "a bounded uplink must refuse so many at once");
    for number in 1..=RECORDS {
        assert_eq!(correlation(&matcher.next("up/audit").await), number.to_be_bytes());
    }
}

#[tokio::test]
async fn a_copy_of_the_device_throws_it_off_and_it_returns() {
    let site = Site::new();
    let mut kiosk = site.kiosk();
    kiosk.up().await;
    let _copy = Matcher::connect_as(&site, ID, &site.authority.device(ID, Validity::Now).unwrap()).await;
    assert!(matches!(kiosk.event().await, Event::UplinkDown));
    // Mosquitto 2.0.11 closes the connection before its own DISCONNECT with the reason is out.
    let fault = kiosk.first_fault().await;
    assert!(matches!(fault, LinkFault::TakenOver { .. } | LinkFault::Closed { .. }), "{fault}");
    kiosk.up().await;
}
