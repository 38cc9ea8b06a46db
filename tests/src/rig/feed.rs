//! What the guest's camera sees: the simulated kiosk, lit as the guest's GPIO lines say.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use didar_protocol::light_code::Light;
use image::RgbImage;

use super::machine::CameraPort;
use super::wire::{Wanted, write_answer};
use crate::scene::{HEIGHT, Kiosk, LampLog, PixelOrder, Presentation, Recipe, RecordedVideo, Subject, WIDTH};

/// The simulated kiosk behind the guest's camera.
pub struct Feed {
    shared: Arc<Shared>,
}

struct Shared {
    kiosk: Mutex<Kiosk>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    lamps: LampLog,
    /// By start of exposure, microseconds: what lit each frame that was rendered, left and right, share of the exposure.
    truth: BTreeMap<u64, [f32; 2]>,
    last: BTreeMap<u8, Recipe>,
}

/// Frames of which the truth is remembered.
const REMEMBERED: usize = 4096;

impl Feed {
    /// Serves the camera until the guest is gone.
    ///
    /// # Errors
    /// QEMU does not listen there, or has no disk there.
    pub fn start(camera: &CameraPort, kiosk: Kiosk) -> Result<Self> {
        let CameraPort { socket, disk } = camera;
        let port = UnixStream::connect(socket).with_context(|| format!("connecting to {}", socket.display()))?;
        let disk = OpenOptions::new().write(true).open(disk).with_context(|| format!("opening {}", disk.display()))?;
        let shared = Arc::new(Shared { kiosk: Mutex::new(kiosk), seen: Mutex::default() });
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            // A guest that is gone ends this.
            let _ = served.serve(port, &disk);
        });
        Ok(Self { shared })
    }

    /// Another person steps before the camera.
    pub fn step_up(&self, subject: Arc<Subject>) {
        hold(&self.shared.kiosk).step_up(subject);
    }

    /// Something else is held before the camera.
    pub fn present(&self, presentation: Presentation) {
        hold(&self.shared.kiosk).present(presentation);
    }

    /// Begins to record what the camera sees.
    pub fn start_recording(&self) {
        hold(&self.shared.kiosk).start_recording();
    }

    /// Ends the recording.
    pub fn stop_recording(&self) -> RecordedVideo {
        hold(&self.shared.kiosk).stop_recording()
    }

    /// How long each lamp lit the frame whose exposure began at `start_us`, left and right, as a share of the exposure;
    /// `None`: no such frame was rendered.
    pub fn shares(&self, start_us: u64) -> Option<[f32; 2]> {
        // The agent counts from a moment of its own, so a microsecond may be lost in rounding.
        hold(&self.shared.seen).truth.range(start_us.saturating_sub(2)..=start_us + 2).next().map(|(_, lit)| *lit)
    }

    /// What lit that frame: the lamps during all of it, or `None` for a mixture. The outer `None`: no such frame was
    /// rendered.
    pub fn truth(&self, start_us: u64) -> Option<Option<Light>> {
        Some(match self.shares(start_us)? {
            [0.0, 0.0] => Some(Light::Off),
            [1.0, 0.0] => Some(Light::Left),
            [0.0, 1.0] => Some(Light::Right),
            [1.0, 1.0] => Some(Light::Both),
            _ => None,
        })
    }

    /// The last frame that the camera saw under each state of the lamps.
    pub fn pictures(&self) -> Vec<(Light, RgbImage)> {
        let last = hold(&self.shared.seen).last.clone();
        let kiosk = hold(&self.shared.kiosk);
        let render = |(light, recipe): (u8, Recipe)| {
            let mut bytes = Vec::new();
            kiosk.render(&recipe, PixelOrder::Rgb, &mut bytes);
            Some((Light::try_from(light).ok()?, RgbImage::from_raw(WIDTH as u32, HEIGHT as u32, bytes)?))
        };
        last.into_iter().filter_map(render).collect()
    }
}

impl Shared {
    fn serve(&self, port: UnixStream, disk: &File) -> io::Result<()> {
        let mut to = port.try_clone()?;
        let mut from = BufReader::new(port);
        let (mut pixels, mut rendered) = (Vec::new(), None);
        loop {
            let recipe = self.expose(&Wanted::read(&mut from)?);
            // A still picture is rendered once: then the host is fast enough for any camera.
            if rendered.replace(recipe) != Some(recipe) {
                hold(&self.kiosk).render(&recipe, PixelOrder::Yuyv, &mut pixels);
                disk.write_all_at(&pixels, 0)?;
            }
            write_answer(&mut to, u32::try_from(pixels.len()).unwrap_or(u32::MAX))?;
            to.flush()?;
        }
    }

    /// What the frame that is wanted shows; its truth is remembered.
    fn expose(&self, wanted: &Wanted) -> Recipe {
        let mut kiosk = hold(&self.kiosk);
        let camera = kiosk.camera();
        let mut seen = hold(&self.seen);
        for (at_us, light) in &wanted.switches {
            seen.lamps.switched(at_us + u64::from(camera.lamp_delay_us), *light);
        }
        let start_us = wanted.start_us;
        let lit = seen.lamps.shares(start_us, start_us + u64::from(camera.exposure_us));
        seen.truth.insert(start_us, lit);
        if seen.truth.len() > REMEMBERED {
            seen.truth.pop_first();
        }
        let recipe = kiosk.expose(start_us, &seen.lamps);
        if lit.iter().all(|share| *share == 0.0 || *share == 1.0) {
            let light = u8::from(lit[0] == 1.0) + 2 * u8::from(lit[1] == 1.0);
            seen.last.insert(light, recipe);
        }
        recipe
    }
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
