//! Many people before many kiosks, straight to the judge's transcript: thousands of attempts a minute.
//!
//! **Here:** the second level of the simulated world. [`scene`](crate::scene) paints whole pictures and lets the product's
//! networks look at them; here the cells of the light grid, the places of the landmarks and the figures of every frame
//! are computed from a surface of some 4,000 pixels. Lamps, their light, the sensor's gamma and noise and the timing are
//! the scene's own. [`Person`] is a relief and a skin, [`Conditions`] a room and a posture, [`Species`] everything that is
//! presented, [`play`](Capture::play) one attempt. **Not here:** any judgement.
//!
//! **Start** with [`present`]. One seed replays one attempt to the last byte. Assumed, not computed: how much the landmarks
//! jitter (`jitter`), how well the pose is read, and the likeness of faces in one sequence.

mod capture;
mod cells;
mod conditions;
mod forms;
mod jitter;
mod lighting;
mod person;
mod sample;
mod species;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use capture::Capture;
pub use conditions::{Conditions, Profile};
pub use person::Person;
pub use species::{Species, present};
