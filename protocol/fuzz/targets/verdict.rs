//! Any bytes as a `Verdict`.

#![no_main]

use didar_protocol::message::Verdict;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| didar_fuzz::one_encoding::<Verdict>(bytes));
