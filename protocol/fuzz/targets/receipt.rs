//! Any bytes as a `Receipt`.

#![no_main]

use didar_protocol::message::Receipt;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| didar_fuzz::one_encoding::<Receipt>(bytes));
