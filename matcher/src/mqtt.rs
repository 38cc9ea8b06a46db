//! The matcher on MQTT v5: what arrives goes to the service on a thread of its own, what it says is published.
//!
//! Matchers share the devices' topics (`$share/matchers-…`), start clean and leave no session behind, so that a dead
//! one holds no share. The share's name ends in a secret of the site: Mosquitto 2.0 lets anybody subscribe to anything
//! and checks only what it delivers, so whoever knew the name could join the share and swallow others' messages
//! (`tests/broker.rs`). Nothing is kept here: whoever gets no answer asks again.

use std::time::Duration;

use didar_protocol::topic::Lane;
use rumqttc::Transport;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, Publish, PublishProperties};
use rumqttc::v5::{AsyncClient, ClientError, Event, EventLoop, MqttOptions};
use tokio::sync::{mpsc, watch};

use crate::broker::PACKET_MAX;
use crate::config::BrokerUrl;
use crate::service::{Outgoing, Service};
use crate::supervisor;
use crate::time;

/// Messages that wait for the service; what comes beyond is dropped, and its sender asks again.
const WAITING_MAX: usize = 256;
/// Requests of ours that wait for the connection.
const REQUESTS_MAX: usize = 256;
/// Between two pings, and thus how soon a dead connection is seen.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
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
    Handle { topic: String, payload: Vec<u8>, correlation: Option<Vec<u8>> },
    Greet,
    Sweep,
}

/// The thread of the service ended by a panic: a bug of ours. Start the matcher again.
#[derive(Debug, thiserror::Error)]
#[error("the service's thread died; what it said last is above")]
pub struct ServiceDied;

/// A message with what the transport adds.
struct Parcel {
    message: Outgoing,
    correlation: Option<Vec<u8>>,
}

/// Serves until `stop` becomes true. `connected` is told `true` with every connection whose subscriptions the broker
/// has confirmed.
///
/// # Errors
/// When the service's thread dies: nothing would be answered any more.
pub async fn serve(
    service: Service,
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
    let (parcels, outbox) = mpsc::channel(WAITING_MAX);
    let worker = std::thread::Builder::new()
        .name("didar-service".into())
        .spawn(move || work_through(service, work, &parcels))
        .expect("the system can start one thread");
    let (client, mut connection) = connect(url, client_id, transport);
    let mut publisher = tokio::spawn(publish_all(client.clone(), outbox));
    let sweeper = tokio::spawn(sweep_for_ever(tasks.clone()));
    tokio::select! {
        () = listen(&client, &mut connection, &filters, &tasks, &connected) => {}
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

/// Hands on what arrives; connects again for ever.
async fn listen(
    client: &AsyncClient,
    connection: &mut EventLoop,
    filters: &[Filter],
    tasks: &mpsc::Sender<Task>,
    connected: &watch::Sender<bool>,
) {
    let mut pause = BACK_OFF.0;
    loop {
        match connection.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                pause = BACK_OFF.0;
                // Ours is a clean start: the broker remembers no subscription.
                if let Err(cause) = client.try_subscribe_many(filters.to_vec()) {
                    tracing::error!(%cause, "subscriptions not sent");
                }
            }
            Ok(Event::Incoming(Packet::SubAck(_))) => {
                tracing::info!("serving");
                offer(tasks, Task::Greet);
                connected.send_replace(true);
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => offer(tasks, received(publish)),
            Ok(_) => {}
            Err(cause) => {
                connected.send_replace(false);
                tracing::warn!(%cause, ?pause, "no connection to the broker");
                time::wait(pause).await;
                pause = (pause * 2).min(BACK_OFF.1);
            }
        }
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

async fn publish_all(client: AsyncClient, mut outbox: mpsc::Receiver<Parcel>) {
    while let Some(parcel) = outbox.recv().await {
        publish(&client, parcel).await;
    }
}

/// An MQTT connection as ours are: clean, bounded, with a certificate.
pub(crate) fn connect(url: &BrokerUrl, client_id: &str, transport: Transport) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(client_id, url.host.clone(), url.port);
    options
        .set_transport(transport)
        .set_keep_alive(KEEP_ALIVE)
        .set_clean_start(true)
        .set_session_expiry_interval(Some(0))
        .set_receive_maximum(Some(RECEIVE_MAX))
        .set_max_packet_size(Some(PACKET_MAX))
        .set_request_channel_capacity(REQUESTS_MAX);
    AsyncClient::new(options, REQUESTS_MAX)
}

/// The service's thread: one message after the other, so that the order of a device's messages holds.
fn work_through(mut service: Service, mut tasks: mpsc::Receiver<Task>, parcels: &mpsc::Sender<Parcel>) {
    while let Some(task) = tasks.blocking_recv() {
        let now_ms = time::now_ms();
        let (messages, correlation) = match task {
            Task::Handle { topic, payload, correlation } => (service.handle(&topic, &payload, now_ms), correlation),
            Task::Greet => (service.greeting(now_ms), None),
            Task::Sweep => {
                let mut out = service.refresh(now_ms);
                out.extend(service.sweep(now_ms));
                // Once a second, by the thread that works and with the task that drives it: both turn.
                supervisor::alive();
                (out, None)
            }
        };
        for message in messages {
            let correlation = correlation.clone().filter(|_| message.reply);
            if parcels.blocking_send(Parcel { message, correlation }).is_err() {
                return;
            }
        }
    }
}

fn offer(tasks: &mpsc::Sender<Task>, task: Task) {
    if tasks.try_send(task).is_err() {
        tracing::warn!("more messages than the service can take: one dropped, its sender will ask again");
    }
}

fn received(publish: Publish) -> Task {
    // A topic that is no text is none of ours; the service counts it as such.
    let topic = String::from_utf8_lossy(&publish.topic).into_owned();
    let correlation = publish.properties.and_then(|properties| properties.correlation_data).map(|data| data.to_vec());
    Task::Handle { topic, payload: publish.payload.to_vec(), correlation }
}

async fn publish(client: &AsyncClient, Parcel { message, correlation }: Parcel) {
    let Outgoing { topic, payload, retain, expiry_s, .. } = message;
    let properties = PublishProperties {
        message_expiry_interval: expiry_s,
        correlation_data: correlation.map(Into::into),
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
