//! Where and how somebody stands: distance, pose, light, movement, glasses, and the kiosk's camera.

use didar_protocol::light_code::CodeShape;

use crate::scene::CameraModel;
use crate::scene::random::Random;

/// How the camera and the lamps play together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// 30 frames a second: 12 slots of 2 frames, none wrong.
    Fps30,
    /// 30 frames a second, the lamps in step with the exposure: 16 slots of 1 frame, 2 wrong.
    Fps30InStep,
    /// 60 frames a second: 16 slots of 2 frames, 2 wrong.
    Fps60,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fps30, Self::Fps30InStep, Self::Fps60];

    /// In reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fps30 => "30-fps",
            Self::Fps30InStep => "30-fps-in-step",
            Self::Fps60 => "60-fps",
        }
    }

    /// The code that it plays.
    pub fn shape(self) -> CodeShape {
        match self {
            Self::Fps30 => CodeShape::AT_30,
            Self::Fps30InStep => CodeShape::AT_30_IN_STEP,
            Self::Fps60 => CodeShape::AT_60,
        }
    }

    /// A camera of this kind; `rolling_us` from its first row to its last.
    pub fn camera(self, rolling_us: u32) -> CameraModel {
        let (frame_us, exposure_us) = match self {
            Self::Fps30 | Self::Fps30InStep => (33_333, 12_000),
            Self::Fps60 => (16_667, 5_000),
        };
        CameraModel { frame_us, exposure_us, rolling_us, ..CameraModel::default() }
    }
}

/// Where and how somebody stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    /// The camera's profile.
    pub profile: Profile,
    /// From the first row's exposure to the last row's.
    pub rolling_us: u32,
    /// From the lens to the face, millimetres.
    pub distance_mm: f32,
    /// From the lens to each lamp, millimetres.
    pub baseline_mm: f32,
    /// Where the face is beside the lens' axis: right and down, millimetres.
    pub aside_mm: [f32; 2],
    /// Yaw, pitch, roll of the head, degrees.
    pub pose_deg: [f32; 3],
    /// Ambient light on the bright parts of the face (its brightest tenth has more), of full scale.
    pub ambient: f32,
    /// How much of it flickers at 100 Hz, 0 to 1.
    pub flicker: f32,
    /// Light of one lamp on a white sheet at 500 mm, of full scale; at other distances by inverse square.
    pub lamps: f32,
    /// Strength of the left and of the right lamp against what they should be.
    pub strength: [f32; 2],
    /// Fastest movement between two frames, pixels.
    pub sway_px: f32,
    /// Whether the person wears glasses.
    pub glasses: bool,
    /// Share of frames that the camera loses.
    pub dropped: f32,
    /// Noise of a pixel, code values.
    pub noise_codes: f32,
}

impl Conditions {
    /// A quiet place: the scene's default room.
    pub fn plain(profile: Profile) -> Self {
        Self {
            profile,
            rolling_us: 0,
            distance_mm: 500.0,
            baseline_mm: 90.0,
            aside_mm: [0.0; 2],
            pose_deg: [0.0; 3],
            ambient: 0.1,
            flicker: 0.0,
            lamps: 0.55,
            strength: [1.0; 2],
            sway_px: 0.4,
            glasses: false,
            dropped: 0.0,
            noise_codes: 1.5,
        }
    }

    /// Anything within the limits of use: 350 to 700 mm, head turned up to 15 degrees, ambient infrared up to `ambient`
    /// of full scale, flicker up to 30 %, movement up to 4 pixels a frame, three in ten with glasses.
    pub fn drawn(profile: Profile, ambient: [f32; 2], seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0xc04d);
        let rolling_us = match profile {
            Profile::Fps30 | Profile::Fps30InStep => [0, 12_000],
            Profile::Fps60 => [0, 8_000],
        };
        let turn = 15.0 * random.between(0.0, 1.0).sqrt();
        let (sin, cos) = random.between(0.0, std::f32::consts::TAU).sin_cos();
        Self {
            rolling_us: rolling_us[(random.next() >> 63) as usize],
            distance_mm: random.between(350.0, 700.0),
            baseline_mm: random.between(80.0, 100.0).round(),
            aside_mm: [random.between(-30.0, 30.0), random.between(-40.0, 40.0)],
            pose_deg: [turn * cos, turn * sin, random.between(-8.0, 8.0)],
            ambient: random.between(ambient[0], ambient[1]),
            flicker: if random.between(0.0, 1.0) < 0.5 { random.between(0.0, 0.3) } else { 0.0 },
            strength: [random.between(0.9, 1.1), random.between(0.9, 1.1)],
            // Most people try to stand still.
            sway_px: 0.2 * 20.0_f32.powf(random.between(0.0, 1.0)),
            glasses: random.between(0.0, 1.0) < 0.3,
            dropped: if random.between(0.0, 1.0) < 0.3 { 0.02 } else { 0.0 },
            noise_codes: random.between(1.0, 2.5),
            ..Self::plain(profile)
        }
    }

    /// Focal length of the lens, pixels: 92 pixels between the eyes at 500 mm, as in the scene.
    pub(crate) const FOCAL_PX: f32 = 92.0 * 500.0 / 63.0;

    /// Pixels of the camera per millimetre at the face.
    pub(crate) fn px_per_mm(&self) -> f32 {
        Self::FOCAL_PX / self.distance_mm
    }
}
