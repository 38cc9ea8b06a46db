//! Cameras of real machines: V4L2 devices, and whatever `nokhwa` reaches on a developer's machine.
//!
//! **Here:** the drivers, and what they share: what is asked of a device ([`offer`]), when a frame was exposed
//! ([`stamp`]), which frames of two sensors belong together ([`pair`]), who sets the exposure ([`knobs`]), what was counted
//! ([`meter`]). All but the drivers is pure.
//! **Not here:** looking at frames ([`crate::perception`]), the simulated camera ([`crate::bridge`]).
//! **Start** with [`v4l2::V4l2Camera`].

pub mod knobs;
pub mod meter;
#[cfg(feature = "nokhwa")]
pub mod nokhwa;
pub mod offer;
pub mod pair;
pub mod stamp;
pub mod v4l2;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Drops what holds a device. `v4l` panics where one refuses to stop; one that was pulled out may.
fn let_go<T>(held: T) {
    if catch_unwind(AssertUnwindSafe(|| drop(held))).is_err() {
        tracing::warn!("camera: the driver did not let its buffers go");
    }
}
