//! Signatures (COSE_Sign1, RFC 9052, ES256) and sealing (HPKE, RFC 9180): bytes in, bytes out.
//!
//! **Here:** [`sign`] and [`Signed`], [`seal`] and [`Sealed`], the keys for both.
//!
//! **Not here:** whose certificate a `kid` is, whether its chain holds and whether it is revoked: agent and matcher
//! know, and hand the right key to [`Signed::verify`].
//!
//! A device's message is signed first and sealed then, so that the broker learns neither who nor what. Every step
//! binds the message's kind: a signed state never passes as a verdict.

mod envelope;
mod keys;
mod signature;

pub use envelope::{Sealed, seal};
pub use keys::{Entropy, KeyError, SealKey, SealKeyId, SealKeyPair, SignError, Signer, SoftwareSigner};
pub use p256::ecdsa::VerifyingKey;
pub use signature::{Signed, sign, sign_with_certificate};

use crate::codec::DecodeError;
use crate::message::Kind;

/// Why a signed or sealed message was not accepted, or not made.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Longer than any lawful message of this kind.
    #[error("{layer} {kind}: {found} bytes, at most {limit} are allowed")]
    TooLarge {
        /// `signed` or `sealed`.
        layer: &'static str,
        /// Which message.
        kind: Kind,
        /// Most bytes.
        limit: usize,
        /// Bytes that came.
        found: usize,
    },
    /// Not a COSE_Sign1 as we write it.
    #[error("signed {kind}: {cause}")]
    NotSigned {
        /// Which message.
        kind: Kind,
        /// What is wrong.
        cause: &'static str,
    },
    /// Another key, other bytes or another kind of message than was signed.
    #[error("signed {kind}: the signature does not fit this key, kind and content")]
    WrongSignature {
        /// Which message.
        kind: Kind,
    },
    /// The signer failed.
    #[error("{kind} could not be signed")]
    Signer {
        /// Which message.
        kind: Kind,
        /// What its keeper says.
        #[source]
        cause: SignError,
    },
    /// Not an envelope as we write it.
    #[error("sealed {kind}: {cause}")]
    NotSealed {
        /// Which message.
        kind: Kind,
        /// What is wrong.
        cause: DecodeError,
    },
    /// Sealed to a key that is not the one at hand.
    #[error("sealed {kind}: for key {found:02x?}, ours is {ours:02x?}")]
    OtherKey {
        /// Which message.
        kind: Kind,
        /// The key named in the envelope.
        found: SealKeyId,
        /// The key at hand.
        ours: SealKeyId,
    },
    /// The right key, but the content, the device, the attempt or the kind was changed.
    #[error("sealed {kind}: does not open; it was changed on the way or is of another kind, device or attempt")]
    DoesNotOpen {
        /// Which message.
        kind: Kind,
    },
}

fn check_size(layer: &'static str, kind: Kind, found: usize) -> Result<(), SealError> {
    let limit = kind.max_size();
    if found <= limit { Ok(()) } else { Err(SealError::TooLarge { layer, kind, limit, found }) }
}
