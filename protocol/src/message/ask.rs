//! Asking for an attempt: the request with its consent, and the challenge that answers it.

use crate::codec::{List, Text, fields, numbered};
use crate::id::{AttemptId, DeviceId, Hash, Iin, InitiatorId, RequestId};
use crate::seal::SealKey;

/// The person's consent to this authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// When it was given, Unix seconds.
    pub given_at_s: u64,
    /// When it ends, Unix seconds; later than `given_at_s`.
    pub expires_at_s: u64,
    /// What it is for; 1 to 64 bytes.
    pub purpose: String,
    /// How it was given.
    pub method: ConsentMethod,
    /// Which text the person agreed to; 1 to 32 bytes.
    pub text_version: String,
}

numbered! {
    /// How a consent was given.
    ConsentMethod {
        /// On the kiosk's screen.
        0 Screen "screen",
        /// By a handwritten or digital signature.
        1 Signature "signature",
        /// On the initiator's portal.
        2 Portal "portal",
    }
}

/// A kiosk's application asks to authenticate a person. Travels sealed and signed by the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeRequest {
    /// The device that asks.
    pub device: DeviceId,
    /// The request, named by the device.
    pub request: RequestId,
    /// Who the person claims to be. Personal data.
    pub subject: Iin,
    /// The system on whose behalf.
    pub initiator: InitiatorId,
    /// The initiator's own reference; at most 64 bytes.
    pub reference: String,
    /// What for; 1 to 64 bytes, the consent's purpose.
    pub purpose: String,
    /// The person's consent.
    pub consent: Consent,
    /// When the device made the request, Unix milliseconds.
    pub made_at_ms: u64,
    /// The device's newest connection then, so that a copy of the device shows when it asks.
    pub connection: Connection,
}

/// One of a device's connections. The count is kept before it is used, so that another boot always has a higher one; a copy of
/// the device, which counts from the same store, has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The kernel's boot id.
    pub boot: [u8; 16],
    /// Connections over the device's whole life; at least 1, for a device that cannot count serves nobody.
    pub connects: u64,
}

numbered! {
    /// Whether the matcher holds a reference of this person already.
    Stage {
        /// First time: compared with the document's photo.
        0 Primary "primary",
        /// Compared with the stored reference.
        1 Subsequent "subsequent",
    }
}

/// The matcher allows one attempt. Single use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The attempt, named by the matcher.
    pub attempt: AttemptId,
    /// The device that asked.
    pub device: DeviceId,
    /// SHA-256 of the [`ChallengeRequest`]'s encoded (unsigned) bytes.
    pub request_hash: Hash,
    /// Random; the light code comes from it.
    pub nonce: [u8; 32],
    /// Primary or subsequent.
    pub stage: Stage,
    /// Whether a face picture is asked for.
    pub picture: bool,
    /// Version of the liveness policy that judges.
    pub policy_version: u32,
    /// The matcher's clock, Unix milliseconds.
    pub server_time_ms: u64,
    /// When the challenge ends, Unix milliseconds; later than `server_time_ms`.
    pub expires_ms: u64,
    /// The key to seal the attempt to.
    pub seal_key: SealKey,
}

/// The matcher's sealing keys, retained on the broker, so that the first request can be sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatcherKeys {
    /// 1 to 4 keys; the first is the current one.
    pub seal_keys: Vec<SealKey>,
    /// Version of the liveness policy in force.
    pub policy_version: u32,
    /// The matcher's clock, Unix milliseconds.
    pub server_time_ms: u64,
}

fields! {
    Consent {
        1 => given_at_s,
        2 => expires_at_s,
        3 => purpose: Text(1, 64),
        4 => method,
        5 => text_version: Text(1, 32),
    }
    rule "a consent ends after it was given": |it| it.given_at_s < it.expires_at_s;
}

fields! {
    ChallengeRequest {
        1 => device,
        2 => request,
        3 => subject,
        4 => initiator,
        5 => reference: Text(0, 64),
        6 => purpose: Text(1, 64),
        7 => consent,
        8 => made_at_ms,
        9 => connection,
    }
}

fields! {
    Connection {
        1 => boot,
        2 => connects,
    }
    rule "connections are counted from 1": |it| it.connects > 0;
}

fields! {
    Challenge {
        1 => attempt,
        2 => device,
        3 => request_hash,
        4 => nonce,
        5 => stage,
        6 => picture,
        7 => policy_version,
        8 => server_time_ms,
        9 => expires_ms,
        10 => seal_key,
    }
    rule "a challenge ends after it was made": |it| it.server_time_ms < it.expires_ms;
}

fields! {
    MatcherKeys {
        1 => seal_keys: List(1, 4),
        2 => policy_version,
        3 => server_time_ms,
    }
}
