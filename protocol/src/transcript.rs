//! The light transcript: what the camera saw while the lamps played the code. Built and judged in `didar_liveness`.

use crate::codec::{List, Optional, Packed16, Within, fields, numbered};
use crate::light_code::{CodeShape, Light};

/// Cells along one side of the grid: 12 x 12 cells on a 132 mm square around the aligned face.
pub const GRID: usize = 12;
/// Cells of one frame.
pub const CELLS: usize = GRID * GRID;
/// Most frames in one transcript: 16 slots of 2 frames and half as many again. With the largest picture and the
/// largest template this still fits the attempt's 96 KiB.
pub const FRAMES_MAX: usize = 48;
/// Most lamp switches in one transcript: one per slot, the one that ends the code, and as many again.
pub const SWITCHES_MAX: usize = 34;
/// Most background cells of one frame.
pub const BACKGROUND_MAX: usize = 32;
/// Landmarks of one frame: outer and inner corner of the eye that is left in the picture, inner and outer corner of the
/// other, the corners of the mouth, left then right in the picture, the tip of the nose, the chin.
pub const POINTS: usize = 8;
/// Bands of brightness in which a frame's noise is told: mean code values 0 to 63, 64 to 127, 128 to 191, 192 to 249.
pub const NOISE_BANDS: usize = 4;
/// Stands for the noise of a band in which the frame shows too little.
pub const NO_NOISE: u16 = u16::MAX;

/// Everything needed to judge a light code again, and nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LightTranscript {
    /// The code's length and tolerance.
    pub shape: CodeShape,
    /// The states as the device ordered them; `shape.slots` of them.
    pub code: Vec<Light>,
    /// Facts of the camera and the lamps, as calibrated.
    pub camera: CameraFacts,
    /// When the lamps switched, in order of time; at most [`SWITCHES_MAX`].
    pub switches: Vec<Switch>,
    /// The frames that belong to one slot each, in order of time; at most [`FRAMES_MAX`].
    pub frames: Vec<FrameSample>,
    /// Frames that were taken during the code and left out, because two lights lit them.
    pub mixed: u16,
    /// When the exposure of the frame began that is embedded, microseconds since the transcript's start: one of `frames`.
    /// Absent where no frame was good enough.
    pub embedded_at_us: Option<u32>,
}

/// Facts of the camera and lamps that the judgement needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraFacts {
    /// Gamma x 1000: encoded = linear^(1000/gamma_milli). 1000 is linear; 1 to 4000.
    pub gamma_milli: u16,
    /// Time between two frames, microseconds.
    pub frame_us: u32,
    /// Exposure of one row of a frame, microseconds.
    pub exposure_us: u32,
    /// From the start of the first row's exposure to the last row's, microseconds; 0 for a global shutter.
    pub readout_us: u32,
    /// Calibrated delay from the order to the lamps until their light, microseconds.
    pub delay_us: u32,
    /// Distance of each lamp from the lens, millimetres.
    pub baseline_mm: u16,
    /// Focal length of the lens, tenths of a pixel: with the distance between the eyes it gives the face's distance.
    pub focal_px10: u32,
    /// Noise of a pixel at middle grey as calibrated, thousandths of a code value; 0 where nobody measured it.
    pub noise_milli: u16,
    /// Which light the sensor sees.
    pub spectrum: Spectrum,
}

numbered! {
    /// Which light a board's sensors see.
    Spectrum {
        /// One colour sensor without infrared filter.
        0 ColourNoFilter "colour-no-filter",
        /// A colour and an infrared sensor side by side.
        1 ColourAndInfrared "colour-and-infrared",
        /// One monochrome infrared sensor.
        2 Infrared "infrared",
    }
}

/// One order to the lamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    /// When the lamps were switched, microseconds since the transcript's start.
    pub at_us: u32,
    /// The state switched to.
    pub light: Light,
}

/// What one frame showed. A coarse picture of a face: `Debug` shows the time and slot only.
#[derive(Clone, PartialEq, Eq)]
pub struct FrameSample {
    /// Start of exposure, microseconds since the transcript's start.
    pub at_us: u32,
    /// The slot that the frame belongs to, from 0.
    pub slot: u8,
    /// Yaw, pitch, roll in hundredths of a degree.
    pub pose_cdeg: [i16; 3],
    /// Distance between the eyes, tenths of a pixel.
    pub eyes_px10: u16,
    /// Centre of the face in the picture (x, y), tenths of a pixel.
    pub centre_px10: [i32; 2],
    /// Mean 8-bit code value x 256 of each cell, row by row from the top left.
    pub means: [u16; CELLS],
    /// Share of clipped pixels of each cell, x 255.
    pub clipped: [u8; CELLS],
    /// Mean 8-bit code value x 256 of background cells; at most [`BACKGROUND_MAX`]: a ring around the picture's rim, as
    /// many on each side, clockwise from the upper left corner. A cell that shows the person has 65535.
    pub background: Vec<u16>,
    /// A hash of the pixels in the middle of the picture, at the same places in every frame: identical pictures have
    /// identical prints, wherever the landmarks are found.
    pub print: [u8; 8],
    /// Upper and lower rim of the grid on the face, thousandths of the picture's height, 0 to 1000: which rows of a
    /// rolling shutter saw the face.
    pub rows_milli: [u16; 2],
    /// Places of the [`POINTS`] landmarks from `centre_px10`, x and y in turn, tenths of a pixel.
    pub points_px10: [i16; 2 * POINTS],
    /// Noise of the picture in each of the [`NOISE_BANDS`], code values x 256; [`NO_NOISE`] where it cannot be told.
    pub noise_x256: [u16; NOISE_BANDS],
    /// How far the lids are apart, the less open eye's, 0 (closed) to 100.
    pub eyes_open: u8,
    /// Which track of the face: 0 for the first, one more each time that the face was lost and found again; 255 for more.
    pub track: u8,
}

impl std::fmt::Debug for FrameSample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameSample").field("at_us", &self.at_us).field("slot", &self.slot).finish_non_exhaustive()
    }
}

fields! {
    LightTranscript {
        1 => shape,
        2 => code: List(0, 32),
        3 => camera,
        4 => switches: List(0, SWITCHES_MAX),
        5 => frames: List(0, FRAMES_MAX),
        6 => mixed,
        7 => embedded_at_us: Optional,
    }
    rule "the code has as many states as the shape has slots": |it| it.code.len() == usize::from(it.shape.slots);
    rule "a frame's slot lies within the code": |it| it.frames.iter().all(|frame| frame.slot < it.shape.slots);
    rule "switches are in order of time": |it| it.switches.is_sorted_by_key(|switch| switch.at_us);
    rule "frames are in order of time": |it| it.frames.is_sorted_by(|a, b| a.at_us < b.at_us);
    rule "the embedded frame is one of the frames": |it| {
        it.embedded_at_us.is_none_or(|embedded| it.frames.iter().any(|frame| frame.at_us == embedded))
    };
}

fields! {
    CodeShape {
        1 => slots,
        2 => frames_per_slot,
        3 => wrong_allowed,
    }
    rule "a blind guess passes with at most 2^-20": |it| it.is_lawful();
}

fields! {
    CameraFacts {
        1 => gamma_milli: Within(1, 4000),
        2 => frame_us,
        3 => exposure_us,
        4 => delay_us,
        5 => baseline_mm,
        6 => spectrum,
        7 => readout_us,
        8 => focal_px10: Within(1, 1_000_000),
        9 => noise_milli,
    }
}

fields! {
    Switch {
        1 => at_us,
        2 => light,
    }
}

fields! {
    FrameSample {
        1 => at_us,
        2 => slot,
        3 => pose_cdeg,
        4 => eyes_px10,
        5 => centre_px10,
        6 => means: Packed16(CELLS, CELLS),
        7 => clipped,
        8 => background: Packed16(0, BACKGROUND_MAX),
        9 => print,
        10 => rows_milli: Packed16(2, 2),
        11 => points_px10: Packed16(2 * POINTS, 2 * POINTS),
        12 => noise_x256: Packed16(NOISE_BANDS, NOISE_BANDS),
        13 => eyes_open: Within(0, 100),
        14 => track,
    }
}
