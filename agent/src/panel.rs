//! Panels: screens that are really there.
//!
//! **Here:** the frame buffer ([`framebuffer`]) and panels on SPI ([`spi`]). Both open their device by themselves when a
//! picture comes, and again after an error, so that a panel may be missing at the start or come back later.
//! **Not here:** what is painted ([`crate::screen`]), and when ([`crate::display`]).

pub mod framebuffer;
pub mod spi;
