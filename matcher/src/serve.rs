//! Serving: the parts put together, until a signal says stop.

use std::path::Path;
use std::time::Duration;

use didar_liveness::Policy;
use tokio::sync::watch;

use crate::broker::{Broker, BrokerError, BrokerPlan};
use crate::config::Config;
use crate::identity::{Identity, IdentityError};
use crate::mqtt;
use crate::policy::Rules;
use crate::reference::{ModelsError, VisionPortraits};
use crate::service::Service;
use crate::site::Site;
use crate::store::{Store, StoreError};
use crate::time;
use crate::tls::{self, TlsError};

/// Between two looks at the operators' folder.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Before a broker that ended is started again.
const RESTART_AFTER: Duration = Duration::from_millis(500);

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
    let broker = plan.start(launcher).await?;
    let (end, ended) = watch::channel(false);
    let serving = async {
        let result = run(config, service, ready).await;
        end.send_replace(true);
        result
    };
    let (served, ()) = tokio::join!(serving, keep(site, config, plan, launcher, broker, ended));
    served
}

fn service(config: &Config) -> Result<Service, ServeError> {
    let identity = Identity::load(config)?;
    let portraits = VisionPortraits::load(config)?;
    let rules = Rules::new(config, portraits.threshold());
    let store = Store::open(&config.store.database, &config.keys.store)?;
    Ok(Service::new(config.env, store, identity, rules, Box::new(portraits), Box::new(Policy::shipped())))
}

async fn run(config: &Config, service: Service, ready: impl FnOnce(&str)) -> Result<(), ServeError> {
    let broker = &config.broker;
    let transport = tls::transport(&broker.ca, &broker.certificate, &broker.key)?;
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

/// Keeps the broker alive, its rules in step with the operators' folder, and its list of revoked certificates in
/// force, until `ended` says stop.
async fn keep(
    site: &Site,
    config: &Config,
    plan: &BrokerPlan,
    launcher: &Path,
    broker: Broker,
    mut ended: watch::Receiver<bool>,
) {
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
            broker = plan
                .start(launcher)
                .await
                .inspect_err(|error| tracing::error!(error = error as &dyn std::error::Error, "no broker"))
                .ok();
        }
        let now = site.operators().unwrap_or_else(|_| operators.clone());
        if now != operators {
            match plan.write_acl(&config.id, &now) {
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
