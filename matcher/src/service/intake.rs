//! The door: only a message whose topic, envelope, certificate and content name one enrolled device comes in.

use didar_protocol::id::{AttemptId, DeviceId};
use didar_protocol::message::{Kind, Message};
use didar_protocol::seal::{SealError, Sealed, Signed};
use zeroize::Zeroizing;

use super::{Centre, Outgoing, ServiceError};
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

/// How the device stands that signed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is served under the certificate that it signed with.
    Served,
    /// It is served under another one: that certificate was revoked.
    Renewed,
}

/// Why nothing that a revoked key has signed counts.
pub(super) fn of_revoked(kind: Kind) -> String {
    format!("{kind} of a revoked device")
}

/// What came in, or what operators are told instead.
pub(super) type Admitted<T> = Result<Result<T, Vec<Outgoing>>, ServiceError>;

impl Centre {
    /// A sealed message of an enrolled device, which may have been revoked since.
    pub(super) fn admit_sealed(
        &mut self,
        work: &Work<'_>,
        kind: Kind,
        topic: &DeviceId,
        bytes: &[u8],
        now_ms: u64,
    ) -> Admitted<Letter> {
        match self.open_sealed(work, kind, topic, bytes)? {
            Ok(letter) => Ok(Ok(letter)),
            Err(distrust) => Ok(Err(self.distrust(work, Some(topic), &distrust.to_string(), now_ms)?)),
        }
    }

    /// What a device that is not revoked tells of itself; `speaker` is the device that the message names. The
    /// certificate may have ended since: an old record is verified against that of its time.
    pub(super) fn admit_told<M: Message>(
        &mut self,
        work: &Work<'_>,
        topic: &DeviceId,
        bytes: &[u8],
        speaker: impl Fn(&M) -> &DeviceId,
        now_ms: u64,
    ) -> Admitted<M> {
        match self.admit_kept(work, topic, bytes, speaker, now_ms)? {
            Ok((message, Standing::Served)) => Ok(Ok(message)),
            Ok((_, Standing::Renewed)) => Ok(Err(self.distrust(work, Some(topic), &of_revoked(M::KIND), now_ms)?)),
            Err(told) => Ok(Err(told)),
        }
    }

    /// The same, and what the device signed before its certificate was revoked and it got another one. Whoever holds the
    /// revoked key can sign such a thing: the caller decides whether it may count.
    pub(super) fn admit_kept<M: Message>(
        &mut self,
        work: &Work<'_>,
        topic: &DeviceId,
        bytes: &[u8],
        speaker: impl Fn(&M) -> &DeviceId,
        now_ms: u64,
    ) -> Admitted<(M, Standing)> {
        let why = match self.open_signed(work, M::KIND, topic, bytes)? {
            Ok(letter) if letter.device.state != DeviceState::Active && !letter.device.renewed => {
                format!("{} of a {} device", M::KIND, letter.device.state.name())
            }
            Ok(letter) => match M::decode(&letter.payload) {
                Ok(message) if speaker(&message) == topic => {
                    let standing = if letter.device.renewed { Standing::Renewed } else { Standing::Served };
                    return Ok(Ok((message, standing)));
                }
                Ok(_) => format!("{} names another device", M::KIND),
                Err(error) => error.to_string(),
            },
            Err(distrust) => distrust.to_string(),
        };
        Ok(Err(self.distrust(work, Some(topic), &why, now_ms)?))
    }

    fn open_sealed(
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

    fn open_signed(
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
