//! Load: how fast a month's records leave a kiosk, and how soon a thousand kiosks are served after their broker died.
//!
//! **Here:** [`drain`], the shipped agent with a full outbox against the shipped centre, beside what the same broker and
//! the same library do alone; [`herd`], a thousand of the agent's uplinks at once; [`resumption`], what a reconnect costs
//! in TLS. **Not here:** anything that breaks at random ([`crate::chaos`]). Everything is a real process or a real
//! connection on this machine, and the devices take their part of its processors too.
//! **Start** with [`drain::run`].

pub mod drain;
pub mod herd;
pub mod resumption;
