//! Any bytes as a certificate that came with a message or lies in a file.

#![no_main]

use didar_fuzz::pki::{self, Certificate};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(certificate) = Certificate::from_der(bytes) {
        assert_eq!(certificate.der(), bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = (Certificate::from_pem(text), pki::is_due(text, 1_800_000_000_000));
    }
});
