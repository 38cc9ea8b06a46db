//! What is wrong with a connection, in words that let the reader act.
//!
//! **Here:** [`LinkFault`], and how it is found in the client library's errors.
//! **Not here:** logging (the driver says each fault once), waiting ([`super::session`]).

use std::io;

use rumqttc::v5::mqttbytes::Error as PacketError;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode};
use rumqttc::v5::{ConnectionError, StateError, TlsError};
use rustls::AlertDescription;

use super::trust::TrustError;
use crate::identity::{CertificateFacts, day};

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkFault {
    /// No TCP connection.
    #[error("cannot reach {address}: {why}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the system said.
        why: String,
    },
    /// The other side does not speak TLS 1.3.
    #[error("{address} does not speak TLS 1.3: {why}")]
    NotTls {
        /// Host and port.
        address: String,
        /// What was found instead.
        why: String,
    },
    /// The broker's certificate is not accepted.
    #[error("{why}; refusing to talk to {address}")]
    Server {
        /// What is wrong with it.
        why: String,
        /// Whether nothing is but its dates, by this device's clock.
        dates: bool,
        /// Host and port.
        address: String,
    },
    /// By this device's clock, which no matcher has confirmed, the broker's certificate and our own have ended both.
    #[error(
        "this device's clock says {today}, when its own certificate and that of {address} have ended: \
         set the clock, then start the agent again"
    )]
    Clock {
        /// The day by the device's clock.
        today: String,
        /// Host and port.
        address: String,
    },
    /// The broker does not accept the device's certificate.
    #[error("broker {address} refused our certificate ({why})")]
    OurCertificate {
        /// Host and port.
        address: String,
        /// Its reason, as far as it is known.
        why: String,
    },
    /// The broker answered, and refused.
    #[error("broker {address} refused the connection: {why}")]
    Refused {
        /// Host and port.
        address: String,
        /// Its reason.
        why: String,
    },
    /// The broker does not let the device listen to its own topics.
    #[error("broker {address} refused our subscriptions; check its access list for this device")]
    Subscriptions {
        /// Host and port.
        address: String,
    },
    /// Somebody else connected as this device.
    #[error("another client connected to {address} with this device's id: is there a copy of its key?")]
    TakenOver {
        /// Host and port.
        address: String,
    },
    /// The broker ended the connection.
    #[error("broker {address} closed the connection: {why}")]
    Closed {
        /// Host and port.
        address: String,
        /// How.
        why: String,
    },
    /// Nothing comes any more.
    #[error("broker {address} is silent")]
    Silent {
        /// Host and port.
        address: String,
    },
    /// The broker breaks the protocol.
    #[error("broker {address} sent what is not MQTT 5: {why}")]
    Protocol {
        /// Host and port.
        address: String,
        /// What the client library says.
        why: String,
    },
}

/// How far a connection had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before the broker accepted it.
    Opening,
    /// After.
    Open,
}

impl LinkFault {
    /// Finds what is wrong. `ours` and `now_s` (seconds since 1970) tell whether our own certificate has run out.
    pub fn of(error: &ConnectionError, stage: Stage, address: &str, ours: &CertificateFacts, now_s: i64) -> Self {
        let address = address.to_owned();
        if let Some(tls) = tls_error(error) {
            return of_tls(tls, address, ours, now_s);
        }
        match error {
            ConnectionError::Timeout(_) if stage == Stage::Opening => {
                Self::Unreachable { address, why: "no answer in time".to_owned() }
            }
            ConnectionError::Timeout(_) | ConnectionError::MqttState(StateError::AwaitPingResp) => {
                Self::Silent { address }
            }
            ConnectionError::ConnectionRefused(code) => Self::Refused { address, why: refusal(*code).to_owned() },
            ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => match reason_code {
                DisconnectReasonCode::SessionTakenOver => Self::TakenOver { address },
                code => Self::Closed { address, why: format!("{code:?}") },
            },
            other => match io_error(other) {
                Some(cause) if is_end(cause) => closed(stage, address, ours, now_s, &plain(cause)),
                // The library connects and speaks TLS by the same kind of error; what is no end is no beginning.
                Some(cause) if stage == Stage::Opening => Self::Unreachable { address, why: plain(cause) },
                Some(cause) => Self::Closed { address, why: plain(cause) },
                None if matches!(other, ConnectionError::MqttState(StateError::ConnectionAborted)) => {
                    closed(stage, address, ours, now_s, "without a word")
                }
                None => Self::Protocol { address, why: other.to_string() },
            },
        }
    }
}

/// An end without an alert: some brokers hang up on a certificate that they don't like, and the alert is lost.
fn closed(stage: Stage, address: String, ours: &CertificateFacts, now_s: i64, how: &str) -> LinkFault {
    if stage == Stage::Opening && ours.not_after_s < now_s {
        return LinkFault::OurCertificate { address, why: expired(ours) };
    }
    let why = match stage {
        Stage::Opening => format!("{how}, before it accepted us; its log says why"),
        Stage::Open => how.to_owned(),
    };
    LinkFault::Closed { address, why }
}

fn of_tls(error: &rustls::Error, address: String, ours: &CertificateFacts, now_s: i64) -> LinkFault {
    match error {
        rustls::Error::InvalidCertificate(why) => {
            let (why, dates) = match why {
                rustls::CertificateError::Other(cause) => {
                    (cause.to_string(), cause.0.downcast_ref().is_some_and(TrustError::is_of_dates))
                }
                other => (format!("server certificate not accepted: {other}"), false),
            };
            LinkFault::Server { why, dates, address }
        }
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure)
        | rustls::Error::PeerIncompatible(_)
        | rustls::Error::InvalidMessage(_) => LinkFault::NotTls { address, why: error.to_string() },
        rustls::Error::AlertReceived(alert) => {
            let why = match alert {
                AlertDescription::CertificateExpired => expired(ours),
                _ if ours.not_after_s < now_s => expired(ours),
                AlertDescription::UnknownCA => "the broker does not know who issued it".to_owned(),
                AlertDescription::CertificateRevoked => "revoked".to_owned(),
                AlertDescription::AccessDenied => "access denied".to_owned(),
                other => format!("{other:?}; valid until {}", day(ours.not_after_s)),
            };
            LinkFault::OurCertificate { address, why }
        }
        other => LinkFault::NotTls { address, why: other.to_string() },
    }
}

fn expired(ours: &CertificateFacts) -> String {
    format!("expired {}", day(ours.not_after_s))
}

fn tls_error(error: &ConnectionError) -> Option<&rustls::Error> {
    match error {
        ConnectionError::Tls(TlsError::TLS(cause)) => Some(cause),
        other => io_error(other)?.get_ref()?.downcast_ref(),
    }
}

fn io_error(error: &ConnectionError) -> Option<&io::Error> {
    match error {
        ConnectionError::Io(cause)
        | ConnectionError::Tls(TlsError::Io(cause))
        | ConnectionError::MqttState(StateError::Io(cause) | StateError::Deserialization(PacketError::Io(cause))) => {
            Some(cause)
        }
        _ => None,
    }
}

fn is_end(cause: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(cause.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
}

/// The system's words without "(os error N)".
fn plain(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        io::ErrorKind::ConnectionReset => "reset".to_owned(),
        _ => {
            let text = cause.to_string();
            text.split(" (os error").next().unwrap_or_default().to_owned()
        }
    }
}

fn refusal(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::NotAuthorized => "not authorised; is this device listed?",
        ConnectReturnCode::Banned => "this device is banned",
        ConnectReturnCode::BadUserNamePassword => "it does not know the name in our certificate",
        ConnectReturnCode::ClientIdentifierNotValid => "it does not allow this device's id",
        ConnectReturnCode::ServerBusy | ConnectReturnCode::ConnectionRateExceeded => "it is busy",
        ConnectReturnCode::ServerUnavailable => "it is unavailable",
        ConnectReturnCode::QuotaExceeded => "a quota is exceeded",
        ConnectReturnCode::UnsupportedProtocolVersion => "it does not speak MQTT 5",
        ConnectReturnCode::PacketTooLarge => "our will is too large for it",
        ConnectReturnCode::UseAnotherServer | ConnectReturnCode::ServerMoved => "it wants us to use another server",
        _ => "without a reason that we know",
    }
}
