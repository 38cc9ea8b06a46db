//! From a configuration to an agent at work: opens every edge, then hands over to the loop.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use didar_agent::attempt::{Event, Machine};
use didar_agent::board::{self, Devices};
use didar_agent::buzzer::{Buzzer, BuzzerLine};
use didar_agent::camera::meter::Meter;
use didar_agent::config::{Config, LampsDevice};
use didar_agent::display::Display;
use didar_agent::edge::{Clock, Lamps, Outbox};
use didar_agent::identity::{DAYS_FEW, Identity};
use didar_agent::journal::Journal;
use didar_agent::lamps::guard::Guard;
use didar_agent::local_api::{self, Door};
use didar_agent::measure::calibration::Calibration;
use didar_agent::outbox::DiskOutbox;
use didar_agent::perception::{self, Perception};
use didar_agent::renew;
use didar_agent::run::{Agent, LoopState};
use didar_agent::supervisor;
use didar_agent::time::{SystemClock, process_age};
use didar_agent::uplink::mqtt::{MqttUplink, Settings};
use didar_agent::uplink::trust::TrustAnchor;
use didar_protocol::light_code::Light;
use didar_protocol::message::{AuditEntry, ModelRef};
use didar_protocol::reason::Reason;
use didar_vision::Models;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// The clock starts no earlier than this version of the program: 1 November 2026, Unix milliseconds.
pub(crate) const BUILT_MS: u64 = 1_793_491_200_000;
/// Longest wait for the uplink's farewell when the agent stops.
const FAREWELL_MAX: Duration = Duration::from_secs(4);
/// Blocks until the kernel's random generator is ready, since Linux 5.6.
const RANDOMNESS: &str = "/dev/random";
/// Longest wait for that: five starts that end so lie within the quarter of an hour of the unit's limit.
const RANDOMNESS_MAX: Duration = Duration::from_secs(30);
/// Events that may wait for the loop.
const EVENTS_MAX: usize = 256;
/// Requests of the local API that may wait for the loop.
const CALLS_MAX: usize = 16;

/// Serves until a signal says stop.
pub(crate) async fn serve(path: &Path, mut config: Config) -> Result<()> {
    Calibration::use_in(&mut config);
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let (events, heard) = mpsc::channel(EVENTS_MAX);
    let (calls, called) = mpsc::channel(CALLS_MAX);
    let _guard = guard(path, &config)?;
    let meter = Arc::<Meter>::default();
    let (mut agent, link) = open(&config, &meter, events).await?;
    let watched = calls.clone();
    let door = Door {
        device: config.device.clone(),
        calls,
        journal: Arc::clone(&agent.journal),
        help: config.help.clone(),
        language: config.language,
        meter,
    };
    let api = tokio::spawn(local_api::serve(&config.local_api.socket, door)?);
    if let Some(patience) = supervisor::patience() {
        tokio::spawn(supervisor::keep_fed(watched, patience, supervisor::alive));
    }
    ready()?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        supervisor::stopping();
    };
    agent.run(heard, called, stop).await;
    let damaged = agent.is_damaged();
    api.abort();
    // Threads end, lamps and screen are let go, and the uplink sends what waits and says farewell.
    drop(agent);
    farewell(link).await;
    let _ = std::fs::remove_file(&config.local_api.socket);
    ensure!(!damaged, "the outbox stays damaged while it is open: the next start saves what is good in it");
    Ok(())
}

/// Who makes the lamps dark after a kill, where they are lines that could stay lit.
pub(crate) fn guard(path: &Path, config: &Config) -> Result<Option<Guard>> {
    match config.board.lamps {
        LampsDevice::Lines(_) => {
            let guard = Guard::start(&[Path::new("lamp-guard"), Path::new("--config"), path]);
            Ok(Some(guard.context("starting the guard of the lamps")?))
        }
        LampsDevice::Bridge | LampsDevice::None => Ok(None),
    }
}

/// Waits until the uplink's task has ended: it drops its end of the channel.
async fn farewell(mut link: LinkFaults) {
    let ended = async { while link.changed().await.is_ok() {} };
    if tokio::time::timeout(FAREWELL_MAX, ended).await.is_err() {
        tracing::warn!("the uplink did not end within {FAREWELL_MAX:?}");
    }
}

type LinkFaults = tokio::sync::watch::Receiver<Option<didar_agent::uplink::fault::LinkFault>>;

/// Waits until the kernel has randomness. Early after a boot it may have none, and whoever asks for some then waits
/// without a word; here it is said, and the agent ends.
///
/// # Errors
/// `source` gives no byte within `longest`.
fn wait_for_randomness(source: &Path, longest: Duration) -> Result<()> {
    let (send, answer) = std::sync::mpsc::channel();
    let file = source.to_owned();
    // A read of its own thread: it cannot be called back.
    std::thread::spawn(move || {
        let mut byte = [0];
        let read = std::fs::File::open(file).and_then(|mut file| file.read_exact(&mut byte));
        // Whoever asked may have given up.
        drop(send.send(read));
    });
    match answer.recv_timeout(longest) {
        Ok(read) => read.with_context(|| format!("reading {}", source.display())),
        Err(_) => bail!(
            "the system has no randomness: {} gives none within {longest:?}, so no key and no connection is safe; \
             enable the board's hardware random generator, or let systemd-random-seed keep a seed over boots",
            source.display()
        ),
    }
}

async fn open(config: &Config, meter: &Arc<Meter>, events: mpsc::Sender<Event>) -> Result<(Agent, LinkFaults)> {
    wait_for_randomness(Path::new(RANDOMNESS), RANDOMNESS_MAX)?;
    let identity = Arc::new(Identity::open(&config.site, &config.device)?);
    std::fs::create_dir_all(&config.state).with_context(|| format!("making {}", config.state.display()))?;
    let mut outbox = DiskOutbox::open(
        &config.state.join("outbox"),
        config.device.clone(),
        identity.clone(),
        config.outbox.records_max,
    )?;
    if let Some(recovery) = outbox.recovery() {
        tracing::error!(
            "outbox was damaged: {}; {} records saved, {} lost",
            recovery.why,
            recovery.saved,
            recovery.lost
        );
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(BUILT_MS.max(outbox.signed_time())));
    warn_of_expiry(&identity, clock.as_ref());
    let models = Models::load(&config.models)?;
    let references = perception::references(&models);
    let Edges { mut lamps, perception, display } = edges(config, &models, &clock, meter, &events)?;
    if let (LampsDevice::Lines(_), Err(error)) = (&config.board.lamps, lamps.set(Light::Off)) {
        tracing::error!("{error}");
        events.send(Event::Fault(Reason::LampFault)).await?;
    }
    let trust = Arc::new(TrustAnchor::open(&config.site, Arc::clone(&clock))?);
    if let Some(at) = config.enrolment.clone() {
        tokio::spawn(renew::keep_current(at, Arc::clone(&trust), Arc::clone(&identity), Arc::clone(&clock)));
    }
    let boot = boot()?;
    // Before anybody is spoken to: a device whose disk takes no record does not serve.
    let started = AuditEntry::Started { version: env!("CARGO_PKG_VERSION").to_owned(), boot };
    outbox.append(&started).context("keeping the record of this start")?;
    let settings = uplink_settings(config, references, boot);
    let uplink = MqttUplink::start(settings, identity.clone(), trust, outbox.memory(), Arc::clone(&clock), events)?;
    let faults = uplink.fault();
    let machine =
        Machine::new(config.limits, config.device.clone(), config.board.code, config.board.slot(), clock.now());
    let agent = Agent {
        device: config.device.clone(),
        machine,
        limits: config.limits,
        clock,
        signer: identity,
        lamps,
        perception: Box::new(perception),
        display,
        buzzer: config.board.buzzer.as_ref().and_then(buzzer),
        uplink: Box::new(uplink),
        outbox: Box::new(outbox),
        journal: Arc::new(Journal::default()),
        language: config.language,
        state: LoopState::default(),
    };
    Ok((agent, faults))
}

/// What sees, lights and shows; a kiosk without a screen has no display.
pub(crate) struct Edges {
    pub(crate) lamps: Box<dyn Lamps>,
    pub(crate) perception: Perception,
    pub(crate) display: Option<Display>,
}

/// Opens the board's devices and starts the two threads that turn with them.
pub(crate) fn edges(
    config: &Config,
    models: &Models,
    clock: &Arc<dyn Clock>,
    meter: &Arc<Meter>,
    events: &mpsc::Sender<Event>,
) -> Result<Edges> {
    let Devices { camera, lamps, screen } = board::open(&config.board, clock, meter)?;
    let display = screen
        .map(|screen| Display::start(screen, config.help.clone(), events.clone()))
        .transpose()
        .with_context(|| format!("board {}", config.board.name))?;
    let settings = perception::Settings::of(&config.board, &config.placement, meter);
    let viewfinder = display.as_ref().map(Display::viewfinder).unwrap_or_default();
    let perception = Perception::start(camera, models, settings, viewfinder, events.clone())?;
    Ok(Edges { lamps, perception, display })
}

/// The buzzer; a kiosk whose buzzer is broken serves without.
fn buzzer(place: &BuzzerLine) -> Option<Buzzer> {
    Buzzer::open(place).inspect_err(|error| tracing::error!("{error} The kiosk serves on without")).ok()
}

pub(crate) fn uplink_settings(config: &Config, models: Vec<ModelRef>, boot: [u8; 16]) -> Settings {
    Settings {
        host: config.broker.host.clone(),
        port: config.broker.port,
        server_name: config.broker.server_name.clone(),
        env: config.env,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot,
        models,
    }
}

fn warn_of_expiry(identity: &Identity, clock: &dyn Clock) {
    let now_s = i64::try_from(clock.unix_ms(clock.now()) / 1000).unwrap_or(i64::MAX);
    match identity.facts().days_left(now_s) {
        days @ ..0 => tracing::error!("the device's certificate expired {} days ago: enrol the device again", -days),
        days @ 0..DAYS_FEW => tracing::warn!("the device's certificate ends in {days} days"),
        _ => {}
    }
}

/// The kernel's name for this boot.
pub(crate) fn boot() -> Result<[u8; 16]> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    let id: uuid::Uuid = text.trim().parse().with_context(|| format!("{path} holds no id"))?;
    Ok(*id.as_bytes())
}

fn ready() -> Result<()> {
    let age = process_age(std::process::id()).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready {} ms", age.as_millis())?;
    out.flush()?;
    supervisor::ready();
    tracing::info!("ready");
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_randomness_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let silent = folder.path().join("random");
        assert!(std::process::Command::new("mkfifo").arg(&silent).status().unwrap().success());
        let why = wait_for_randomness(&silent, Duration::from_millis(50)).unwrap_err().to_string();
        assert!(why.starts_with("the system has no randomness"), "{why}");
        wait_for_randomness(Path::new("/dev/urandom"), Duration::from_secs(60)).unwrap();
    }
}
