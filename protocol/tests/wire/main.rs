//! What goes over the wire, checked from outside: golden vectors, refusals, properties.

#![allow(clippy::unwrap_used)]

mod bad;
mod golden;
mod properties;
mod samples;
mod strategies;
mod vectors;
