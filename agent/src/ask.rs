//! From the agent's words to the wire's: the only conversion. Signs everything, seals what names a person.
//!
//! **Not here:** sending ([`crate::uplink`]), keeping ([`crate::outbox`]), reading what comes in (the uplink's too).

use didar_liveness::Policy;
use didar_protocol::codec::EncodeError;
use didar_protocol::id::{AttemptId, DeviceId, Iin, InitiatorId, RequestId, sha256};
use didar_protocol::message::{
    Attempt, AuditEntry, AuditRecord, ChallengeRequest, Connection, Consent, Ending as WireEnding, Kind, Message,
    ModelRef, State,
};
use didar_protocol::seal::{self, Entropy, SealError, SealKey, Signer};

use crate::attempt::event::{Closing, Ending, Language, Record, Request};
use crate::edge::Clock;

/// Why something could not be said on the wire.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// A field is out of the protocol's bounds.
    #[error("the {kind} cannot be encoded: {cause}")]
    Encode {
        /// Which message.
        kind: Kind,
        /// Which field, and its bound.
        #[source]
        cause: Box<EncodeError>,
    },
    /// Signing or sealing failed.
    #[error("the {kind} cannot be signed or sealed: {cause}")]
    Seal {
        /// Which message.
        kind: Kind,
        /// Why.
        #[source]
        cause: Box<SealError>,
    },
    /// The system gave no random bytes.
    #[error("the system's random source failed: {0}")]
    Random(getrandom::Error),
}

/// What the kiosk's application asks for, before it has a name and a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Who the person claims to be.
    pub subject: Iin,
    /// On whose behalf.
    pub initiator: InitiatorId,
    /// The initiator's own reference; at most 64 bytes.
    pub reference: String,
    /// What for; 1 to 64 bytes.
    pub purpose: String,
    /// The person's consent.
    pub consent: Consent,
    /// In which language the person is served.
    pub language: Language,
}

/// Gives a draft its name, its time (Unix milliseconds) and connection, and with them its hash.
///
/// # Errors
/// A field is out of the protocol's bounds.
pub fn prepare(
    draft: Draft,
    device: &DeviceId,
    id: RequestId,
    (made_at_ms, connection): (u64, Connection),
) -> Result<Request, AskError> {
    let mut request = Request {
        id,
        hash: [0; 32],
        subject: draft.subject,
        initiator: draft.initiator,
        reference: draft.reference,
        purpose: draft.purpose,
        consent: draft.consent,
        made_at_ms,
        connection,
        language: draft.language,
    };
    request.hash = sha256(&encode(&challenge_request(&request, device))?);
    Ok(request)
}

/// The sealed and signed request for a challenge.
///
/// # Errors
/// Signing or sealing failed.
pub fn request(request: &Request, device: &DeviceId, key: &SealKey, signer: &dyn Signer) -> Result<Vec<u8>, AskError> {
    close(
        &challenge_request(request, device),
        |signed, entropy| seal::seal(key, Kind::ChallengeRequest, device, None, signed, entropy),
        signer,
    )
}

/// The sealed and signed attempt.
///
/// # Errors
/// A field is out of the protocol's bounds, or signing or sealing failed.
pub fn attempt(
    closing: Closing,
    models: &[ModelRef],
    sent_at_ms: u64,
    signer: &dyn Signer,
) -> Result<Vec<u8>, AskError> {
    let challenge = closing.challenge;
    let findings = closing.findings;
    let message = Attempt {
        attempt: challenge.attempt,
        device: challenge.device.clone(),
        request_hash: challenge.request_hash,
        nonce: challenge.nonce,
        transcript: findings.transcript,
        passive: findings.passive,
        motion: findings.motion,
        quality: findings.quality,
        models: models.to_vec(),
        continuity_milli: findings.continuity_milli,
        ending: match closing.ending {
            Ending::Proved { template, picture } => WireEnding::Proved { template, picture },
            Ending::Stopped { outcome, reason } => WireEnding::Stopped { outcome, reason },
        },
        sent_at_ms,
    };
    close(
        &message,
        |signed, entropy| {
            seal::seal(&challenge.seal_key, Kind::Attempt, &challenge.device, Some(&challenge.attempt), signed, entropy)
        },
        signer,
    )
}

/// What the outbox keeps of an ending.
pub fn entry(record: &Record, clock: &dyn Clock) -> AuditEntry {
    AuditEntry::Attempt {
        attempt: record.attempt,
        request: record.request,
        initiator: record.initiator.clone(),
        outcome: record.outcome,
        reason: record.reason,
        started_ms: clock.unix_ms(record.started),
        ended_ms: clock.unix_ms(record.ended),
        policy_version: policy_version(record.attempt),
    }
}

/// The liveness policy by which this device judges an attempt, as its audit record names it; 0 without one.
pub fn policy_version(attempt: Option<AttemptId>) -> u32 {
    attempt.map_or(0, |_| Policy::shipped().version)
}

/// One signed link of the audit chain. The outbox calls this.
///
/// # Errors
/// A field is out of the protocol's bounds, or signing failed.
pub fn audit(record: &AuditRecord, signer: &dyn Signer) -> Result<Vec<u8>, AskError> {
    sign(record, signer)
}

/// The signed state. The uplink calls this, for its will and for each connect.
///
/// # Errors
/// A field is out of the protocol's bounds, or signing failed.
pub fn state(state: &State, signer: &dyn Signer) -> Result<Vec<u8>, AskError> {
    sign(state, signer)
}

fn challenge_request(request: &Request, device: &DeviceId) -> ChallengeRequest {
    ChallengeRequest {
        device: device.clone(),
        request: request.id,
        subject: request.subject.clone(),
        initiator: request.initiator.clone(),
        reference: request.reference.clone(),
        purpose: request.purpose.clone(),
        consent: request.consent.clone(),
        made_at_ms: request.made_at_ms,
        connection: request.connection,
    }
}

fn close<M: Message>(
    message: &M,
    seal: impl FnOnce(&[u8], Entropy) -> Result<Vec<u8>, SealError>,
    signer: &dyn Signer,
) -> Result<Vec<u8>, AskError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(AskError::Random)?;
    let signed = zeroize::Zeroizing::new(sign(message, signer)?);
    seal(&signed, Entropy::new(random)).map_err(|cause| AskError::Seal { kind: M::KIND, cause: Box::new(cause) })
}

fn sign<M: Message>(message: &M, signer: &dyn Signer) -> Result<Vec<u8>, AskError> {
    seal::sign(M::KIND, &encode(message)?, signer)
        .map_err(|cause| AskError::Seal { kind: M::KIND, cause: Box::new(cause) })
}

fn encode<M: Message>(message: &M) -> Result<zeroize::Zeroizing<Vec<u8>>, AskError> {
    message.encode().map_err(|cause| AskError::Encode { kind: M::KIND, cause: Box::new(cause) })
}
