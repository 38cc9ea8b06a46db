//! Any bytes as a `Event`.

#![no_main]

use didar_protocol::message::Event;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| didar_fuzz::one_encoding::<Event>(bytes));
