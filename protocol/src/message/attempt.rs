//! The attempt: evidence of a live face and, where it was proved, what to compare.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::verdict::Outcome;
use crate::id::{AttemptId, DeviceId, Hash};
use crate::reason::Reason;
use crate::transcript::LightTranscript;

/// The answer to a challenge. Travels sealed and signed by the device.
#[derive(Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The challenge's attempt.
    pub attempt: AttemptId,
    /// The device that makes it.
    pub device: DeviceId,
    /// The challenge's request hash.
    pub request_hash: Hash,
    /// The challenge's nonce.
    pub nonce: [u8; 32],
    /// What the light code showed; absent where the attempt ended before.
    pub transcript: Option<LightTranscript>,
    /// What the passive network said.
    pub passive: PassiveSummary,
    /// How the face moved.
    pub motion: Motion,
    /// Quality of the frame that was embedded, or of the last one.
    pub quality: Quality,
    /// The models that made these figures; at most 8.
    pub models: Vec<ModelRef>,
    /// Cosine x 1000 between the sequence's faces and the embedded one, the worst; -1000 to 1000.
    pub continuity_milli: i16,
    /// What came out.
    pub ending: Ending,
    /// When the device closed the attempt, Unix milliseconds.
    pub sent_at_ms: u64,
}

/// What came out of an attempt on the device.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// A live face was proved.
    Proved {
        /// The face's template.
        template: Template,
        /// The face's picture, only where the challenge asked for one.
        picture: Option<Picture>,
    },
    /// It ended on the device: evidence without template or picture.
    Stopped {
        /// How.
        outcome: Outcome,
        /// Why.
        reason: Reason,
    },
}

/// A face template as it travels: value = int8 x scale. Wiped on drop; `Debug` shows no content.
#[derive(PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Template {
    scale_bits: u32,
    values: Vec<i8>,
}

impl Template {
    /// Most values of a template.
    pub const VALUES_MAX: usize = 1024;

    /// A template of `values` (1 to [`Self::VALUES_MAX`]) with their scale (positive, finite).
    pub fn new(scale: f32, values: Vec<i8>) -> Self {
        Self { scale_bits: scale.to_bits(), values }
    }

    /// The factor that turns an int8 into a value.
    pub fn scale(&self) -> f32 {
        f32::from_bits(self.scale_bits)
    }

    /// The int8 values.
    pub fn values(&self) -> &[i8] {
        &self.values
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template(… {} values)", self.values.len())
    }
}

/// A face picture, JPEG, at most [`Self::BYTES_MAX`]. Wiped on drop; `Debug` shows no content.
#[derive(PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Picture(Vec<u8>);

impl Picture {
    /// Most bytes of a picture.
    pub const BYTES_MAX: usize = 64 * 1024;

    /// Takes JPEG bytes; the codec refuses what is too long or does not begin as a JPEG.
    pub fn from_jpeg(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The JPEG bytes.
    pub fn as_jpeg(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture(… {} bytes)", self.0.len())
    }
}

/// One model that took part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRef {
    /// What it does.
    pub role: ModelRole,
    /// SHA-256 of its file.
    pub sha256: Hash,
}

/// What a model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ModelRole {
    /// Finds faces.
    Detector = 0,
    /// Finds 468 landmarks.
    Mesh = 1,
    /// Passive liveness.
    Passive = 2,
    /// Reduces a face to a template.
    Embedding = 3,
}

/// Quality of one frame, after ISO/IEC 29794-5. Unitless figures are 0 to 100, more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Quality {
    /// Sharpness, 0 to 100.
    pub sharpness: u8,
    /// Exposure, 0 to 100.
    pub exposure: u8,
    /// Illumination uniformity, 0 to 100.
    pub illumination_uniformity: u8,
    /// Yaw, pitch, roll in degrees, -90 to 90.
    pub pose_deg: [i8; 3],
    /// Distance between the eyes, pixels.
    pub interocular_px: u16,
    /// Freedom from occlusion, 0 to 100: 100 is a face that nothing covers.
    pub occlusion: u8,
    /// Faces in the picture.
    pub faces: u8,
}

/// What the passive network said over the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PassiveSummary {
    /// Frames judged.
    pub frames: u16,
    /// Mean log-likelihood ratio (live against spoof) x 1000.
    pub mean_llr_milli: i32,
    /// Worst one x 1000.
    pub worst_llr_milli: i32,
    /// Frames that could not be judged because the face filled the picture.
    pub context_missing: u16,
}

/// How the face moved over the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Motion {
    /// Frames looked at.
    pub frames: u16,
    /// Consecutive frames that were identical.
    pub still_pairs: u16,
    /// Path of the landmarks' centre, tenths of a pixel.
    pub path_px10: u32,
    /// Whether a blink was seen.
    pub blink: bool,
}
