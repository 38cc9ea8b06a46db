//! The light transcript: what the camera saw while the lamps played the code. Built and judged in `didar_liveness`.

use crate::codec::{List, Packed16, Within, fields, numbered};
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
}

/// Facts of the camera and lamps that the judgement needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraFacts {
    /// Gamma x 1000: encoded = linear^(1000/gamma_milli). 1000 is linear; 1 to 4000.
    pub gamma_milli: u16,
    /// Time between two frames, microseconds.
    pub frame_us: u32,
    /// Exposure of one frame, microseconds.
    pub exposure_us: u32,
    /// Calibrated delay from the order to the lamps until their light, microseconds.
    pub delay_us: u32,
    /// Distance of each lamp from the lens, millimetres.
    pub baseline_mm: u16,
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
    /// Mean 8-bit code value x 256 of background cells; at most [`BACKGROUND_MAX`].
    pub background: Vec<u16>,
    /// A hash of the face crop's bytes: identical frames have identical prints.
    pub print: [u8; 8],
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
    }
    rule "the code has as many states as the shape has slots": |it| it.code.len() == usize::from(it.shape.slots);
    rule "a frame's slot lies within the code": |it| it.frames.iter().all(|frame| frame.slot < it.shape.slots);
    rule "switches are in order of time": |it| it.switches.is_sorted_by_key(|switch| switch.at_us);
    rule "frames are in order of time": |it| it.frames.is_sorted_by(|a, b| a.at_us < b.at_us);
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
    }
}
