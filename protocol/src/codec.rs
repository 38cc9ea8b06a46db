//! The one codec, both directions: deterministic CBOR (RFC 8949, 4.2.1) with integer keys and bounds.

/// Why outside bytes are not a message. Never carries a person's data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not implemented yet.
    #[error("not implemented")]
    Unfinished,
}

/// Why a value of ours has no bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Not implemented yet.
    #[error("not implemented")]
    Unfinished,
}
