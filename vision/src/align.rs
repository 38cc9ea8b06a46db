//! Alignment: the face upright, in one size and place, as the embedding was trained to see it.

use zeroize::Zeroize;

use crate::affine::Affine;
use crate::frame::FrameView;
use crate::mesh::Face;
use crate::warp::{IDENTITY, warp};

/// Width and height of an aligned face in pixels.
pub const ALIGNED_SIDE: usize = 112;

/// Where the five points of a face lie when it is aligned: the template of ArcFace.
const TEMPLATE: [[f64; 2]; 5] =
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]];

/// An aligned face, RGB. Wiped on drop; no `Debug`, no `Clone`.
pub struct AlignedFace {
    rgb: Box<[u8; ALIGNED_SIDE * ALIGNED_SIDE * 3]>,
}

impl AlignedFace {
    /// A black one, to be filled by [`align_into`].
    pub fn blank() -> AlignedFace {
        AlignedFace { rgb: Box::new([0; ALIGNED_SIDE * ALIGNED_SIDE * 3]) }
    }

    /// The pixels, row by row, red, green, blue; for looking at and comparing with the reference implementation.
    pub fn pixels(&self) -> &[u8] {
        &self.rgb[..]
    }
}

impl Drop for AlignedFace {
    fn drop(&mut self) {
        self.rgb.zeroize();
    }
}

/// Aligns `face`, which was found in this very `frame`.
pub fn align(frame: &FrameView<'_>, face: &Face) -> AlignedFace {
    let mut aligned = AlignedFace::blank();
    align_into(frame, face, &mut aligned);
    aligned
}

/// As [`align`], into a buffer that is there already.
pub fn align_into(frame: &FrameView<'_>, face: &Face, out: &mut AlignedFace) {
    warp(frame, &inverse(face), ALIGNED_SIDE, &IDENTITY, &mut out.rgb[..]);
}

/// From pixels of the aligned face to the frame.
pub(crate) fn inverse(face: &Face) -> Affine {
    Affine::similarity(&face.five.map(|p| p.map(f64::from)), &TEMPLATE).inverse()
}
