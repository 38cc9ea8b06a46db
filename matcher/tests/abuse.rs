//! A device that floods, a device that never listens, and a stolen key: real connections to the real program.
#![allow(clippy::unwrap_used, missing_docs)]

mod serving;
mod site;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use didar_matcher::site::{Site as Folder, Wishes};
use didar_matcher::time::{now_ms, wait};
use didar_protocol::id::Hash;
use didar_protocol::message::{AuditEntry, ChallengeRequest, Connection, MatcherKeys, Receipt, Verdict};
use didar_protocol::reason::Reason;
use didar_protocol::seal::SealKey;
use rumqttc::v5::mqttbytes::QoS;
use serving::{Client, Serving, serve};
use site::{Kiosk, PERSON, hash_of, kiosk_request, open};
use tokio::time::timeout;

/// An agent says what has no answer again after so long.
const AGAIN: Duration = Duration::from_secs(3);

fn chain(device: &Kiosk, count: u64) -> Vec<Vec<u8>> {
    let mut previous: Hash = [0; 32];
    (1..=count)
        .map(|number| {
            let record = device.record(number, previous, AuditEntry::Started { version: "1".into(), boot: [1; 16] });
            previous = hash_of(&record);
            record
        })
        .collect()
}

fn topic(device: &Kiosk, lane: &str) -> String {
    format!("didar/1/test/device/{}/{lane}", device.id)
}

/// Sends each record until its receipt comes, as an agent does; how often one had to be said again.
async fn tell_all(client: &mut Client, device: &Kiosk, records: &[Vec<u8>]) -> u32 {
    client.subscribe(&topic(device, "down/receipt")).await;
    let (publisher, up) = (client.client.clone(), topic(device, "up/audit"));
    let mut again = 0;
    for (number, record) in (1..).zip(records) {
        let receipt =
            async { while open::<Receipt>(&client.heard("/down/receipt").await.0.payload).highest < number {} };
        let tell = async {
            publisher.publish(up.as_str(), QoS::AtLeastOnce, false, record.clone()).await.unwrap();
            loop {
                wait(AGAIN).await;
                again += 1;
                publisher.publish(up.as_str(), QoS::AtLeastOnce, false, record.clone()).await.unwrap();
            }
        };
        tokio::select! {
            () = receipt => {}
            () = tell => unreachable!("it says it for ever"),
        }
    }
    again
}

fn notes_about(serving: &Serving, device: &Kiosk) -> Vec<String> {
    let lines = serving.run(&["ledger", "export"]);
    let of_device = |line: &serde_json::Value| line["entry"]["device"] == device.id.as_str();
    lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(of_device)
        .filter_map(|line| line["entry"]["note"].as_str().map(ToOwned::to_owned))
        .collect()
}

/// Says whatever it may say, as fast as the broker takes it, and listens to nothing, until `end`; how much it said.
async fn flood(client: Client, device: Arc<Kiosk>, end: Arc<AtomicBool>) -> u64 {
    let said = Arc::new(AtomicU64::new(0));
    let records = chain(&device, 4000);
    let states: Vec<Vec<u8>> = (1..=200).map(|connects| device.state(1, connects, true)).collect();
    let publisher = client.client.clone();
    let count = said.clone();
    let driver = tokio::spawn(async move {
        let mut client = client;
        while client.next().await.is_ok() {}
    });
    for at in 0.. {
        if end.load(Ordering::Relaxed) {
            break;
        }
        let (lane, bytes) = match at % 4 {
            0 => ("up/audit", records[at / 4 % records.len()].clone()),
            1 => ("up/state", states[at / 4 % states.len()].clone()),
            2 => ("up/attempt", vec![0xa5; 8192]),
            _ => ("up/challenge-request", vec![0xff; 100]),
        };
        if publisher.publish(topic(&device, lane), QoS::AtMostOnce, false, bytes).await.is_err() {
            break;
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
    driver.abort();
    said.load(Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_floods_holds_up_no_other_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site");
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/manifest.toml");
    let wishes = Wishes { bind: [127, 0, 0, 1].into(), port: None, names: Vec::new(), models };
    Folder::new(&site).prepare(&wishes, now_ms()).unwrap();
    let config = Folder::new(&site).config();
    let text = std::fs::read_to_string(&config).unwrap();
    let limits =
        [("records_at_once = 65536", "records_at_once = 100"), ("states_per_minute = 120", "states_per_minute = 60")];
    let text = limits.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    std::fs::write(&config, text).unwrap();
    let serving = serve(&site);
    let (honest, flooder) = (serving.device("kiosk-1"), Arc::new(serving.device("kiosk-2")));
    let records = chain(&honest, 30);
    let end = Arc::new(AtomicBool::new(false));
    let client = serving.connect(&flooder, "kiosk-2").await;
    let flooding = tokio::spawn(flood(client, flooder.clone(), end.clone()));
    wait(Duration::from_secs(1)).await;
    let mut client = serving.connect(&honest, "kiosk-1").await;
    let again =
        timeout(Duration::from_secs(60), tell_all(&mut client, &honest, &records)).await.expect("heard in time");
    end.store(true, Ordering::Relaxed);
    let said = flooding.await.unwrap();
    assert!(said > 2000, "{said} messages are no flood");
    assert!(again <= 3, "{again} of 30 records had to be said again beside {said} messages");

    // Kept of it: what it may say, and a line in ten seconds of each kind of alarm.
    let notes = notes_about(&serving, &flooder);
    let kept = notes.iter().filter(|note| note.starts_with("agent 1 started")).count();
    assert!(kept <= 100 + 2 * 60, "{kept} records kept");
    assert!(notes.len() - kept < 60, "{notes:?}");
    let told = |words: &str| notes.iter().any(|note| note.contains(words));
    assert!(told("not heard") || told("not kept") || told("dropped unread"), "{notes:?}");
    assert!(notes_about(&serving, &honest).iter().all(|note| note.starts_with("agent 1 started")));
}

async fn seal_key(client: &mut Client) -> SealKey {
    client.subscribe("didar/1/test/matcher/keys").await;
    open::<MatcherKeys>(&client.heard("/matcher/keys").await.0.payload).seal_keys.swap_remove(0)
}

/// What the matcher answers to a request that says it comes on this connection.
async fn ask(client: &mut Client, device: &mut Kiosk, key: &SealKey, boot: u8, connects: u64) -> Reason {
    let connection = Connection { boot: [boot; 16], connects };
    let request = ChallengeRequest { connection, ..kiosk_request(device, PERSON, now_ms()) };
    let bytes = device.ask(key, request);
    client.client.publish(topic(device, "up/challenge-request"), QoS::AtLeastOnce, false, bytes).await.unwrap();
    open::<Verdict>(&client.heard("/down/verdict").await.0.payload).reason
}

#[tokio::test]
async fn a_stolen_key_that_asks_and_hides_its_state_is_noticed_and_both_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(&folder.path().join("site"));
    let mut device = serving.device("kiosk-1");
    let same = device.copy();
    let connect = async || {
        let mut client = serving.connect(&same, "kiosk-1").await;
        client.subscribe("didar/1/test/device/kiosk-1/down/#").await;
        client
    };
    let mut original = connect().await;
    original.publish(&topic(&device, "up/state"), &device.state(1, 5, true)).await;
    // The thief throws the original off, and asks on a connection that it makes up.
    let mut thief = connect().await;
    let key = seal_key(&mut thief).await;
    while original.next().await.is_ok() {}
    let mut stolen = device.copy();
    assert_eq!(ask(&mut thief, &mut stolen, &key, 2, 1_000_000).await, Reason::SubjectUnknown, "nobody knows yet");
    // The original comes back when nothing that it says can be late any more, and throws the thief off.
    wait(Duration::from_secs(31)).await;
    let mut original = connect().await;
    original.publish(&topic(&device, "up/state"), &device.state(1, 6, true)).await;
    while thief.next().await.is_ok() {}
    assert_eq!(ask(&mut original, &mut device, &key, 1, 6).await, Reason::DeviceRefused);
    drop(original);
    let mut thief = connect().await;
    assert_eq!(ask(&mut thief, &mut stolen, &key, 2, 1_000_001).await, Reason::DeviceRefused);
    let notes = notes_about(&serving, &device);
    assert_eq!(notes.iter().filter(|note| note.contains("two machines use one identity")).count(), 1, "{notes:?}");
    assert!(serving.run(&["device", "list"]).contains("quarantined"));
}

#[tokio::test]
async fn two_machines_that_know_all_of_one_identity_throw_each_other_off_and_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(&folder.path().join("site"));
    let device = serving.device("kiosk-1");
    // The same boot and counts that go on: by what they say nobody can tell them apart.
    let mut before = serving.connect(&device, "kiosk-1").await;
    for connects in 1..=6 {
        let mut after = serving.connect(&device, "kiosk-1").await;
        after.publish(&topic(&device, "up/state"), &device.state(1, connects, true)).await;
        while before.next().await.is_ok() {}
        before = after;
    }
    let told = async {
        while !notes_about(&serving, &device).iter().any(|note| note.contains("took each other's place")) {
            wait(Duration::from_millis(200)).await;
        }
    };
    timeout(serving::PATIENCE, told).await.expect("an alarm in time");
}
