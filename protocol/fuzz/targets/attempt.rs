//! Any bytes as a `Attempt`.

#![no_main]

use didar_protocol::message::Attempt;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| didar_fuzz::one_encoding::<Attempt>(bytes));
