//! Any bytes as a `MatcherKeys`.

#![no_main]

use didar_protocol::message::MatcherKeys;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| didar_fuzz::one_encoding::<MatcherKeys>(bytes));
