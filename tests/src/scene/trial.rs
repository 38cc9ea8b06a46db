//! Attempts in virtual time: a code, a presentation, the product's vision and judge, as fast as they go.

use std::collections::BTreeMap;
use std::fmt;

use didar_agent::perception::sample;
use didar_liveness::{Evidence, Policy, Recording, TranscriptBuilder};
use didar_protocol::id::{AttemptId, DeviceId};
use didar_protocol::light_code::{CodeShape, Light, light_code};
use didar_protocol::message::{Motion, PassiveSummary};
use didar_protocol::transcript::FrameSample;
use didar_vision::{
    AlignedFace, Face, FrameView, LightGrid, Mark, Perceiver, VisionError, align, light_grid, passive_crop,
};

use super::camera::{HEIGHT, PixelOrder, WIDTH};
use super::clockwork::Clockwork;
use super::kiosk::Kiosk;
use super::random::Random;

/// Frames before the code, while the person finds the place.
const FRAMES_BEFORE: u32 = 12;
/// Every so many of them the passive network looks.
const PASSIVE_EVERY: u32 = 3;

/// The code of a seed, as a matcher would choose it.
pub fn code(seed: u64, shape: CodeShape) -> Vec<Light> {
    let mut random = Random::new(seed);
    let mut nonce = [0; 32];
    nonce.chunks_exact_mut(8).for_each(|eight| eight.copy_from_slice(&random.next().to_le_bytes()));
    let device: DeviceId = "simulated".parse().expect("a lawful name");
    light_code(&nonce, &AttemptId::from_bytes([7; 16]), &device, shape)
}

/// One attempt before the kiosk; `None` where no face was found.
///
/// # Errors
/// [`VisionError`] where a network fails to run.
pub fn attempt(
    kiosk: &mut Kiosk,
    perceiver: &mut Perceiver,
    shape: CodeShape,
    seed: u64,
) -> Result<Option<Recording>, VisionError> {
    kiosk.reseed(seed);
    perceiver.reset();
    let code = code(seed, shape);
    let camera = kiosk.camera();
    let mut watch = Watch::new(TranscriptBuilder::new(shape, &code, camera.facts(&kiosk.room())));
    let mut clockwork = Clockwork::new(&code, shape, camera, FRAMES_BEFORE, Random::new(seed ^ 0xc0de));
    let mut pixels = Vec::new();
    while let Some(start_us) = clockwork.next_frame(&mut watch.builder) {
        let before = clockwork.frames() <= FRAMES_BEFORE;
        let recipe = kiosk.expose(start_us, clockwork.lamps());
        kiosk.render(&recipe, PixelOrder::Yuyv, &mut pixels);
        let view = FrameView::new(PixelOrder::Yuyv.format(), WIDTH as u32, HEIGHT as u32, WIDTH * 2, &pixels)
            .expect("the scene's frames are whole");
        let Some(face) = perceiver.look(&view)?.face else { if before { continue } else { return Ok(None) } };
        if before && clockwork.frames() % PASSIVE_EVERY == 1 {
            watch.passive(perceiver, &view, &face)?;
        }
        watch.look(&view, &face, clockwork.since_begin(start_us));
    }
    watch.finish(perceiver, code).map(Some)
}

/// What is gathered while watching.
struct Watch {
    builder: TranscriptBuilder,
    grid: LightGrid,
    previous: Option<([u8; 8], [f32; 2])>,
    path_px: f32,
    motion: Motion,
    llrs: Vec<f32>,
    context_missing: u16,
    first: Option<AlignedFace>,
    last: Option<AlignedFace>,
}

impl Watch {
    fn new(builder: TranscriptBuilder) -> Self {
        Self {
            builder,
            grid: LightGrid::default(),
            previous: None,
            path_px: 0.0,
            motion: Motion::default(),
            llrs: Vec::new(),
            context_missing: 0,
            first: None,
            last: None,
        }
    }

    fn passive(&mut self, perceiver: &mut Perceiver, view: &FrameView<'_>, face: &Face) -> Result<(), VisionError> {
        match passive_crop(view, face) {
            Ok(crop) => self.llrs.push(perceiver.passive(&crop)?.llr),
            Err(_) => self.context_missing += 1,
        }
        Ok(())
    }

    /// `code_us`: start of exposure since the code's begin, if it has begun.
    fn look(&mut self, view: &FrameView<'_>, face: &Face, code_us: Option<u32>) {
        light_grid(view, face, &mut self.grid);
        let middle = face.five.iter().fold([0.0, 0.0], |sum, p| [sum[0] + p[0] / 5.0, sum[1] + p[1] / 5.0]);
        self.motion.frames += 1;
        if let Some((print, place)) = self.previous {
            self.motion.still_pairs += u16::from(print == self.grid.print);
            self.path_px += (middle[0] - place[0]).hypot(middle[1] - place[1]);
        }
        self.previous = Some((self.grid.print, middle));
        if self.first.is_none() {
            self.first = Some(align(view, face));
        }
        let Some(at_us) = code_us else { return };
        self.builder.frame(sample(face, &self.grid, at_us, 0));
        self.last = Some(align(view, face));
    }

    fn finish(mut self, perceiver: &mut Perceiver, code: Vec<Light>) -> Result<Recording, VisionError> {
        let marks: Vec<Mark> = [&self.first, &self.last]
            .into_iter()
            .flatten()
            .map(|face| perceiver.mark(face))
            .collect::<Result<_, _>>()?;
        let continuity = if let [a, b] = &marks[..] { a.similarity(b) } else { 0.0 };
        self.motion.path_px10 = (self.path_px * 10.0) as u32;
        let milli = |llr: f32| (llr * 1000.0) as i32;
        let passive = PassiveSummary {
            frames: u16::try_from(self.llrs.len()).unwrap_or(u16::MAX),
            mean_llr_milli: milli(self.llrs.iter().sum::<f32>() / self.llrs.len().max(1) as f32),
            worst_llr_milli: milli(self.llrs.iter().copied().fold(0.0, f32::min)),
            context_missing: self.context_missing,
        };
        let mut transcript = self.builder.finish();
        // As the agent would: a frame in visible light becomes the template.
        let dark = |frame: &&FrameSample| transcript.code.get(usize::from(frame.slot)) == Some(&Light::Off);
        transcript.embedded_at_us = transcript.frames.iter().find(dark).map(|frame| frame.at_us);
        let continuity_milli = (continuity * 1000.0) as i16;
        Ok(Recording { transcript, code, passive, motion: self.motion, continuity_milli })
    }
}

/// Answers of many attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often each answer came, in the judge's words.
    pub answers: BTreeMap<String, usize>,
    /// Attempts in all.
    pub attempts: usize,
}

impl Tally {
    /// Counts one attempt's evidence; `None` is an attempt without a face.
    pub fn count(&mut self, evidence: Option<&Evidence>) {
        let answer = evidence.map_or_else(|| "no face".to_owned(), |evidence| evidence.answer().to_string());
        *self.answers.entry(answer).or_default() += 1;
        self.attempts += 1;
    }

    /// How many were judged live.
    pub fn live(&self) -> usize {
        self.answers.get("live").copied().unwrap_or(0)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} attempts", self.attempts)?;
        self.answers.iter().try_for_each(|(answer, count)| write!(f, "; {count} {answer}"))
    }
}

/// Runs an attempt per seed before the kiosk as it stands, and judges each.
///
/// # Errors
/// [`VisionError`] where a network fails to run.
pub fn tally(
    kiosk: &mut Kiosk,
    perceiver: &mut Perceiver,
    shape: CodeShape,
    seeds: std::ops::Range<u64>,
    policy: &Policy,
) -> Result<Tally, VisionError> {
    let mut tally = Tally::default();
    for seed in seeds {
        let recording = attempt(kiosk, perceiver, shape, seed)?;
        tally.count(recording.map(|recording| recording.judge(policy)).as_ref());
    }
    Ok(tally)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use didar_vision::Models;

    use super::super::{CameraModel, Presentation, Room, Subject};
    use super::*;

    /// Both portraits, alive and as `attack`s, over seeds that set no threshold.
    struct Hall {
        perceiver: Perceiver,
        kiosks: Vec<Kiosk>,
    }

    impl Hall {
        fn new() -> Self {
            let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            let models = Models::load(&project.join("models/manifest.toml")).unwrap();
            let mut perceiver = Perceiver::new(&models).unwrap();
            let kiosks = ["astronaut.png", "grace_hopper.png"]
                .map(|name| {
                    let path = project.join("models/build/faces").join(name);
                    let subject = Arc::new(Subject::load(&path, &mut perceiver).unwrap());
                    Kiosk::new(subject, Room::default(), CameraModel::default(), 1)
                })
                .into();
            Self { perceiver, kiosks }
        }

        /// Every seed of every portrait must end in one of `answers`.
        fn check(&mut self, presentation: &Presentation, seeds: std::ops::Range<u64>, answers: &[&str]) {
            for (portrait, kiosk) in self.kiosks.iter_mut().enumerate() {
                kiosk.present(presentation.clone());
                for seed in seeds.clone() {
                    let recording = attempt(kiosk, &mut self.perceiver, CodeShape::AT_30, seed).unwrap().unwrap();
                    let evidence = recording.judge(&Policy::shipped());
                    let answer = evidence.answer().to_string();
                    assert!(answers.contains(&&*answer), "portrait {portrait}, seed {seed}: {evidence}");
                }
            }
        }
    }

    #[test]
    fn the_living_are_live_and_their_pictures_are_not() {
        let mut hall = Hall::new();
        hall.check(&Presentation::Live, 70_000..70_003, &["live"]);
        hall.check(&Presentation::Print, 70_000..70_002, &["spoof: no-relief"]);
        hall.check(&Presentation::BentPrint(120.0), 70_000..70_002, &["spoof: no-relief"]);
        // Whether the landmarks' jitter counts as a change of light decides between the first two.
        let spoofs = ["spoof: no-response", "spoof: light-code-wrong", "spoof: still-or-looped"];
        hall.check(&Presentation::Still, 70_000..70_002, &spoofs);
    }

    #[test]
    fn a_recording_of_a_live_attempt_is_a_spoof() {
        let mut hall = Hall::new();
        let video = {
            let Hall { perceiver, kiosks } = &mut hall;
            kiosks[0].start_recording();
            let recording = attempt(&mut kiosks[0], perceiver, CodeShape::AT_30, 71_000).unwrap().unwrap();
            assert!(recording.judge(&Policy::shipped()).answer().is_live());
            kiosks[0].stop_recording()
        };
        hall.kiosks.truncate(1);
        let spoofs = ["spoof: light-code-wrong", "spoof: no-response", "spoof: too-late"];
        hall.check(&Presentation::Recording(video), 71_001..71_004, &spoofs);
    }

    #[test]
    fn one_seed_replays_one_attempt_to_the_last_byte() {
        let mut hall = Hall::new();
        let Hall { perceiver, kiosks } = &mut hall;
        let mut once = || attempt(&mut kiosks[1], perceiver, CodeShape::AT_30, 72_000).unwrap().unwrap().to_cbor();
        assert_eq!(once(), once());
    }
}
