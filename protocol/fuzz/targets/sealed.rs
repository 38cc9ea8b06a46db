//! Any bytes as a sealed message, opened with the vectors' test key.

#![no_main]

use didar_protocol::message::Kind;
use didar_protocol::seal::Sealed;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for kind in [Kind::ChallengeRequest, Kind::Attempt] {
        if let Ok(sealed) = Sealed::parse(kind, bytes) {
            let _ = sealed.open(&didar_fuzz::seal_pair());
        }
    }
});
