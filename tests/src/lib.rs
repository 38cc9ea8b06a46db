//! The simulated world around the product, the demo's stage and the evaluation. Never shipped.
//!
//! Here: [`scene`], the simulated kiosk (a face, two lamps, a camera), [`crowd`], thousands of attempts before it, [`physical`], what trials on devices found,
//! [`site`], a centre and a kiosk as real processes, [`cable`], a network cable that can be pulled, [`kiosk_app`], the
//! kiosk's application, [`world`], everything breaking in simulation, [`load`], what the centre bears, [`rig`], the virtual machine. Not
//! here: anything that ships.
//! Start reading at [`site::Site`].

pub mod audit;
pub mod cable;
pub mod chaos;
pub mod crowd;
pub mod kiosk_app;
pub mod load;
pub mod people;
pub mod physical;
pub mod process;
pub mod rate;
pub mod rig;
pub mod scene;
pub mod site;
pub mod stage;
pub mod story;
pub mod summary;
pub mod world;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod sequence;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod two_worlds;
