//! The screen: what a person sees, as a picture of any size from 320x240 to 1280x800.
//!
//! **Here:** the words of the three languages ([`text`]), the pure picture of a view ([`Painter::draw`]), and the buffer
//! that it is painted into ([`Canvas`]).
//!
//! **Not here:** decisions about what to show (the attempt machine's), and the hardware that shows it (implementations
//! of [`crate::edge::Screen`]).
//!
//! **Start** with [`Painter::draw`]; `plan` says where everything goes, the other files how it is painted.
//!
//! The background is light: it lights the face evenly, and large dark letters on it are read from afar in a bright hall.

mod canvas;
mod column;
mod font;
mod icon;
mod oval;
mod palette;
mod paragraph;
mod plan;
mod preview;
mod shape;
pub mod text;
mod view;

#[cfg(test)]
mod gallery;
#[cfg(test)]
mod golden;

#[cfg(test)]
pub(crate) use gallery::OUTCOMES;

pub use canvas::{Area, Canvas, SizeError};
pub use preview::{Preview, PreviewError, Window};
pub use text::{Help, Language, outcome_text};
pub use view::Painter;
