//! A thousand devices whose broker dies: all of them come back at once, and each wants to be served.
//!
//! Each is the agent's own uplink with an identity of its own, over TLS, and asks for a challenge as soon as it is
//! connected; it is served when the matcher's signed challenge for that request is there. Cameras, screens and disks are
//! left out: a kiosk has its own processors for them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use didar_agent::ask;
use didar_agent::attempt::Event;
use didar_agent::edge::{Clock, Letter, Question, Uplink as _};
use didar_agent::enrol;
use didar_agent::identity::Identity;
use didar_agent::identity::key::Holder;
use didar_agent::outbox::DiskOutbox;
use didar_agent::time::{Moment, SystemClock};
use didar_agent::uplink::mqtt::{MqttUplink, Settings};
use didar_agent::uplink::trust::TrustAnchor;
use didar_matcher::ca::{Ca, Validity};
use didar_matcher::config::Config;
use didar_matcher::pki::Certificate;
use didar_matcher::store::Store;
use didar_protocol::id::{DeviceId, Env, Hash, Iin, RequestId};
use didar_protocol::seal::SealKey;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::people;
use crate::process::{cpu_s, resident_mb};
use crate::site::{INITIATOR, Site};
use crate::world::Platter;

/// What was measured.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Herd {
    /// Devices.
    pub devices: usize,
    /// From the first start until all were served for the first time, seconds.
    pub first_s: f64,
    /// From the broker's death until half of them were served again, seconds; the centre starts the broker anew.
    pub median_s: f64,
    /// Until 99 of 100 were.
    pub p99_s: f64,
    /// Until all were.
    pub last_s: f64,
    /// The new broker's peak of resident memory, MB.
    pub broker_mb: f64,
    /// The matcher's.
    pub matcher_mb: f64,
    /// Processor time of the new broker until all were served again, seconds.
    pub broker_cpu_s: f64,
    /// The matcher's in that time.
    pub matcher_cpu_s: f64,
    /// That of all the devices together, which share the processors.
    pub devices_cpu_s: f64,
}

/// No wave takes so long unless it failed.
const WAVE_MAX: Duration = Duration::from_secs(240);
/// Life of a certificate, days.
const DAYS: u32 = 30;
/// How long a request is sent again.
const ASK_MAX: Duration = Duration::from_secs(60);
const KIOSK_EVENTS: usize = 64;

/// A device was served: which, and when the connection came up on which it had asked.
struct Served {
    number: usize,
    up: Moment,
    at: Moment,
}

/// One device, before it connects.
struct Device {
    number: usize,
    id: DeviceId,
    folder: PathBuf,
}

/// Lets `devices` come, kills the broker, and waits until all are served again.
///
/// # Errors
/// Something cannot be started, or not everybody is served in time.
pub async fn run(site: &Site, subject: &Iin, devices: usize) -> Result<Herd> {
    let herd = enrol(site, devices)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(0));
    let (served, mut heard) = mpsc::unbounded_channel();
    let began = clock.now();
    for device in herd {
        let visitor = Visitor::open(&device, site.broker().port(), subject.clone(), Arc::clone(&clock))?;
        tokio::spawn(visitor.live(device.number, served.clone()));
    }
    let first = wave(&mut heard, devices, Moment::ZERO).await.context("the first time")?;
    let [_, matcher] = site.processes()?;
    let before = (cpu_s(matcher)?, cpu_s(std::process::id())?);
    site.kill_broker()?;
    let killed = clock.now();
    let mut again = wave(&mut heard, devices, killed).await.context("after the broker's death")?;
    again.sort_unstable();
    let after = |part: usize| again[(again.len() * part).div_ceil(100).max(1) - 1].since(killed).as_secs_f64();
    let [broker, matcher] = site.processes()?;
    let last = first.into_iter().max().unwrap_or(began);
    Ok(Herd {
        devices,
        first_s: last.since(began).as_secs_f64(),
        median_s: after(50),
        p99_s: after(99),
        last_s: after(100),
        broker_mb: resident_mb(broker)?.1,
        matcher_mb: resident_mb(matcher)?.1,
        broker_cpu_s: cpu_s(broker)?,
        matcher_cpu_s: cpu_s(matcher)? - before.0,
        devices_cpu_s: cpu_s(std::process::id())? - before.1,
    })
}

/// When each device was served first on a connection that came up after `since`.
async fn wave(heard: &mut mpsc::UnboundedReceiver<Served>, devices: usize, since: Moment) -> Result<Vec<Moment>> {
    let mut there = HashSet::new();
    let mut moments = Vec::new();
    let all = async {
        while moments.len() < devices {
            let Some(served) = heard.recv().await else { return };
            if served.up > since && there.insert(served.number) {
                moments.push(served.at);
            }
        }
    };
    let ended = timeout(WAVE_MAX, all).await.is_ok();
    ensure!(ended && moments.len() == devices, "{} of {devices} devices served in {WAVE_MAX:?}", moments.len());
    Ok(moments)
}

/// Keys, certificates and registrations, as by `enrol-request`, `ca sign-device` and `device add`.
fn enrol(site: &Site, devices: usize) -> Result<Vec<Device>> {
    let centre = site.centre();
    let ca = Ca::open(&centre.join("ca"))?;
    let config = Config::read(&centre.join("matcher/matcher.toml"))?;
    let mut store = Store::open(&config.store.database, &config.keys.store, config.env)?;
    let now_ms = didar_matcher::time::now_ms();
    let anchor = std::fs::read(centre.join("ca/ca.pem"))?;
    let work = store.begin()?;
    let mut herd = Vec::new();
    for number in 0..devices {
        let id: DeviceId = format!("herd-{number:04}").parse()?;
        let folder = centre.with_file_name("herd").join(id.as_str());
        let enrolment = enrol::request(&id, &folder, Holder::File)?;
        let csr = std::fs::read_to_string(&enrolment.request)?;
        let pem = ca.sign_device(&csr, &id, Validity { issued_ms: now_ms, days: DAYS })?;
        work.add_device(&id, &Certificate::from_pem(&pem)?, &[INITIATOR.parse()?], now_ms)?;
        write(&folder, "device.pem", pem.as_bytes())?;
        write(&folder, "ca.pem", &anchor)?;
        herd.push(Device { number, id, folder });
    }
    work.commit()?;
    Ok(herd)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    std::fs::write(folder.join(name), bytes).with_context(|| format!("writing {name} in {}", folder.display()))
}

/// A device that asks whenever it is connected.
struct Visitor {
    id: DeviceId,
    subject: Iin,
    identity: Arc<Identity>,
    clock: Arc<dyn Clock>,
    uplink: MqttUplink,
    events: mpsc::Receiver<Event>,
    /// Keeps the store of the uplink's memory.
    _outbox: DiskOutbox,
}

impl Visitor {
    fn open(device: &Device, port: u16, subject: Iin, clock: Arc<dyn Clock>) -> Result<Self> {
        let id = device.id.clone();
        let identity = Arc::new(Identity::open(&device.folder, &id)?);
        let outbox = DiskOutbox::open_on(Box::<Platter>::default(), id.clone(), identity.clone(), 100)?;
        let trust = Arc::new(TrustAnchor::open(&device.folder, Arc::clone(&clock))?);
        let mut boot = [0; 16];
        boot[..8].copy_from_slice(&(device.number as u64).to_be_bytes());
        let settings = Settings {
            host: "127.0.0.1".to_owned(),
            port,
            server_name: "localhost".to_owned(),
            env: Env::Test,
            version: "0.1.0".to_owned(),
            boot,
            models: Vec::new(),
        };
        let (send, events) = mpsc::channel(KIOSK_EVENTS);
        let uplink = MqttUplink::start(settings, identity.clone(), trust, outbox.memory(), Arc::clone(&clock), send)?;
        Ok(Self { id, subject, identity, clock, uplink, events, _outbox: outbox })
    }

    async fn live(mut self, number: usize, served: mpsc::UnboundedSender<Served>) -> Result<()> {
        let mut key: Option<SealKey> = None;
        let mut up: Option<Moment> = None;
        let mut asked: Option<(Hash, RequestId)> = None;
        let mut requests = 0_u64;
        while let Some(event) = self.events.recv().await {
            match event {
                Event::UplinkUp => (up, asked) = (Some(self.clock.now()), None),
                Event::UplinkDown => up = None,
                Event::Keys(keys) => key = keys.seal_keys.first().cloned(),
                Event::Challenged(challenge) => {
                    let Some((hash, request)) = asked else { continue };
                    let (Some(up), true) = (up, hash == challenge.request_hash) else { continue };
                    self.uplink.forget(Question::Request(request));
                    if served.send(Served { number, up, at: self.clock.now() }).is_err() {
                        break;
                    }
                }
                _ => {}
            }
            if let (Some(key), Some(_), None) = (&key, up, asked) {
                requests += 1;
                asked = Some(self.ask(key, number, requests)?);
            }
        }
        Ok(())
    }

    /// Asks for a challenge; the request's hash and id.
    fn ask(&mut self, key: &SealKey, number: usize, count: u64) -> Result<(Hash, RequestId)> {
        let mut id = [0x80; 16];
        id[..4].copy_from_slice(&u32::try_from(number)?.to_be_bytes());
        id[8..].copy_from_slice(&count.to_be_bytes());
        let now = self.clock.now();
        let now_ms = self.clock.unix_ms(now);
        let draft = people::draft(&self.subject, INITIATOR.parse()?, now_ms);
        let request = ask::prepare(draft, &self.id, RequestId::from_bytes(id), (now_ms, self.uplink.connection()?))?;
        let bytes = ask::request(&request, &self.id, key, self.identity.as_ref())?;
        let expires = now.after(ASK_MAX);
        self.uplink.send(Letter::RequestChallenge { request: request.id, hash: request.hash, bytes, expires })?;
        Ok((request.hash, request.id))
    }
}
