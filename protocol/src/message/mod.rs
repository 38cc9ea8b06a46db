//! The messages of version 1; `didar.cddl` says the same in RFC 8610.
//!
//! Each message is a CBOR map with small integer keys, key 0 the version. Every field is bounded, on both sides:
//! [`Message::encode`] refuses what [`Message::decode`] would refuse.
//!
//! Start with [`ChallengeRequest`], then [`Challenge`], [`Attempt`], [`Verdict`]: one attempt in four messages.

mod ask;
mod attempt;
mod audit;
mod state;
mod verdict;

pub use ask::{Challenge, ChallengeRequest, Connection, Consent, ConsentMethod, MatcherKeys, Stage};
pub use attempt::{Attempt, Ending, ModelRef, ModelRole, Motion, PassiveSummary, Picture, Quality, Template};
pub use audit::{AuditEntry, AuditRecord, Receipt};
pub use state::{Event, EventKind, State};
pub use verdict::{Outcome, Verdict, VerdictOutcome};

use zeroize::Zeroizing;

use crate::codec::{self, DecodeError, EncodeError};

/// Which message some bytes are. Bound into every signature and every sealed envelope, so that one kind never
/// passes as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// [`ChallengeRequest`]
    ChallengeRequest,
    /// [`Challenge`]
    Challenge,
    /// [`Attempt`]
    Attempt,
    /// [`Verdict`]
    Verdict,
    /// [`AuditRecord`]
    AuditRecord,
    /// [`Receipt`]
    Receipt,
    /// [`State`]
    State,
    /// [`Event`]
    Event,
    /// [`MatcherKeys`]
    MatcherKeys,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::ChallengeRequest,
        Self::Challenge,
        Self::Attempt,
        Self::Verdict,
        Self::AuditRecord,
        Self::Receipt,
        Self::State,
        Self::Event,
        Self::MatcherKeys,
    ];

    /// The kind's name in errors, signatures and the CDDL, e.g. `challenge-request`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChallengeRequest => "challenge-request",
            Self::Challenge => "challenge",
            Self::Attempt => "attempt",
            Self::Verdict => "verdict",
            Self::AuditRecord => "audit-record",
            Self::Receipt => "receipt",
            Self::State => "state",
            Self::Event => "event",
            Self::MatcherKeys => "matcher-keys",
        }
    }

    /// Most bytes of a message of this kind, in every layer: plain, signed and sealed.
    pub const fn max_size(self) -> usize {
        match self {
            Self::Attempt => 96 * 1024,
            _ => 8 * 1024,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A message that travels by itself.
pub trait Message: Sized {
    /// Which message this is.
    const KIND: Kind;

    /// The deterministic bytes (RFC 8949, 4.2.1).
    ///
    /// # Errors
    /// When a field is out of its bounds: the peer would refuse these bytes.
    fn encode(&self) -> Result<Zeroizing<Vec<u8>>, EncodeError>;

    /// Reads a message from outside bytes.
    ///
    /// # Errors
    /// Names the message, the field, the limit and what was found; never a person's data.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError>;
}

macro_rules! messages {
    ($($name:ident)+) => { $(impl Message for $name {
        const KIND: Kind = Kind::$name;

        fn encode(&self) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
            codec::encode(Kind::$name.name(), Kind::$name.max_size(), self)
        }

        fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
            codec::decode(Kind::$name.name(), Kind::$name.max_size(), bytes)
        }
    })+ };
}
messages!(ChallengeRequest Challenge Attempt Verdict AuditRecord Receipt State Event MatcherKeys);
