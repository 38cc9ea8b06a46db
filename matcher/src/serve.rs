//! Serving: the parts put together, until a signal says stop.

use std::path::Path;
use std::time::Duration;

use didar_liveness::Policy;
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
/// Looks at which a certificate must be due before the site is prepared anew.
const DUE_MAX: u32 = 30;
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
    run(config, service, ready, std::future::pending()).await.map(drop)
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
) -> Result<Ended, ServeError> {
    let service = service(config)?;
    let mut list = List::new(site, Store::open(&config.store.database, &config.keys.store, config.env)?)?;
    let (told, incidents) = mpsc::channel(INCIDENTS_MAX);
    let broker = plan.start(launcher, told.clone()).await?;
    let watchman = Watchman::new(Store::open(&config.store.database, &config.keys.store, config.env)?);
    let (end, ended) = watch::channel(false);
    let serving = async {
        let result = run(config, service, ready, until_due(config, plan)).await;
        end.send_replace(true);
        result
    };
    let starter = Starter { plan, launcher, told };
    let keeping = keep(site, config, &starter, (broker, &mut list), ended.clone());
    let (served, (), ()) = tokio::join!(serving, keeping, watchman.watch(incidents, ended));
    served
}

/// Why serving ended, where nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By a signal.
    Asked,
    /// A certificate of the site's own is due: prepare the site, and serve again.
    Due,
}

/// Resolves when a certificate of the site's own has been due for some looks in a row: it is near its end, or was made by a
/// clock that ran ahead and has not begun. One that has ended is no reason: by a clock that runs ahead now all have, and what
/// is made by it would count.
async fn until_due(config: &Config, plan: &BrokerPlan) {
    let is_due = |path: &Path| {
        let now_ms = time::now_ms();
        // One that is just being replaced is looked at again.
        let pem = std::fs::read_to_string(path).unwrap_or_default();
        pki::is_due(&pem, now_ms).unwrap_or(false) && !pki::has_ended(&pem, now_ms).unwrap_or(true)
    };
    let mut due = 0;
    while due < DUE_MAX {
        time::wait(LOOK_EVERY).await;
        due = if [&config.broker.certificate, &plan.certificate].into_iter().any(|path| is_due(path)) {
            due + 1
        } else {
            0
        };
    }
    tracing::info!("a certificate of the site's own is due: the site is prepared anew");
}

fn service(config: &Config) -> Result<Service, ServeError> {
    let identity = Identity::load(config)?;
    let portraits = VisionPortraits::load(config)?;
    let rules = Rules::new(config, portraits.threshold());
    let store = Store::open(&config.store.database, &config.keys.store, config.env)?;
    Ok(Service::new(config.env, store, identity, rules, Box::new(portraits), Box::new(Policy::shipped())))
}

/// Serves until a signal, or until `due` is done.
async fn run(
    config: &Config,
    service: Service,
    ready: impl FnOnce(&str),
    due: impl Future<Output = ()>,
) -> Result<Ended, ServeError> {
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
    let ended = std::cell::Cell::new(Ended::Asked);
    let stopper = async {
        tokio::select! {
            () = signals => tracing::info!("stopping"),
            () = due => ended.set(Ended::Due),
            () = announce => {}
        }
        stop.send_replace(true);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        served = serving => served?,
        () = stopper => {}
        () = enrolling => {}
    }
    Ok(ended.get())
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
            self.behind = 0;
            // The broker starts again for a file that is another one, and for nothing else.
            let Some(text) = found else { return false };
            self.text = text;
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
