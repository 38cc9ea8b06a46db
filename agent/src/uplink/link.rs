//! One connection to the broker over the client library.
//!
//! **Here:** its settings, a task that reads it and one that writes it. Each connection gets a client of its own, with
//! empty tables and its own pre-signed will: what must survive it is in [`super::session`].
//! **Not here:** when to connect, what to do about a fault. **Start** with [`Link::open`].

use std::sync::Arc;
use std::time::Duration;

use didar_protocol::trace::{self, TraceParent};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, LastWill, Packet, PublishProperties};
use rumqttc::v5::{AsyncClient, ConnectionError, Event as ClientEvent, EventLoop, MqttOptions};
use rumqttc::{NetworkOptions, TlsConfiguration, Transport};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::fault::Stage;
use super::session::FLIGHTS_MAX;

/// The broker is asked for a sign of life this often; a link that stays silent twice as long is given up.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// So much longer than its keep-alive a client may do nothing at all: then a write is stuck in a dead link.
const STUCK_MAX: Duration = Duration::from_secs(5);
/// Longest wait for TCP, TLS and the broker's answer together, in seconds.
const CONNECT_MAX_S: u64 = 10;
/// How long the broker keeps messages for a device that is away.
const SESSION_EXPIRY_S: u32 = 24 * 60 * 60;
/// Largest packet that we take: the largest message to a device is 8 KiB.
const PACKET_MAX: u32 = 16 * 1024;
/// Messages that the broker may have unacknowledged from us: Mosquitto's default for its side. The client library
/// reserves memory for each.
const INFLIGHT_MAX: u16 = 20;
/// Packets that may wait for the client.
const OUTBOUND_MAX: usize = 64;
/// Most packets that one step of the session posts: every letter in flight, the state and a subscription. While there is
/// room for fewer, the loop's orders wait.
const STEP_MAX: usize = FLIGHTS_MAX + 2;

/// A connection, from its first try to its end; closed on drop.
pub(super) struct Link {
    /// How far it has come.
    pub(super) stage: Stage,
    outbound: mpsc::Sender<Outbound>,
    reports: mpsc::Receiver<Report>,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
}

/// What a connection has to say.
pub(super) enum Report {
    /// A packet came.
    Packet(Box<Packet>),
    /// It is over.
    Broken(ConnectionError),
    /// It is over: nothing moves any more.
    Stuck,
}

/// What goes out.
pub(super) enum Outbound {
    /// These topics, at least once.
    Subscribe(Vec<String>),
    /// One message, at least once.
    Publish(Publication),
    /// The end.
    Disconnect,
}

/// A message with its properties.
pub(super) struct Publication {
    topic: String,
    bytes: Vec<u8>,
    retain: bool,
    properties: PublishProperties,
}

/// What the bytes of a message are, told as MQTT's content type.
#[derive(Clone, Copy)]
pub(super) enum Content {
    /// A COSE_Sign1.
    Signed,
    /// A sealed envelope.
    Sealed,
}

impl Publication {
    pub(super) fn new(topic: String, bytes: Vec<u8>, content: Content) -> Self {
        let content_type = match content {
            Content::Signed => "application/cose; cose-type=\"cose-sign1\"",
            Content::Sealed => "application/vnd.didar.sealed+cbor",
        };
        let properties =
            PublishProperties { content_type: Some(content_type.to_owned()), ..PublishProperties::default() };
        Self { topic, bytes, retain: false, properties }
    }

    /// The broker keeps it for whoever comes later.
    pub(super) fn retained(mut self) -> Self {
        self.retain = true;
        self
    }

    /// Names what an answer should carry back.
    pub(super) fn correlated(mut self, name: Vec<u8>) -> Self {
        self.properties.correlation_data = Some(name.into());
        self
    }

    /// Says which request it is about.
    pub(super) fn traced(mut self, trace: Option<TraceParent>) -> Self {
        let property = |parent: TraceParent| (trace::PROPERTY.to_owned(), parent.to_string());
        self.properties.user_properties = trace.map(property).into_iter().collect();
        self
    }

    /// After so long the broker may forget it.
    pub(super) fn expiring(mut self, within: Option<Duration>) -> Self {
        let seconds = |rest: Duration| u32::try_from(rest.as_secs()).unwrap_or(u32::MAX).max(1);
        self.properties.message_expiry_interval = within.map(seconds);
        self
    }
}

impl Link {
    /// Begins a connection. `options` name client and broker; `will` is told by the broker when the link breaks.
    pub(super) fn open(mut options: MqttOptions, tls: Arc<rustls::ClientConfig>, will: Publication) -> Self {
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options
            .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)))
            .set_network_options(network)
            .set_keep_alive(KEEP_ALIVE)
            .set_connection_timeout(CONNECT_MAX_S)
            .set_clean_start(false)
            .set_session_expiry_interval(Some(SESSION_EXPIRY_S))
            .set_max_packet_size(Some(PACKET_MAX))
            .set_outgoing_inflight_upper_limit(INFLIGHT_MAX)
            .set_last_will(LastWill::new(will.topic, will.bytes, QoS::AtLeastOnce, will.retain, None));
        let (client, client_loop) = AsyncClient::new(options, OUTBOUND_MAX);
        let (reporting, reports) = mpsc::channel(OUTBOUND_MAX);
        let (outbound, waiting) = mpsc::channel(OUTBOUND_MAX);
        let reader = tokio::spawn(read_all(client_loop, reporting));
        let writer = tokio::spawn(write_all(client, waiting));
        Self { stage: Stage::Opening, outbound, reports, reader, writer }
    }

    /// Puts a packet at the end of those that wait. What finds no room is lost: it is unanswered, and so sent again.
    pub(super) fn post(&mut self, packet: Outbound) {
        if self.outbound.try_send(packet).is_err() {
            tracing::warn!("a message found no room in the connection's queue");
        }
    }

    /// Waits for a report; and, while there is room for a step's packets, for `other`.
    pub(super) async fn report_or<T>(&mut self, other: impl Future<Output = T>) -> Result<T, Report> {
        let with_room = async {
            // A writer that is gone leaves no room; the reader's report says why.
            if self.outbound.reserve_many(STEP_MAX).await.is_err() {
                std::future::pending::<()>().await;
            }
            other.await
        };
        tokio::select! {
            biased;
            report = self.reports.recv() => Err(report.unwrap_or(Report::Stuck)),
            other = with_room => Ok(other),
        }
    }

    /// Sends what waits, then ends the connection in order.
    pub(super) async fn close(&mut self) {
        if self.outbound.send(Outbound::Disconnect).await.is_ok() {
            // The reader ends when the broker closes the connection.
            while self.reports.recv().await.is_some() {}
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
    }
}

/// Reads a connection until it breaks. Nothing else waits inside: a cancelled wait could lose a packet.
async fn read_all(mut client: EventLoop, reports: mpsc::Sender<Report>) {
    loop {
        // A broker may ask for another keep-alive than ours.
        let patience = client.options.keep_alive() + STUCK_MAX;
        let report = match timeout(patience, client.poll()).await {
            Ok(Ok(ClientEvent::Incoming(packet))) => Report::Packet(Box::new(packet)),
            Ok(Ok(ClientEvent::Outgoing(_))) => continue,
            Ok(Err(error)) => Report::Broken(error),
            Err(_) => Report::Stuck,
        };
        let last = !matches!(report, Report::Packet(_));
        if reports.send(report).await.is_err() || last {
            return;
        }
    }
}

/// Hands packets to the client, one after the other. Nothing cancels the handing over: the client could have taken the
/// packet already, and it would go out twice.
async fn write_all(client: AsyncClient, mut waiting: mpsc::Receiver<Outbound>) {
    while let Some(packet) = waiting.recv().await {
        let handed = match packet {
            Outbound::Subscribe(topics) => {
                client.subscribe_many(topics.iter().map(|topic| Filter::new(topic, QoS::AtLeastOnce))).await
            }
            Outbound::Publish(Publication { topic, bytes, retain, properties }) => {
                client.publish_with_properties(topic, QoS::AtLeastOnce, retain, bytes, properties).await
            }
            Outbound::Disconnect => client.disconnect().await,
        };
        if handed.is_err() {
            return;
        }
    }
}
