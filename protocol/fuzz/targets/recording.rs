//! Any bytes as a recorded attempt: read or refused, and what is read is judged, the same way twice.

#![no_main]

use didar_liveness::{Policy, recorded};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(recording) = recorded::read(bytes) {
        let policy = Policy::shipped();
        assert_eq!(
            recording.judge(&policy).to_bytes(),
            recording.judge(&policy).to_bytes()
        );
        let again = recorded::read(recording.to_json().as_bytes());
        assert_eq!(again.expect("our own JSON"), recording);
    }
});
