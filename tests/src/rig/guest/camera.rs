//! The camera: asks the host for frames in step with the guest's clock and writes them to the kernel's V4L2 device.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use rustix::fs::OFlags;
use v4l::video::Output;
use v4l::video::output::Parameters;
use v4l::{Device, Format, FourCC, Fraction};

use super::super::wire::{FRAME_MAX, Wanted, read_answer};
use super::super::{CAMERA, CAMERA_DISK, CAMERA_PORT};
use super::lamps::Watch;
use super::{now_us, sleep_until};
use crate::scene::{CameraModel, HEIGHT, WIDTH};

/// What the host does to the camera, and what the camera counts.
pub(super) struct Cable {
    /// The cable is out: there is no camera behind the device.
    pub(super) pulled: AtomicBool,
    /// There is a camera behind the device, or not yet or any more.
    pub(super) there: AtomicBool,
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
/// Longest wait until the camera is out or in, microseconds.
const DONE_MAX_US: u64 = 10_000_000;
/// Bytes of a disk's sector.
const SECTOR: usize = 512;
/// Bytes of a page of memory.
const PAGE: usize = 4096;
/// The feeder's priority among the guest's threads.
const FIRST: i32 = -20;
/// Whether somebody streams.
const STREAMING: &str = "/sys/module/v4l2loopback/parameters/streaming";

impl Cable {
    /// Pulls the camera out or puts it back in, and waits until that is done.
    pub(super) fn set_pulled(&self, pulled: bool) -> Result<()> {
        self.pulled.store(pulled, Ordering::Relaxed);
        let until_us = now_us() + DONE_MAX_US;
        while self.there.load(Ordering::Relaxed) == pulled {
            anyhow::ensure!(now_us() < until_us, "the camera's thread does not obey");
            sleep_until(now_us() + IDLE_US);
        }
        Ok(())
    }
}

impl Default for Cable {
    fn default() -> Self {
        Self {
            pulled: AtomicBool::new(false),
            there: AtomicBool::new(false),
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
    // Past the guest's cache: the host writes there.
    let direct = i32::try_from(OFlags::DIRECT.bits()).context("the flag of a direct read")?;
    let disk = OpenOptions::new().read(true).custom_flags(direct).open(CAMERA_DISK).context("opening the frames")?;
    let mut camera = Some(plug_in(&cable)?);
    std::thread::spawn(move || {
        // Before everything else, as an interrupt would come; a guest that refuses has a camera that is late at times.
        let _ = rustix::process::setpriority_process(None, FIRST);
        let mut feed = Feed { from: BufReader::new(port), disk, sequence: 0, room: Room::new(), lamps, told_us: 0 };
        let mut next_us = now_us();
        loop {
            let fed = step(&mut feed, &mut camera, &cable, &mut next_us);
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
    disk: File,
    sequence: u32,
    room: Room,
    lamps: Watch,
    told_us: u64,
}

fn step(feed: &mut Feed, camera: &mut Option<File>, cable: &Cable, next_us: &mut u64) -> Result<()> {
    if cable.pulled.load(Ordering::Relaxed) {
        // Closing the device is what pulls the cable.
        *camera = None;
        feed.told_us = 0;
    }
    if camera.is_some() {
        feed.tell_rate(u64::from(cable.frame_us.load(Ordering::Relaxed)))?;
    }
    let resting = camera.is_some() && !is_read();
    if camera.is_none() && !cable.pulled.load(Ordering::Relaxed) {
        *camera = Some(plug_in(cable)?);
    }
    cable.there.store(camera.is_some(), Ordering::Relaxed);
    let Some(camera) = camera.as_mut().filter(|_| !resting) else {
        sleep_until(now_us() + IDLE_US);
        *next_us = now_us();
        return Ok(());
    };
    let model = CameraModel::default();
    let frame_us = u64::from(cable.frame_us.load(Ordering::Relaxed));
    let start_us = *next_us;
    sleep_until(start_us + u64::from(model.exposure_us.min(cable.frame_us.load(Ordering::Relaxed) / 2)));
    let frame = feed.ask(start_us)?;
    camera.write_all(frame).context("writing a frame")?;
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
    fn tell_rate(&mut self, frame_us: u64) -> Result<()> {
        if self.told_us != frame_us {
            set_rate(frame_us)?;
            self.told_us = frame_us;
        }
        Ok(())
    }

    /// Asks for the frame whose exposure began at `start_us`; it comes with its stamp behind it.
    fn ask(&mut self, start_us: u64) -> Result<&[u8]> {
        let wanted = Wanted { sequence: self.sequence, start_us, switches: self.lamps.take() };
        self.sequence += 1;
        wanted.write(self.from.get_mut()).context("asking for a frame")?;
        let length = read_answer(&mut self.from).context("taking a frame")? as usize;
        let bytes = self.room.aligned();
        let read = self.disk.read_exact_at(&mut bytes[..length.next_multiple_of(SECTOR)], 0);
        read.context("reading a frame")?;
        let stamp = start_us.to_ne_bytes();
        bytes[length..length + stamp.len()].copy_from_slice(&stamp);
        Ok(&bytes[..length + stamp.len()])
    }
}

/// Memory for a frame and its stamp, at an address that a direct read takes.
struct Room(Vec<u8>);

impl Room {
    fn new() -> Self {
        Self(vec![0; FRAME_MAX as usize + SECTOR + PAGE])
    }

    fn aligned(&mut self) -> &mut [u8] {
        let first = self.0.as_ptr().align_offset(PAGE);
        &mut self.0[first..]
    }
}

/// Opens the device as what fills it: from now on it is a camera. Not by `v4l`, whose devices stay open in every process
/// that is started meanwhile: such a cable would not be out when it is pulled.
fn plug_in(cable: &Cable) -> Result<File> {
    let (width, height, pixels) = *cable.offer.lock().unwrap_or_else(PoisonError::into_inner);
    let mut camera = OpenOptions::new().write(true).open(CAMERA).with_context(|| format!("opening {CAMERA}"))?;
    let format = Format::new(width, height, FourCC::new(&pixels));
    Output::set_format(&device()?, &format).with_context(|| format!("the format of {CAMERA}"))?;
    // The first frame makes the device a camera; nobody reads it yet.
    camera.write_all(&vec![0; (width * height * 2) as usize]).with_context(|| format!("writing to {CAMERA}"))?;
    Ok(camera)
}

fn set_rate(frame_us: u64) -> Result<()> {
    let interval = Fraction::new(1, (1_000_000 / frame_us.max(1)) as u32);
    Output::set_params(&device()?, &Parameters::new(interval))
        .map(drop)
        .with_context(|| format!("the rate of {CAMERA}"))
}

fn device() -> Result<Device> {
    Device::with_path(CAMERA).with_context(|| format!("opening {CAMERA}"))
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
