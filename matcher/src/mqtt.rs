//! The matcher on MQTT v5: what arrives goes to the service on a thread of its own, what it says is published.
//!
//! Matchers share the devices' topics (`$share/matchers-…`), start clean and leave no session behind, so that a dead
//! one holds no share. The share's name ends in a secret of the site: Mosquitto 2.0 lets anybody subscribe to anything
//! and checks only what it delivers, so whoever knew the name could join the share and swallow others' messages
//! (`tests/broker.rs`). Nothing is kept here: whoever gets no answer asks again.

use std::time::Duration;

use didar_protocol::id::DeviceId;
use didar_protocol::topic::Lane;
use didar_protocol::trace::{self, TraceParent};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, Publish, PublishProperties};
use rumqttc::v5::{AsyncClient, ClientError, Event, EventLoop, MqttOptions};
use rumqttc::{NetworkOptions, Transport};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::broker::PACKET_MAX;
use crate::config::BrokerUrl;
use crate::identity::random;
use crate::quiet::Quiet;
use crate::service::{Incoming, Outgoing, Service};
use crate::supervisor;
use crate::time;
use waiting::{Full, Place, Waiting};

/// Tasks that wait for the service: what a thousand devices say when they come back at once, within the bounds of
/// [`Waiting`], and some of ours. What comes beyond is dropped, and its sender says it again; Mosquitto 2.0.11 does not keep
/// to [`RECEIVE_MAX`].
const WAITING_MAX: usize = waiting::MESSAGES_MAX + 64;
/// Messages that the service is given at once.
const TOGETHER_MAX: usize = 64;
/// What goes out and waits for the connection.
const PARCELS_MAX: usize = 256;
/// Requests of ours that wait for the connection.
const REQUESTS_MAX: usize = 256;
/// Between two pings, and thus how soon a dead connection is seen.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Longest time in which nothing happens on a connection that lives.
const STUCK_MAX: Duration = Duration::from_secs(15);
/// Pauses before the next try to connect: doubled from the first to the last.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Longest goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(2);
/// Between two sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Most messages that the broker may send us before we acknowledge.
const RECEIVE_MAX: u16 = 64;

/// What the service's thread is asked to do.
enum Task {
    Handle(Arrived),
    Greet,
    Sweep,
    Flooded(DeviceId),
}

/// A message with what the transport adds.
struct Arrived {
    message: Incoming,
    thread: Thread,
    _place: Place,
}

/// What an answer carries back, unsigned.
#[derive(Clone, Default)]
struct Thread {
    correlation: Option<Vec<u8>>,
    trace: Option<TraceParent>,
}

/// The thread of the service ended by a panic: a bug of ours. Start the matcher again.
#[derive(Debug, thiserror::Error)]
#[error("the service's thread died; what it said last is above")]
pub struct ServiceDied;

/// A message that goes out, with what the transport adds.
struct Parcel {
    message: Outgoing,
    thread: Thread,
}

/// Serves until `stop` becomes true. `connected` is told `true` with every connection whose subscriptions the broker
/// has confirmed.
///
/// # Errors
/// When the service's thread dies: nothing would be answered any more.
pub async fn serve(
    mut service: Service,
    url: &BrokerUrl,
    client_id: &str,
    transport: Transport,
    connected: watch::Sender<bool>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), ServiceDied> {
    let (env, share) = (service.env(), service.share());
    let filters = [Lane::ChallengeRequest, Lane::Attempt, Lane::Audit, Lane::State]
        .map(|lane| Filter::new(format!("$share/matchers-{share}/{}", lane.filter(env)), QoS::AtLeastOnce));
    let (tasks, work) = mpsc::channel(WAITING_MAX);
    let (parcels, outbox) = mpsc::channel(PARCELS_MAX);
    let (in_time, is_in_time) = watch::channel(service.is_in_time(time::now_ms()));
    let worker = std::thread::Builder::new()
        .name("didar-service".into())
        .spawn(move || work_through(service, work, &parcels, &in_time))
        .expect("the system can start one thread");
    let (client, mut connection) = connect(url, client_id, transport);
    let connections = watch::Sender::new(0);
    let mut publisher = tokio::spawn(publish_all(client.clone(), outbox, filters.to_vec(), connections.subscribe()));
    let sweeper = tokio::spawn(sweep_for_ever(tasks.clone()));
    let mut listener = Listener::new(&tasks, &connections, &connected, is_in_time);
    tokio::select! {
        () = listener.listen(&mut connection) => {}
        _ = stop.wait_for(|stop| *stop) => {}
        // Only the service's thread holds the other end: it has died.
        _ = &mut publisher => return Err(ServiceDied),
    }
    sweeper.abort();
    drop(tasks);
    goodbye(&client, connection, publisher).await;
    match tokio::task::spawn_blocking(move || worker.join()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(ServiceDied),
    }
}

/// Hands on what arrives.
struct Listener<'a> {
    tasks: &'a mpsc::Sender<Task>,
    waiting: Waiting,
    /// Tells of what is dropped.
    quiet: Quiet<()>,
    /// How many connections the broker has accepted.
    connections: &'a watch::Sender<u64>,
    connected: &'a watch::Sender<bool>,
    /// Whether this matcher may act: one that may not leaves the share to the others.
    in_time: watch::Receiver<bool>,
}

impl<'a> Listener<'a> {
    fn new(
        tasks: &'a mpsc::Sender<Task>,
        connections: &'a watch::Sender<u64>,
        connected: &'a watch::Sender<bool>,
        in_time: watch::Receiver<bool>,
    ) -> Self {
        Self { tasks, waiting: Waiting::default(), quiet: Quiet::new(), connections, connected, in_time }
    }

    /// Connects again for ever.
    async fn listen(&mut self, connection: &mut EventLoop) {
        let mut pause = BACK_OFF.0;
        loop {
            let mut in_time = self.in_time.clone();
            if !*in_time.borrow_and_update() {
                self.connected.send_replace(false);
                connection.clean();
                if in_time.changed().await.is_err() {
                    // The service's thread has ended: `serve` does too.
                    std::future::pending::<()>().await;
                }
                continue;
            }
            // Whoever is alive pings: longer, and a write is stuck in a link that is dead at its other half.
            let polled = tokio::select! {
                polled = timeout(STUCK_MAX, connection.poll()) => polled,
                Ok(()) = in_time.changed() => continue,
            };
            let Ok(polled) = polled else {
                self.connected.send_replace(false);
                tracing::warn!("nothing moves on the connection to the broker: it is given up");
                connection.clean();
                continue;
            };
            match polled {
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    pause = BACK_OFF.0;
                    self.connections.send_modify(|count| *count += 1);
                }
                Ok(Event::Incoming(Packet::SubAck(_))) => {
                    tracing::info!("serving");
                    self.offer(Task::Greet);
                    self.connected.send_replace(true);
                }
                Ok(Event::Incoming(Packet::Publish(publish))) => self.take(publish),
                Ok(_) => {}
                Err(cause) => {
                    self.connected.send_replace(false);
                    tracing::warn!(%cause, ?pause, "no connection to the broker");
                    time::wait(pause).await;
                    pause = (pause * 2).min(BACK_OFF.1);
                }
            }
        }
    }

    fn take(&mut self, publish: Publish) {
        // A topic that is no text is none of ours; the service counts it as such.
        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
        match self.waiting.place(&topic, publish.payload.len()) {
            Ok(place) => self.offer(Task::Handle(Arrived::new(topic, publish, place))),
            Err(Full { flood }) => {
                if let Some(note) = self.quiet.due((), "too much waits: a message is dropped", time::now_ms()) {
                    tracing::warn!(topic, "{note}");
                }
                flood.into_iter().for_each(|device| self.offer(Task::Flooded(device)));
            }
        }
    }

    fn offer(&self, task: Task) {
        if self.tasks.try_send(task).is_err() {
            tracing::warn!("more messages than the service can take: one dropped, its sender will ask again");
        }
    }
}

impl Arrived {
    fn new(topic: String, publish: Publish, place: Place) -> Self {
        let message = Incoming { topic, payload: publish.payload.to_vec() };
        Self { message, thread: publish.properties.map(Thread::of).unwrap_or_default(), _place: place }
    }
}

impl Thread {
    /// What cannot be read as a trace is none: a device that says nonsense is answered all the same.
    fn of(properties: PublishProperties) -> Self {
        let said = properties.user_properties.iter().find(|(name, _)| name == trace::PROPERTY);
        let trace = said.and_then(|(_, text)| text.parse().ok());
        Self { correlation: properties.correlation_data.map(|data| data.to_vec()), trace }
    }

    /// As an answer says it: a step of its own in the same trace.
    fn answered(&self) -> Self {
        let step = |parent: TraceParent| parent.step(random().ok()?);
        Self { correlation: self.correlation.clone(), trace: self.trace.and_then(step) }
    }
}

async fn sweep_for_ever(tasks: mpsc::Sender<Task>) {
    loop {
        time::wait(SWEEP_EVERY).await;
        if tasks.send(Task::Sweep).await.is_err() {
            return;
        }
    }
}

/// Hands what is said to the connection, and first the subscriptions of each new one: ours is a clean start, the broker
/// remembers none. They wait for room here as everything does, since a queue that a lost connection left full takes
/// nothing at once, and a matcher without subscriptions hears nobody.
async fn publish_all(
    client: AsyncClient,
    mut outbox: mpsc::Receiver<Parcel>,
    filters: Vec<Filter>,
    mut connections: watch::Receiver<u64>,
) {
    loop {
        tokio::select! {
            biased;
            Ok(()) = connections.changed() => {
                if let Err(cause) = client.subscribe_many(filters.clone()).await {
                    tracing::error!(%cause, "subscriptions not sent");
                }
            }
            parcel = outbox.recv() => match parcel {
                Some(parcel) => publish(&client, parcel).await,
                None => return,
            },
        }
    }
}

/// An MQTT connection as ours are: clean, bounded, with a certificate.
pub(crate) fn connect(url: &BrokerUrl, client_id: &str, transport: Transport) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(client_id, url.host.clone(), url.port);
    let mut network = NetworkOptions::new();
    // An answer waits for no acknowledgement of TCP's, which takes 40 ms.
    network.set_tcp_nodelay(true);
    options
        .set_transport(transport)
        .set_network_options(network)
        .set_keep_alive(KEEP_ALIVE)
        .set_clean_start(true)
        .set_session_expiry_interval(Some(0))
        .set_receive_maximum(Some(RECEIVE_MAX))
        .set_max_packet_size(Some(PACKET_MAX))
        .set_request_channel_capacity(REQUESTS_MAX);
    AsyncClient::new(options, REQUESTS_MAX)
}

/// The service's thread: messages in the order of their arrival, so that the order of a device's messages holds. Ends with
/// either channel.
fn work_through(
    mut service: Service,
    mut tasks: mpsc::Receiver<Task>,
    parcels: &mpsc::Sender<Parcel>,
    in_time: &watch::Sender<bool>,
) {
    let mut waiting = Vec::with_capacity(TOGETHER_MAX);
    let mut pace = time::Pace::begin();
    while tasks.blocking_recv_many(&mut waiting, TOGETHER_MAX) > 0 {
        // Before anything is answered: the listener takes what is said only while it may.
        let is_in_time = service.is_in_time(time::now_ms());
        in_time.send_if_modified(|was| std::mem::replace(was, is_in_time) != is_in_time);
        let mut arrived = Vec::new();
        for task in waiting.drain(..) {
            let said = match task {
                Task::Handle(letter) => {
                    arrived.push(letter);
                    continue;
                }
                Task::Greet => service.greeting(time::now_ms()),
                Task::Flooded(device) => service.flooded(&device, time::now_ms()),
                Task::Sweep => {
                    let now_ms = time::now_ms();
                    // Once a second, by the thread that works and with the task that drives it: both turn.
                    supervisor::alive();
                    let leap = pace.leap(now_ms).map(|by_ms| service.clock_leapt(by_ms, now_ms));
                    [leap.unwrap_or_default(), service.refresh(now_ms), service.sweep(now_ms)].concat()
                }
            };
            if say(said, &Thread::default(), parcels).is_err() {
                return;
            }
        }
        if answer(&mut service, &arrived, parcels).is_err() {
            return;
        }
    }
}

/// Nobody publishes any more.
struct Unheard;

fn answer(service: &mut Service, mut arrived: &[Arrived], parcels: &mpsc::Sender<Parcel>) -> Result<(), Unheard> {
    while !arrived.is_empty() {
        let messages: Vec<&Incoming> = arrived.iter().map(|letter| &letter.message).collect();
        let answers = service.handle_together(&messages, time::now_ms);
        let (handled, rest) = arrived.split_at(answers.len());
        for (letter, said) in handled.iter().zip(answers) {
            say(said, &letter.thread, parcels)?;
        }
        arrived = rest;
    }
    Ok(())
}

fn say(said: Vec<Outgoing>, thread: &Thread, parcels: &mpsc::Sender<Parcel>) -> Result<(), Unheard> {
    for message in said {
        let thread = if message.reply { thread.answered() } else { Thread::default() };
        parcels.blocking_send(Parcel { message, thread }).map_err(|_| Unheard)?;
    }
    Ok(())
}

async fn publish(client: &AsyncClient, Parcel { message, thread }: Parcel) {
    let Outgoing { topic, payload, retain, expiry_s, .. } = message;
    let property = |parent: TraceParent| (trace::PROPERTY.to_owned(), parent.to_string());
    let properties = PublishProperties {
        message_expiry_interval: expiry_s,
        correlation_data: thread.correlation.map(Into::into),
        user_properties: thread.trace.map(property).into_iter().collect(),
        content_type: Some("application/cose".into()),
        ..PublishProperties::default()
    };
    let sent = client.publish_with_properties(topic.to_string(), QoS::AtLeastOnce, retain, payload, properties).await;
    if let Err(cause @ (ClientError::Request(_) | ClientError::TryRequest(_))) = sent {
        tracing::warn!(%cause, %topic, "message not sent");
    }
}

/// Lets what the service still says go out, then says goodbye; not longer than a moment. The connection ends with it:
/// whoever still waits to publish is told so, and the service's thread can end.
async fn goodbye(client: &AsyncClient, mut connection: EventLoop, publisher: tokio::task::JoinHandle<()>) {
    let leave = async {
        // Ends when the service's thread has ended and everything it said has been handed to the connection.
        let _ = publisher.await;
        let _ = client.disconnect().await;
        std::future::pending::<()>().await;
    };
    let drive = async { while connection.poll().await.is_ok() {} };
    tokio::select! {
        () = leave => {}
        () = drive => {}
        () = time::wait(GOODBYE_MAX) => {}
    }
}

mod waiting;

#[cfg(test)]
mod tests;
