//! Any bytes as a `State`.

#![no_main]

use didar_protocol::message::State;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| didar_fuzz::one_encoding::<State>(bytes));
