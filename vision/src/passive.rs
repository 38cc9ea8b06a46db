//! The passive network: whether a face with its surroundings looks alive.
//!
//! Its crop decides its worth. The crop is 2.7 boxes of the face, shifted into the frame where it would leave it. Where
//! less than half of it is inside, no crop is made: filled with anything, spoofs look alive to the network.

use zeroize::Zeroize;

use crate::affine::Affine;
use crate::frame::FrameView;
use crate::manifest::{Evidence, Meaning};
use crate::mesh::Face;
use crate::model::{Model, ModelError};
use crate::tflite::{Engine, EngineError};
use crate::warp::{IDENTITY, warp};

/// Side of the crop in boxes of the face.
const MARGIN: f64 = 2.7;
/// Least share of the crop that must lie inside the frame before it is shifted.
const INSIDE_LEAST: f32 = 0.5;
/// Width and height of the crop in pixels.
const SIDE: usize = 128;

/// The camera does not show enough around the face: the person should step back or to the middle.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("only {inside:.2} of the face's surroundings are in the frame, {INSIDE_LEAST} needed: step back")]
pub struct ContextMissing {
    /// Share of the surroundings inside the frame, 0 to 1.
    pub inside: f32,
}

/// A face with its surroundings as the passive network sees it. Wiped on drop.
pub struct PassiveCrop {
    rgb: Box<[u8; SIDE * SIDE * 3]>,
}

impl Drop for PassiveCrop {
    fn drop(&mut self) {
        self.rgb.zeroize();
    }
}

/// What the passive network says about one crop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PassiveScore {
    /// The network's three numbers, the living face's first.
    pub logits: [f32; 3],
    /// Natural logarithm of how much likelier this is a living face than a spoof, as calibrated in the manifest.
    pub llr: f32,
}

/// Cuts `face` with its surroundings out of `frame`.
///
/// # Errors
/// [`ContextMissing`] where less than half of the surroundings are in the frame.
pub fn passive_crop(frame: &FrameView<'_>, face: &Face) -> Result<PassiveCrop, ContextMissing> {
    let (edges, inside) = context_box(frame, face);
    // A box of no size has no share: not a number, and no context either.
    if inside.is_nan() || inside < INSIDE_LEAST {
        return Err(ContextMissing { inside });
    }
    let mut crop = PassiveCrop { rgb: Box::new([0; SIDE * SIDE * 3]) };
    let [left, top, right, bottom] = edges;
    warp(frame, &Affine::of_box(left, top, right, bottom, SIDE, SIDE), SIDE, &IDENTITY, &mut crop.rgb[..]);
    Ok(crop)
}

/// Edges of the surroundings after shifting, and the share that was inside before.
pub(crate) fn context_box(frame: &FrameView<'_>, face: &Face) -> ([f64; 4], f32) {
    let picture = [f64::from(frame.width()), f64::from(frame.height())];
    let size = [f64::from(face.bounding.width), f64::from(face.bounding.height)];
    let centre = face.bounding.centre();
    let mut inside = 1.0;
    for axis in 0..2 {
        let whole = size[axis] * MARGIN;
        let (low, high) = (centre[axis] - whole / 2.0, centre[axis] + whole / 2.0);
        inside *= (high.min(picture[axis] - 0.5) - low.max(-0.5)).max(0.0) / whole;
    }
    let scale = MARGIN.min(picture[0] / size[0]).min(picture[1] / size[1]);
    let mut edges = [0.0; 4];
    for axis in 0..2 {
        let side = size[axis] * scale;
        let low = (centre[axis] - side / 2.0).min(picture[axis] - 0.5 - side).max(-0.5);
        edges[axis] = low;
        edges[axis + 2] = low + side;
    }
    (edges, inside as f32)
}

/// The passive network with its buffers.
pub(crate) struct Passive {
    engine: Engine,
    classes: usize,
    live: usize,
    evidence: Evidence,
}

impl Passive {
    pub(crate) fn new(model: &Model) -> Result<Passive, ModelError> {
        let wrong = |reason: &str| ModelError::Entry { model: model.entry.name.clone(), reason: reason.to_owned() };
        let output = model.entry.output(&Meaning::Classes { live: 0 })?;
        let Meaning::Classes { live } = output.meaning else {
            return Err(wrong("its output is no `classes`"));
        };
        if output.shape.iter().product::<usize>() != 3 || live > 2 {
            return Err(wrong("`classes` needs three numbers, and `live` is one of 0, 1 and 2"));
        }
        let evidence = model.entry.llr.ok_or_else(|| wrong("it lacks `llr`"))?;
        if evidence.low.is_nan() || evidence.high.is_nan() || evidence.low > evidence.high {
            return Err(wrong("`llr.low` must not be above `llr.high`"));
        }
        Ok(Passive { engine: model.engine()?, classes: output.index, live, evidence })
    }

    pub(crate) fn judge(&mut self, crop: &PassiveCrop) -> Result<PassiveScore, EngineError> {
        self.engine.see_crop(&crop.rgb[..], SIDE);
        self.engine.run()?;
        let numbers = self.engine.output(self.classes);
        let mut logits = [0, 1, 2].map(|i| numbers.at(i));
        logits.swap(0, self.live);
        let margin = logits[0] - (logits[1].exp() + logits[2].exp()).ln();
        let Evidence { slope, offset, low, high } = self.evidence;
        Ok(PassiveScore { logits, llr: (slope * margin + offset).clamp(low, high) })
    }
}
