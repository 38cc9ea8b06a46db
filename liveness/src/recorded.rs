//! Recordings: the judge's inputs as a file, JSON for people and CBOR for size, to judge again offline.
//!
//! A recording holds a coarse picture of a face (12 x 12 cells per frame) and no template, no photograph, no identity.

use didar_protocol::light_code::{CodeShape, Light};
use didar_protocol::message::{Motion, PassiveSummary};
use didar_protocol::transcript::{BACKGROUND_MAX, CELLS, CameraFacts, FRAMES_MAX, FrameSample, LightTranscript};
use didar_protocol::transcript::{NOISE_BANDS, POINTS, SWITCHES_MAX, Spectrum, Switch};
use serde::{Deserialize, Serialize};

use crate::evidence::Evidence;
use crate::policy::Policy;

/// Everything that [`judge`](crate::judge()) takes, except the policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// What the camera saw.
    pub transcript: LightTranscript,
    /// The code that the challenge demanded.
    pub code: Vec<Light>,
    /// What the passive network said.
    pub passive: PassiveSummary,
    /// How the face moved.
    pub motion: Motion,
    /// Worst cosine (x 1000) between the sequence's faces and the embedded one.
    pub continuity_milli: i16,
}

/// Why bytes are no recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// Longer than any recording; nothing was parsed.
    #[error("the recording has {found} bytes; at most {BYTES_MAX} are read")]
    TooLarge {
        /// Bytes that came.
        found: usize,
    },
    /// Neither JSON nor a CBOR map.
    #[error("the recording is neither JSON (begins with '{{') nor CBOR (begins with a map): first byte {found:?}")]
    NoFormat {
        /// The first byte, if any.
        found: Option<u8>,
    },
    /// Begins like JSON but is not; the message names line and column.
    #[error("the recording's JSON cannot be read: {0}")]
    Json(#[source] serde_json::Error),
    /// Begins like CBOR but is not; the message names the place.
    #[error("the recording's CBOR cannot be read: {0}")]
    Cbor(#[source] serde_cbor::Error),
    /// A value is outside its bounds.
    #[error("the recording's {field} is {found}; {needed} is needed")]
    Bounds {
        /// Which field.
        field: &'static str,
        /// What it is.
        found: u64,
        /// What it may be.
        needed: &'static str,
    },
}

/// Longest recording that is read: the largest one in JSON is some 200 KiB.
pub const BYTES_MAX: usize = 1024 * 1024;

/// Reads a recording, JSON or CBOR by its first byte.
///
/// # Errors
/// [`RecordingError`] names what is wrong and where.
pub fn read(bytes: &[u8]) -> Result<Recording, RecordingError> {
    if bytes.len() > BYTES_MAX {
        return Err(RecordingError::TooLarge { found: bytes.len() });
    }
    let first = bytes.iter().copied().find(|byte| !byte.is_ascii_whitespace());
    let file: File = match first {
        Some(b'{') => serde_json::from_slice(bytes).map_err(RecordingError::Json)?,
        // Major type 5: a map.
        Some(0xa0..=0xbf) => serde_cbor::from_slice(bytes).map_err(RecordingError::Cbor)?,
        found => return Err(RecordingError::NoFormat { found }),
    };
    file.checked()
}

impl Recording {
    /// Judges it, as the device and the matcher did.
    pub fn judge(&self, policy: &Policy) -> Evidence {
        crate::judge(&self.transcript, &self.code, &self.passive, &self.motion, self.continuity_milli, policy)
    }

    /// The recording as JSON, one line per frame.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&File::of(self)).expect("numbers and texts always have JSON")
    }

    /// The recording as CBOR.
    pub fn to_cbor(&self) -> Vec<u8> {
        serde_cbor::to_vec(&File::of(self)).expect("numbers and texts always have CBOR")
    }
}

/// The file's own form; everything in it is checked on the way to the domain's types.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u8,
    /// Slots, frames per slot, wrong slots allowed.
    shape: [u8; 3],
    code: Vec<u8>,
    demanded: Vec<u8>,
    camera: CameraFile,
    /// Microseconds and light of each switch.
    switches: Vec<(u32, u8)>,
    mixed: u16,
    embedded_at_us: Option<u32>,
    passive: PassiveFile,
    motion: MotionFile,
    continuity_milli: i16,
    frames: Vec<FrameFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CameraFile {
    gamma_milli: u16,
    frame_us: u32,
    exposure_us: u32,
    delay_us: u32,
    baseline_mm: u16,
    readout_us: u32,
    focal_px10: u32,
    noise_milli: u16,
    spectrum: u8,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PassiveFile {
    frames: u16,
    mean_llr_milli: i32,
    worst_llr_milli: i32,
    context_missing: u16,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MotionFile {
    frames: u16,
    still_pairs: u16,
    path_px10: u32,
    blink: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FrameFile {
    at_us: u32,
    slot: u8,
    pose_cdeg: [i16; 3],
    eyes_px10: u16,
    centre_px10: [i32; 2],
    means: Vec<u16>,
    clipped: Vec<u8>,
    background: Vec<u16>,
    print: [u8; 8],
    rows_milli: [u16; 2],
    points_px10: [i16; 2 * POINTS],
    noise_x256: [u16; NOISE_BANDS],
    eyes_open: u8,
    track: u8,
}

/// The only version that is read and written.
const VERSION: u8 = 1;

impl File {
    fn of(recording: &Recording) -> Self {
        let Recording { transcript, code, passive, motion, continuity_milli } = recording;
        let shape = transcript.shape;
        let camera = &transcript.camera;
        Self {
            version: VERSION,
            shape: [shape.slots, shape.frames_per_slot, shape.wrong_allowed],
            code: transcript.code.iter().map(|light| *light as u8).collect(),
            demanded: code.iter().map(|light| *light as u8).collect(),
            camera: CameraFile {
                gamma_milli: camera.gamma_milli,
                frame_us: camera.frame_us,
                exposure_us: camera.exposure_us,
                delay_us: camera.delay_us,
                baseline_mm: camera.baseline_mm,
                readout_us: camera.readout_us,
                focal_px10: camera.focal_px10,
                noise_milli: camera.noise_milli,
                spectrum: camera.spectrum as u8,
            },
            switches: transcript.switches.iter().map(|switch| (switch.at_us, switch.light as u8)).collect(),
            mixed: transcript.mixed,
            embedded_at_us: transcript.embedded_at_us,
            passive: PassiveFile {
                frames: passive.frames,
                mean_llr_milli: passive.mean_llr_milli,
                worst_llr_milli: passive.worst_llr_milli,
                context_missing: passive.context_missing,
            },
            motion: MotionFile {
                frames: motion.frames,
                still_pairs: motion.still_pairs,
                path_px10: motion.path_px10,
                blink: motion.blink,
            },
            continuity_milli: *continuity_milli,
            frames: transcript.frames.iter().map(FrameFile::of).collect(),
        }
    }

    fn checked(self) -> Result<Recording, RecordingError> {
        bound("version", u64::from(self.version), self.version == VERSION, "1")?;
        let [slots, frames_per_slot, wrong_allowed] = self.shape;
        let shape = CodeShape::new(slots, frames_per_slot, wrong_allowed).ok_or(RecordingError::Bounds {
            field: "number of slots",
            found: slots.into(),
            needed: "12 to 16, with a tolerance that holds the guess bound,",
        })?;
        let code = lights("code", &self.code)?;
        length("code's length", code.len(), 1, SLOTS_MAX, "1 to 32")?;
        let demanded = lights("demanded", &self.demanded)?;
        length("demanded code's length", demanded.len(), 1, SLOTS_MAX, "1 to 32")?;
        length("number of switches", self.switches.len(), 0, SWITCHES_MAX, "0 to 34")?;
        length("number of frames", self.frames.len(), 0, FRAMES_MAX, "0 to 48")?;
        let switches =
            self.switches.into_iter().map(|(at_us, number)| Ok(Switch { at_us, light: light("switch", number)? }));
        let transcript = LightTranscript {
            shape,
            code,
            camera: self.camera.checked()?,
            switches: switches.collect::<Result<_, RecordingError>>()?,
            frames: self.frames.into_iter().map(FrameFile::checked).collect::<Result<_, _>>()?,
            mixed: self.mixed,
            embedded_at_us: self.embedded_at_us,
        };
        let PassiveFile { frames, mean_llr_milli, worst_llr_milli, context_missing } = self.passive;
        let passive = PassiveSummary { frames, mean_llr_milli, worst_llr_milli, context_missing };
        let MotionFile { frames, still_pairs, path_px10, blink } = self.motion;
        let motion = Motion { frames, still_pairs, path_px10, blink };
        Ok(Recording { transcript, code: demanded, passive, motion, continuity_milli: self.continuity_milli })
    }
}

impl CameraFile {
    fn checked(self) -> Result<CameraFacts, RecordingError> {
        let spectrum = match self.spectrum {
            0 => Spectrum::ColourNoFilter,
            1 => Spectrum::ColourAndInfrared,
            2 => Spectrum::Infrared,
            other => {
                return Err(RecordingError::Bounds { field: "spectrum", found: other.into(), needed: "0, 1 or 2" });
            }
        };
        let Self { gamma_milli, frame_us, exposure_us, readout_us, delay_us, .. } = self;
        let Self { baseline_mm, focal_px10, noise_milli, .. } = self;
        Ok(CameraFacts {
            gamma_milli,
            frame_us,
            exposure_us,
            readout_us,
            delay_us,
            baseline_mm,
            focal_px10,
            noise_milli,
            spectrum,
        })
    }
}

impl FrameFile {
    fn of(frame: &FrameSample) -> Self {
        Self {
            at_us: frame.at_us,
            slot: frame.slot,
            pose_cdeg: frame.pose_cdeg,
            eyes_px10: frame.eyes_px10,
            centre_px10: frame.centre_px10,
            means: frame.means.to_vec(),
            clipped: frame.clipped.to_vec(),
            background: frame.background.clone(),
            print: frame.print,
            rows_milli: frame.rows_milli,
            points_px10: frame.points_px10,
            noise_x256: frame.noise_x256,
            eyes_open: frame.eyes_open,
            track: frame.track,
        }
    }

    fn checked(self) -> Result<FrameSample, RecordingError> {
        length("frame's background cells", self.background.len(), 0, BACKGROUND_MAX, "0 to 32")?;
        let (means, clipped) = (self.means.len() as u64, self.clipped.len() as u64);
        let short = |field, found| RecordingError::Bounds { field, found, needed: "144" };
        Ok(FrameSample {
            at_us: self.at_us,
            slot: self.slot,
            pose_cdeg: self.pose_cdeg,
            eyes_px10: self.eyes_px10,
            centre_px10: self.centre_px10,
            means: <[u16; CELLS]>::try_from(self.means).map_err(|_| short("frame's means", means))?,
            clipped: <[u8; CELLS]>::try_from(self.clipped).map_err(|_| short("frame's clipped shares", clipped))?,
            background: self.background,
            print: self.print,
            rows_milli: self.rows_milli,
            points_px10: self.points_px10,
            noise_x256: self.noise_x256,
            eyes_open: self.eyes_open,
            track: self.track,
        })
    }
}

/// Most slots that a recording may hold; lawful codes have 16 at most.
const SLOTS_MAX: usize = 32;

fn lights(field: &'static str, numbers: &[u8]) -> Result<Vec<Light>, RecordingError> {
    numbers.iter().map(|&number| light(field, number)).collect()
}

fn light(field: &'static str, number: u8) -> Result<Light, RecordingError> {
    Light::try_from(number).map_err(|_| RecordingError::Bounds { field, found: number.into(), needed: "0 to 3" })
}

fn length(
    field: &'static str,
    found: usize,
    low: usize,
    high: usize,
    needed: &'static str,
) -> Result<(), RecordingError> {
    bound(field, found as u64, (low..=high).contains(&found), needed)
}

fn bound(field: &'static str, found: u64, lawful: bool, needed: &'static str) -> Result<(), RecordingError> {
    if lawful { Ok(()) } else { Err(RecordingError::Bounds { field, found, needed }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, code};

    fn recording() -> Recording {
        Recording {
            transcript: World::face(5).play(&code(5)),
            code: code(5),
            passive: PassiveSummary { frames: 9, mean_llr_milli: -3, worst_llr_milli: -9, context_missing: 1 },
            motion: Motion { frames: 30, still_pairs: 0, path_px10: 77, blink: false },
            continuity_milli: 812,
        }
    }

    #[test]
    fn both_forms_read_back_and_judge_the_same() {
        let recording = recording();
        let policy = Policy::shipped();
        for bytes in [recording.to_json().into_bytes(), recording.to_cbor()] {
            let again = read(&bytes).expect("our own recording");
            assert_eq!(again, recording);
            assert_eq!(again.judge(&policy).to_bytes(), recording.judge(&policy).to_bytes());
        }
    }

    #[test]
    fn what_is_no_recording_is_named() {
        let json = recording().to_json();
        let fails = |bytes: &[u8]| read(bytes).expect_err("not a recording").to_string();
        assert!(fails(b"").contains("first byte None"));
        assert!(fails(b"PNG").contains("first byte Some(80)"));
        assert!(fails(&vec![b' '; BYTES_MAX + 1]).contains("at most 1048576"));
        assert!(fails(&json.as_bytes()[..json.len() / 2]).contains("line 1"));
        assert!(fails(json.replace("\"version\":1", "\"version\":9").as_bytes()).contains("version is 9"));
        assert!(fails(json.replacen("\"means\":[", "\"means\":[1,", 1).as_bytes()).contains("means is 145"));
        assert!(fails(json.replace("\"spectrum\":0", "\"spectrum\":7").as_bytes()).contains("spectrum is 7"));
        assert!(fails(&recording().to_cbor()[..300]).contains("CBOR"));
    }
}
