//! The door: only a message whose topic, envelope, certificate and content name one enrolled device comes in.

use didar_protocol::id::{AttemptId, DeviceId};
use didar_protocol::message::Kind;
use didar_protocol::seal::{SealError, Sealed, Signed};
use zeroize::Zeroizing;

use super::{Centre, ServiceError};
use crate::store::{Device, DeviceState, Work};

/// A message that its device has signed. Nothing in its payload is checked yet.
pub(super) struct Letter {
    pub(super) device: Device,
    pub(super) payload: Zeroizing<Vec<u8>>,
    /// The attempt that the envelope names.
    pub(super) attempt: Option<AttemptId>,
}

/// Why a message stays outside. Whoever sent it is not known to be who they say: no answer, only an alarm.
#[derive(Debug, thiserror::Error)]
pub(super) enum Distrust {
    #[error("not a sealed message")]
    NotSealed(#[source] SealError),
    #[error("sealed to a key that is not ours")]
    NotOurKey,
    #[error("sealed message does not open")]
    NotOpened(#[source] SealError),
    #[error("not a signed message")]
    NotSigned(#[source] SealError),
    #[error("signed under an unknown certificate")]
    UnknownCertificate,
    #[error("signature does not hold")]
    Signature(#[source] SealError),
    #[error("topic, envelope and certificate name different devices")]
    Elsewhere,
}

impl Letter {
    /// Whether the device may ask anything now: not revoked, and its certificate is in force.
    pub(super) fn is_served(&self, now_ms: u64) -> bool {
        let now_s = now_ms / 1000;
        self.device.state == DeviceState::Active
            && (self.device.not_before_s..=self.device.not_after_s).contains(&now_s)
    }
}

impl Centre {
    pub(super) fn open_sealed(
        &self,
        work: &Work<'_>,
        kind: Kind,
        topic: &DeviceId,
        bytes: &[u8],
    ) -> Result<Result<Letter, Distrust>, ServiceError> {
        let sealed = match Sealed::parse(kind, bytes) {
            Ok(sealed) => sealed,
            Err(cause) => return Ok(Err(Distrust::NotSealed(cause))),
        };
        if sealed.device() != topic {
            return Ok(Err(Distrust::Elsewhere));
        }
        let Some(pair) = self.identity.seal_pair(sealed.key_id()) else {
            return Ok(Err(Distrust::NotOurKey));
        };
        let signed = match sealed.open(pair) {
            Ok(signed) => signed,
            Err(cause) => return Ok(Err(Distrust::NotOpened(cause))),
        };
        let letter = self.open_signed(work, kind, topic, &signed)?;
        Ok(letter.map(|letter| Letter { attempt: sealed.attempt().copied(), ..letter }))
    }

    pub(super) fn open_signed(
        &self,
        work: &Work<'_>,
        kind: Kind,
        topic: &DeviceId,
        bytes: &[u8],
    ) -> Result<Result<Letter, Distrust>, ServiceError> {
        let signed = match Signed::parse(kind, bytes) {
            Ok(signed) => signed,
            Err(cause) => return Ok(Err(Distrust::NotSigned(cause))),
        };
        let Some(device) = work.device_by_certificate(signed.kid())? else {
            return Ok(Err(Distrust::UnknownCertificate));
        };
        if &device.id != topic {
            return Ok(Err(Distrust::Elsewhere));
        }
        let payload = match signed.verify(&device.key) {
            Ok(payload) => Zeroizing::new(payload.to_vec()),
            Err(cause) => return Ok(Err(Distrust::Signature(cause))),
        };
        Ok(Ok(Letter { device, payload, attempt: None }))
    }
}
