//! What stands in for an agent that keeps failing: the screen says so, the lamps are dark, the centre is told.
//!
//! It opens neither camera nor models, and serves nobody. Whatever it needs may be what broke the agent: each part is
//! tried, and what fails is said and left out.

use std::sync::Arc;

use anyhow::{Context, Result};
use didar_agent::attempt::event::{Event, View};
use didar_agent::board;
use didar_agent::camera::meter::Meter;
use didar_agent::config::Config;
use didar_agent::display::Display;
use didar_agent::edge::{Clock, Letter, Outbox, Uplink};
use didar_agent::identity::Identity;
use didar_agent::outbox::DiskOutbox;
use didar_agent::supervisor;
use didar_agent::time::SystemClock;
use didar_agent::uplink::mqtt::MqttUplink;
use didar_agent::uplink::trust::TrustAnchor;
use didar_protocol::light_code::Light;
use didar_protocol::reason::Reason;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::start::{BUILT_MS, boot, uplink_settings};

/// Events that may wait; nobody decides by them.
const EVENTS_MAX: usize = 16;

/// Stands in until a signal says stop.
pub(crate) async fn stand_in(config: &Config) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let (events, mut heard) = mpsc::channel(EVENTS_MAX);
    let store = store(config);
    let signed_time = store.as_ref().map_or(0, |store| store.outbox.signed_time());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(BUILT_MS.max(signed_time)));
    let devices = board::open(&config.board, &clock, &Arc::<Meter>::default())?;
    let mut lamps = devices.lamps;
    if let Err(error) = lamps.set(Light::Off) {
        tracing::error!("{error}");
    }
    let display = devices.screen.map(|screen| Display::start(screen, config.help.clone(), events.clone()));
    let display = display.and_then(|started| started.inspect_err(|error| tracing::error!("{error}")).ok());
    if let Some(display) = &display {
        display.show(View::OutOfService { reason: Reason::ProgramFault }, config.language);
    }
    tracing::error!("the agent was ended again and again and is not started any more: out of service");
    let uplink = store.and_then(|store| uplink(config, store, &clock, events));
    if let Err(error) = &uplink {
        tracing::error!("the centre is not told, and sees the device as gone: {error:#}");
    }
    supervisor::ready();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // What the matcher says is for an agent that serves.
            event = heard.recv() => if event.is_none() { break },
        }
    }
    if let Ok(uplink) = uplink {
        uplink.stop().await;
    }
    Ok(())
}

/// What the device is known by at the centre.
struct Known {
    identity: Arc<Identity>,
    outbox: DiskOutbox,
    /// What the centre is told.
    faults: Vec<Reason>,
}

/// A store that cannot be used may be what broke the agent: the centre is told of it all the same.
fn store(config: &Config) -> Result<Known> {
    let identity = Arc::new(Identity::open(&config.site, &config.device)?);
    let folder = config.state.join("outbox");
    match DiskOutbox::open(&folder, config.device.clone(), identity.clone(), config.outbox.records_max) {
        Ok(outbox) => Ok(Known { identity, outbox, faults: vec![Reason::ProgramFault] }),
        Err(error) => {
            tracing::error!("{error}");
            let outbox = DiskOutbox::nowhere(config.device.clone(), identity.clone())?;
            Ok(Known { identity, outbox, faults: vec![Reason::ProgramFault, Reason::StorageFault] })
        }
    }
}

/// A connection whose state names the fault.
fn uplink(
    config: &Config,
    Known { identity, outbox, faults }: Known,
    clock: &Arc<dyn Clock>,
    events: mpsc::Sender<Event>,
) -> Result<MqttUplink> {
    let trust = Arc::new(TrustAnchor::open(&config.site, Arc::clone(clock))?);
    let memory = outbox.memory();
    let mut health = memory.health();
    health.faults.extend(faults);
    let settings = uplink_settings(config, Vec::new(), boot()?);
    let mut uplink = MqttUplink::start(settings, identity, trust, memory, Arc::clone(clock), events)?;
    uplink.send(Letter::Health(health))?;
    Ok(uplink)
}
