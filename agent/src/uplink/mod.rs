//! The way to the matcher: MQTT 5 over TLS 1.3 with certificates on both ends.

pub mod trust;
