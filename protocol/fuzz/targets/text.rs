//! Any text as a topic, an identity or a key file.

#![no_main]

use didar_protocol::id::{AttemptId, Bin, DeviceId, Env, Iin, InitiatorId, RequestId};
use didar_protocol::seal::{SealKey, SealKeyPair, SoftwareSigner};
use didar_protocol::topic::Topic;
use didar_protocol::trace::TraceParent;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = SealKey::from_sec1(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(topic) = text.parse::<Topic>() {
        assert_eq!(topic.to_string(), text);
    }
    if let Ok(iin) = text.parse::<Iin>() {
        assert_eq!(iin.as_str(), text);
    }
    if let Ok(parent) = text.parse::<TraceParent>() {
        assert_eq!(parent.to_string()[..53], text[..53]);
    }
    let _ = (
        text.parse::<Bin>(),
        text.parse::<DeviceId>(),
        text.parse::<InitiatorId>(),
        text.parse::<Env>(),
    );
    let _ = (text.parse::<AttemptId>(), text.parse::<RequestId>());
    let _ = (
        SealKeyPair::from_pkcs8_pem(text),
        SoftwareSigner::from_pkcs8_pem(text, b""),
    );
});
