//! The operator's live view: events as they come, over MQTT from anywhere, with an operator's certificate.
//!
//! Every event's signature is checked: its certificate must come from the site's CA and name a matcher.

use std::ops::ControlFlow;
use std::path::PathBuf;

use didar_protocol::message::{Event, EventKind, Kind, Message as _, Outcome, VerdictOutcome};
use didar_protocol::reason::Reason;
use didar_protocol::seal::Signed;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{DisconnectReasonCode, Filter, Packet};
use rumqttc::v5::{ConnectionError, Event as MqttEvent, StateError};
use rustls_pki_types::CertificateDer;
use std::time::Duration;

use crate::config::BrokerUrl;
use crate::files;
use crate::mqtt;
use crate::pki::{Certificate, Holder, PkiError};
use crate::time;
use crate::tls::{self, TlsError};

/// A connection that ends sooner than this after its beginning is a short one.
const SHORT_MS: u64 = 5_000;
/// Short connections in a row after which somebody else must be using the certificate.
const SHORT_MAX: u32 = 3;
/// Before the next try to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// Where to watch, and as whom.
#[derive(Clone, Debug)]
pub struct Post {
    /// The broker.
    pub url: BrokerUrl,
    /// The site's CA, PEM.
    pub ca: PathBuf,
    /// The operator's certificate, PEM.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Why there is nothing to see.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A file could not be used.
    #[error(transparent)]
    File(#[from] files::FileError),
    /// The certificate cannot be used.
    #[error("operator's certificate {path}")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        cause: PkiError,
    },
    /// Not an operator's.
    #[error("certificate {path} is of {found}: issue an operator's with didar-matcher ca operator NAME")]
    NotOperator {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        found: Holder,
    },
    /// The first connection failed.
    #[error("no connection to {url}")]
    Connect {
        /// Where.
        url: BrokerUrl,
        /// Why.
        #[source]
        cause: Box<ConnectionError>,
    },
    /// Somebody else connected with the same certificate.
    #[error(
        "another program watches with this operator's certificate, and the broker lets only one of them stay: \
         issue a certificate of its own with didar-matcher ca operator NAME"
    )]
    TakenOver,
}

/// What was seen.
pub enum Sight {
    /// Connected; events follow.
    Watching,
    /// An event that a matcher of this site signed.
    Event(Event),
    /// Something that no matcher of this site signed.
    Forged(String),
    /// The connection is lost; it is tried again.
    Lost(String),
}

/// Watches until `show`, called for everything seen, says break, or an error ends it.
///
/// # Errors
/// When the first connection fails, or another program takes the place.
pub async fn watch(post: &Post, mut show: impl FnMut(Sight) -> ControlFlow<()>) -> Result<(), WatchError> {
    let ca = tls::read_ca(&post.ca)?;
    let path = &post.certificate;
    let certificate = Certificate::from_pem(&files::read_text(path)?)
        .map_err(|cause| WatchError::Certificate { path: path.clone(), cause })?;
    let Holder::Operator(name) = certificate.holder() else {
        return Err(WatchError::NotOperator { path: path.clone(), found: certificate.holder().clone() });
    };
    let transport = tls::transport(&post.ca, &post.certificate, &post.key)?;
    let (client, mut connection) = mqtt::connect(&post.url, &format!("operator:{name}"), transport);
    let filters = ["test", "production"].map(|env| Filter::new(format!("didar/1/{env}/operator/#"), QoS::AtLeastOnce));
    let mut was_connected = false;
    let mut since_ms = None;
    let mut short = 0;
    loop {
        let seen = match connection.poll().await {
            Ok(MqttEvent::Incoming(Packet::ConnAck(_))) => {
                was_connected = true;
                since_ms = Some(time::now_ms());
                match client.try_subscribe_many(filters.clone()) {
                    Ok(()) => continue,
                    Err(cause) => Sight::Lost(cause.to_string()),
                }
            }
            Ok(MqttEvent::Incoming(Packet::SubAck(_))) => Sight::Watching,
            Ok(MqttEvent::Incoming(Packet::Publish(publish))) => {
                read(&publish.payload, &ca, time::now_ms()).map_or_else(Sight::Forged, Sight::Event)
            }
            Ok(_) => continue,
            Err(ConnectionError::MqttState(StateError::ServerDisconnect {
                reason_code: DisconnectReasonCode::SessionTakenOver,
                ..
            })) => return Err(WatchError::TakenOver),
            Err(cause) if !was_connected => {
                return Err(WatchError::Connect { url: post.url.clone(), cause: Box::new(cause) });
            }
            Err(cause) => {
                // Mosquitto says goodbye to whoever is replaced, but often hangs up before that is read.
                let lived_ms = since_ms.take().map(|since: u64| time::now_ms().saturating_sub(since));
                match lived_ms {
                    Some(lived_ms) if lived_ms < SHORT_MS => short += 1,
                    Some(_) => short = 0,
                    None => {}
                }
                if short >= SHORT_MAX {
                    return Err(WatchError::TakenOver);
                }
                time::wait(PAUSE).await;
                Sight::Lost(cause.to_string())
            }
        };
        if show(seen).is_break() {
            return Ok(());
        }
    }
}

/// Reads an event and checks who signed it.
fn read(bytes: &[u8], ca: &CertificateDer<'_>, now_ms: u64) -> Result<Event, String> {
    let signed = Signed::parse(Kind::Event, bytes).map_err(|error| error.to_string())?;
    let der = signed.certificate().ok_or("no certificate came along")?;
    let certificate = Certificate::from_der(der).map_err(|error| error.to_string())?;
    certificate.check(ca, now_ms).map_err(|error| error.to_string())?;
    if !matches!(certificate.holder(), Holder::Matcher(_)) {
        return Err(format!("signed by {}, not by a matcher", certificate.holder()));
    }
    let payload = signed.verify(certificate.key()).map_err(|error| error.to_string())?;
    Event::decode(payload).map_err(|error| error.to_string())
}

/// The event as one line: time, device, attempt, what happened, why.
pub fn line(event: &Event) -> String {
    let mut parts = vec![time::text(event.at_ms), kind(event.kind).to_owned()];
    parts.extend(event.device.as_ref().map(|device| format!("device {device}")));
    parts.extend(event.attempt.map(|attempt| format!("attempt {attempt}")));
    parts.extend(event.verdict.map(|verdict| decided(verdict).to_owned()));
    parts.extend(event.outcome.map(|outcome| shown(outcome).to_owned()));
    if event.reason != Reason::None {
        parts.push(format!("because: {}", words(event.reason)));
    }
    if !event.note.is_empty() {
        // Parts of a note come from devices: no control characters reach the operator's terminal.
        parts.push(event.note.chars().map(|c| if c.is_control() { '?' } else { c }).collect());
    }
    parts.join("  ")
}

/// The event as one JSON object.
pub fn to_json(event: &Event) -> serde_json::Value {
    serde_json::json!({
        "at": time::text(event.at_ms),
        "at_ms": event.at_ms,
        "kind": event.kind.name(),
        "device": event.device.as_ref().map(ToString::to_string),
        "attempt": event.attempt.map(|attempt| attempt.to_string()),
        "verdict": event.verdict.map(VerdictOutcome::name),
        "outcome": event.outcome.map(Outcome::name),
        "reason": event.reason.name(),
        "note": event.note,
    })
}

fn kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::DeviceOnline => "connected",
        EventKind::DeviceOffline => "gone",
        EventKind::Challenged => "challenged",
        EventKind::Decided => "decided",
        EventKind::Audited => "recorded",
        EventKind::Refused => "refused",
        EventKind::Alarm => "ALARM",
    }
}

fn decided(verdict: VerdictOutcome) -> &'static str {
    match verdict {
        VerdictOutcome::Match => "the same person, alive",
        VerdictOutcome::NoMatch => "another person",
        VerdictOutcome::Spoof => "a fake",
        VerdictOutcome::Inconclusive => "could not be judged",
        VerdictOutcome::Refuse => "not judged",
    }
}

fn shown(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Grant => "kiosk: granted",
        Outcome::Deny => "kiosk: denied",
        Outcome::Spoof => "kiosk: refused as a fake",
        Outcome::Inconclusive => "kiosk: inconclusive",
        Outcome::Refused => "kiosk: refused",
        Outcome::TimeOut => "kiosk: time ran out",
        Outcome::Offline => "kiosk: no connection",
        Outcome::Fault => "kiosk: fault",
        Outcome::Cancelled => "kiosk: cancelled",
    }
}

/// A reason in words, for people who run kiosks.
pub fn words(reason: Reason) -> String {
    reason.name().replace('-', " ")
}
