//! The kiosk's program: it proves that a live face is in front of the camera and asks the matcher who it is.
//!
//! **Here:** the pure attempt machine ([`attempt`]), the traits of everything that it acts on ([`edge`]), the one loop
//! that joins them ([`run`]), and the edges themselves: the camera's thread ([`perception`]), the simulated kiosk
//! ([`bridge`]), the uplink ([`uplink`]), the store of audit records ([`outbox`]), the screen ([`screen`]) and the
//! API of the kiosk's own application ([`local_api`]).
//!
//! **Not here:** any comparison with a reference (the matcher's), any judgement of liveness (`didar_liveness`), any
//! model (`didar_vision`).
//!
//! **Start** with [`attempt::Machine::step`], then [`run::Agent::run`].

pub mod ask;
pub mod attempt;
pub mod board;
pub mod bridge;
pub mod buzzer;
pub mod camera;
pub mod config;
pub mod display;
pub mod edge;
pub mod enrol;
pub mod est;
mod file;
pub mod identity;
pub mod journal;
pub mod lamps;
mod line;
pub mod local_api;
pub mod measure;
pub mod outbox;
pub mod panel;
pub mod perception;
pub mod renew;
pub mod run;
pub mod screen;
pub mod supervisor;
pub mod time;
pub mod trial;
pub mod uplink;
