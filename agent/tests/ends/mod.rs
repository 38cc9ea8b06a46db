//! Both ends of the uplink: a kiosk of a site with a real broker, and a matcher that says what it is told to.

// Each test program uses the part that it needs.
#![allow(dead_code)]

use std::sync::Arc;
use std::time::Duration;

use crate::broker::{Authority, Broker, Issued, Validity};
use didar_agent::attempt::Event;
use didar_agent::edge::{Clock, Letter, Uplink};
use didar_agent::identity::Identity;
use didar_agent::outbox::DiskOutbox;
use didar_agent::time::SystemClock;
use didar_agent::uplink::fault::LinkFault;
use didar_agent::uplink::mqtt::{MqttUplink, Settings};
use didar_agent::uplink::trust::TrustAnchor;
use didar_protocol::id::{AttemptId, DeviceId, Env, Hash, RequestId};
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
use tokio::sync::mpsc;
use tokio::time::timeout;

pub(crate) const ID: &str = "kiosk-7";
pub(crate) const REQUEST: RequestId = RequestId::from_bytes([5; 16]);
pub(crate) const REQUEST_HASH: Hash = [4; 32];
pub(crate) const ATTEMPT: AttemptId = AttemptId::from_bytes([6; 16]);
/// 1 January 2100: every certificate of these tests has ended.
pub(crate) const YEAR_2100_MS: u64 = 4_102_444_800_000;
/// No step of these tests takes so long unless it failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One authority, one broker, one folder.
pub(crate) struct Site {
    pub folder: tempfile::TempDir,
    pub authority: Authority,
    pub broker: Broker,
}

/// The agent's end.
pub(crate) struct Kiosk {
    pub uplink: MqttUplink,
    pub events: mpsc::Receiver<Event>,
    pub outbox: DiskOutbox,
    pub clock: Arc<dyn Clock>,
    pub signer: p256::ecdsa::VerifyingKey,
}

impl Site {
    pub(crate) fn new() -> Self {
        let authority = Authority::new("site").unwrap();
        let server = authority.server("localhost", Validity::Now).unwrap();
        Self::with_server(authority, &server)
    }

    pub(crate) fn with_server(authority: Authority, server: &Issued) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::start(&folder.path().join("broker"), server, &authority.pem).unwrap();
        Self { folder, authority, broker }
    }

    pub(crate) fn kiosk(&self) -> Kiosk {
        self.kiosk_with(
            &self.authority.device(ID, Validity::Now).unwrap(),
            &self.authority.pem,
            Arc::new(SystemClock::new(0)),
        )
    }

    pub(crate) fn kiosk_with(&self, device: &Issued, ca: &str, clock: Arc<dyn Clock>) -> Kiosk {
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
    pub(crate) async fn fault(&self, device: &Issued, ca: &str) -> LinkFault {
        let kiosk = self.kiosk_with(device, ca, Arc::new(SystemClock::new(0)));
        let fault = kiosk.first_fault().await;
        kiosk.uplink.stop().await;
        fault
    }
}

impl Kiosk {
    pub(crate) async fn event(&mut self) -> Event {
        timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("the uplink lives")
    }

    pub(crate) async fn up(&mut self) {
        let event = self.event().await;
        assert!(matches!(event, Event::UplinkUp), "{event:?}");
    }

    pub(crate) async fn first_fault(&self) -> LinkFault {
        let mut faults = self.uplink.fault();
        let fault = timeout(PATIENCE, faults.wait_for(Option::is_some)).await.expect("a fault in time").unwrap();
        fault.clone().unwrap()
    }

    pub(crate) fn ask(&mut self) {
        let expires = self.clock.now().after(Duration::from_secs(60));
        let letter = Letter::RequestChallenge {
            request: REQUEST,
            hash: REQUEST_HASH,
            bytes: b"sealed request".to_vec(),
            expires,
        };
        self.uplink.send(letter).unwrap();
    }

    pub(crate) fn close(&mut self) {
        let expires = self.clock.now().after(Duration::from_secs(60));
        let letter = Letter::Attempt { request: REQUEST, attempt: ATTEMPT, bytes: b"sealed attempt".to_vec(), expires };
        self.uplink.send(letter).unwrap();
    }
}

/// The matcher's end: a client that sees everything and signs what it is told to.
pub(crate) struct Matcher {
    pub client: AsyncClient,
    pub inbox: mpsc::Receiver<Publish>,
    pub signer: SoftwareSigner,
    pub certificate: Vec<u8>,
    pub clock: SystemClock,
}

impl Matcher {
    pub(crate) async fn connect(site: &Site) -> Self {
        Self::connect_as(site, "matcher-1", &site.authority.matcher("matcher-1").unwrap()).await
    }

    pub(crate) async fn connect_as(site: &Site, client: &str, issued: &Issued) -> Self {
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
    pub(crate) async fn next(&mut self, lane: &str) -> Publish {
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
    pub(crate) async fn state_of(&mut self, kiosk: &Kiosk) -> State {
        let state = self.next("up/state").await;
        let state = Signed::parse(Kind::State, &state.payload).unwrap();
        State::decode(state.verify(&kiosk.signer).unwrap()).unwrap()
    }

    pub(crate) fn sign<M: Message>(&self, message: &M) -> Vec<u8> {
        sign_with_certificate(M::KIND, &message.encode().unwrap(), &self.signer, &self.certificate).unwrap()
    }

    pub(crate) async fn publish(&self, topic: &str, bytes: Vec<u8>) {
        self.publish_correlated(topic, bytes, None).await;
    }

    pub(crate) async fn publish_correlated(&self, topic: &str, bytes: Vec<u8>, correlation: Option<&[u8]>) {
        let properties = PublishProperties {
            correlation_data: correlation.map(|data| data.to_vec().into()),
            ..PublishProperties::default()
        };
        let (topic, retain) = (format!("didar/1/test/{topic}"), topic == "matcher/keys");
        self.client.publish_with_properties(topic, QoS::AtLeastOnce, retain, bytes, properties).await.unwrap();
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.unix_ms(self.clock.now())
    }

    pub(crate) fn challenge(&self) -> Challenge {
        Challenge {
            attempt: ATTEMPT,
            device: ID.parse().unwrap(),
            request_hash: REQUEST_HASH,
            nonce: [3; 32],
            stage: Stage::Subsequent,
            picture: false,
            policy_version: 1,
            server_time_ms: self.now_ms(),
            expires_ms: self.now_ms() + 60_000,
            seal_key: seal_key(),
        }
    }

    pub(crate) fn verdict(&self) -> Verdict {
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

    pub(crate) fn receipt(&self) -> Receipt {
        Receipt {
            device: ID.parse().unwrap(),
            highest: 1,
            hash: [1; 32],
            answers: 1,
            missing: Vec::new(),
            server_time_ms: self.now_ms(),
        }
    }

    pub(crate) fn keys(&self) -> MatcherKeys {
        MatcherKeys { seal_keys: vec![seal_key()], policy_version: 1, server_time_ms: self.now_ms() }
    }
}

pub(crate) fn seal_key() -> SealKey {
    SealKeyPair::generate(Entropy::new([9; 32])).public().clone()
}

pub(crate) fn correlation(publish: &Publish) -> &[u8] {
    publish.properties.as_ref().unwrap().correlation_data.as_ref().unwrap()
}

/// The one trace that came along.
pub(crate) fn trace(publish: &Publish) -> Option<TraceParent> {
    let [(name, text)] = publish.properties.as_ref()?.user_properties.as_slice() else { return None };
    (name == trace::PROPERTY).then(|| text.parse().unwrap())
}
