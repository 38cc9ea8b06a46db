//! The people of the demo: public-domain portraits, identification numbers that belong to nobody, and what such a person asks for.

use std::path::{Path, PathBuf};

use didar_agent::ask::Draft;
use didar_agent::attempt::Language;
use didar_protocol::id::{Iin, InitiatorId};
use didar_protocol::message::{Consent, ConsentMethod};

/// A portrait by a NASA photographer of Eileen Collins; public domain.
pub const ASTRONAUT: &str = "astronaut.png";
/// A portrait by the US Navy of Grace Hopper; public domain.
pub const HOPPER: &str = "grace_hopper.png";

/// Where the portraits lie in the project at `root`.
pub fn portrait(root: &Path, name: &str) -> PathBuf {
    root.join("models/build/faces").join(name)
}

/// A lawful number for a birth date and a serial (0 to 999): the first whose check digit exists, from `serial` on.
pub fn iin(birth: &str, century: u8, serial: u16) -> Option<Iin> {
    (serial..10_000).find_map(|serial| {
        let stem = format!("{birth}{century}{serial:04}");
        (0..10).find_map(|digit| format!("{stem}{digit}").parse().ok())
    })
}

/// What the kiosk's application asks for on behalf of `initiator`, with a consent of ten seconds ago.
pub fn draft(subject: &Iin, initiator: InitiatorId, now_ms: u64) -> Draft {
    let now_s = now_ms / 1000;
    let consent = Consent {
        given_at_s: now_s - 10,
        expires_at_s: now_s + 86_400,
        purpose: "benefit".into(),
        method: ConsentMethod::Screen,
        text_version: "1".into(),
    };
    Draft {
        subject: subject.clone(),
        initiator,
        reference: "case".into(),
        purpose: "benefit".into(),
        consent,
        language: Language::Kk,
    }
}
