//! Enrolment over Secure Transport (RFC 7030): how a device gets its certificate, and the next one.
//!
//! **Here:** the bodies on the wire ([`wire`]), who gets a certificate ([`desk`], no network), and the HTTPS server with
//! its limits ([`server`]): `cacerts`, `simpleenroll` and `simplereenroll`.
//! **Not here:** other authorities; a site whose certificates come from elsewhere leaves `[enrolment]` out of its
//! configuration and points its devices at that authority's own server.

pub mod desk;
pub mod server;
pub mod wire;
