//! Any bytes as a signed message, checked with the vectors' test key.

#![no_main]

use didar_protocol::message::Kind;
use didar_protocol::seal::Signed;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for kind in [Kind::State, Kind::Verdict] {
        if let Ok(signed) = Signed::parse(kind, bytes) {
            let _ = signed.verify(&didar_fuzz::verifying_key());
        }
    }
});
