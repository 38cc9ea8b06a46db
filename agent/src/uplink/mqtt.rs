//! The driver: [`super::session`]'s decisions carried out over the client library.
//!
//! **Here:** one task that owns the session and at most one connection.
//! **Not here:** decisions; the connection itself (`super::link`); bytes of sealed messages ([`crate::ask`]).
//! **Start** with [`MqttUplink::start`].

mod doubts;

use std::sync::Arc;
use std::time::Duration;

use didar_protocol::id::Env;
use didar_protocol::message::{Connection, ModelRef, State};
use didar_protocol::topic::{Lane, Topic};
use rumqttc::v5::MqttOptions;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason, SubscribeReasonCode};
use rustls_pki_types::ServerName;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::arrival::{ArrivalError, Inbox, kept_keys};
use super::fault::{LinkFault, Stage};
use super::link::{Content, KEEP_ALIVE, Link, Outbound, Publication, Report};
use super::session::{Act, Happened, Ignored, Session};
use super::trust::{TrustAnchor, TrustError};
use crate::ask;
use crate::attempt::Event;
use crate::edge::{Clock, Health, Letter, OutboxError, Question, Uplink, UplinkError};
use crate::identity::Identity;
use crate::outbox::Memory;
use crate::time::Moment;

/// Orders of the loop that may wait.
const ORDERS_MAX: usize = 256;
/// Longest wait for the farewell to go out.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// Where the uplink goes, and what it tells of the device.
pub struct Settings {
    /// Name or IPv4 address of the broker.
    pub host: String,
    /// Its port, usually 8883.
    pub port: u16,
    /// The name that its certificate must carry; usually `host`.
    pub server_name: String,
    /// Which world.
    pub env: Env,
    /// The agent's version, for the state.
    pub version: String,
    /// The kernel's boot id, for the state and for requests.
    pub boot: [u8; 16],
    /// The models in use, for the state.
    pub models: Vec<ModelRef>,
}

/// Why the uplink cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No name that a certificate can carry.
    #[error("broker name {0:?} is neither a host name nor an IP address")]
    Name(String),
    /// The TLS settings don't fit together.
    #[error(transparent)]
    Tls(#[from] TrustError),
}

/// The agent's end of the uplink. When it is dropped the uplink says farewell and ends.
pub struct MqttUplink {
    boot: [u8; 16],
    memory: Memory,
    orders: mpsc::Sender<Happened>,
    fault: watch::Receiver<Option<LinkFault>>,
    task: JoinHandle<()>,
}

impl MqttUplink {
    /// Starts the uplink's task on the current tokio runtime. Events come over `events`, those of the kept keys first.
    ///
    /// # Errors
    /// When the settings can never lead to a connection. Everything else is tried again, and logged.
    pub fn start(
        settings: Settings,
        identity: Arc<Identity>,
        trust: Arc<TrustAnchor>,
        memory: Memory,
        clock: Arc<dyn Clock>,
        events: mpsc::Sender<Event>,
    ) -> Result<Self, StartError> {
        let name = ServerName::try_from(settings.server_name.clone())
            .map_err(|_| StartError::Name(settings.server_name.clone()))?;
        let tls = Arc::new(trust.tls(&identity, name)?);
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        let (said, fault) = watch::channel(None);
        let session = Session::new(clock.now(), memory.health());
        let (boot, counted) = (settings.boot, memory.clone());
        let driver = Driver {
            inbox: Inbox::new(settings.env, identity.device()),
            address: format!("{}:{}", settings.host, settings.port),
            said,
            refused: 0,
            suspicion: None,
            suspicion_told: None,
            clock_told: false,
            clock_alarmed: false,
            dates_refused: None,
            count: Count::Spent,
            is_counted: false,
            settings,
            identity,
            trust,
            tls,
            memory,
            clock,
            events,
            session,
            link: None,
        };
        Ok(Self { boot, memory: counted, orders, fault, task: tokio::spawn(driver.run(taken)) })
    }

    /// Why there is no connection; `None` while there is one, and before the first try failed.
    pub fn fault(&self) -> watch::Receiver<Option<LinkFault>> {
        self.fault.clone()
    }

    /// Says farewell to the broker, so that the device shows as offline at once, and ends. Takes at most some seconds.
    pub async fn stop(self) {
        drop(self.orders);
        if timeout(2 * FAREWELL_MAX, self.task).await.is_err() {
            tracing::warn!("the uplink did not end in time");
        }
    }

    fn order(&self, order: Happened) -> Result<(), UplinkError> {
        self.orders.try_send(order).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => UplinkError::Full { waiting: ORDERS_MAX },
            mpsc::error::TrySendError::Closed(_) => UplinkError::Stopped,
        })
    }
}

impl Uplink for MqttUplink {
    fn send(&mut self, letter: Letter) -> Result<(), UplinkError> {
        self.order(Happened::Send(letter))
    }

    /// When too many orders wait the question expires by itself.
    fn forget(&mut self, question: Question) {
        if let Err(why) = self.order(Happened::Forget(question)) {
            tracing::debug!("{question:?} not forgotten: {why}");
        }
    }

    fn connection(&self) -> Result<Connection, OutboxError> {
        Ok(Connection { boot: self.boot, connects: self.memory.connection()? })
    }
}

struct Driver {
    settings: Settings,
    identity: Arc<Identity>,
    trust: Arc<TrustAnchor>,
    tls: Arc<rustls::ClientConfig>,
    memory: Memory,
    clock: Arc<dyn Clock>,
    events: mpsc::Sender<Event>,
    inbox: Inbox,
    address: String,
    session: Session,
    link: Option<Link>,
    /// The fault that was logged last: each is said once until it changes or the link comes up.
    said: watch::Sender<Option<LinkFault>>,
    /// Messages ignored because they did not verify.
    refused: u64,
    /// Since when there is something to be told that no matcher or broker of the site said.
    suspicion: Option<Moment>,
    /// When that was told last.
    suspicion_told: Option<Moment>,
    /// Whether the loop was told that the clock is wrong.
    clock_told: bool,
    /// Whether the centre was told that the calendar which this start began with is wrong.
    clock_alarmed: bool,
    /// Since when certificates are refused for their dates alone and nothing is believed.
    dates_refused: Option<Moment>,
    count: Count,
    /// Whether the disk took the count of this connection.
    is_counted: bool,
}

/// Whether the stored count of connections belongs to one that the broker has accepted. Tries that fail share one
/// count, and so one write; no two accepted connections ever do, not even across a power cut: that would look like two
/// machines with one identity.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Count {
    Fresh,
    Spent,
}

/// What ended a wait.
enum Woken {
    Order(Option<Happened>),
    Report(Report),
    Deadline,
}

impl Driver {
    async fn run(mut self, mut orders: mpsc::Receiver<Happened>) {
        self.tell_kept_keys().await;
        let mut happened = Some(Happened::Tick);
        loop {
            if let Some(happened) = happened.take()
                && self.step(happened).await.is_err()
            {
                return;
            }
            happened = match self.wait(&mut orders).await {
                Woken::Order(Some(order)) => Some(order),
                Woken::Order(None) => return self.farewell().await,
                Woken::Report(report) => {
                    let happened = self.judge(report);
                    if self.tell_clock().await.is_err() {
                        return;
                    }
                    happened
                }
                Woken::Deadline => Some(Happened::Tick),
            };
        }
    }

    async fn wait(&mut self, orders: &mut mpsc::Receiver<Happened>) -> Woken {
        let now = self.clock.now();
        let rest = self.session.deadline().map_or(KEEP_ALIVE, |deadline| deadline.since(now));
        let woken = async {
            match &mut self.link {
                Some(link) => link.report_or(orders.recv()).await.map_or_else(Woken::Report, Woken::Order),
                None => Woken::Order(orders.recv().await),
            }
        };
        timeout(rest, woken).await.unwrap_or(Woken::Deadline)
    }

    /// Steps the session and does what it says; an error means that the agent's loop is gone.
    async fn step(&mut self, happened: Happened) -> Result<(), LoopGone> {
        let before = self.session.ignored();
        let acts = self.session.step(self.clock.now(), happened, random());
        self.note_ignored(before);
        for act in acts {
            self.act(act).await?;
        }
        Ok(())
    }

    async fn act(&mut self, act: Act) -> Result<(), LoopGone> {
        match act {
            Act::Connect(health) => {
                self.count_connection();
                self.link = self.connect(&health);
            }
            Act::Drop => self.link = None,
            Act::Subscribe => {
                self.count = Count::Spent;
                let filters = self.inbox.filters().map(str::to_owned).collect();
                self.post(Outbound::Subscribe(filters));
            }
            Act::PublishState(health) => {
                self.say_up();
                self.tell_suspicion(&health);
                if let Some(state) = self.state(&health, Online::Yes) {
                    self.post(Outbound::Publish(state));
                }
            }
            Act::Publish(parcel) => {
                let content = if parcel.lane == Lane::Audit { Content::Signed } else { Content::Sealed };
                let publication = Publication::new(self.topic(parcel.lane), parcel.bytes.to_vec(), content)
                    .correlated(parcel.correlation)
                    .traced(parcel.trace)
                    .expiring(parcel.expires_in);
                self.post(Outbound::Publish(publication));
            }
            Act::Tell(event) => self.events.send(event).await.map_err(|_| LoopGone)?,
            Act::KeepKeys(signed) => {
                if let Err(why) = self.memory.keep_matcher_keys(&signed) {
                    tracing::error!("matcher's keys not kept for the next start: {why}");
                }
            }
            Act::Heard(heard) => self.correct_clock(heard),
        }
        Ok(())
    }

    fn judge(&mut self, report: Report) -> Option<Happened> {
        let stage = self.link.as_ref().map_or(Stage::Opening, |link| link.stage);
        let fault = match report {
            Report::Packet(packet) => match *packet {
                Packet::ConnAck(_) => {
                    if let Some(link) = &mut self.link {
                        link.stage = Stage::Open;
                    }
                    return Some(Happened::Accepted);
                }
                Packet::SubAck(ack)
                    if ack.return_codes.iter().all(|code| matches!(code, SubscribeReasonCode::Success(_))) =>
                {
                    return Some(Happened::Subscribed);
                }
                Packet::SubAck(_) => LinkFault::Subscriptions { address: self.address.clone() },
                Packet::Publish(publish) => return self.read(&publish.topic, &publish.payload),
                Packet::PubAck(ack) => {
                    if !matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers) {
                        tracing::warn!("broker {} did not take a message: {:?}", self.address, ack.reason);
                    }
                    return None;
                }
                _ => return None,
            },
            Report::Broken(error) => {
                let now_s = self.clock.unix_ms(self.clock.now()) / 1000;
                let now_s = i64::try_from(now_s).unwrap_or(i64::MAX);
                let fault = LinkFault::of(&error, stage, &self.address, &self.identity.facts(), now_s);
                self.or_the_clock(fault, now_s)
            }
            Report::Stuck => LinkFault::Silent { address: self.address.clone() },
        };
        self.link = None;
        if let LinkFault::Server { dates, .. } = fault {
            self.suspicion.get_or_insert(self.clock.now());
            if dates {
                self.doubt_dates();
            }
        }
        if self.said.borrow().as_ref() != Some(&fault) {
            tracing::warn!("{fault}");
            self.said.send_replace(Some(fault));
        }
        Some(Happened::Lost)
    }

    fn read(&mut self, topic: &[u8], bytes: &[u8]) -> Option<Happened> {
        match self.inbox.read(topic, bytes, &self.trust) {
            Ok(arrival) => {
                self.dates_refused = None;
                Some(Happened::Arrived(Box::new(arrival)))
            }
            Err(why) => {
                if matches!(&why, ArrivalError::Trust(_, cause) if cause.is_of_dates()) {
                    self.doubt_dates();
                }
                self.refused += 1;
                if self.refused == 1 {
                    tracing::warn!("a message on our topics is ignored, and further ones are only counted: {why}");
                } else {
                    tracing::debug!("message ignored ({}): {why}", self.refused);
                }
                self.suspicion.get_or_insert(self.clock.now());
                if self.session.is_up() {
                    let health = self.session.health().clone();
                    self.tell_suspicion(&health);
                }
                None
            }
        }
    }

    fn count_connection(&mut self) {
        if self.count == Count::Fresh {
            return;
        }
        match self.memory.connected() {
            Ok(_) => (self.count, self.is_counted) = (Count::Fresh, true),
            Err(why) => {
                self.is_counted = false;
                tracing::error!("connection not counted: {why}");
            }
        }
    }

    fn say_up(&self) {
        let mended = self.said.send_if_modified(|fault| fault.take().is_some());
        if mended {
            tracing::info!("connected to {}", self.address);
        }
    }

    fn note_ignored(&self, before: Ignored) {
        let now = self.session.ignored();
        if now != before {
            tracing::debug!(stale = now.stale, crowded_out = now.crowded_out, "messages ignored so far");
        }
    }

    async fn tell_kept_keys(&mut self) {
        let kept = match self.memory.matcher_keys() {
            Ok(Some(signed)) => kept_keys(&signed, &self.trust),
            Ok(None) => return,
            Err(why) => return tracing::error!("matcher's kept keys not read: {why}"),
        };
        match kept {
            // A closed channel shows at the next event too.
            Ok(keys) => {
                self.session.know_keys(&keys);
                drop(self.events.send(Event::Keys(keys)).await);
            }
            Err(why) => tracing::info!("matcher's kept keys are not used: {why}"),
        }
    }

    fn post(&mut self, packet: Outbound) {
        if let Some(link) = &mut self.link {
            link.post(packet);
        }
    }

    /// Begins a connection; `None` when not even its will can be signed, which is logged and tried again.
    fn connect(&self, health: &Health) -> Option<Link> {
        let will = self.state(health, Online::No)?;
        let Settings { host, port, .. } = &self.settings;
        let options = MqttOptions::new(self.identity.device().as_str(), host, *port);
        Some(Link::open(options, Arc::clone(&self.tls), will))
    }

    /// The retained state, for now or as the connection's will.
    fn state(&self, health: &Health, online: Online) -> Option<Publication> {
        let state = State {
            device: self.identity.device().clone(),
            online: matches!(online, Online::Yes),
            version: self.settings.version.clone(),
            boot: self.settings.boot,
            // A count that was used before would show as a copy of this device; 0 says that there is none.
            connects: if self.is_counted { self.memory.connects() } else { 0 },
            audit_next: health.audit_next,
            audit_head: health.audit_head,
            models: self.settings.models.clone(),
            faults: health.faults.clone(),
            at_ms: self.clock.unix_ms(self.clock.now()),
        };
        match ask::state(&state, self.identity.as_ref()) {
            Ok(bytes) => Some(Publication::new(self.topic(Lane::State), bytes, Content::Signed).retained()),
            Err(why) => {
                tracing::error!("the device's state cannot be told: {why}");
                None
            }
        }
    }

    fn topic(&self, lane: Lane) -> String {
        Topic::Device { env: self.settings.env, device: self.identity.device().clone(), lane }.to_string()
    }

    /// Tells that the device goes away by itself, and closes the connection.
    async fn farewell(mut self) {
        let health = self.session.health().clone();
        let state = self.session.is_up().then(|| self.state(&health, Online::No)).flatten();
        let (Some(state), Some(link)) = (state, &mut self.link) else { return };
        link.post(Outbound::Publish(state));
        if timeout(FAREWELL_MAX, link.close()).await.is_err() {
            tracing::warn!("broker {} did not hear our farewell", self.address);
        }
    }
}

/// Which state is told.
#[derive(Clone, Copy)]
enum Online {
    /// Now.
    Yes,
    /// From the end of this connection on: told by the device when it goes, else by the broker as its will.
    No,
}

/// The agent's loop does not listen any more.
struct LoopGone;

/// Randomness for the waits' jitter; without entropy the waits are merely the same.
fn random() -> u64 {
    getrandom::u64().unwrap_or(0)
}
