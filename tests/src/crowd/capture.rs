//! One attempt: what is presented, under which lamps it was seen, and the transcript that comes of it.

use std::sync::Arc;

use didar_liveness::{Recording, TranscriptBuilder};
use didar_protocol::light_code::Light;
use didar_protocol::message::{Motion, PassiveSummary};
use didar_protocol::transcript::{CameraFacts, FrameSample, GRID, POINTS};

use crate::scene::clockwork::Clockwork;
use crate::scene::kiosk::{Room, hundred_hertz};
use crate::scene::lamps::LampLog;
use crate::scene::presentation::Sway;
use crate::scene::random::Random;
use crate::scene::subject::GAMMA;

use super::cells::{Lit, Place, Sensor, Texel};
use super::conditions::Conditions;
use super::forms::{Form, Seen};
use super::jitter::Jitter;
use super::lighting::{glass, lit};
use super::person::{Person, five, turned};
use super::sample::{Backdrop, noise_bands, print, row_mm, row_times};

/// Which light the picture shows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Signal {
    /// What the lamps do now.
    Honest,
    /// The room's light only: a video of somebody who was lit by no lamp.
    Unlit,
    /// Another session's code, from its own begin.
    Recorded(Vec<Light>),
    /// What the lamps did so long ago, microseconds.
    Late(u64),
    /// One frame over and over; with noise put on it, or to the pixel the same.
    Still {
        /// Whether noise is put on it.
        noise: bool,
    },
    /// One picture, lit anew by a program that knows what the lamps do now.
    Relit,
    /// So many frames without lamps, over and over.
    Loop(u32),
}

/// One attempt before the camera.
pub struct Capture {
    pub(crate) conditions: Conditions,
    pub(crate) form: Form,
    pub(crate) person: Arc<Person>,
    /// Whose eyes look through holes.
    pub(crate) behind: Arc<Person>,
    pub(crate) signal: Signal,
    /// A screen shows it: it shines by itself, and its glass mirrors the lamps.
    pub(crate) screen: bool,
    /// Worst cosine (x 1000) between the sequence's faces and the embedded one.
    pub(crate) continuity_milli: i16,
    /// Whether the eyes may close.
    pub(crate) blinks: bool,
    pub(crate) seed: u64,
}

/// Uncertainty of a frame's time, microseconds.
const STAMP_US: f32 = 80.0;
/// Frames before the code.
const FRAMES_BEFORE: u32 = 3;

impl Capture {
    /// The conditions.
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// Brightness of the presented person's skin, 0 to 1.
    pub fn tone(&self) -> f32 {
        self.person.tone()
    }

    /// Plays `code`; what comes is what the product would have judged.
    pub fn play(&self, code: &[Light]) -> Recording {
        let mut random = Random::new(self.seed ^ 0x91a7);
        let sensor = Sensor::new(GAMMA);
        let pose = self.conditions.pose_deg.map(f32::to_radians);
        let seen = self.form.seen(&self.person, &self.behind, pose, self.conditions.distance_mm);
        let mut eyes = Session::new(self, &seen, code, &mut random);
        let camera = self.conditions.profile.camera(self.conditions.rolling_us);
        let shape = self.conditions.profile.shape();
        let clock = Random::new(self.seed ^ 0xc0de);
        let mut clockwork = Clockwork::new(code, shape, camera, FRAMES_BEFORE, clock);
        let mut builder = TranscriptBuilder::new(shape, code, self.facts());
        while let Some(start_us) = clockwork.next_frame(&mut builder) {
            let Some(at_us) = clockwork.since_begin(start_us) else { continue };
            if random.between(0.0, 1.0) < self.conditions.dropped {
                continue;
            }
            // A camera's clock and its driver's are never quite as one.
            let stamped_us = at_us + if self.injected() { 0 } else { random.between(0.0, STAMP_US) as u32 };
            let frame = eyes.frame(&sensor, &clockwork, start_us, stamped_us, &mut random);
            builder.frame(frame);
        }
        let mut transcript = builder.finish();
        let dark = |frame: &&FrameSample| code.get(usize::from(frame.slot)) == Some(&Light::Off);
        transcript.embedded_at_us = transcript.frames.iter().find(dark).map(|frame| frame.at_us);
        Recording {
            transcript,
            code: code.to_vec(),
            passive: PASSIVE,
            motion: eyes.motion,
            continuity_milli: self.continuity_milli,
        }
    }

    /// Whether frames come from a program in place of the camera.
    fn injected(&self) -> bool {
        !self.screen && !matches!(self.signal, Signal::Honest | Signal::Late(_))
    }

    fn facts(&self) -> CameraFacts {
        let camera = self.conditions.profile.camera(self.conditions.rolling_us);
        let room = Room { baseline_mm: self.conditions.baseline_mm, ..Room::default() };
        CameraFacts {
            focal_px10: (10.0 * Conditions::FOCAL_PX) as u32,
            noise_milli: (1000.0 * self.conditions.noise_codes) as u16,
            ..camera.facts(&room)
        }
    }
}

/// The passive network says nothing: the attack must fail by light, relief, time and movement alone.
const PASSIVE: PassiveSummary = PassiveSummary { frames: 4, mean_llr_milli: 0, worst_llr_milli: 0, context_missing: 0 };

/// The mesh's numbers of the landmarks that travel in a transcript, in the protocol's order.
const TRAVELLING: [usize; POINTS] = [33, 133, 362, 263, 61, 291, 4, 152];
/// Jitter of one landmark at 92 pixels between the eyes.
const LANDMARK_PX: f32 = 0.25;

/// What lasts over the frames of one attempt.
struct Session<'a> {
    capture: &'a Capture,
    map: Vec<Texel>,
    glass: Option<Vec<Texel>>,
    points: Vec<[f32; 3]>,
    backdrop: Backdrop,
    sway: Sway,
    turning: Sway,
    blink_at: Option<f32>,
    recorded: Option<LampLog>,
    pose: [f32; 3],
    noise_seed: u64,
    frames: u32,
    motion: Motion,
    previous: Option<([u8; 8], [f32; 2])>,
    path_px: f32,
}

impl<'a> Session<'a> {
    fn new(capture: &'a Capture, seen: &Seen, code: &[Light], random: &mut Random) -> Self {
        let conditions = &capture.conditions;
        let map = lit(conditions, seen, capture.screen, random);
        let glass = capture.screen.then(|| glass(conditions, seen, random));
        let px = conditions.px_per_mm();
        let range = |k: usize| {
            let values = seen.points.iter().map(|p| p[k] * px);
            values.fold((f32::MAX, f32::MIN), |(low, high), v| (low.min(v), high.max(v)))
        };
        let ((left, right), (top, bottom)) = (range(0), range(1));
        let middle = [320.0 + conditions.aside_mm[0] * px, 240.0 + conditions.aside_mm[1] * px];
        // The detector's box begins at the brow.
        let box_px = [left + middle[0], top + 0.25 * (bottom - top) + middle[1], right + middle[0], bottom + middle[1]];
        let blinks = capture.blinks && random.between(0.0, 1.0) < 0.2;
        let pose = [0, 1, 2].map(|axis| {
            let error = if axis == 2 { 0.5 } else { 2.0 };
            conditions.pose_deg[axis] + error * random.normal()
        });
        Self {
            capture,
            map,
            glass,
            points: seen.points.clone(),
            backdrop: Backdrop::new(conditions, box_px, random),
            sway: steady(capture.seed, conditions),
            turning: steady(capture.seed ^ 0x7042, conditions),
            blink_at: blinks.then(|| random.between(0.0, 0.5)),
            recorded: recorded(&capture.signal, code, conditions, random),
            pose,
            noise_seed: random.next(),
            frames: 0,
            motion: Motion::default(),
            previous: None,
            path_px: 0.0,
        }
    }

    fn frame(
        &mut self,
        sensor: &Sensor,
        clockwork: &Clockwork,
        start_us: u64,
        at_us: u32,
        random: &mut Random,
    ) -> FrameSample {
        let conditions = &self.capture.conditions;
        let shown = self.shown_frame();
        // A picture that was taken once has its movement, light and noise for ever.
        let mut grain = match shown {
            Some(n) => Random::new(self.noise_seed ^ u64::from(n) << 20),
            None => Random::new(random.next()),
        };
        let moment_us = shown.map_or(start_us, |n| 4_000_000 + u64::from(n) * u64::from(self.frame_us()));
        self.frames += 1;
        let pose = self.sway.pose(moment_us);
        let lit = self.light(clockwork, start_us, moment_us, pose.scale);
        let jitter = Jitter::of(&mut grain, lit.lamps[GRID / 2]);
        let place = self.place(&jitter, pose.turn);
        let mut layers = vec![(&self.map[..], lit)];
        if let Some(glass) = &self.glass {
            layers.push((glass, self.lamps_now(clockwork.lamps(), start_us)));
        }
        let mut noisy = match self.capture.signal {
            Signal::Still { noise: true } => Random::new(random.next()),
            _ => grain.clone(),
        };
        let cells = sensor.read(&layers, &place, &mut noisy);
        let print = print(&cells.means);
        let px = conditions.px_per_mm();
        let centre: [f32; 2] = std::array::from_fn(|k| {
            [320.0, 240.0][k] + (conditions.aside_mm[k] + place.middle[k]) * px + pose.shift_px[k]
        });
        self.note(print, centre);
        let turned = [0, 1, 2].map(|axis| self.pose[axis] + 0.4 * grain.normal());
        let eyes_px = place.across[0].hypot(place.across[1]) * px * pose.scale;
        FrameSample {
            at_us,
            slot: 0,
            pose_cdeg: turned.map(|degrees| (degrees * 100.0).round() as i16),
            eyes_px10: (eyes_px * 10.0).round() as u16,
            centre_px10: centre.map(|v| (v * 10.0).round() as i32),
            means: cells.means,
            clipped: cells.clipped,
            background: self.background(sensor, clockwork, start_us, moment_us, &mut noisy),
            print,
            rows_milli: [-66.0, 66.0].map(|y| (conditions.row_of(y) * 1000.0).clamp(0.0, 1000.0) as u16),
            points_px10: self.landmarks(moment_us, &mut grain),
            noise_x256: noise_bands(&cells.means, conditions.noise_codes, &mut noisy),
            eyes_open: ((1.0 - lit.closed) * 75.0 + 4.0 * grain.normal()).clamp(0.0, 100.0) as u8,
            track: 0,
        }
    }

    /// The landmarks that travel, from the centre: head and hand turn a little all the time.
    fn landmarks(&self, moment_us: u64, grain: &mut Random) -> [i16; 2 * POINTS] {
        let conditions = &self.capture.conditions;
        let [yaw, pitch] = self.turning.pose(moment_us).shift_px.map(|v| (0.3 * v).to_radians());
        let px = conditions.px_per_mm();
        let all: Vec<[f32; 2]> = TRAVELLING
            .iter()
            .map(|&landmark| {
                let [x, y, z] = turned(self.points[landmark], [yaw, pitch, 0.0]);
                let near = px * conditions.distance_mm / (conditions.distance_mm - z).max(1.0);
                [x, y].map(|v| v * near + LANDMARK_PX * px / 1.46 * grain.normal())
            })
            .collect();
        // The centre is that of eyes, nose and mouth; each eye's is between its corners.
        let centre = [0, 1].map(|k| {
            let eyes = (all[0][k] + all[1][k] + all[2][k] + all[3][k]) / 2.0;
            (eyes + all[4][k] + all[5][k] + all[6][k]) / 5.0
        });
        std::array::from_fn(|i| ((all[i / 2][i % 2] - centre[i % 2]) * 10.0).round() as i16)
    }

    /// What is behind a screen or a face sees today's lamps; what is behind a video is part of the video.
    fn background(
        &self,
        sensor: &Sensor,
        clockwork: &Clockwork,
        start_us: u64,
        moment_us: u64,
        noisy: &mut Random,
    ) -> Vec<u16> {
        let read = |lit_us: u64, log: &LampLog, noisy: &mut Random| {
            self.backdrop.read(sensor, &self.capture.conditions, [moment_us, lit_us], log, noisy)
        };
        let dark = LampLog::default();
        match (&self.capture.signal, &self.recorded) {
            _ if self.capture.screen => read(start_us, clockwork.lamps(), noisy),
            (Signal::Honest | Signal::Relit, _) => read(start_us, clockwork.lamps(), noisy),
            (Signal::Late(by_us), _) => read(start_us.saturating_sub(*by_us), clockwork.lamps(), noisy),
            (Signal::Recorded(_), Some(log)) => read(start_us, log, noisy),
            (Signal::Recorded(_) | Signal::Unlit | Signal::Still { .. } | Signal::Loop(_), _) => {
                read(start_us, &dark, noisy)
            }
        }
    }

    fn frame_us(&self) -> u32 {
        self.capture.conditions.profile.camera(0).frame_us
    }

    /// Which of its few pictures is shown, where the same ones come again.
    fn shown_frame(&self) -> Option<u32> {
        match self.capture.signal {
            Signal::Still { .. } | Signal::Relit => Some(0),
            Signal::Loop(frames) => Some(self.frames % frames.max(1)),
            Signal::Honest | Signal::Unlit | Signal::Recorded(_) | Signal::Late(_) => None,
        }
    }

    fn light(&self, clockwork: &Clockwork, start_us: u64, moment_us: u64, scale: f32) -> Lit {
        let conditions = &self.capture.conditions;
        let mut lit = match (&self.capture.signal, &self.recorded) {
            (Signal::Honest | Signal::Relit, _) => self.lamps_now(clockwork.lamps(), start_us),
            (Signal::Late(by_us), _) => self.lamps_now(clockwork.lamps(), start_us.saturating_sub(*by_us)),
            (Signal::Recorded(_), Some(log)) => self.lamps_now(log, start_us),
            (Signal::Recorded(_) | Signal::Unlit | Signal::Still { .. } | Signal::Loop(_), _) => Lit::default(),
        };
        for row in 0..GRID {
            let (from, until) = row_times(conditions, moment_us, conditions.row_of(row_mm(row)));
            lit.ambient[row] = 1.0 + conditions.flicker * hundred_hertz(from, until);
            // Nearer is brighter.
            lit.lamps[row] = lit.lamps[row].map(|share| share * scale * scale);
        }
        if let Some(at) = self.blink_at {
            let since = start_us as f32 / 1e6 - 5.1 - at;
            lit.closed = if (0.0..0.15).contains(&since) { 1.0 } else { 0.0 };
        }
        lit
    }

    fn lamps_now(&self, log: &LampLog, start_us: u64) -> Lit {
        let conditions = &self.capture.conditions;
        let mut lit = Lit::default();
        for row in 0..GRID {
            let (from, until) = row_times(conditions, start_us, conditions.row_of(row_mm(row)));
            lit.lamps[row] = log.shares(from, until);
        }
        lit
    }

    fn place(&self, jitter: &Jitter, turn: f32) -> Place {
        let [right, left, mouth_a, mouth_b] = five(&self.points);
        let across = [left[0] - right[0], left[1] - right[1]];
        let eyes = across[0].hypot(across[1]);
        let middle = [0, 1].map(|k| (right[k] + left[k] + mouth_a[k] + mouth_b[k]) / 4.0 + jitter.shift[k] * eyes);
        // The head leans with the sway, and the grid with it: on the face it stays where it was.
        let _ = turn;
        let (sin, cos) = jitter.turn.sin_cos();
        let size = 1.0 + jitter.scale;
        let across = [across[0] * cos - across[1] * sin, across[0] * sin + across[1] * cos].map(|v| v * size);
        let conditions = &self.capture.conditions;
        Place { middle, across, px_per_mm: conditions.px_per_mm(), noise_codes: conditions.noise_codes }
    }

    fn note(&mut self, print: [u8; 8], centre: [f32; 2]) {
        self.motion.frames += 1;
        if let Some((last, place)) = self.previous {
            self.motion.still_pairs += u16::from(last == print);
            self.path_px += (centre[0] - place[0]).hypot(centre[1] - place[1]);
        }
        self.motion.path_px10 = (self.path_px * 10.0) as u32;
        self.previous = Some((print, centre));
    }
}

/// Sway whose fastest step between two frames is the conditions'.
fn steady(seed: u64, conditions: &Conditions) -> Sway {
    let frame_us = u64::from(conditions.profile.camera(0).frame_us);
    let still = Sway::new(seed, 1.0);
    let places: Vec<[f32; 2]> = (0..30).map(|n| still.pose(5_000_000 + n * frame_us).shift_px).collect();
    let fastest = places.windows(2).map(|w| (w[1][0] - w[0][0]).hypot(w[1][1] - w[0][1])).fold(0.01, f32::max);
    Sway::new(seed, conditions.sway_px / fastest)
}

/// What the lamps did in the session that was recorded.
fn recorded(signal: &Signal, code: &[Light], conditions: &Conditions, random: &mut Random) -> Option<LampLog> {
    let Signal::Recorded(other) = signal else { return None };
    let frame_us = u64::from(conditions.profile.camera(0).frame_us);
    let slot_us = frame_us * u64::from(conditions.profile.shape().frames_per_slot);
    let mut log = LampLog::default();
    // The attacker starts it when the session starts, as well as he can.
    let begin = 5_000_000 + u64::from(FRAMES_BEFORE) * frame_us + random.between(0.0, 2.0 * frame_us as f32) as u64;
    for (slot, light) in other.iter().cycle().take(2 * code.len()).enumerate() {
        log.switched(begin + slot as u64 * slot_us, *light);
    }
    Some(log)
}
