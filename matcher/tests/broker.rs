//! A real Mosquitto, real certificates, the real program: who may say and hear what.
#![allow(clippy::unwrap_used, missing_docs)]

mod serving;
mod site;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use didar_matcher::ca::Ca;
use didar_matcher::time::now_ms;
use didar_protocol::id::RequestId;
use didar_protocol::message::AuditEntry;
use didar_protocol::trace::{self, TraceParent};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{PubAckReason, PublishProperties};
use serving::{Client, program, serve};
use site::{Kiosk, hash_of, kiosk};
use tokio::time::timeout;

fn started() -> AuditEntry {
    AuditEntry::Started { version: "1".into(), boot: [1; 16] }
}

/// Every topic of this device that exists, and some that do not.
fn topics_of(device: &str) -> Vec<String> {
    [
        "up/challenge-request",
        "up/attempt",
        "up/audit",
        "up/state",
        "down/challenge",
        "down/verdict",
        "down/receipt",
        "x",
    ]
    .map(|lane| format!("didar/1/test/device/{device}/{lane}"))
    .into()
}

#[tokio::test]
async fn a_device_may_use_its_own_topics_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(&folder.path().join("site"));
    let (mut one, two) = (serving.device("kiosk-1"), serving.device("kiosk-2"));
    one.requests += 1;

    // Saying: every topic but its own four is refused by the broker.
    let own = ["up/challenge-request", "up/attempt", "up/audit", "up/state"];
    let mut topics = topics_of("kiosk-2");
    topics.extend(topics_of("kiosk-1"));
    topics.extend(
        ["didar/1/test/matcher/keys", "didar/1/test/operator/events", "didar/1/test/operator/alarms", "a", "$SYS/x"]
            .map(Into::into),
    );
    topics.extend(topics_of("matcher:matcher-1"));
    topics.push("didar/1/production/device/kiosk-1/up/audit".into());
    for topic in topics {
        let mut client = serving.connect(&one, "kiosk-1").await;
        let allowed = own.iter().any(|lane| topic == format!("didar/1/test/device/kiosk-1/{lane}"));
        let answer = client.publish(&topic, b"x").await;
        assert_eq!(answer == PubAckReason::NotAuthorized, !allowed, "{topic}: {answer:?}");
    }

    // Hearing: it may ask for everything; nothing comes but its own and the matchers' keys. It cannot join the
    // matchers' share and swallow what others say either.
    let mut spy = serving.connect(&one, "kiosk-1").await;
    for filter in ["#", "didar/#", "+/+/+/+/kiosk-2/#", "didar/1/test/operator/#", "didar/1/test/device/kiosk-2/down/#"]
    {
        spy.subscribe(filter).await;
    }
    for lane in own {
        spy.subscribe(&format!("$share/matchers/didar/1/test/device/+/{lane}")).await;
    }
    let mut other = serving.connect(&two, "kiosk-2").await;
    other.subscribe("didar/1/test/device/kiosk-2/down/#").await;
    let mut previous = [0; 32];
    for number in 1..=6 {
        let record = two.record(number, previous, started());
        previous = hash_of(&record);
        other.client.publish("didar/1/test/device/kiosk-2/up/audit", QoS::AtLeastOnce, false, record).await.unwrap();
        other.heard("/down/receipt").await;
    }
    let record = one.record(1, [0; 32], started());
    spy.client.publish("didar/1/test/device/kiosk-1/up/audit", QoS::AtLeastOnce, false, record).await.unwrap();
    let (_, before) = spy.heard("kiosk-1/down/receipt").await;
    let foreign: Vec<_> = before.iter().filter(|topic| *topic != "didar/1/test/matcher/keys").collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

#[tokio::test]
async fn a_device_cannot_take_anothers_client_id() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(&folder.path().join("site"));
    let (one, two) = (serving.device("kiosk-1"), serving.device("kiosk-2"));
    let mut victim = serving.connect(&two, "kiosk-2").await;
    victim.subscribe("didar/1/test/matcher/keys").await;
    let (keys, _) = victim.heard("/matcher/keys").await;
    assert!(keys.retain);
    victim.subscribe("didar/1/test/device/kiosk-2/down/#").await;
    let asked = TraceParent::of(RequestId::from_bytes([7; 16]), [1; 8]).unwrap();
    for taken in ["kiosk-2", "matcher:matcher-1"] {
        let _thief = serving.connect(&one, taken).await;
        let record = two.record(1, [0; 32], started());
        let properties = PublishProperties {
            correlation_data: Some(vec![4, 2].into()),
            user_properties: vec![(trace::PROPERTY.to_owned(), asked.to_string())],
            ..PublishProperties::default()
        };
        let topic = "didar/1/test/device/kiosk-2/up/audit";
        victim.client.publish_with_properties(topic, QoS::AtLeastOnce, false, record, properties).await.unwrap();
        let (receipt, _) = victim.heard("/down/receipt").await;
        let properties = receipt.properties.unwrap();
        assert_eq!(properties.correlation_data.unwrap().to_vec(), [4, 2]);
        let [(name, answered)] = properties.user_properties.as_slice() else { panic!("one trace") };
        let answered: TraceParent = answered.parse().unwrap();
        assert_eq!((name.as_str(), answered.request()), (trace::PROPERTY, asked.request()));
        assert_ne!(answered, asked, "the answer is a step of its own");
    }
}

#[tokio::test]
async fn expired_foreign_and_missing_certificates_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(&folder.path().join("site"));
    let ours = Ca::open(&serving.folder.join("ca")).unwrap();
    let foreign = Ca::init(&folder.path().join("foreign"), now_ms()).unwrap();
    let year_ms = 366 * 86_400_000;
    for (why, device) in [
        ("expired", kiosk(&ours, "kiosk-1", now_ms() - year_ms, 365)),
        ("not yet valid", kiosk(&ours, "kiosk-1", now_ms() + year_ms, 365)),
        ("foreign", kiosk(&foreign, "kiosk-1", now_ms(), 365)),
    ] {
        let Kiosk { certificate_pem, key_pem, .. } = &device;
        let refused = Client::new(&serving.url, &serving.folder, certificate_pem, key_pem, "kiosk-1").await;
        assert!(refused.is_err(), "{why}");
    }
    let good = serving.device("kiosk-1");
    serving.connect(&good, "kiosk-1").await;
}

#[tokio::test]
async fn a_revoked_device_is_thrown_off_and_the_others_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(&folder.path().join("site"));
    let (one, two) = (serving.device("kiosk-1"), serving.device("kiosk-2"));
    let mut thief = serving.connect(&one, "kiosk-1").await;
    serving.run(&["device", "revoke", "kiosk-1"]);
    while thief.next().await.is_ok() {}
    let mut again = serving.try_connect(&two).await;
    while again.is_err() {
        again = serving.try_connect(&two).await;
    }
    assert!(serving.try_connect(&one).await.is_err());
    let mut honest = again.unwrap();
    honest.subscribe("didar/1/test/device/kiosk-2/down/#").await;
    // The matcher, too, comes back to the broker: an answer shows it. Until then nobody hears.
    let mut answered = false;
    let mut previous = [0; 32];
    let mut number = 0;
    while !answered {
        number += 1;
        let record = two.record(number, previous, started());
        previous = hash_of(&record);
        honest.publish("didar/1/test/device/kiosk-2/up/audit", &record).await;
        answered = timeout(Duration::from_secs(1), honest.heard("/down/receipt")).await.is_ok();
    }
}

#[tokio::test]
async fn an_operator_sees_alarms_and_the_service_goes_on_after_garbage() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(&folder.path().join("site"));
    let device = serving.device("kiosk-1");
    serving.run(&["ca", "operator", "aliya"]);
    let mut watching = program()
        .args(["watch", "--json", "--operator", "aliya", "--dir"])
        .arg(&serving.folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut seen = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut client = serving.connect(&device, "kiosk-1").await;
    client.subscribe("didar/1/test/device/kiosk-1/down/#").await;
    let mut number = 0;
    let mut previous = [0; 32];
    // The broker lets a new operator in within a second or so: say things until one of them is seen.
    let first = std::thread::spawn(move || seen.next().unwrap().map(|line| (line, seen)));
    while !first.is_finished() {
        for lane in ["challenge-request", "attempt", "state"] {
            assert_eq!(
                client.publish(&format!("didar/1/test/device/kiosk-1/up/{lane}"), b"garbage").await,
                PubAckReason::Success
            );
        }
        number += 1;
        let record = device.record(number, previous, started());
        previous = hash_of(&record);
        client.client.publish("didar/1/test/device/kiosk-1/up/audit", QoS::AtLeastOnce, false, record).await.unwrap();
        client.heard("/down/receipt").await;
    }
    let (line, mut seen) = first.join().unwrap().unwrap();
    let mut events = vec![line];
    while !events.iter().any(|event| event.contains("\"alarm\"")) {
        assert_eq!(client.publish("didar/1/test/device/kiosk-1/up/state", b"garbage").await, PubAckReason::Success);
        number += 1;
        let record = device.record(number, previous, started());
        previous = hash_of(&record);
        client.client.publish("didar/1/test/device/kiosk-1/up/audit", QoS::AtLeastOnce, false, record).await.unwrap();
        client.heard("/down/receipt").await;
        events.push(seen.next().unwrap().unwrap());
    }
    watching.kill().unwrap();
    watching.wait().unwrap();
    assert!(serving.run(&["ledger", "verify"]).contains("lines hold"));
}

#[test]
fn the_broker_ends_with_the_matcher_even_when_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site");
    let mut kept = None;
    for signal in ["-TERM", "-KILL"] {
        let mut serving = serve(&site);
        let port = serving.url.port;
        // The second start finds everything as the first one left it.
        assert_eq!(*kept.get_or_insert(port), port);
        let pid = serving.process.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let status = serving.process.wait().unwrap();
        assert_eq!(status.success(), signal == "-TERM");
        let free = || std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        let waited = (0..600).find(|_| free() || !pause());
        assert!(waited.is_some(), "{signal}: the broker still listens on {port}");
    }
}

/// Lets a moment pass; the kernel tells the broker at once, but it must be scheduled.
fn pause() -> bool {
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    never.recv_timeout(Duration::from_millis(50)).is_err()
}

#[test]
fn what_is_missing_is_said_with_its_cure() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |arguments: &[&str]| {
        let output = program().args(arguments).current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(fails(&["serve"]).contains("--all-in-one DIR"));
    assert!(fails(&["serve", "no.toml"]).contains("cannot read no.toml"));
    assert!(fails(&["device", "list"]).contains("--dir DIR"));
    std::fs::write(folder.path().join("a.cbor"), b"nothing").unwrap();
    assert!(fails(&["judge", "a.cbor"]).contains("a.cbor"));
    assert!(fails(&["watch", "--broker", "http://x"]).contains("--cert"));
}
