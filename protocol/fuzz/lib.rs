//! What the fuzz targets share. A target of another crate's decoder belongs here too: one file in `targets/`, one
//! `[[bin]]` in `Cargo.toml`.
//!
//! The decoders of the other crates that stand by themselves are included as source: linking those crates would build
//! broker client, database, screen and models anew with the fuzzer's flags, and a smoke run would take minutes more.

#![allow(dead_code)]

#[path = "../../vision/src/affine.rs"]
mod affine;
#[path = "../../agent/src/est/wire.rs"]
pub mod answer;
#[path = "../../matcher/src/ca.rs"]
pub mod ca;
#[path = "../../matcher/src/ledger/chain.rs"]
pub mod chain;
#[path = "../../matcher/src/ledger/exported.rs"]
pub mod exported;
#[path = "../../matcher/src/files.rs"]
pub mod files;
#[path = "../../vision/src/frame.rs"]
pub mod frame;
pub mod local_api;
#[path = "../../vision/src/picture.rs"]
pub mod picture;
#[path = "../../matcher/src/pki.rs"]
pub mod pki;
#[path = "../../vision/src/warp.rs"]
mod warp;
#[path = "../../matcher/src/est/wire.rs"]
pub mod wire;

/// As much of `vision/src/mesh.rs` as a portrait is cut by: what finds faces needs the models.
pub mod mesh {
    pub struct Rect {
        pub x: f32,
        pub y: f32,
        pub width: f32,
        pub height: f32,
    }

    impl Rect {
        pub(crate) fn centre(&self) -> [f64; 2] {
            [
                f64::from(self.x + self.width / 2.0),
                f64::from(self.y + self.height / 2.0),
            ]
        }
    }

    pub struct Face {
        pub bounding: Rect,
    }
}

/// As much of `agent/src/ask.rs` as a request fills.
pub mod ask {
    use didar_protocol::id::{Iin, InitiatorId};
    use didar_protocol::message::Consent;

    use crate::attempt::Language;

    #[derive(Debug, PartialEq)]
    pub struct Draft {
        pub subject: Iin,
        pub initiator: InitiatorId,
        pub reference: String,
        pub purpose: String,
        pub consent: Consent,
        pub language: Language,
    }
}

/// As much of `agent/src/attempt` as a request names.
pub mod attempt {
    #[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
    #[serde(rename_all = "lowercase")]
    pub enum Language {
        Kk,
        Ru,
        En,
    }
}

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
