//! The attempt: evidence of a live face and, where it was proved, what to compare.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::verdict::Outcome;
use crate::codec::{Blob, Fault, Form, Item, List, Optional, Refused, Wire, Within, choice, fields, numbered};
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

numbered! {
    /// What a model does.
    ModelRole {
        /// Finds faces.
        0 Detector "detector",
        /// Finds 468 landmarks.
        1 Mesh "mesh",
        /// Passive liveness.
        2 Passive "passive",
        /// Reduces a face to a template.
        3 Embedding "embedding",
    }
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

/// JPEG begins so (ITU-T T.81, B.1.1.3: start of image, then a marker).
const JPEG_START: [u8; 3] = [0xff, 0xd8, 0xff];

/// Percentages and other figures of 0 to 100.
const HUNDRED: Within = Within(0, 100);

fields! {
    Attempt {
        1 => attempt,
        2 => device,
        3 => request_hash,
        4 => nonce,
        5 => transcript: Optional,
        6 => passive,
        7 => motion,
        8 => quality,
        9 => models: List(0, 8),
        10 => continuity_milli: Within(-1000, 1000),
        11 => ending,
        12 => sent_at_ms,
    }
    rule "a proved attempt carries its transcript": |it| match it.ending {
        Ending::Proved { .. } => it.transcript.is_some(),
        Ending::Stopped { .. } => true,
    };
    rule "an attempt that stopped on the device is no grant": |it| match it.ending {
        Ending::Proved { .. } => true,
        Ending::Stopped { outcome, .. } => outcome != Outcome::Grant,
    };
}

choice! {
    Ending {
        0 => Proved { 1 => template, 2 => picture: Optional, }
        1 => Stopped { 1 => outcome, 2 => reason, }
    }
}

fields! {
    Template {
        1 => scale_bits,
        2 => values: Signed8(1, Template::VALUES_MAX),
    }
    rule "a template's scale is positive and finite": |it| it.scale() > 0.0 && it.scale().is_finite();
}

fields! {
    ModelRef {
        1 => role,
        2 => sha256,
    }
}

fields! {
    Quality {
        1 => sharpness: HUNDRED,
        2 => exposure: HUNDRED,
        3 => illumination_uniformity: HUNDRED,
        4 => pose_deg,
        5 => interocular_px,
        6 => occlusion: HUNDRED,
        7 => faces,
    }
    rule "pose_deg is -90 to 90": |it| it.pose_deg.iter().all(|angle| (-90..=90).contains(angle));
}

fields! {
    PassiveSummary {
        1 => frames,
        2 => mean_llr_milli,
        3 => worst_llr_milli,
        4 => context_missing,
    }
}

fields! {
    Motion {
        1 => frames,
        2 => still_pairs,
        3 => path_px10,
        4 => blink,
    }
}

impl Wire for Picture {
    fn to_item(&self) -> Item {
        Item::Bytes(Zeroizing::new(self.0.clone()))
    }

    fn from_item(item: Item) -> Result<Self, Refused> {
        let bytes = Blob(JPEG_START.len(), Self::BYTES_MAX).read(Some(item))?;
        if !bytes.starts_with(&JPEG_START) {
            return Err(Fault::Rule("a picture is a JPEG").into());
        }
        Ok(Self(bytes))
    }
}

/// So many signed bytes as one byte string, in two's complement.
struct Signed8(usize, usize);

impl Form<Vec<i8>> for Signed8 {
    fn write(&self, value: &Vec<i8>) -> Option<Item> {
        Some(Item::Bytes(Zeroizing::new(value.iter().map(|value| value.cast_unsigned()).collect())))
    }

    fn read(&self, item: Option<Item>) -> Result<Vec<i8>, Refused> {
        let mut bytes = Blob(self.0, self.1).read(item)?;
        let values = bytes.iter().map(|byte| byte.cast_signed()).collect();
        bytes.zeroize();
        Ok(values)
    }
}
