//! The kiosk's front: somebody before a camera and two lamps, one frame at a time.

use std::sync::Arc;

use didar_protocol::transcript::{CameraFacts, Spectrum};

use super::camera::{Maps, PixelOrder, Recipe, Sensor};
use super::lamps::{LampLog, Material, maps};
use super::presentation::{Presentation, RecordedVideo, Sheet, Sway};
use super::random::Random;
use super::subject::{GAMMA, MM_PER_PX, Subject};
use super::surface::{CANVAS, head};

/// Where the subject stands and how light it is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Room {
    /// From the lens to the face, millimetres.
    pub distance_mm: f32,
    /// From the lens to each lamp, millimetres.
    pub baseline_mm: f32,
    /// Ambient light: 1 shows the portrait as it is.
    pub ambient: f32,
    /// Light of one lamp on a white sheet at the face, of full scale.
    pub lamps: f32,
    /// How much the ambient light flickers at 100 Hz, 0 to 1.
    pub flicker: f32,
    /// How much the subject moves; 1 is a person who tries to stand still.
    pub sway: f32,
}

impl Default for Room {
    fn default() -> Self {
        Self { distance_mm: 500.0, baseline_mm: 90.0, ambient: 0.7, lamps: 0.55, flicker: 0.0, sway: 1.0 }
    }
}

/// The camera's timing and sensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CameraModel {
    /// Time between two frames.
    pub frame_us: u32,
    /// Exposure of one frame.
    pub exposure_us: u32,
    /// From the end of the exposure to the frame's arrival.
    pub readout_us: u32,
    /// From the order to the lamps until their light.
    pub lamp_delay_us: u32,
    /// From the first row's exposure to the last row's; 0 for a global shutter. Pictures are painted with 0 only.
    pub rolling_us: u32,
    /// Noise of a pixel, code values.
    pub noise_codes: f32,
}

impl Default for CameraModel {
    fn default() -> Self {
        Self {
            frame_us: 33_333,
            exposure_us: 12_000,
            readout_us: 6_000,
            lamp_delay_us: 400,
            rolling_us: 0,
            noise_codes: 1.5,
        }
    }
}

impl CameraModel {
    /// The facts that a board file would state about this camera in this room.
    pub fn facts(&self, room: &Room) -> CameraFacts {
        CameraFacts {
            gamma_milli: (GAMMA * 1000.0) as u16,
            frame_us: self.frame_us,
            exposure_us: self.exposure_us,
            delay_us: self.lamp_delay_us,
            baseline_mm: room.baseline_mm as u16,
            readout_us: self.rolling_us,
            // The scene draws every face with the same distance between the eyes, wherever it stands.
            focal_px10: (10.0 * room.distance_mm / MM_PER_PX) as u32,
            noise_milli: (1000.0 * self.noise_codes) as u16,
            spectrum: Spectrum::ColourNoFilter,
        }
    }
}

/// Which light a camera's sensor sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The room's light and the lamps'.
    None,
    /// The room's light only: a colour sensor with an infrared filter.
    InfraredCut,
}

/// Somebody before a camera and two lamps.
pub struct Kiosk {
    subject: Arc<Subject>,
    room: Room,
    camera: CameraModel,
    sensor: Sensor,
    filter: Filter,
    /// How far the lens stands to the right of where room and lamps are measured from, pixels at the face.
    aside_px: f32,
    views: Vec<(View, Arc<Maps>)>,
    presentation: Presentation,
    view: usize,
    played: usize,
    sway: Sway,
    random: Random,
    still: Option<Recipe>,
    recorded: Option<Vec<Recipe>>,
}

/// What maps show.
enum View {
    Head(Arc<Subject>),
    Sheet(Arc<Subject>, Sheet),
}

impl PartialEq for View {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Head(a), Self::Head(b)) => Arc::ptr_eq(a, b),
            (Self::Sheet(a, s), Self::Sheet(b, t)) => Arc::ptr_eq(a, b) && s == t,
            (Self::Head(_), Self::Sheet(..)) | (Self::Sheet(..), Self::Head(_)) => false,
        }
    }
}

/// Longest video that is recorded: ten seconds at 30 frames a second.
const RECORDED_MAX: usize = 300;

impl Kiosk {
    /// `subject` alive before the camera; `seed` decides sway and noise.
    pub fn new(subject: Arc<Subject>, room: Room, camera: CameraModel, seed: u64) -> Self {
        let mut kiosk = Self {
            sensor: Sensor::new(GAMMA, camera.noise_codes),
            filter: Filter::None,
            aside_px: 0.0,
            sway: Sway::new(seed, room.sway),
            random: Random::new(seed),
            subject,
            room,
            camera,
            views: Vec::new(),
            presentation: Presentation::Live,
            view: 0,
            played: 0,
            still: None,
            recorded: None,
        };
        kiosk.present(Presentation::Live);
        kiosk
    }

    /// The same through a lens `right_mm` to the right, with a filter before its sensor: the other sensor of a pair, where both
    /// are made with one seed.
    #[must_use]
    pub fn beside(self, right_mm: f32, filter: Filter) -> Self {
        Self { aside_px: right_mm / MM_PER_PX, filter, ..self }
    }

    /// The camera's timing.
    pub fn camera(&self) -> CameraModel {
        self.camera
    }

    /// The room.
    pub fn room(&self) -> Room {
        self.room
    }

    /// Another person steps before the camera, alive.
    pub fn step_up(&mut self, subject: Arc<Subject>) {
        self.subject = subject;
        self.present(Presentation::Live);
    }

    /// Puts something else before the camera.
    pub fn present(&mut self, presentation: Presentation) {
        self.view = self.prepare(&presentation);
        self.played = 0;
        self.still = None;
        self.presentation = presentation;
    }

    /// Paints what `presentation` needs, so that presenting it later takes no time.
    pub fn prepare(&mut self, presentation: &Presentation) -> usize {
        let held = |tilt| Sheet { tilt, radius_mm: f32::INFINITY, across: 0.0 };
        let view = match presentation {
            Presentation::Live | Presentation::Still | Presentation::Recording(_) => View::Head(self.subject.clone()),
            Presentation::Print => View::Sheet(self.subject.clone(), held([0.08, -0.05])),
            Presentation::BentPrint(radius_mm) => {
                View::Sheet(self.subject.clone(), Sheet { tilt: [0.04, -0.03], radius_mm: *radius_mm, across: 0.0 })
            }
            Presentation::Sheet(sheet) => View::Sheet(self.subject.clone(), *sheet),
        };
        self.index_of(view)
    }

    fn index_of(&mut self, view: View) -> usize {
        if let Some(known) = self.views.iter().position(|(other, _)| *other == view) {
            return known;
        }
        let painted = match &view {
            View::Head(subject) => maps(subject, &head(subject), Material::Skin, &self.room),
            View::Sheet(subject, sheet) => maps(subject, &sheet.surface(&CANVAS), Material::Paper, &self.room),
        };
        self.views.push((view, Arc::new(painted)));
        self.views.len() - 1
    }

    /// Moves and flickers as another seed would, without painting anew.
    pub fn reseed(&mut self, seed: u64) {
        self.sway = Sway::new(seed, self.room.sway);
        self.random = Random::new(seed);
        self.still = None;
        self.played = 0;
    }

    /// The frame whose exposure began at `start_us`, under what the lamps did. Asked once per frame, in order.
    pub fn expose(&mut self, start_us: u64, lamps: &LampLog) -> Recipe {
        let fresh = self.fresh(start_us, lamps);
        let recipe = match &self.presentation {
            Presentation::Live | Presentation::Print | Presentation::BentPrint(_) | Presentation::Sheet(_) => fresh,
            Presentation::Still => *self.still.get_or_insert(fresh),
            Presentation::Recording(video) => {
                self.played += 1;
                let index = (self.played - 1) % video.0.len().max(1);
                video.0.get(index).copied().unwrap_or(fresh)
            }
        };
        if let Some(recorded) = &mut self.recorded
            && recorded.len() < RECORDED_MAX
        {
            recorded.push(recipe);
        }
        recipe
    }

    fn fresh(&mut self, start_us: u64, lamps: &LampLog) -> Recipe {
        let end_us = start_us + u64::from(self.camera.exposure_us);
        let mut pose = self.sway.pose(start_us);
        pose.shift_px[0] -= self.aside_px;
        let lit = match self.filter {
            Filter::None => lamps.shares(start_us, end_us),
            Filter::InfraredCut => [0.0; 2],
        };
        Recipe {
            view: self.view,
            pose,
            ambient: 1.0 + self.room.flicker * hundred_hertz(start_us, end_us),
            lit,
            noise: self.random.next(),
        }
    }

    /// Renders a frame; the same recipe gives the same bytes.
    pub fn render(&self, recipe: &Recipe, order: PixelOrder, out: &mut Vec<u8>) {
        self.sensor.render(&self.views[recipe.view].1, recipe, order, out);
    }

    /// Begins to record what the camera sees, as somebody would who listens in.
    pub fn start_recording(&mut self) {
        self.recorded = Some(Vec::new());
    }

    /// Ends the recording.
    pub fn stop_recording(&mut self) -> RecordedVideo {
        RecordedVideo(Arc::new(self.recorded.take().unwrap_or_default()))
    }
}

/// Mean of a wave of 100 Hz over an exposure, -1 to 1.
pub(crate) fn hundred_hertz(start_us: u64, end_us: u64) -> f32 {
    let phase = |at_us: u64| (at_us % 10_000) as f32 / 10_000.0 * std::f32::consts::TAU;
    let whole = end_us.saturating_sub(start_us) as f32 / 10_000.0 * std::f32::consts::TAU;
    (phase(start_us).cos() - (phase(start_us) + whole).cos()) / whole.max(1e-3)
}
