//! What the fuzz targets share. A target of another crate's decoder belongs here too: one file in `targets/`, one
//! `[[bin]]` in `Cargo.toml`.
//!
//! The decoders of the other crates that stand by themselves are included as source: linking those crates would build
//! broker client, database, screen and models anew with the fuzzer's flags, and a smoke run would take minutes more.

#![allow(dead_code)]

#[path = "../../agent/src/est/wire.rs"]
pub mod answer;
#[path = "../../matcher/src/ca.rs"]
pub mod ca;
#[path = "../../matcher/src/files.rs"]
pub mod files;
#[path = "../../vision/src/frame.rs"]
pub mod frame;
#[path = "../../matcher/src/pki.rs"]
pub mod pki;
#[path = "../../matcher/src/est/wire.rs"]
pub mod wire;

use didar_protocol::message::Message;
use didar_protocol::seal::{Entropy, SealKeyPair, SoftwareSigner, VerifyingKey};

/// Whatever is accepted as a message has these bytes and no others.
pub fn one_encoding<M: Message>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        let again = message.encode().expect("what was accepted can be sent");
        assert_eq!(
            again.as_slice(),
            bytes,
            "accepted, but not its own encoding"
        );
    }
}

/// TEST KEY that the vectors are sealed to.
pub fn seal_pair() -> SealKeyPair {
    SealKeyPair::generate(Entropy::new([0x5e; 32]))
}

/// TEST KEY that the vectors are signed with.
pub fn verifying_key() -> VerifyingKey {
    let pem = SealKeyPair::generate(Entropy::new([0x51; 32])).to_pkcs8_pem();
    SoftwareSigner::from_pkcs8_pem(&pem, b"")
        .expect("a fixed key")
        .verifying_key()
}
