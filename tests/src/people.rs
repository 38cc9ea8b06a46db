//! The people of the demo: public-domain portraits, and identification numbers that belong to nobody.

use std::path::{Path, PathBuf};

use didar_protocol::id::Iin;

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
