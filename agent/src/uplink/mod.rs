//! The way to the matcher: MQTT 5 over TLS 1.3 with certificates on both ends.
//!
//! **Here:** whom to believe ([`trust`]), what an arriving message is ([`arrival`]), what to do about a connection that
//! comes and goes ([`session`], pure), the driver over the client library ([`mqtt`]), and what is wrong with a
//! connection, in words ([`fault`]).
//! **Not here:** signing and sealing of what is sent ([`crate::ask`]), keeping of audit records ([`crate::outbox`]).
//! **Start** with [`session::Session::step`], then [`mqtt::MqttUplink::start`].

pub mod arrival;
pub mod fault;
mod link;
pub mod mqtt;
pub mod session;
pub mod trust;
