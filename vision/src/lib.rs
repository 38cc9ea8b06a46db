//! Frames in; faces, quality, scores and templates out.
//!
//! Here: pixel formats, detection and tracking, landmarks, alignment, quality, the light grid, the passive network and
//! the embedding, run by TensorFlow Lite. Deliberately not here: cameras, configuration, the wire format, comparison
//! with stored references, and any decision. The only file that this crate reads on its own account is the models'
//! manifest with the files that it names.
//!
//! Start reading at [`Perceiver`]; [`Models`] says how models are found and checked, [`FrameView`] what a frame is.
//!
//! A program that uses this crate needs `libtensorflowlite_c.so` beside it, in `../lib/didar` or in the project's
//! `native/` folder. Where it is missing, the dynamic loader stops the program before `main` with
//! `error while loading shared libraries: libtensorflowlite_c.so: cannot open shared object file`; the cure is
//! `vision/native/fetch.sh` on a development machine, and installing the library beside the program elsewhere.

mod affine;
mod align;
mod brightness;
mod detect;
mod embed;
mod frame;
mod light_grid;
mod manifest;
mod mesh;
mod model;
mod passive;
mod perceive;
mod picture;
mod pose;
mod quality;
mod tflite;
mod thumbnail;
mod warp;

pub use align::{ALIGNED_SIDE, AlignedFace, align, align_into};
pub use brightness::{Brightness, brightness};
pub use embed::{LiveFace, LivenessProof, Mark, ReferenceFace, Template, TemplateError};
pub use frame::{FrameError, FrameView, PixelFormat, Unpacker};
pub use light_grid::{BACKGROUND_CELLS, GRID_SIDE, LightGrid, NOISE_BANDS, light_grid};
pub use manifest::Role;
pub use mesh::{Face, LANDMARKS, Rect};
pub use model::{Form, ModelError, Models};
pub use passive::{ContextMissing, PassiveCrop, PassiveScore, passive_crop};
pub use perceive::{Perceiver, Sight, VisionError};
pub use picture::{Picture, PictureError, Portrait, portrait};
pub use pose::Pose;
pub use quality::{Quality, eyes_open, quality};
pub use thumbnail::thumbnail;
