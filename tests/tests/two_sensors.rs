//! An infrared and a colour sensor side by side: the light code is judged on one, the template comes from the other. The
//! product's camera thread with its networks, before a simulated pair of cameras in virtual time.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use didar_agent::attempt::event::{Event, Finding, Proof, ProofOrder};
use didar_agent::camera::pair::{PairCamera, Sensor};
use didar_agent::config::Config;
use didar_agent::display::Viewfinder;
use didar_agent::edge::{Camera, CameraError, Controls, Frame, Got, Pick, Switching};
use didar_agent::perception::{Eyes, Lens, Order, Perception, Settings};
use didar_agent::time::Moment;
use didar_protocol::id::{AttemptId, RequestId};
use didar_protocol::light_code::{CodeShape, Light, light_code};
use didar_protocol::reason::Reason;
use didar_protocol::transcript::Spectrum;
use didar_tests::people::{ASTRONAUT, HOPPER, portrait};
use didar_tests::scene::{CameraModel, Filter, HEIGHT, Kiosk, LampLog, PixelOrder, Presentation, Room, Subject, WIDTH};
use didar_vision::{Models, Perceiver, Role, Template};
use tokio::sync::mpsc::{Receiver, channel};

const FRAME_US: u64 = 33_333;
/// The colour lens stands so far to the right of the infrared one.
const ASIDE_MM: i16 = 20;
/// How far frames of a pair may be apart.
const APART: Duration = Duration::from_millis(5);
/// The colour sensor's exposure begins so much later: its driver triggers it after the other.
const LATER_US: u64 = 800;
/// Frames in which a face is found and steady.
const FRAMES_TO_STEADY: u64 = 24;
/// Longest wait for anything: a hang, not a slow machine.
const PATIENCE: Duration = Duration::from_secs(600);
const INFRARED: usize = 0;
const COLOUR: usize = 1;

/// What both cameras see, and how far time has gone.
struct World {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    kiosks: [Kiosk; 2],
    lamps: LampLog,
    /// Frames that each has given.
    given: [u64; 2],
    /// Frames that are there to be given.
    there: u64,
    pulled: Option<usize>,
    later_us: u64,
    /// Allocations for each frame of the infrared sensor.
    allocated: Vec<u64>,
}

struct Eye {
    which: usize,
    world: Arc<World>,
    pixels: Vec<u8>,
}

impl Camera for Eye {
    fn next(&mut self, _: Pick, within: Duration, look: &mut dyn FnMut(&Frame<'_>)) -> Result<Got, CameraError> {
        let Self { which, world, pixels } = self;
        let which = *which;
        let waits = |state: &mut State| state.given[which] == state.there && state.pulled != Some(which);
        let Ok((mut state, _)) = world.changed.wait_timeout_while(world.lock(), within, waits) else {
            return Ok(Got::Nothing);
        };
        if state.pulled == Some(which) {
            return Err(CameraError::Gone {
                path: format!("sensor {which}"),
                cause: std::io::ErrorKind::NotFound.into(),
            });
        }
        if waits(&mut state) {
            return Ok(Got::Nothing);
        }
        let start_us = at_us(state.given[which]) + if which == COLOUR { state.later_us } else { 0 };
        state.given[which] += 1;
        let order = if which == COLOUR { PixelOrder::Yuyv } else { PixelOrder::Grey };
        let State { kiosks, lamps, .. } = &mut *state;
        let recipe = kiosks[which].expose(start_us, lamps);
        kiosks[which].render(&recipe, order, pixels);
        let sequence = state.given[which] as u32;
        drop(state);
        world.changed.notify_all();
        let frame = Frame {
            format: order.format(),
            width: WIDTH as u32,
            height: HEIGHT as u32,
            stride: WIDTH * order.bytes(),
            sequence,
            captured_at: Moment::from_nanos(start_us * 1000),
            pixels,
            beside: None,
        };
        // What the camera's thread does for a frame it does while it is lent; the colour frame is asked for meanwhile.
        let counted = allocation_counter::measure(|| look(&frame));
        if which == INFRARED {
            self.world.lock().allocated.push(counted.count_total);
        }
        Ok(Got::Frame)
    }

    fn control(&mut self, _: Controls) -> Result<(), CameraError> {
        Ok(())
    }

    fn rest(&mut self) {
        let mut state = self.world.lock();
        // Time goes on for both.
        let latest = state.given[INFRARED].max(state.given[COLOUR]);
        state.given = [latest; 2];
    }
}

impl World {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Lets `frames` more frames come and waits until all but the last were looked at.
    fn play(&self, frames: u64) -> Result<()> {
        self.change(|state| state.there += frames);
        let waits = |state: &mut State| state.given[INFRARED] < state.there;
        let waited = self.changed.wait_timeout_while(self.lock(), PATIENCE, waits);
        ensure!(waited.is_ok_and(|(_, waited)| !waited.timed_out()), "nobody takes the frames");
        Ok(())
    }
}

/// When a frame is exposed: the clock began some time ago.
const fn at_us(frame: u64) -> u64 {
    5_000_000 + frame * FRAME_US
}

/// The camera's thread before both sensors, and what it tells.
struct Booth {
    world: Arc<World>,
    eyes: Perception,
    events: Receiver<Event>,
    people: [Arc<Subject>; 2],
    references: [Template; 2],
    threshold: f32,
    attempts: u8,
}

impl Booth {
    fn open(aside_mm: i16) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let models = Models::load(&root.join("models/manifest.toml"))?;
        let mut perceiver = Perceiver::new(&models)?;
        let mut load = |name| Subject::load(&portrait(&root, name), &mut perceiver).map(Arc::new);
        let people = [load(ASTRONAUT)?, load(HOPPER)?];
        let references = [ASTRONAUT, HOPPER].map(|name| reference(&portrait(&root, name), &mut perceiver));
        let [right, other] = references;
        let kiosk = || Kiosk::new(Arc::clone(&people[0]), Room::default(), CameraModel::default(), 11);
        let colour = kiosk().beside(f32::from(ASIDE_MM), Filter::InfraredCut);
        let state = State {
            kiosks: [kiosk(), colour],
            lamps: LampLog::default(),
            given: [0; 2],
            there: 0,
            pulled: None,
            later_us: LATER_US,
            allocated: Vec::new(),
        };
        let world = Arc::new(World { state: Mutex::new(state), changed: Condvar::new() });
        let eye = |which, name: &str| {
            let camera = Eye { which, world: Arc::clone(&world), pixels: Vec::new() };
            Sensor { camera: Box::new(camera), name: name.to_owned() }
        };
        let pair =
            PairCamera::new(eye(INFRARED, "infrared"), eye(COLOUR, "colour"), Duration::from_micros(FRAME_US), APART);
        let config = Config::read(&root.join("firmware-config/agent.toml"))?;
        let mut settings = Settings::of(&config.board, &config.placement, &Arc::default());
        settings.camera.spectrum = Spectrum::ColourAndInfrared;
        settings.beside = Some(Lens { focal_px10: settings.camera.focal_px10, right_mm: aside_mm, down_mm: 0 });
        settings.stall = PATIENCE;
        let (told, events) = channel(256);
        let eyes = Perception::start(Box::new(pair), &models, settings, Viewfinder::default(), told)?;
        let threshold = models.threshold(Role::Embedding, "cosine_far_1e-4").context("the manifest's threshold")?;
        Ok(Self { world, eyes, events, people, references: [right?, other?], threshold, attempts: 0 })
    }

    /// The next event that is no guidance.
    fn told(&mut self) -> Result<Event> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        runtime.block_on(async {
            loop {
                match tokio::time::timeout(PATIENCE, self.events.recv()).await {
                    Ok(Some(Event::Guided(..))) => {}
                    Ok(Some(event)) => return Ok(event),
                    Ok(None) | Err(_) => bail!("nothing was told"),
                }
            }
        })
    }

    /// Somebody is served: the face is found and steady, or what else is told.
    fn watch(&mut self) -> Result<Event> {
        self.attempts += 1;
        self.eyes.order(Order::Watch(RequestId::from_bytes([self.attempts; 16])));
        self.world.change(|state| state.there += FRAMES_TO_STEADY);
        self.told()
    }

    /// Plays a code before a steady face; `middle` happens half-way.
    fn prove(&mut self, middle: impl FnOnce(&mut State)) -> Result<Event> {
        let attempt = AttemptId::from_bytes([self.attempts; 16]);
        let code = light_code(&[self.attempts; 32], &attempt, &"kiosk-0001".parse()?, CodeShape::AT_30);
        let slot_us = 2 * FRAME_US;
        let first = self.world.lock().there + 2;
        // Lamps are switched just before a frame.
        let start_us = at_us(first) - 3_000;
        let moment = |us: u64| Moment::from_nanos(us * 1000);
        let order = ProofOrder { attempt, code: code.clone(), start: moment(start_us), picture: false };
        self.eyes.order(Order::Prove(Box::new(order)));
        for (slot, light) in (0..).zip(code.iter().copied().chain([Light::Off])) {
            let at_us = start_us + slot * slot_us;
            let at = Switching { ordered: moment(at_us), done: moment(at_us) };
            self.eyes.order(Order::Switched { at, light });
            self.world.lock().lamps.switched(at_us + 400, light);
        }
        self.world.play(2 + 12)?;
        self.world.change(middle);
        // The last frames are there before the judge is asked, who would not wait for them for long.
        self.world.change(|state| state.there += 16);
        self.eyes.order(Order::Judge(attempt));
        let event = self.told()?;
        self.eyes.order(Order::Rest);
        Ok(event)
    }

    /// A whole attempt that comes to a proof.
    fn proof(&mut self) -> Result<Box<Proof>> {
        match (self.watch()?, self.prove(|_| {})?) {
            (Event::FaceSteady(_), Event::Proven(proof)) => Ok(proof),
            other => bail!("{other:?}"),
        }
    }

    fn is(&self, proof: &Proof, person: usize) -> Result<bool> {
        let template = Template::from_quantised(proof.template.scale(), proof.template.values())?;
        Ok(template.similarity(&self.references[person]) >= self.threshold)
    }
}

fn reference(portrait: &Path, perceiver: &mut Perceiver) -> Result<Template> {
    let picture = image::open(portrait)?.into_rgb8();
    let (width, height) = picture.dimensions();
    let view = didar_vision::FrameView::new(
        didar_vision::PixelFormat::Rgb8,
        width,
        height,
        width as usize * 3,
        picture.as_raw(),
    )?;
    perceiver.reset();
    let face = perceiver.look(&view)?.face.context("a face")?;
    Ok(perceiver.embed_reference(didar_vision::ReferenceFace::from_document(didar_vision::align(&view, &face)))?)
}

#[test]
fn the_code_is_judged_on_infrared_and_the_template_comes_from_colour() -> Result<()> {
    let mut booth = Booth::open(ASIDE_MM)?;
    let proof = booth.proof()?;
    assert!(booth.is(&proof, 0)? && !booth.is(&proof, 1)?, "the right person is granted");
    let transcript = proof.findings.transcript.as_ref().context("a transcript")?;
    assert_eq!(transcript.camera.spectrum, Spectrum::ColourAndInfrared);
    // The colour sensor sees no lamp: what answered the code was the other one.
    let embedded = transcript.embedded_at_us.context("an embedded frame")?;
    assert!(
        transcript
            .frames
            .iter()
            .any(|frame| frame.at_us == embedded && transcript.code[usize::from(frame.slot)] == Light::Off)
    );

    let other = Arc::clone(&booth.people[1]);
    booth.world.change(|state| state.kiosks.iter_mut().for_each(|kiosk| kiosk.step_up(Arc::clone(&other))));
    let proof = booth.proof()?;
    assert!(booth.is(&proof, 1)? && !booth.is(&proof, 0)?, "another person is denied");

    booth.world.change(|state| state.kiosks.iter_mut().for_each(|kiosk| kiosk.present(Presentation::Print)));
    assert!(matches!(booth.watch()?, Event::FaceSteady(_)));
    match booth.prove(|_| {})? {
        Event::Refuted(refutation) => assert_eq!(refutation.finding, Finding::Spoof, "{:?}", refutation.reason),
        other => bail!("a print: {other:?}"),
    }
    Ok(())
}

#[test]
fn while_a_face_is_watched_nothing_is_allocated_for_a_frame() -> Result<()> {
    const COUNTED: u64 = 12;
    let mut booth = Booth::open(ASIDE_MM)?;
    assert!(matches!(booth.watch()?, Event::FaceSteady(_)));
    booth.world.play(COUNTED)?;
    // The last one may still be looked at.
    booth.world.play(1)?;
    let allocated = booth.world.lock().allocated.clone();
    let steady = &allocated[allocated.len() - COUNTED as usize..];
    assert!(steady.iter().all(|count| *count == 0), "{allocated:?}");
    Ok(())
}

#[test]
fn another_face_before_the_colour_sensor_is_no_proof() -> Result<()> {
    let mut booth = Booth::open(ASIDE_MM)?;
    assert!(matches!(booth.watch()?, Event::FaceSteady(_)));
    let other = Arc::clone(&booth.people[1]);
    match booth.prove(move |state| state.kiosks[COLOUR].step_up(other))? {
        Event::Refuted(refutation) => assert_eq!(refutation.reason, Reason::FaceChanged),
        // It stood elsewhere, and was seen to before the code was over.
        Event::FaceLost(_) => {}
        other => bail!("a face that was changed: {other:?}"),
    }

    // A face that stands where the lenses cannot both see it is nobody's.
    let mut booth = Booth::open(-60)?;
    booth.eyes.order(Order::Watch(RequestId::from_bytes([9; 16])));
    booth.world.play(FRAMES_TO_STEADY)?;
    booth.world.play(1)?;
    while let Ok(event) = booth.events.try_recv() {
        assert!(matches!(event, Event::Guided(..)), "{event:?}");
    }
    Ok(())
}

#[test]
fn either_sensor_that_is_pulled_and_clocks_that_drift_are_faults_and_the_next_attempt_works() -> Result<()> {
    let mut booth = Booth::open(ASIDE_MM)?;
    let fault = |event: &Event| matches!(event, Event::Fault(Reason::CameraFault));
    for sensor in [INFRARED, COLOUR] {
        // While the code plays.
        assert!(matches!(booth.watch()?, Event::FaceSteady(_)));
        let event = booth.prove(|state| state.pulled = Some(sensor))?;
        assert!(fault(&event), "sensor {sensor}: {event:?}");
        booth.mend(|state| state.pulled = None)?;
        // While a face is looked for.
        booth.world.change(|state| state.pulled = Some(sensor));
        let event = booth.watch()?;
        assert!(fault(&event), "sensor {sensor}: {event:?}");
        booth.eyes.order(Order::Rest);
        booth.mend(|state| state.pulled = None)?;
        let proof = booth.proof()?;
        assert!(booth.is(&proof, 0)?, "the next attempt is granted");
    }
    booth.world.change(|state| state.later_us = 12_000);
    let event = booth.watch()?;
    assert!(fault(&event), "clocks apart: {event:?}");
    booth.eyes.order(Order::Rest);
    booth.mend(|state| state.later_us = LATER_US)?;
    let proof = booth.proof()?;
    assert!(booth.is(&proof, 0)?, "the next attempt is granted");
    Ok(())
}

impl Booth {
    /// What was broken is whole again: the thread finds out by itself.
    fn mend(&mut self, change: impl FnOnce(&mut State)) -> Result<()> {
        self.world.change(|state| {
            change(state);
            state.there += 2;
        });
        match self.told()? {
            Event::Mended(Reason::CameraFault) => Ok(()),
            other => bail!("instead of a mended camera: {other:?}"),
        }
    }
}
