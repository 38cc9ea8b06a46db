//! One attempt at a time, as a pure machine.

pub mod event;

pub use event::{Command, Event, Guidance, Hint, Language, Outcome, Request, View};
