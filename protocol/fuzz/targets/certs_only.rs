//! Any bytes as the enrolment server's answer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(chain) = didar_fuzz::answer::certificates(bytes) {
        assert!((1..=10).contains(&chain.len()));
    }
});
