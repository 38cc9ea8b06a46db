//! Any bytes as a `AuditRecord`.

#![no_main]

use didar_protocol::message::AuditRecord;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| didar_fuzz::one_encoding::<AuditRecord>(bytes));
