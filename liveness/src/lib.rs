//! Judges whether a living face answered the light code: pure numbers in, evidence out.
//!
//! **Here:** building the light transcript ([`transcript`]), playing the code ([`sequencer`]), the witnesses
//! ([`decode`], [`relief`], [`motion`]) and their judge ([`judge()`]), what a guess is worth ([`guess`]), the thresholds ([`policy`]), and recordings of
//! the judge's inputs as files ([`recorded`]).
//!
//! **Not here:** clocks, input and output, models, pixels. The device judges with this code, the matcher judges the
//! same transcript again with the same code, and both get the same bytes of evidence on every processor: only `+ - *
//! /`, square root and the soft functions of `libm` are used, always in the same order.
//!
//! **Start** with [`judge()`]; policy.toml says where each threshold came from.

pub mod decode;
mod drawn;
mod evidence;
mod fit;
pub mod guess;
mod judge;
mod linear;
mod mean_face;
pub mod motion;
pub mod policy;
pub mod recorded;
pub mod relief;
pub mod sequencer;
#[cfg(test)]
mod testing;
mod texture;
pub mod transcript;

pub use evidence::{Answer, Evidence, Live};
pub use guess::{GuessBound, guess_bound};
pub use judge::judge;
pub use policy::{Policy, PolicyError};
pub use recorded::Recording;
pub use sequencer::Sequencer;
pub use transcript::TranscriptBuilder;
