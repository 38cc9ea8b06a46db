//! The contract between kiosks, the matcher and the operator: the only stable format that Didar owns.
//!
//! **Here:** who is who ([`id`]), why an attempt ended ([`reason`]), the messages ([`message`]) with the light
//! transcript they carry ([`transcript`]), their bytes ([`codec`]), signatures and sealing ([`seal`]), topics
//! ([`topic`]), what belongs together ([`trace`]), and the lamp sequence that both ends derive ([`light_code`]).
//!
//! **Not here:** input or output, clocks, random sources (callers pass [`seal::Entropy`]), certificate chains,
//! pixels, floating point, and every decision: whether a face is alive is `didar_liveness`, whether it matches is
//! the matcher.
//!
//! **Start** with [`message::Message`]; `didar.cddl` says the same in RFC 8610, and `vectors/` holds an example of
//! every message, as bytes and as readable text.
//!
//! Invariant: any bytes decode to a value or to a named error, never to a panic (`fuzz/`, `tests/wire/properties.rs`).

pub mod codec;
pub mod id;
pub mod light_code;
pub mod message;
pub mod reason;
pub mod seal;
pub mod topic;
pub mod trace;
pub mod transcript;

/// The version of the protocol that this crate speaks: key 0 of every message, and part of every topic.
pub const VERSION: u64 = 1;
