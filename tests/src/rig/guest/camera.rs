//! The camera: asks the host for frames in step with the guest's clock and writes them to the kernel's V4L2 device.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use v4l::video::Output;
use v4l::video::output::Parameters;
use v4l::{Device, Format, FourCC, Fraction};

use super::super::wire::{Wanted, read_pixels};
use super::super::{CAMERA, CAMERA_PORT};
use super::lamps::Watch;
use super::{now_us, sleep_until};
use crate::scene::{CameraModel, HEIGHT, WIDTH};

/// What the host does to the camera, and what the camera counts.
pub(super) struct Cable {
    /// The cable is out: there is no camera behind the device.
    pub(super) pulled: AtomicBool,
    /// What the camera offers: width, height and pixel format.
    pub(super) offer: Mutex<(u32, u32, [u8; 4])>,
    /// Time between two frames, microseconds.
    pub(super) frame_us: AtomicU32,
    /// Frames written to the device.
    pub(super) written: AtomicU32,
    /// Frames that the rig itself was too late for: the host's fault, not the agent's.
    pub(super) late: AtomicU32,
}

/// How often a camera that nobody reads looks whether somebody does, microseconds.
const IDLE_US: u64 = 5_000;
/// The feeder's priority among the guest's threads.
const FIRST: i32 = -20;
/// Whether somebody streams.
const STREAMING: &str = "/sys/module/v4l2loopback/parameters/streaming";

impl Default for Cable {
    fn default() -> Self {
        Self {
            pulled: AtomicBool::new(false),
            offer: Mutex::new((WIDTH as u32, HEIGHT as u32, *b"YUYV")),
            frame_us: AtomicU32::new(CameraModel::default().frame_us),
            written: AtomicU32::new(0),
            late: AtomicU32::new(0),
        }
    }
}

/// Starts the thread that feeds the camera.
pub(super) fn start(cable: Arc<Cable>, lamps: Watch) -> Result<()> {
    let port = OpenOptions::new().read(true).write(true).open(port()?).context("opening the camera's port")?;
    let mut device = Some(plug_in(&cable)?);
    std::thread::spawn(move || {
        // Before everything else, as an interrupt would come; a guest that refuses has a camera that is late at times.
        let _ = rustix::process::setpriority_process(None, FIRST);
        let mut feed =
            Feed { from: BufReader::with_capacity(1 << 16, port), sequence: 0, pixels: Vec::new(), lamps, told_us: 0 };
        let mut next_us = now_us();
        loop {
            let fed = step(&mut feed, &mut device, &cable, &mut next_us);
            if let Err(error) = fed {
                // The console tells; the host's scenes fail for want of frames.
                let _ = writeln!(std::io::stderr(), "rig-guest: camera: {error:#}");
                sleep_until(now_us() + 1_000_000);
            }
        }
    });
    Ok(())
}

struct Feed {
    from: BufReader<File>,
    sequence: u32,
    pixels: Vec<u8>,
    lamps: Watch,
    told_us: u64,
}

fn step(feed: &mut Feed, device: &mut Option<Device>, cable: &Cable, next_us: &mut u64) -> Result<()> {
    if cable.pulled.load(Ordering::Relaxed) {
        // Closing the device is what pulls the cable.
        *device = None;
        feed.told_us = 0;
    }
    if let Some(camera) = device {
        feed.tell_rate(camera, u64::from(cable.frame_us.load(Ordering::Relaxed)))?;
    }
    let resting = device.is_some() && !is_read();
    if device.is_none() && !cable.pulled.load(Ordering::Relaxed) {
        *device = Some(plug_in(cable)?);
    }
    let Some(camera) = device.as_mut().filter(|_| !resting) else {
        sleep_until(now_us() + IDLE_US);
        *next_us = now_us();
        return Ok(());
    };
    let model = CameraModel::default();
    let frame_us = u64::from(cable.frame_us.load(Ordering::Relaxed));
    let start_us = *next_us;
    sleep_until(start_us + u64::from(model.exposure_us.min(cable.frame_us.load(Ordering::Relaxed) / 2)));
    feed.ask(start_us)?;
    feed.sequence += 1;
    camera.write_all(&feed.pixels).context("writing a frame")?;
    cable.written.fetch_add(1, Ordering::Relaxed);
    *next_us += frame_us;
    while *next_us + 4 * frame_us < now_us() {
        *next_us += frame_us;
        cable.late.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

impl Feed {
    /// Says how many frames a second the camera gives, where that has changed.
    fn tell_rate(&mut self, camera: &Device, frame_us: u64) -> Result<()> {
        if self.told_us != frame_us {
            set_rate(camera, frame_us)?;
            self.told_us = frame_us;
        }
        Ok(())
    }

    /// Asks for the frame whose exposure began at `start_us`; it comes with its stamp behind it.
    fn ask(&mut self, start_us: u64) -> Result<()> {
        let wanted = Wanted { sequence: self.sequence, start_us, switches: self.lamps.take() };
        wanted.write(self.from.get_mut()).context("asking for a frame")?;
        read_pixels(&mut self.from, &mut self.pixels).context("taking a frame")?;
        self.pixels.extend(start_us.to_ne_bytes());
        Ok(())
    }
}

/// Opens the device as what fills it: from now on it is a camera.
fn plug_in(cable: &Cable) -> Result<Device> {
    let (width, height, pixels) = *cable.offer.lock().unwrap_or_else(PoisonError::into_inner);
    let mut device = Device::with_path(CAMERA).with_context(|| format!("opening {CAMERA}"))?;
    let format = Format::new(width, height, FourCC::new(&pixels));
    Output::set_format(&device, &format).with_context(|| format!("the format of {CAMERA}"))?;
    // The first frame makes the device a camera; nobody reads it yet.
    device.write_all(&vec![0; (width * height * 2) as usize]).with_context(|| format!("writing to {CAMERA}"))?;
    Ok(device)
}

fn set_rate(camera: &Device, frame_us: u64) -> Result<()> {
    let interval = Fraction::new(1, (1_000_000 / frame_us.max(1)) as u32);
    Output::set_params(camera, &Parameters::new(interval)).map(drop).with_context(|| format!("the rate of {CAMERA}"))
}

fn is_read() -> bool {
    std::fs::read_to_string(STREAMING).is_ok_and(|text| text.trim() != "0")
}

/// The character device of the camera's virtio-serial port.
fn port() -> Result<PathBuf> {
    let folder = "/sys/class/virtio-ports";
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {folder}"))?.flatten() {
        let named = std::fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if named.trim() == CAMERA_PORT {
            return Ok(PathBuf::from("/dev").join(entry.file_name()));
        }
    }
    anyhow::bail!("no virtio-serial port is named {CAMERA_PORT}")
}
