//! The agent's own camera driver without the agent: what the camera's interface carries while nobody looks, how long a
//! look takes here.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use didar_agent::board;
use didar_agent::camera::meter::Meter;
use didar_agent::config::Config;
use didar_agent::edge::{Camera, Clock, Got, Pick};
use didar_agent::time::SystemClock;
use didar_vision::{Models, Perceiver, Unpacker};
use serde_json::{Value, json};

use super::super::{CAMERA, CONFIG};
use super::now_us;

/// Looks that are counted, after the first ones, which find the face and make buffers.
const LOOKS: u64 = 8;
/// Looks that are not counted.
const FIRST: u64 = 3;
/// Longest wait for a frame.
const WAIT: Duration = Duration::from_secs(5);

/// Takes every frame for `seconds` and looks at none: frames that came, and frames that nobody got.
pub(super) fn alone(seconds: u64) -> Result<Value> {
    let meter = Arc::new(Meter::default());
    let (mut camera, _) = open(&meter)?;
    let until = now_us() + seconds * 1_000_000;
    while now_us() < until {
        if camera.next(Pick::Next, WAIT, &mut |_| {})? == Got::Nothing {
            bail!("no frame within {WAIT:?}");
        }
    }
    let counts = meter.counts();
    Ok(json!({ "frames": counts.taken, "lost": counts.lost }))
}

/// From the driver's buffer to the face's mesh, frame after frame: milliseconds of the guest, and
/// frames that were not looked at where the driver put them, each per frame.
pub(super) fn look() -> Result<Value> {
    let meter = Arc::new(Meter::default());
    let (camera, models) = open(&meter)?;
    let perceiver = Perceiver::new(&Models::load(&models)?)?;
    let mut looking = Looking { camera, perceiver, unpacker: Unpacker::new(), mapped: Vec::new(), faces: 0, moved: 0 };
    (0..FIRST).try_for_each(|_| looking.step())?;
    (looking.mapped, looking.faces, looking.moved) = (mappings(CAMERA)?, 0, 0);
    let before = meter.counts();
    let begun_us = now_us();
    (0..LOOKS).try_for_each(|_| looking.step())?;
    let per_frame = |count: u64| count as f64 / LOOKS as f64;
    Ok(json!({
        "faces": looking.faces,
        "ms": per_frame(now_us() - begun_us) / 1000.0,
        "copies_per_frame": per_frame(looking.moved + meter.counts().since(&before).copied),
    }))
}

/// A camera and the networks that look at its frames.
struct Looking {
    camera: Box<dyn Camera>,
    perceiver: Perceiver,
    unpacker: Unpacker,
    /// Where the driver's buffers lie in this process.
    mapped: Vec<Range<usize>>,
    faces: u64,
    /// Frames whose pixels lay anywhere else.
    moved: u64,
}

impl Looking {
    fn step(&mut self) -> Result<()> {
        let Self { camera, perceiver, unpacker, mapped, faces, moved } = self;
        let mut looked: Result<()> = Ok(());
        camera.next(Pick::Newest, WAIT, &mut |frame| {
            let pixels = frame.pixels.as_ptr_range();
            let (first, end) = (pixels.start.addr(), pixels.end.addr());
            *moved += u64::from(!mapped.iter().any(|buffer| buffer.start <= first && end <= buffer.end));
            let view = unpacker.view(frame.format, frame.width, frame.height, frame.stride, frame.pixels);
            looked = view.context("a frame that is no picture").and_then(|view| {
                *faces += u64::from(perceiver.look(&view).context("looking at a frame")?.face.is_some());
                Ok(())
            });
        })?;
        looked
    }
}

/// The parts of this process' memory that are mapped from `device`.
fn mappings(device: &str) -> Result<Vec<Range<usize>>> {
    let maps = std::fs::read_to_string("/proc/self/maps").context("reading this process' memory map")?;
    let of_device = maps.lines().filter(|line| line.ends_with(device));
    of_device
        .map(|line| {
            let (first, end) = line.split(' ').next().and_then(|range| range.split_once('-')).context("a range")?;
            Ok(usize::from_str_radix(first, 16)?..usize::from_str_radix(end, 16)?)
        })
        .collect()
}

/// The camera of the agent's configuration, and where the models are.
fn open(meter: &Arc<Meter>) -> Result<(Box<dyn Camera>, std::path::PathBuf)> {
    let config = Config::read(Path::new(CONFIG))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(0));
    Ok((board::open(&config.board, &clock, meter)?.camera, config.models))
}
