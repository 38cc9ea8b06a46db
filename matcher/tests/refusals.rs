//! Everything that must be refused, tried over real connections; each time the operator hears an alarm.
#![allow(clippy::unwrap_used, missing_docs)]

mod serving;
mod site;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use didar_matcher::broker::Broker;
use didar_matcher::ca::Ca;
use didar_matcher::config::{BrokerUrl, Config};
use didar_matcher::pki::Certificate;
use didar_matcher::site::{Site as Folder, Wishes};
use didar_matcher::time::now_ms;
use didar_matcher::{mqtt, tls};
use didar_protocol::message::{AuditEntry, Challenge, Event, Kind, Message as _, Verdict, VerdictOutcome};
use didar_protocol::reason::Reason;
use didar_protocol::seal::SealKey;
use rumqttc::v5::mqttbytes::QoS;
use serving::{Client, PATIENCE, program, serve};
use site::{Kiosk, PERSON, kiosk, kiosk_request, open};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

const YEAR_MS: u64 = 366 * 86_400_000;

/// The operator's connection.
struct Operator(Client);

impl Operator {
    async fn connect(url: &BrokerUrl, folder: &Path) -> Option<Self> {
        let read = |name: &str| std::fs::read_to_string(folder.join("operator").join(name)).unwrap();
        let (certificate, key) = (read("operator.pem"), read("operator.key"));
        let mut client = Client::new(url, folder, &certificate, &key, "operator:operator").await.ok()?;
        client.subscribe("didar/1/test/operator/#").await;
        Some(Self(client))
    }

    /// Waits for an event whose note says this; gives it.
    async fn hears(&mut self, words: &str) -> Event {
        loop {
            let (publish, _) = self.0.heard("").await;
            let event: Event = open(&publish.payload);
            if event.note.contains(words) {
                return event;
            }
        }
    }

    /// The same within a second; `None` when nothing of the kind is said.
    async fn hears_soon(&mut self, words: &str) -> Option<Event> {
        timeout(Duration::from_secs(1), self.hears(words)).await.ok()
    }
}

/// What a client that speaks TLS 1.2 at most says first (RFC 5246, 7.4.1.2); the server's answer.
async fn old_hello(url: &BrokerUrl) -> Vec<u8> {
    let mut hello = vec![0x03, 0x03];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![0x16, 0x03, 0x01, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    let mut stream = TcpStream::connect((url.host.as_str(), url.port)).await.unwrap();
    stream.write_all(&record).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the broker hangs up");
    answer
}

#[tokio::test]
async fn a_wrong_expired_foreign_or_missing_certificate_and_an_old_tls_are_refused_and_alarmed() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(&folder.path().join("site"));
    let mut operator = Operator::connect(&serving.url, &serving.folder).await.unwrap();

    let answer = old_hello(&serving.url).await;
    // A fatal alert, `protocol_version` (70).
    assert_eq!((answer.first(), answer.last()), (Some(&0x15), Some(&70)), "{answer:?}");
    assert!(operator.hears("older TLS").await.note.starts_with("the broker refused"));

    let mut plain = TcpStream::connect((serving.url.host.as_str(), serving.url.port)).await.unwrap();
    plain.write_all(b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03abc").await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, plain.read_to_end(&mut answer)).await.expect("the broker hangs up");
    assert!(!answer.starts_with(&[0x20]), "plain MQTT was answered");

    let ours = Ca::open(&serving.folder.join("ca")).unwrap();
    let foreign = Ca::init(&folder.path().join("foreign"), now_ms()).unwrap();
    for device in [
        kiosk(&foreign, "kiosk-1", now_ms(), 365),
        kiosk(&ours, "kiosk-1", now_ms() - YEAR_MS, 365),
        kiosk(&ours, "kiosk-1", now_ms() + YEAR_MS, 365),
    ] {
        assert!(serving.try_connect(&device).await.is_err());
    }
    assert_eq!(operator.hears("refused a certificate").await.reason, Reason::DeviceRefused);

    // The broker's certificate is good for servers only.
    let read = |name: &str| std::fs::read_to_string(serving.folder.join("broker").join(name)).unwrap();
    let wrong = Client::new(&serving.url, &serving.folder, &read("broker.pem"), &read("broker.key"), "kiosk-1").await;
    assert!(wrong.is_err());
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_and_alarmed() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(&folder.path().join("site"));
    let device = serving.device("kiosk-1");
    let mut connected = serving.try_connect(&device).await.unwrap();
    serving.run(&["device", "revoke", "kiosk-1"]);
    while connected.next().await.is_ok() {}
    let mut operator = None;
    while operator.is_none() {
        operator = Operator::connect(&serving.url, &serving.folder).await;
    }
    let mut operator = operator.unwrap();
    loop {
        assert!(serving.try_connect(&device).await.is_err());
        if operator.hears_soon("refused a certificate").await.is_some() {
            break;
        }
    }
    // Nor does its certificate come back by the front door.
    let path = serving.folder.join("kiosk-1.pem");
    let again = program()
        .args(["device", "add", "--initiator", "egov", "--certificate"])
        .arg(&path)
        .arg("--dir")
        .arg(&serving.folder)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&again.stderr).contains("was revoked"));
}

#[test]
fn a_certificate_of_the_trial_is_refused_in_production() {
    let folder = tempfile::tempdir().unwrap();
    let [trial, production] = ["trial", "production"].map(|name| {
        let site = Folder::new(&folder.path().join(name));
        site.prepare(&wishes(), now_ms()).unwrap();
        site
    });
    let text = std::fs::read_to_string(production.config()).unwrap();
    std::fs::write(production.config(), text.replace("env = \"test\"", "env = \"production\"")).unwrap();
    let device = kiosk(&Ca::open(&trial.ca()).unwrap(), "kiosk-1", now_ms(), 365);
    let path = folder.path().join("kiosk-1.pem");
    std::fs::write(&path, &device.certificate_pem).unwrap();
    for (name, accepted) in [("trial", true), ("production", false)] {
        let output = program()
            .args(["device", "add", "--initiator", "egov", "--certificate"])
            .arg(&path)
            .arg("--dir")
            .arg(folder.path().join(name))
            .output()
            .unwrap();
        assert_eq!(output.status.success(), accepted, "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn wishes() -> Wishes {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/manifest.toml");
    Wishes { bind: [127, 0, 0, 1].into(), port: None, names: Vec::new(), models }
}

/// A matcher with scripted eyes on a real broker.
struct Centre {
    folder: tempfile::TempDir,
    config: Config,
    seal_key: SealKey,
    _broker: Broker,
    stop: watch::Sender<bool>,
}

impl Centre {
    async fn open() -> (Self, Operator) {
        let folder = tempfile::tempdir().unwrap();
        let place = Folder::new(folder.path());
        let (_, plan) = place.prepare(&wishes(), now_ms()).unwrap();
        let text = std::fs::read_to_string(place.config()).unwrap();
        std::fs::write(place.config(), text.replace("lifetime_s = 60", "lifetime_s = 10")).unwrap();
        let config = Config::read(&place.config()).unwrap();
        let (turned, _) = mpsc::channel(1);
        let broker = plan.start(Path::new(env!("CARGO_BIN_EXE_didar-matcher")), turned).await.unwrap();
        let mut service = site::service(&config);
        site::enrol_with(&mut service, PERSON, 20, now_ms());
        let seal_key = didar_matcher::identity::Identity::load(&config).unwrap().seal_public().swap_remove(0);
        let transport = tls::transport(&config.broker.ca, &config.broker.certificate, &config.broker.key).unwrap();
        let (connected, mut is_connected) = watch::channel(false);
        let (stop, stopping) = watch::channel(false);
        let url = config.broker.url.clone();
        let operator = Operator::connect(&url, folder.path()).await.unwrap();
        tokio::spawn(async move {
            mqtt::serve(service, &url, "matcher:matcher-1", transport, connected, stopping).await.unwrap();
        });
        is_connected.wait_for(|connected| *connected).await.unwrap();
        (Self { folder, config, seal_key, _broker: broker, stop }, operator)
    }

    /// A device with a certificate of this site.
    fn stranger(&self, id: &str) -> Kiosk {
        kiosk(&Ca::open(&self.folder.path().join("ca")).unwrap(), id, now_ms(), 365)
    }

    /// A device that is registered too.
    fn kiosk(&self, id: &str) -> Kiosk {
        let kiosk = self.stranger(id);
        let mut store =
            didar_matcher::store::Store::open(&self.config.store.database, &self.config.keys.store, self.config.env)
                .unwrap();
        let work = store.begin().unwrap();
        let certificate = Certificate::from_pem(&kiosk.certificate_pem).unwrap();
        work.add_device(&kiosk.id, &certificate, &["egov".parse().unwrap()], now_ms()).unwrap();
        work.commit().unwrap();
        kiosk
    }

    async fn connect(&self, kiosk: &Kiosk) -> Client {
        let Kiosk { certificate_pem, key_pem, id, .. } = kiosk;
        let url = &self.config.broker.url;
        let mut client = Client::new(url, self.folder.path(), certificate_pem, key_pem, id.as_str()).await.unwrap();
        client.subscribe(&format!("didar/1/test/device/{id}/down/#")).await;
        client
    }
}

impl Drop for Centre {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

async fn say(client: &Client, kiosk: &Kiosk, lane: &str, bytes: Vec<u8>) {
    let topic = format!("didar/1/test/device/{}/up/{lane}", kiosk.id);
    client.client.publish(topic, QoS::AtLeastOnce, false, bytes).await.unwrap();
}

async fn challenge(centre: &Centre, client: &mut Client, kiosk: &mut Kiosk) -> Challenge {
    let request = kiosk_request(kiosk, PERSON, now_ms());
    say(client, kiosk, "challenge-request", kiosk.ask(&centre.seal_key, request)).await;
    open(&client.heard("/down/challenge").await.0.payload)
}

async fn verdict(client: &mut Client) -> (VerdictOutcome, Reason) {
    let verdict: Verdict = open(&client.heard("/down/verdict").await.0.payload);
    (verdict.outcome, verdict.reason)
}

#[tokio::test]
async fn foreign_stale_and_repeated_attempts_are_refused_and_alarmed() {
    let (centre, mut operator) = Centre::open().await;
    let (mut honest, thief) = (centre.kiosk("kiosk-1"), centre.kiosk("kiosk-2"));
    let (mut one, mut two) = (centre.connect(&honest).await, centre.connect(&thief).await);

    // A challenge that is another device's.
    let first = challenge(&centre, &mut one, &mut honest).await;
    let stolen = Challenge { device: thief.id.clone(), ..first.clone() };
    say(&two, &thief, "attempt", thief.send(&centre.seal_key, &thief.proof(&stolen, 20))).await;
    assert_eq!(verdict(&mut two).await, (VerdictOutcome::Refuse, Reason::DeviceRefused));
    operator.hears("attempt on another device's challenge").await;

    // Another attempt on a spent one.
    say(&one, &honest, "attempt", honest.send(&centre.seal_key, &honest.proof(&first, 20))).await;
    assert_eq!(verdict(&mut one).await, (VerdictOutcome::Match, Reason::None));
    say(&one, &honest, "attempt", honest.send(&centre.seal_key, &honest.proof(&first, 20))).await;
    assert_eq!(verdict(&mut one).await, (VerdictOutcome::Refuse, Reason::ChallengeSpent));
    operator.hears("another attempt on a spent challenge").await;

    // One that nobody used in its time.
    let stale = challenge(&centre, &mut one, &mut honest).await;
    operator.hears("challenge abandoned").await;
    say(&one, &honest, "attempt", honest.send(&centre.seal_key, &honest.proof(&stale, 20))).await;
    assert_eq!(verdict(&mut one).await, (VerdictOutcome::Refuse, Reason::ChallengeExpired));
    operator.hears("attempt after its challenge's end").await;
}

#[tokio::test]
async fn mismatched_unknown_and_older_messages_are_refused_and_alarmed() {
    let (centre, mut operator) = Centre::open().await;

    // One device's record on another's connection.
    let (one, two) = (centre.kiosk("kiosk-1"), centre.kiosk("kiosk-2"));
    let client = centre.connect(&one).await;
    let started = AuditEntry::Started { version: "1".into(), boot: [1; 16] };
    say(&client, &one, "audit", two.record(1, [0; 32], started.clone())).await;
    assert_eq!(operator.hears("name different devices").await.device, Some(one.id.clone()));

    // A certificate of the site's authority that no operator registered: the broker lets it in, the matcher does not.
    let stranger = centre.stranger("kiosk-3");
    let client = centre.connect(&stranger).await;
    say(&client, &stranger, "audit", stranger.record(1, [0; 32], started)).await;
    operator.hears("unknown certificate").await;

    // Another version of the protocol.
    let mut older = centre.kiosk("kiosk-4");
    let mut client = centre.connect(&older).await;
    let mut payload = kiosk_request(&mut older, PERSON, now_ms()).encode().unwrap();
    assert_eq!(payload[1..3], [0, 1], "the version comes first");
    payload[2] = 0;
    say(&client, &older, "challenge-request", older.sealed(&centre.seal_key, Kind::ChallengeRequest, None, &payload))
        .await;
    assert_eq!(verdict(&mut client).await, (VerdictOutcome::Refuse, Reason::RequestMalformed));
    operator.hears("version 0").await;

    // Two machines with one identity.
    let kiosk = centre.kiosk("kiosk-5");
    let original = centre.connect(&kiosk).await;
    say(&original, &kiosk, "state", kiosk.state(1, 7, true)).await;
    operator.hears("agent 0.1.0").await;
    let mut copy = centre.connect(&kiosk).await;
    say(&copy, &kiosk, "state", kiosk.state(2, 7, true)).await;
    operator.hears("two machines use one identity").await;
    let mut asking = kiosk;
    let request = kiosk_request(&mut asking, PERSON, now_ms());
    say(&copy, &asking, "challenge-request", asking.ask(&centre.seal_key, request)).await;
    assert_eq!(verdict(&mut copy).await, (VerdictOutcome::Refuse, Reason::DeviceRefused));
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused_and_alarmed() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(&folder.path().join("site"));
    let mut operator = Operator::connect(&serving.url, &serving.folder).await.unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(tls::read_ca(&serving.folder.join("ca/ca.pem")).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect((serving.url.host.as_str(), serving.url.port)).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    if let Ok(mut stream) = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        // In TLS 1.3 the client is done before the server has looked at what it shows.
        let _ = stream.write_all(b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03abc").await;
        let mut answer = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the broker hangs up");
        assert!(read.is_err() || answer.is_empty(), "{answer:?}");
    }
    operator.hears("shows no certificate").await;
}
