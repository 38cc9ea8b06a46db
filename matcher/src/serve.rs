//! Serving: the parts put together, until a signal says stop.

use std::path::Path;
use std::time::Duration;

use didar_liveness::Policy;
use tokio::sync::{mpsc, watch};

use crate::broker::{Broker, BrokerError, BrokerPlan, Turned};
use crate::config::Config;
use crate::est::server::{EstServer, ServerError};
use crate::identity::{Identity, IdentityError};
use crate::mqtt;
use crate::policy::Rules;
use crate::quiet::Quiet;
use crate::reference::{ModelsError, VisionPortraits};
use crate::service::Service;
use crate::site::Site;
use crate::store::{Notice, Store, StoreError};
use crate::time;
use crate::tls::{self, TlsError};

/// Between two looks at the operators' folder.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Before a broker that ended is started again.
const RESTART_AFTER: Duration = Duration::from_millis(500);
/// Clients turned away by the broker that wait to be counted.
const TURNED_MAX: usize = 64;

/// Why the matcher does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Keys or certificates.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Models.
    #[error(transparent)]
    Models(#[from] ModelsError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Enrolment.
    #[error(transparent)]
    Enrolment(#[from] ServerError),
    /// The service.
    #[error(transparent)]
    Died(#[from] mqtt::ServiceDied),
    /// Signals cannot be received.
    #[error("signals cannot be received")]
    Signals(#[source] std::io::Error),
}

/// Serves until SIGTERM or SIGINT; calls `ready` once, when requests are answered.
///
/// # Errors
/// When a part is missing or unusable. A lost broker connection is no error: it is tried again for ever.
pub async fn serve(config: &Config, ready: impl FnOnce(&str) + Send) -> Result<(), ServeError> {
    let service = service(config)?;
    run(config, service, ready).await
}

/// The same with a Mosquitto of our own; `launcher` is the `didar-matcher` program.
///
/// # Errors
/// As [`serve`], and when Mosquitto is absent or does not start. One that ends later is started again.
pub async fn serve_site(
    site: &Site,
    config: &Config,
    plan: &BrokerPlan,
    launcher: &Path,
    ready: impl FnOnce(&str) + Send,
) -> Result<(), ServeError> {
    let service = service(config)?;
    let (turned, turned_away) = mpsc::channel(TURNED_MAX);
    let broker = plan.start(launcher, turned.clone()).await?;
    let watchman = Watchman::new(Store::open(&config.store.database, &config.keys.store, config.env)?);
    let (end, ended) = watch::channel(false);
    let serving = async {
        let result = run(config, service, ready).await;
        end.send_replace(true);
        result
    };
    let starter = Starter { plan, launcher, turned };
    let keeping = keep(site, config, &starter, broker, ended.clone());
    let (served, (), ()) = tokio::join!(serving, keeping, watchman.watch(turned_away, ended));
    served
}

fn service(config: &Config) -> Result<Service, ServeError> {
    let identity = Identity::load(config)?;
    let portraits = VisionPortraits::load(config)?;
    let rules = Rules::new(config, portraits.threshold());
    let store = Store::open(&config.store.database, &config.keys.store, config.env)?;
    Ok(Service::new(config.env, store, identity, rules, Box::new(portraits), Box::new(Policy::shipped())))
}

async fn run(config: &Config, service: Service, ready: impl FnOnce(&str)) -> Result<(), ServeError> {
    let broker = &config.broker;
    let transport = tls::transport(&broker.ca, &broker.certificate, &broker.key)?;
    let enrolling = match &config.enrolment {
        Some(enrolment) => Some(EstServer::open(config, enrolment).await?),
        None => None,
    };
    let enrolling = async {
        if let Some(server) = enrolling {
            server.serve().await;
        }
        std::future::pending::<()>().await;
    };
    let (connected, mut is_connected) = watch::channel(false);
    let (stop, stopping) = watch::channel(false);
    let client_id = format!("matcher:{}", config.id);
    let serving = mqtt::serve(service, &broker.url, &client_id, transport, connected, stopping);
    let signals = stop_signal()?;
    let announce = async {
        if is_connected.wait_for(|connected| *connected).await.is_ok() {
            ready(&broker.url.to_string());
        }
        std::future::pending::<()>().await;
    };
    let stopper = async {
        tokio::select! {
            () = signals => tracing::info!("stopping"),
            () = announce => {}
        }
        stop.send_replace(true);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = serving => Ok(ended?),
        () = stopper => Ok(()),
        () = enrolling => Ok(()),
    }
}

fn stop_signal() -> Result<impl Future<Output = ()>, ServeError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// How to start the broker.
struct Starter<'a> {
    plan: &'a BrokerPlan,
    launcher: &'a Path,
    turned: mpsc::Sender<Turned>,
}

impl Starter<'_> {
    async fn start(&self) -> Result<Broker, BrokerError> {
        self.plan.start(self.launcher, self.turned.clone()).await
    }
}

/// Raises the alarms about clients that the broker turned away.
struct Watchman {
    store: Store,
    quiet: Quiet<Turned>,
}

impl Watchman {
    fn new(store: Store) -> Self {
        Self { store, quiet: Quiet::new() }
    }

    async fn watch(mut self, mut turned: mpsc::Receiver<Turned>, mut ended: watch::Receiver<bool>) {
        loop {
            let turned = tokio::select! {
                _ = ended.wait_for(|ended| *ended) => return,
                turned = turned.recv() => turned,
            };
            let Some(turned) = turned else { return };
            if let Err(error) = self.count(turned, time::now_ms()) {
                tracing::error!(error = &error as &dyn std::error::Error, "an alarm was not kept: {}", turned.note());
            }
        }
    }

    fn count(&mut self, turned: Turned, now_ms: u64) -> Result<(), StoreError> {
        let Some(note) = self.quiet.due(turned, turned.note(), now_ms) else { return Ok(()) };
        tracing::warn!("{note}");
        let work = self.store.begin()?;
        work.raise(&Notice { at_ms: now_ms, device: None, note })?;
        work.commit()
    }
}

/// Keeps the broker alive, its rules in step with the operators' folder, and its list of revoked certificates in
/// force, until `ended` says stop.
async fn keep(site: &Site, config: &Config, starter: &Starter<'_>, broker: Broker, mut ended: watch::Receiver<bool>) {
    let mut operators = site.operators().unwrap_or_default();
    let mut revoked = std::fs::read(site.revoked()).unwrap_or_default();
    let mut broker = Some(broker);
    loop {
        let gone = tokio::select! {
            _ = ended.wait_for(|ended| *ended) => break,
            () = gone(broker.as_mut()) => true,
            () = time::wait(LOOK_EVERY) => false,
        };
        let list = std::fs::read(site.revoked()).unwrap_or_else(|_| revoked.clone());
        let revoking = list != revoked;
        if revoking && let Some(broker) = broker.take() {
            // Mosquitto reads a new list on SIGHUP but lets whoever is connected go on (measured on 2.0.11).
            tracing::info!("a device was revoked: the broker starts again with the new list");
            broker.stop().await;
        }
        revoked = list;
        if gone {
            tracing::error!("the broker is not there: starting it again");
            time::wait(RESTART_AFTER).await;
        }
        if gone || revoking {
            broker = starter
                .start()
                .await
                .inspect_err(|error| tracing::error!(error = error as &dyn std::error::Error, "no broker"))
                .ok();
        }
        let now = site.operators().unwrap_or_else(|_| operators.clone());
        if now != operators {
            match starter.plan.write_acl(&config.id, &now) {
                Ok(()) => broker.iter().for_each(Broker::reload),
                Err(error) => tracing::error!(%error, "the broker's rules were not written"),
            }
            operators = now;
        }
    }
    if let Some(broker) = broker {
        broker.stop().await;
    }
}

/// Resolves when there is no broker, or no longer.
async fn gone(broker: Option<&mut Broker>) {
    if let Some(broker) = broker {
        match broker.ended().await {
            Ok(status) => tracing::error!(%status, "the broker ended"),
            Err(cause) => tracing::error!(%cause, "the broker cannot be watched"),
        }
    }
}
