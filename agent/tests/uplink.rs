//! The uplink against a real Mosquitto with real certificates, good, expired and foreign ones.
#![allow(clippy::unwrap_used)]

mod broker;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use broker::{Authority, Broker, Issued, Validity, free_port};
use didar_agent::attempt::Event;
use didar_agent::edge::{Clock, Letter, Question, Uplink, UplinkError};
use didar_agent::identity::Identity;
use didar_agent::outbox::DiskOutbox;
use didar_agent::time::{Moment, SystemClock};
use didar_agent::uplink::fault::LinkFault;
use didar_agent::uplink::mqtt::{MqttUplink, Settings};
use didar_agent::uplink::trust::TrustAnchor;
use didar_protocol::id::{AttemptId, DeviceId, Env, RequestId};
use didar_protocol::message::{Challenge, Kind, MatcherKeys, Message, Receipt, Stage, State, Verdict, VerdictOutcome};
use didar_protocol::reason::Reason;
use didar_protocol::seal::{Entropy, SealKey, SealKeyPair, Signed, SoftwareSigner, sign_with_certificate};
use didar_protocol::trace::{self, TraceParent};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish, PublishProperties};
use rumqttc::v5::{AsyncClient, Event as ClientEvent, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::timeout;

const ID: &str = "kiosk-7";
const REQUEST: RequestId = RequestId::from_bytes([5; 16]);
const ATTEMPT: AttemptId = AttemptId::from_bytes([6; 16]);
/// 1 January 2100: every certificate of these tests has ended.
const YEAR_2100_MS: u64 = 4_102_444_800_000;
/// No step of these tests takes so long unless it failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// One authority, one broker, one folder.
struct Site {
    folder: tempfile::TempDir,
    authority: Authority,
    broker: Broker,
}

/// The agent's end.
struct Kiosk {
    uplink: MqttUplink,
    events: mpsc::Receiver<Event>,
    outbox: DiskOutbox,
    clock: Arc<dyn Clock>,
    signer: p256::ecdsa::VerifyingKey,
}

impl Site {
    fn new() -> Self {
        let authority = Authority::new("site").unwrap();
        let server = authority.server("localhost", Validity::Now).unwrap();
        Self::with_server(authority, &server)
    }

    fn with_server(authority: Authority, server: &Issued) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::start(&folder.path().join("broker"), server, &authority.pem).unwrap();
        Self { folder, authority, broker }
    }

    fn kiosk(&self) -> Kiosk {
        self.kiosk_with(
            &self.authority.device(ID, Validity::Now).unwrap(),
            &self.authority.pem,
            Arc::new(SystemClock::new(0)),
        )
    }

    fn kiosk_with(&self, device: &Issued, ca: &str, clock: Arc<dyn Clock>) -> Kiosk {
        let site = self.folder.path().join("site");
        device.write_site(&site, ca).unwrap();
        let id: DeviceId = ID.parse().unwrap();
        let identity = Arc::new(Identity::open(&site, &id).unwrap());
        let signer = p256::ecdsa::VerifyingKey::from_sec1_bytes(&identity.facts().public_key).unwrap();
        let outbox = DiskOutbox::open(&self.folder.path().join("outbox"), id, identity.clone(), 100).unwrap();
        let trust = Arc::new(TrustAnchor::open(&site, clock.clone()).unwrap());
        let (events, heard) = mpsc::channel(64);
        let settings = Settings {
            host: "localhost".to_owned(),
            port: self.broker.port,
            server_name: "localhost".to_owned(),
            env: Env::Test,
            version: "0.1.0".to_owned(),
            boot: [1; 16],
            models: Vec::new(),
        };
        let uplink = MqttUplink::start(settings, identity, trust, outbox.memory(), clock.clone(), events).unwrap();
        Kiosk { uplink, events: heard, outbox, clock, signer }
    }

    /// The fault that a kiosk with this certificate and this `ca.pem` reports.
    async fn fault(&self, device: &Issued, ca: &str) -> LinkFault {
        let kiosk = self.kiosk_with(device, ca, Arc::new(SystemClock::new(0)));
        let fault = kiosk.first_fault().await;
        kiosk.uplink.stop().await;
        fault
    }
}

impl Kiosk {
    async fn event(&mut self) -> Event {
        timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("the uplink lives")
    }

    async fn up(&mut self) {
        let event = self.event().await;
        assert!(matches!(event, Event::UplinkUp), "{event:?}");
    }

    async fn first_fault(&self) -> LinkFault {
        let mut faults = self.uplink.fault();
        let fault = timeout(PATIENCE, faults.wait_for(Option::is_some)).await.expect("a fault in time").unwrap();
        fault.clone().unwrap()
    }

    fn ask(&mut self) {
        let expires = self.clock.now().after(Duration::from_secs(60));
        let letter = Letter::RequestChallenge { request: REQUEST, bytes: b"sealed request".to_vec(), expires };
        self.uplink.send(letter).unwrap();
    }

    fn close(&mut self) {
        let expires = self.clock.now().after(Duration::from_secs(60));
        let letter = Letter::Attempt { request: REQUEST, attempt: ATTEMPT, bytes: b"sealed attempt".to_vec(), expires };
        self.uplink.send(letter).unwrap();
    }
}

/// The matcher's end: a client that sees everything and signs what it is told to.
struct Matcher {
    client: AsyncClient,
    inbox: mpsc::Receiver<Publish>,
    signer: SoftwareSigner,
    certificate: Vec<u8>,
    clock: SystemClock,
}

impl Matcher {
    async fn connect(site: &Site) -> Self {
        Self::connect_as(site, "matcher-1", &site.authority.matcher("matcher-1").unwrap()).await
    }

    async fn connect_as(site: &Site, client: &str, issued: &Issued) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(site.authority.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![CertificateDer::from(issued.der.clone())],
                PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap(),
            )
            .unwrap();
        let mut options = MqttOptions::new(client, "localhost", site.broker.port);
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(tls))));
        let (client, mut client_loop) = AsyncClient::new(options, 64);
        let (sender, inbox) = mpsc::channel(256);
        client.subscribe("didar/1/test/device/+/up/#", QoS::AtLeastOnce).await.unwrap();
        let (ready, subscribed) = tokio::sync::oneshot::channel();
        let mut ready = Some(ready);
        tokio::spawn(async move {
            loop {
                match client_loop.poll().await {
                    Ok(ClientEvent::Incoming(Packet::Publish(publish))) => {
                        if sender.send(publish).await.is_err() {
                            return;
                        }
                    }
                    Ok(ClientEvent::Incoming(Packet::SubAck(_))) => drop(ready.take().map(|ready| ready.send(()))),
                    Ok(_) => {}
                    // Its broker was killed by the test.
                    Err(_) => return,
                }
            }
        });
        timeout(PATIENCE, subscribed).await.expect("the stand-in for the matcher connects").unwrap();
        let signer = SoftwareSigner::from_pkcs8_pem(&issued.key, &issued.der).unwrap();
        Self { client, inbox, signer, certificate: issued.der.clone(), clock: SystemClock::new(0) }
    }

    /// The next message whose topic ends so.
    async fn next(&mut self, lane: &str) -> Publish {
        let next = async {
            loop {
                let publish = self.inbox.recv().await.expect("the broker lives");
                if publish.topic.ends_with(lane.as_bytes()) {
                    return publish;
                }
            }
        };
        timeout(PATIENCE, next).await.unwrap_or_else(|_| panic!("nothing came on {lane}"))
    }

    /// The next state that the kiosk tells.
    async fn state_of(&mut self, kiosk: &Kiosk) -> State {
        let state = self.next("up/state").await;
        let state = Signed::parse(Kind::State, &state.payload).unwrap();
        State::decode(state.verify(&kiosk.signer).unwrap()).unwrap()
    }

    fn sign<M: Message>(&self, message: &M) -> Vec<u8> {
        sign_with_certificate(M::KIND, &message.encode().unwrap(), &self.signer, &self.certificate).unwrap()
    }

    async fn publish(&self, topic: &str, bytes: Vec<u8>) {
        self.publish_correlated(topic, bytes, None).await;
    }

    async fn publish_correlated(&self, topic: &str, bytes: Vec<u8>, correlation: Option<&[u8]>) {
        let properties = PublishProperties {
            correlation_data: correlation.map(|data| data.to_vec().into()),
            ..PublishProperties::default()
        };
        let (topic, retain) = (format!("didar/1/test/{topic}"), topic == "matcher/keys");
        self.client.publish_with_properties(topic, QoS::AtLeastOnce, retain, bytes, properties).await.unwrap();
    }

    fn now_ms(&self) -> u64 {
        self.clock.unix_ms(self.clock.now())
    }

    fn challenge(&self) -> Challenge {
        Challenge {
            attempt: ATTEMPT,
            device: ID.parse().unwrap(),
            request_hash: [2; 32],
            nonce: [3; 32],
            stage: Stage::Subsequent,
            picture: false,
            policy_version: 1,
            server_time_ms: self.now_ms(),
            expires_ms: self.now_ms() + 60_000,
            seal_key: seal_key(),
        }
    }

    fn verdict(&self) -> Verdict {
        Verdict {
            attempt: Some(ATTEMPT),
            device: ID.parse().unwrap(),
            reply_to: [3; 32],
            outcome: VerdictOutcome::Match,
            reason: Reason::None,
            threshold_class: 1,
            attempts_left: 2,
            server_time_ms: self.now_ms(),
            expires_ms: self.now_ms() + 60_000,
        }
    }

    fn receipt(&self) -> Receipt {
        Receipt { device: ID.parse().unwrap(), highest: 1, missing: Vec::new(), server_time_ms: self.now_ms() }
    }

    fn keys(&self) -> MatcherKeys {
        MatcherKeys { seal_keys: vec![seal_key()], policy_version: 1, server_time_ms: self.now_ms() }
    }
}

fn seal_key() -> SealKey {
    SealKeyPair::generate(Entropy::new([9; 32])).public().clone()
}

fn correlation(publish: &Publish) -> &[u8] {
    publish.properties.as_ref().unwrap().correlation_data.as_ref().unwrap()
}

/// The one trace that came along.
fn trace(publish: &Publish) -> Option<TraceParent> {
    let [(name, text)] = publish.properties.as_ref()?.user_properties.as_slice() else { return None };
    (name == trace::PROPERTY).then(|| text.parse().unwrap())
}

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
    assert!(kiosk.clock.is_signed());

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

/// A board whose calendar stands at a time of its own until it learns better.
struct SlowClock {
    real: SystemClock,
    behind: std::sync::Mutex<Option<u64>>,
}

impl Clock for SlowClock {
    fn now(&self) -> Moment {
        self.real.now()
    }

    fn unix_ms(&self, at: Moment) -> u64 {
        self.behind.lock().unwrap().unwrap_or_else(|| self.real.unix_ms(at))
    }

    fn learn(&self, signed_unix_ms: u64) {
        *self.behind.lock().unwrap() = None;
        self.real.learn(signed_unix_ms);
    }

    fn is_signed(&self) -> bool {
        self.real.is_signed()
    }
}

#[tokio::test]
async fn a_clock_in_1970_reaches_the_centre_and_corrects_itself() {
    let site = Site::new();
    let mut matcher = Matcher::connect(&site).await;
    let clock = Arc::new(SlowClock { real: SystemClock::new(0), behind: std::sync::Mutex::new(Some(0)) });
    let device = site.authority.device(ID, Validity::Now).unwrap();
    let mut kiosk = site.kiosk_with(&device, &site.authority.pem, clock.clone());
    kiosk.up().await;
    kiosk.ask();
    let challenge = matcher.sign(&matcher.challenge());
    matcher.publish_correlated("device/kiosk-7/down/challenge", challenge, Some(REQUEST.as_bytes())).await;
    assert!(matches!(kiosk.event().await, Event::Challenged(_)));
    assert!(clock.is_signed());
    assert!(clock.unix_ms(clock.now()).abs_diff(matcher.now_ms()) < 10_000);
    // The centre is told once that somebody should look at this clock.
    while !matcher.state_of(&kiosk).await.faults.contains(&Reason::ClockFault) {}
    assert!(!matcher.state_of(&kiosk).await.faults.contains(&Reason::ClockFault));
}

#[tokio::test]
async fn a_clock_in_2100_is_named_and_told_to_the_loop_until_it_is_right() {
    let site = Site::new();
    let clock = Arc::new(SlowClock { real: SystemClock::new(0), behind: std::sync::Mutex::new(Some(YEAR_2100_MS)) });
    let device = site.authority.device(ID, Validity::Now).unwrap();
    let mut kiosk = site.kiosk_with(&device, &site.authority.pem, clock.clone());
    assert!(matches!(kiosk.event().await, Event::Fault(Reason::ClockFault)));
    let fault = kiosk.first_fault().await;
    assert!(fault.to_string().starts_with("this device's clock says 2100-01-01"), "{fault}");
    *clock.behind.lock().unwrap() = None;
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
    let trust = TrustAnchor::open(folder.path(), Arc::new(SystemClock::new(0))).unwrap();
    assert!(trust.matcher_key(&future.der).is_ok());
    assert!(trust.matcher_key(&expired.der).is_err());
    trust.time_is_told();
    let why = trust.matcher_key(&future.der).unwrap_err().to_string();
    assert!(why.starts_with("matcher's certificate is valid from 2080-01-01 only"), "{why}");
}
