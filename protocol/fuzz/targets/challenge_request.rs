//! Any bytes as a `ChallengeRequest`.

#![no_main]

use didar_protocol::message::ChallengeRequest;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| didar_fuzz::one_encoding::<ChallengeRequest>(bytes));
