//! A month offline: an outbox of 30,000 records, and how long it takes until the centre holds them all.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use didar_agent::edge::{Clock, Outbox as _};
use didar_agent::identity::Identity;
use didar_agent::outbox::{CAPACITY, DiskOutbox};
use didar_agent::time::SystemClock;
use didar_agent::uplink::trust::TrustAnchor;
use didar_protocol::id::{DeviceId, RequestId};
use didar_protocol::message::{AuditEntry, Outcome};
use didar_protocol::reason::Reason;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use rumqttc::{NetworkOptions, TlsConfiguration, Transport};
use tokio::time::timeout;

use crate::kiosk_app::KioskApp;
use crate::process::Process;
use crate::site::{INITIATOR, KioskSite, Site};

/// What was measured.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Drain {
    /// Records in the outbox: days times attempts a day.
    pub records: u64,
    /// What they take on the kiosk's disk.
    pub megabytes: f64,
    /// From the agent's readiness until the centre's receipt for the last one.
    pub seconds: f64,
    /// Records a second.
    pub per_second: f64,
    /// The same number of messages of the same length, by the same library through the same broker to a subscriber that
    /// does nothing with them.
    pub raw_seconds: f64,
    /// Messages a second.
    pub raw_per_second: f64,
    /// How many times as long the records took: signature checks, the ledger and a flush to disk for each.
    pub over_raw: f64,
}

/// Longest wait for either.
const DRAIN_MAX: Duration = Duration::from_secs(900);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Fills the outbox of a new kiosk of `site`, starts its agent and waits until everything has arrived.
///
/// # Errors
/// Something cannot be started, does not end, or the ledger does not hold every record once.
pub async fn run(site: &Site, manifest: &Path, sockets: &Path, records: u64) -> Result<Drain> {
    let kiosk = site.kiosk("kiosk-month", manifest, sockets, site.broker().port(), 365)?;
    let length = fill(&kiosk, records)?;
    let bytes = size(&kiosk.folder().join("state/outbox"))?;
    let agent = kiosk.start()?;
    let clock = SystemClock::new(0);
    let began = clock.now();
    let app = KioskApp::new(&kiosk.api);
    let arrived = async {
        loop {
            let state = app.state().await?.body;
            if state["connected"] == true && state["unconfirmed_records"] == 0 {
                return anyhow::Ok(());
            }
            pause().await;
        }
    };
    timeout(DRAIN_MAX, arrived).await.context("the outbox is not empty in time")??;
    let seconds = clock.now().since(began).as_secs_f64();
    drop(agent);
    check(site, &kiosk, records)?;
    let raw_seconds = timeout(DRAIN_MAX, raw(site, &kiosk, records, length)).await.context("the broker alone")??;
    let rate = |seconds: f64| records as f64 / seconds;
    Ok(Drain {
        records,
        megabytes: bytes as f64 / 1e6,
        seconds,
        per_second: rate(seconds),
        raw_seconds,
        raw_per_second: rate(raw_seconds),
        over_raw: seconds / raw_seconds,
    })
}

/// Keeps `records` endings of a kiosk without a connection; the mean length of a record in bytes.
fn fill(kiosk: &KioskSite, records: u64) -> Result<usize> {
    let device: DeviceId = kiosk.id().parse()?;
    let identity = Arc::new(Identity::open(&kiosk.folder().join("site"), &device)?);
    let state = kiosk.folder().join("state");
    std::fs::create_dir_all(&state)?;
    let mut outbox = DiskOutbox::open(&state.join("outbox"), device, identity, CAPACITY)?;
    for number in 0..records {
        outbox.append(&ending(number)?)?;
    }
    ensure!(outbox.held() == records, "the outbox holds {} of {records} records", outbox.held());
    let some = outbox.unacknowledged(0, 100)?;
    Ok(some.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() / some.len().max(1))
}

fn ending(number: u64) -> Result<AuditEntry> {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    // One each 86 seconds: a thousand a day.
    let started_ms = 1_793_491_200_000 + number * 86_400;
    Ok(AuditEntry::Attempt {
        attempt: None,
        request: RequestId::from_bytes(id),
        initiator: INITIATOR.parse()?,
        outcome: Outcome::Offline,
        reason: Reason::NoConnection,
        started_ms,
        ended_ms: started_ms + 1_000,
        policy_version: 3,
    })
}

fn size(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        sum += if entry.file_type()?.is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(sum)
}

/// The ledger's chain holds, and each record stands in it once, in order, with that of the agent's start.
fn check(site: &Site, kiosk: &KioskSite, records: u64) -> Result<()> {
    let centre = site.centre().display().to_string();
    site.matcher(&["ledger", "verify", "--dir", &centre])?;
    let ledger = site.matcher(&["ledger", "export", "--dir", &centre])?;
    let mut numbers = Vec::new();
    for line in ledger.lines().filter(|line| line.contains("\"audited\"") && line.contains(kiosk.id())) {
        let line: serde_json::Value = serde_json::from_str(line)?;
        numbers.push(line["entry"]["number"].as_u64().context("an audited record without a number")?);
    }
    if !numbers.iter().copied().eq(1..=records + 1) {
        bail!("the ledger holds {} records of this kiosk, and not 1 to {}", numbers.len(), records + 1);
    }
    Ok(())
}

/// A Mosquitto with the site's configuration, but without its access list: one client publishes, one counts.
async fn raw(site: &Site, kiosk: &KioskSite, records: u64, length: usize) -> Result<f64> {
    let (folder, port) = (site.centre().join("broker"), free_port()?);
    let ours = std::fs::read_to_string(folder.join("mosquitto.conf"))?;
    let mut conf = String::new();
    for line in ours.lines().filter(|line| !line.starts_with("acl_file")) {
        let line = if line.starts_with("listener") { format!("listener {port} 127.0.0.1") } else { line.to_owned() };
        conf = conf + &line + "\n";
    }
    let file = folder.join("raw.conf");
    std::fs::write(&file, conf)?;
    let order = ["-c", file.to_str().context("path")?];
    let _broker = Process::start("mosquitto", "/usr/sbin/mosquitto".as_ref(), &order, &folder.join("raw.log"))?;
    let own = connection(kiosk, kiosk.id(), port)?;
    let matcher = site.centre().join("matcher");
    let (taker, mut taken) = {
        let centre = didar_matcher::config::Config::read(&matcher.join("matcher.toml"))?;
        let tls = didar_matcher::tls::transport(&centre.broker.ca, &centre.broker.certificate, &centre.broker.key)?;
        AsyncClient::new(options(&format!("matcher:{}", centre.id), port, tls), 16)
    };
    subscribed(&taker, &mut taken).await?;
    let (giver, mut given) = own;
    let clock = SystemClock::new(0);
    let began = clock.now();
    let payload = vec![0x5a; length];
    tokio::spawn(async move {
        for _ in 0..records {
            if giver.publish("raw", QoS::AtLeastOnce, false, payload.clone()).await.is_err() {
                return;
            }
        }
        // Its connection lives as long as it does.
        std::future::pending::<()>().await;
    });
    let driving = tokio::spawn(async move { while poll(&mut given).await.is_ok() {} });
    let mut count = 0;
    while count < records {
        if let Event::Incoming(Packet::Publish(_)) = poll(&mut taken).await? {
            count += 1;
        }
    }
    driving.abort();
    Ok(clock.now().since(began).as_secs_f64())
}

fn options(id: &str, port: u16, transport: Transport) -> MqttOptions {
    let mut options = MqttOptions::new(id, "localhost", port);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    options.set_transport(transport).set_keep_alive(Duration::from_secs(10)).set_receive_maximum(Some(64));
    options
}

/// A client with the kiosk's certificate.
fn connection(kiosk: &KioskSite, id: &str, port: u16) -> Result<(AsyncClient, EventLoop)> {
    let folder = kiosk.folder().join("site");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(0));
    let trust = Arc::new(TrustAnchor::open(&folder, clock)?);
    let identity = Arc::new(Identity::open(&folder, &id.parse()?)?);
    let tls = trust.tls(&identity, "localhost".try_into()?)?;
    let transport = Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(tls)));
    Ok(AsyncClient::new(options(id, port, transport), 16))
}

/// Connected and subscribed; a broker that does not listen yet is tried again.
async fn subscribed(client: &AsyncClient, connection: &mut EventLoop) -> Result<()> {
    let mut tries = 0;
    loop {
        match connection.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => client.try_subscribe("raw", QoS::AtLeastOnce)?,
            Ok(Event::Incoming(Packet::SubAck(_))) => return Ok(()),
            Ok(_) => {}
            Err(error) if tries > 100 => return Err(error).context("connecting to the broker"),
            Err(_) => {
                tries += 1;
                pause().await;
            }
        }
    }
}

async fn poll(connection: &mut EventLoop) -> Result<Event> {
    connection.poll().await.context("a connection to the broker alone")
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

#[expect(clippy::disallowed_methods, reason = "real processes live in real time")]
async fn pause() {
    tokio::time::sleep(LOOK).await;
}
