//! Any bytes as what a stranger sends to the enrolment server: body, certificate request, authorization.

#![no_main]

use didar_fuzz::ca::Ca;
use didar_fuzz::wire;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = Ca::read_request(bytes) {
        assert!((1..=40).contains(&request.device.as_str().len()));
    }
    if let Ok(der) = wire::read_body(bytes) {
        let _ = Ca::read_request(&der);
    }
    let _ = (wire::basic(bytes), wire::certs_only(bytes));
});
