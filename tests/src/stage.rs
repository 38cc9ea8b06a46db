//! The demo's stage: one kiosk with somebody before it, attempts by its application, pictures of what was seen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use didar_protocol::light_code::Light;
use image::RgbImage;
use serde_json::{Value, json};

use crate::kiosk_app::KioskApp;
use crate::scene::{Bridge, CameraModel, Kiosk, PixelOrder, Presentation, RecordedVideo, Room, Screen, Subject};
use crate::site::KioskSite;

/// One kiosk with somebody before it.
pub struct Stage {
    bridge: Arc<Bridge>,
    app: KioskApp,
    pictures: PathBuf,
    screens: Arc<Mutex<Vec<Screen>>>,
}

/// How one attempt went, as the kiosk's application saw it.
#[derive(Clone, Debug)]
pub struct Attempted {
    /// The outcome's name.
    pub outcome: String,
    /// The reason's name.
    pub reason: String,
    /// What the person is told, in English.
    pub text: String,
    /// From the request to the outcome.
    pub took: Duration,
    /// When each stage began.
    pub stages: Vec<(String, Duration)>,
    /// How often it was tried: an inconclusive capture is tried again.
    pub tries: u32,
}

/// The outcome that the story expects.
#[derive(Clone, Copy, Debug)]
pub struct Ending(pub &'static str);

impl Ending {
    /// Recognised.
    pub const GRANT: Self = Self("grant");
    /// Not the same person.
    pub const DENY: Self = Self("deny");
    /// A fake.
    pub const SPOOF: Self = Self("spoof");
    /// No connection.
    pub const OFFLINE: Self = Self("offline");
    /// Not let in at all.
    pub const REFUSED: Self = Self("refused");
}

/// How often a person tries before they turn to the help desk.
const TRIES_MAX: u32 = 4;
/// Longest wait for an attempt to end.
const ATTEMPT_MAX: Duration = Duration::from_secs(60);
/// Longest wait for the connection.
const CONNECT_MAX: Duration = Duration::from_secs(40);
/// How often the stage looks at lamps and state.
const LOOK: Duration = Duration::from_millis(10);
/// So long the lamps must have been steady for the camera's picture to show them.
const STEADY: Duration = Duration::from_millis(48);
/// Seed of sway and noise: the same story every time, as far as real time allows.
const SEED: u64 = 20_260_712;

/// A consent that covers `purpose` from now for an hour.
pub fn consent(purpose: &str) -> Value {
    let now = jiff::Timestamp::now();
    let at = |seconds: i64| (now + jiff::SignedDuration::from_secs(seconds)).to_string();
    json!({
        "given_at": at(-5),
        "expires_at": at(3_600),
        "purpose": purpose,
        "method": "screen",
        "text_version": "2026-07",
    })
}

impl Stage {
    /// Puts `subject` before the kiosk; pictures go to `pictures`.
    pub fn open(kiosk: &KioskSite, subject: Arc<Subject>, pictures: &Path) -> Result<Self> {
        std::fs::create_dir_all(pictures)?;
        let screens = Arc::new(Mutex::new(Vec::<Screen>::new()));
        let shown = Arc::clone(&screens);
        let scene = Kiosk::new(subject, Room::default(), CameraModel::default(), SEED);
        let bridge = Bridge::open(&kiosk.bridge, scene, PixelOrder::Yuyv, move |screen| {
            let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            match shown.last_mut() {
                Some(last) if said_alike(last, screen) => *last = screen.clone(),
                _ => shown.push(screen.clone()),
            }
        })?;
        bridge.prepare(&Presentation::Print);
        Ok(Self { bridge: Arc::new(bridge), app: KioskApp::new(&kiosk.api), pictures: pictures.to_path_buf(), screens })
    }

    /// Another person steps before the kiosk.
    pub fn step_up(&self, subject: Arc<Subject>) {
        self.bridge.step_up(subject);
    }

    /// Something else is held before the camera.
    pub fn present(&self, presentation: Presentation) {
        self.bridge.present(presentation);
    }

    /// Somebody begins to record what the camera sees.
    pub fn start_recording(&self) {
        self.bridge.start_recording();
    }

    /// The recording is in hand.
    pub fn stop_recording(&self) -> RecordedVideo {
        self.bridge.stop_recording()
    }

    /// A stopwatch.
    #[expect(clippy::disallowed_methods, reason = "the demo measures real time")]
    pub fn clock(&self) -> Instant {
        Instant::now()
    }

    /// Waits until the kiosk says that it is connected.
    pub async fn wait_until_connected(&self) -> Result<()> {
        let begun = self.clock();
        while begun.elapsed() < CONNECT_MAX {
            if self.app.state().await.is_ok_and(|state| state.body["connected"] == true) {
                return Ok(());
            }
            pause(LOOK * 10).await;
        }
        bail!("the kiosk was not connected within {CONNECT_MAX:?}")
    }

    /// An attempt by the kiosk's application; `name` names its pictures. A person who is told that the capture did not
    /// suffice tries again, as the screen says: here a machine that is too busy to deliver frames in time causes that.
    pub async fn attempt(&mut self, name: &str, request: &Value) -> Result<Attempted> {
        let mut attempted = self.attempt_once(name, request).await?;
        while attempted.outcome == "inconclusive" && attempted.tries < TRIES_MAX {
            let tries = attempted.tries + 1;
            attempted = Attempted { tries, ..self.attempt_once(name, request).await? };
        }
        Ok(attempted)
    }

    async fn attempt_once(&mut self, name: &str, request: &Value) -> Result<Attempted> {
        let begun = self.clock();
        let asked = self.app.ask(request).await?;
        if asked.status != 201 {
            return Ok(refused(&asked.body, begun.elapsed()));
        }
        let id = asked.body["id"].as_str().context("an id")?.to_owned();
        self.take_screens();
        let mut stages = Vec::new();
        let mut outcome = None;
        {
            let follow = self.app.follow(&id, |event, data| {
                if event == "outcome" {
                    outcome = Some((data.clone(), begun.elapsed()));
                } else if stages.last().is_none_or(|(last, _): &(String, Duration)| *last != said(event, data)) {
                    stages.push((said(event, data), begun.elapsed()));
                }
            });
            let camera = photograph(Arc::clone(&self.bridge), &self.pictures, name);
            tokio::select! {
                followed = tokio::time::timeout(ATTEMPT_MAX, follow) => followed.context("the attempt did not end")??,
                stopped = camera => stopped?,
            }
        }
        let (body, took) = outcome.context("the events ended without an outcome")?;
        pause(LOOK * 20).await;
        self.keep_screens(name)?;
        self.wait_until_idle().await?;
        let word = |field: &str| body[field].as_str().unwrap_or("").to_owned();
        Ok(Attempted { outcome: word("outcome"), reason: reason(&body), text: english(&body), took, stages, tries: 1 })
    }

    /// An attempt during which another one is asked for, and which is then cancelled: its outcome, and the HTTP status
    /// of the second request.
    pub async fn interrupted(&self, request: &Value) -> Result<(String, u16)> {
        let asked = self.app.ask(request).await?;
        let id = asked.body["id"].as_str().context("an id")?.to_owned();
        let second = self.app.ask(request).await?;
        let cancelled = self.app.cancel(&id).await?;
        if cancelled.status != 204 {
            bail!("cancelling answered {}: {}", cancelled.status, cancelled.body);
        }
        self.wait_until_idle().await?;
        let outcome = self.app.read(&id).await?.body["outcome"].as_str().unwrap_or("").to_owned();
        Ok((outcome, second.status))
    }

    /// The camera sends nothing any more.
    pub fn pull_camera(&self) {
        self.bridge.pull_camera();
    }

    /// The camera sends again; returns when the agent has noticed.
    pub async fn plug_camera(&self) -> Result<()> {
        self.bridge.plug_camera();
        let begun = self.clock();
        while begun.elapsed() < CONNECT_MAX {
            if self.app.state().await?.body["faults"].as_array().is_some_and(Vec::is_empty) {
                return Ok(());
            }
            pause(LOOK * 10).await;
        }
        bail!("the camera's fault was not mended within {CONNECT_MAX:?}")
    }

    async fn wait_until_idle(&self) -> Result<()> {
        let begun = self.clock();
        while begun.elapsed() < ATTEMPT_MAX {
            if self.app.state().await?.body["serving"].is_null() {
                return Ok(());
            }
            pause(LOOK * 5).await;
        }
        bail!("the kiosk still serves the last attempt")
    }

    fn take_screens(&self) -> Vec<Screen> {
        std::mem::take(&mut *self.screens.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep_screens(&self, name: &str) -> Result<()> {
        for (index, screen) in self.take_screens().iter().enumerate() {
            save(&screen.to_rgb(), &self.pictures.join(format!("{name}-screen-{index:02}.png")))?;
        }
        Ok(())
    }
}

/// Whether two pictures differ in the live oval on the left alone: then they say the same, and the newer one is kept.
fn said_alike(one: &Screen, other: &Screen) -> bool {
    one.width == other.width && words(one).eq(words(other))
}

/// The right half of each row, where the words stand.
fn words(screen: &Screen) -> impl Iterator<Item = &[u16]> {
    let width = usize::from(screen.width);
    screen.pixels.chunks_exact(width).map(move |row| &row[width / 2..])
}

/// Photographs what the camera sees under each state of the lamps, until it is dropped.
async fn photograph(bridge: Arc<Bridge>, pictures: &Path, name: &str) -> Result<()> {
    let mut seen = BTreeMap::<u8, ()>::new();
    let (mut light, mut steady) = (Light::Off, Duration::ZERO);
    loop {
        pause(LOOK).await;
        let now = bridge.lamps();
        steady = if now == light { steady + LOOK } else { Duration::ZERO };
        light = now;
        if steady < STEADY || seen.contains_key(&(light as u8)) {
            continue;
        }
        if let Some(picture) = bridge.snapshot() {
            seen.insert(light as u8, ());
            let state = format!("{light:?}").to_lowercase();
            save(&picture, &pictures.join(format!("{name}-camera-{state}.png")))?;
        }
    }
}

fn refused(problem: &Value, took: Duration) -> Attempted {
    let word = |field: &str| problem[field].as_str().unwrap_or("").to_owned();
    Attempted {
        outcome: "refused".to_owned(),
        reason: reason(problem),
        text: format!("{}: {}", word("title"), word("detail")),
        took,
        stages: Vec::new(),
        tries: 1,
    }
}

fn reason(body: &Value) -> String {
    let reason = &body["reason"];
    reason.as_str().or_else(|| reason["name"].as_str()).unwrap_or("").to_owned()
}

fn english(body: &Value) -> String {
    let text = &body["text"]["en"];
    match text.as_str() {
        Some(text) => text.to_owned(),
        None => ["title", "next_step"].map(|field| text[field].as_str().unwrap_or("")).join(" "),
    }
}

fn said(event: &str, data: &Value) -> String {
    let hint = data["hint"].as_str().unwrap_or("");
    if hint.is_empty() { event.to_owned() } else { format!("{event}: {hint}") }
}

fn save(picture: &RgbImage, path: &Path) -> Result<()> {
    picture.save(path).with_context(|| format!("writing {}", path.display()))
}

#[expect(clippy::disallowed_methods, reason = "the stage stands in real time, as its audience does")]
async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}
