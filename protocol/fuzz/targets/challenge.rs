//! Any bytes as a `Challenge`.

#![no_main]

use didar_protocol::message::Challenge;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| didar_fuzz::one_encoding::<Challenge>(bytes));
