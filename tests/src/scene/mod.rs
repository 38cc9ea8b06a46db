//! The simulated kiosk: a face before two lamps and a camera, in a closed loop with whoever drives the lamps.
//!
//! **Here:** a [`Subject`] from any portrait, with the relief that the mesh gives it; what may stand before the camera
//! ([`Presentation`]); the [`Kiosk`] that turns lamps, time and sway into frames; a [`Bridge`] that serves them over a
//! Unix socket in real time; and [`trial`], the same in virtual time. **Not here:** any judgement, and any claim about
//! physical attacks: a simulation proves that the chain works, not what paper looks like.
//!
//! **Start** with [`Kiosk`]. One seed replays one run exactly, to the pixel.
//!
//! The light: two near lamps with inverse square and directivity on a Lambertian surface with some gloss, ambient light
//! as in the portrait, exposure integrated over the lamps' true switching times, gamma, noise, 8 bits. Missing: cast
//! shadows, rolling shutter, lens, subsurface scattering.

mod bridge;
pub(crate) mod camera;
pub(crate) mod clockwork;
pub(crate) mod kiosk;
pub(crate) mod lamps;
pub(crate) mod presentation;
pub(crate) mod random;
pub(crate) mod subject;
pub(crate) mod surface;
pub mod trial;
mod triangles;

pub use bridge::{Bridge, BridgeError, Screen};
pub use camera::{HEIGHT, PixelOrder, Recipe, WIDTH};
pub use kiosk::{CameraModel, Filter, Kiosk, Room};
pub use lamps::LampLog;
pub use presentation::{Presentation, RecordedVideo, Sheet};
pub(crate) use random::Random;
pub use subject::{Subject, SubjectError};
