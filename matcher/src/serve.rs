//! Serving: the parts put together, until a signal says stop.

use std::path::Path;
use std::time::Duration;

use didar_liveness::Policy;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::sync::{mpsc, watch};

use crate::broker::{Broker, BrokerError, BrokerPlan, Incident};
use crate::config::Config;
use crate::est::server::{EstServer, ServerError};
use crate::identity::{Identity, IdentityError};
use crate::mqtt;
use crate::pki;
use crate::policy::Rules;
use crate::reference::{ModelsError, VisionPortraits};
use crate::service::Service;
use crate::site::{Site, SiteError, list_revoked};
use crate::store::{Store, StoreError};
use crate::time;
use crate::tls::{self, TlsError};
use crate::watchman::Watchman;

/// Between two looks at the operators' folder.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks at the clock that must all be wrong before the site is started again: its alarm waits in the database by then.
const OUT_OF_TIME_MAX: u32 = 30;
/// Before a broker that ended is started again.
const RESTART_AFTER: Duration = Duration::from_millis(500);
/// What the broker tells and waits to be counted.
const INCIDENTS_MAX: usize = 64;

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
    /// By the clock the matcher's own certificate does not count, and has not for a while.
    #[error(
        "by this machine's clock the matcher's certificate does not count: set the clock; the next start makes a new \
         certificate where it is right"
    )]
    OutOfTime,
    /// The site's folder.
    #[error(transparent)]
    Site(#[from] SiteError),
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
    let mut list = List::new(site, Store::open(&config.store.database, &config.keys.store, config.env)?)?;
    let (told, incidents) = mpsc::channel(INCIDENTS_MAX);
    let broker = plan.start(launcher, told.clone()).await?;
    let watchman = Watchman::new(Store::open(&config.store.database, &config.keys.store, config.env)?);
    let (end, ended) = watch::channel(false);
    let serving = async {
        let result = tokio::select! {
            result = run(config, service, ready) => result,
            () = until_out_of_time(config) => Err(ServeError::OutOfTime),
        };
        end.send_replace(true);
        result
    };
    let starter = Starter { plan, launcher, told };
    let keeping = keep(site, config, &starter, (broker, &mut list), ended.clone());
    let (served, (), ()) = tokio::join!(serving, keeping, watchman.watch(incidents, ended));
    served
}

/// Resolves when the matcher's certificate has not counted for some looks in a row: it was made, or is looked at, by a clock
/// that is wrong. A start can mend that, since the site makes its own certificates.
async fn until_out_of_time(config: &Config) {
    let mut out = 0;
    while out < OUT_OF_TIME_MAX {
        time::wait(LOOK_EVERY).await;
        // One that is just being replaced is looked at again.
        let der = CertificateDer::from_pem_file(&config.broker.certificate);
        let valid_s = der.ok().and_then(|der| pki::validity(&der).ok());
        let counts = valid_s.is_none_or(|valid_s| valid_s.contains(&(time::now_ms() / 1000)));
        out = if counts { 0 } else { out + 1 };
    }
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
    told: mpsc::Sender<Incident>,
}

impl Starter<'_> {
    async fn start(&self) -> Result<Broker, BrokerError> {
        self.plan.start(self.launcher, self.told.clone()).await
    }
}

/// Keeps the broker alive, its rules in step with the operators' folder, and its list of revoked certificates in
/// force, until `ended` says stop.
async fn keep(
    site: &Site,
    config: &Config,
    starter: &Starter<'_>,
    (broker, list): (Broker, &mut List<'_>),
    mut ended: watch::Receiver<bool>,
) {
    let mut operators = site.operators().unwrap_or_default();
    let mut broker = Some(broker);
    loop {
        let gone = tokio::select! {
            _ = ended.wait_for(|ended| *ended) => break,
            () = gone(broker.as_mut()) => true,
            () = time::wait(LOOK_EVERY) => false,
        };
        let revoking = list.has_changed();
        if revoking && let Some(broker) = broker.take() {
            // Mosquitto reads a new list on SIGHUP but lets whoever is connected go on (measured on 2.0.11).
            tracing::info!("a device was revoked: the broker starts again with the new list");
            broker.stop().await;
        }
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

/// The broker's list of revoked certificates, kept as the database says: whoever revokes may be a command, which writes the
/// list itself, or the enrolment desk, or may have ended in between.
struct List<'a> {
    site: &'a Site,
    store: Store,
    /// What the file held at the last look.
    text: Vec<u8>,
    /// How many certificates it lists.
    listed: usize,
    /// Looks since the database had another number.
    behind: u32,
}

/// Looks in which the command that revokes may write the list itself: each change costs every device its connection.
const BEHIND_MAX: u32 = 5;

impl<'a> List<'a> {
    /// Writes the list.
    fn new(site: &'a Site, store: Store) -> Result<Self, ServeError> {
        let mut list = Self { site, store, text: Vec::new(), listed: 0, behind: 0 };
        list.write()?;
        Ok(list)
    }

    /// Whether the broker must read another one. Whoever changed the file did so at some moment: what was revoked since stands
    /// in the database alone, so it is written again from there.
    fn has_changed(&mut self) -> bool {
        let found = std::fs::read(self.site.revoked()).ok().filter(|text| *text != self.text);
        match self.store.look().and_then(|work| work.revoked()) {
            Ok(revoked) if revoked == self.listed => self.behind = 0,
            Ok(_) => self.behind += 1,
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "revoked certificates not counted"),
        }
        if found.is_none() && self.behind < BEHIND_MAX {
            return false;
        }
        if let Err(error) = self.write() {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "the list of revoked certificates was not written");
            self.text = found.unwrap_or_default();
        }
        true
    }

    fn write(&mut self) -> Result<(), ServeError> {
        self.listed = list_revoked(&self.site.ca(), &self.site.revoked(), &mut self.store, time::now_ms())?;
        self.text = std::fs::read(self.site.revoked()).unwrap_or_default();
        self.behind = 0;
        Ok(())
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
