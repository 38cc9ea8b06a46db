//! From bytes on a topic to a message of the matcher that can be believed, or a reason why not.
//!
//! **Here:** every check that does not depend on what is in flight: topic, size, signature, certificate, kind, device.
//! **Not here:** freshness ([`super::session`], and the attempt machine that knows hash and nonce).

use std::ops::RangeInclusive;

use didar_protocol::codec::DecodeError;
use didar_protocol::id::{DeviceId, Env};
use didar_protocol::message::{Challenge, Kind, MatcherKeys, Message, Receipt, Verdict};
use didar_protocol::seal::{SealError, Signed};
use didar_protocol::topic::{Lane, Topic};

use super::trust::{Speaker, TrustAnchor, TrustError};

/// A verified message of the matcher, for this device.
#[derive(Debug)]
pub enum Arrival {
    /// On `down/challenge`.
    Challenge(Box<Challenge>),
    /// On `down/verdict`.
    Verdict(Box<Verdict>),
    /// On `down/receipt`.
    Receipt(Receipt),
    /// On the retained `matcher/keys`.
    Keys {
        /// The keys.
        keys: Box<MatcherKeys>,
        /// The signed bytes, to be kept and verified again.
        signed: Vec<u8>,
    },
}

impl Arrival {
    fn server_time_ms(&self) -> u64 {
        match self {
            Self::Challenge(challenge) => challenge.server_time_ms,
            Self::Verdict(verdict) => verdict.server_time_ms,
            Self::Receipt(receipt) => receipt.server_time_ms,
            Self::Keys { keys, .. } => keys.server_time_ms,
        }
    }
}

/// Why a message was ignored. Says nothing of its content.
#[derive(Debug, thiserror::Error)]
pub enum ArrivalError {
    /// Not subscribed to.
    #[error("topic is none of ours")]
    Topic,
    /// Not a signed message, or not signed by the certificate that it brings.
    #[error("{0}: {1}")]
    Signed(Kind, Box<SealError>),
    /// No certificate came along.
    #[error("{0}: the signer's certificate is missing")]
    NoCertificate(Kind),
    /// The certificate is no matcher's.
    #[error("{0}: {1}")]
    Trust(Kind, TrustError),
    /// Signed by the matcher, and yet no message.
    #[error("{0}: {1}")]
    Decode(Kind, DecodeError),
    /// For another device.
    #[error("{0}: addressed to another device")]
    OtherDevice(Kind),
    /// Of a day on which its signer could not have spoken.
    #[error("{0}: tells a time outside of its signer's certificate: the matcher's clock is wrong")]
    Time(Kind),
}

/// The topics that a device listens to, and whom it believes there.
pub struct Inbox {
    device: DeviceId,
    topics: [(String, Kind); 4],
}

impl Inbox {
    /// The inbox of `device` in `env`.
    pub fn new(env: Env, device: &DeviceId) -> Self {
        let own = |lane: Lane| (Topic::Device { env, device: device.clone(), lane }.to_string(), lane.kind());
        let keys = (Topic::MatcherKeys { env }.to_string(), Kind::MatcherKeys);
        let topics = [own(Lane::Challenge), own(Lane::Verdict), own(Lane::Receipt), keys];
        Self { device: device.clone(), topics }
    }

    /// What to subscribe to.
    pub fn filters(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().map(|(topic, _)| topic.as_str())
    }

    /// Reads what came on `topic`.
    ///
    /// # Errors
    /// When it is not a message of a matcher that `trust` certifies, to this device, on the topic of its kind, of a time
    /// within the matcher's certificate.
    pub fn read(&self, topic: &[u8], bytes: &[u8], trust: &TrustAnchor) -> Result<Arrival, ArrivalError> {
        let (_, kind) = *self.topics.iter().find(|(ours, _)| ours.as_bytes() == topic).ok_or(ArrivalError::Topic)?;
        let (payload, valid_s) = verified(kind, bytes, trust)?;
        let arrival = match kind {
            Kind::Challenge => Arrival::Challenge(decode(&payload)?),
            Kind::Verdict => Arrival::Verdict(decode(&payload)?),
            Kind::Receipt => Arrival::Receipt(*decode(&payload)?),
            Kind::MatcherKeys => Arrival::Keys { keys: decode(&payload)?, signed: bytes.to_vec() },
            Kind::ChallengeRequest | Kind::Attempt | Kind::AuditRecord | Kind::State | Kind::Event => {
                return Err(ArrivalError::Topic);
            }
        };
        let addressee = match &arrival {
            Arrival::Challenge(challenge) => &challenge.device,
            Arrival::Verdict(verdict) => &verdict.device,
            Arrival::Receipt(receipt) => &receipt.device,
            Arrival::Keys { .. } => &self.device,
        };
        if *addressee != self.device {
            return Err(ArrivalError::OtherDevice(kind));
        }
        let spoken_s = i64::try_from(arrival.server_time_ms() / 1000).unwrap_or(i64::MAX);
        if valid_s.contains(&spoken_s) { Ok(arrival) } else { Err(ArrivalError::Time(kind)) }
    }
}

/// Reads a keys message that was kept from an earlier start, by the same checks as one that arrives.
///
/// # Errors
/// When it does not verify now: its signer's certificate may have expired since.
pub fn kept_keys(signed: &[u8], trust: &TrustAnchor) -> Result<Box<MatcherKeys>, ArrivalError> {
    decode(&verified(Kind::MatcherKeys, signed, trust)?.0)
}

/// The payload, and when its signer's certificate is valid.
fn verified(kind: Kind, bytes: &[u8], trust: &TrustAnchor) -> Result<(Vec<u8>, RangeInclusive<i64>), ArrivalError> {
    let unsigned = |cause| ArrivalError::Signed(kind, Box::new(cause));
    let signed = Signed::parse(kind, bytes).map_err(unsigned)?;
    let certificate = signed.certificate().ok_or(ArrivalError::NoCertificate(kind))?;
    let Speaker { key, valid_s } = trust.matcher(certificate).map_err(|cause| ArrivalError::Trust(kind, cause))?;
    Ok((signed.verify(&key).map_err(unsigned)?.to_vec(), valid_s))
}

fn decode<M: Message>(payload: &[u8]) -> Result<Box<M>, ArrivalError> {
    M::decode(payload).map(Box::new).map_err(|cause| ArrivalError::Decode(M::KIND, cause))
}
