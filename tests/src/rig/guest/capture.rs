//! The agent's own camera driver without the agent: what the camera's interface carries while nobody looks, how long a
//! look takes here, and what it allocates.

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

use super::super::CONFIG;
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

/// From the driver's buffer to the face's mesh, frame after frame: milliseconds of the guest, allocations of this thread
/// and whole frames copied, each per frame.
pub(super) fn look() -> Result<Value> {
    let meter = Arc::new(Meter::default());
    let (mut camera, models) = open(&meter)?;
    let mut perceiver = Perceiver::new(&Models::load(&models)?)?;
    let mut unpacker = Unpacker::new();
    let mut faces = 0u64;
    let mut step = || -> Result<()> {
        let mut looked: Result<()> = Ok(());
        camera.next(Pick::Newest, WAIT, &mut |frame| {
            let view = unpacker.view(frame.format, frame.width, frame.height, frame.stride, frame.pixels);
            looked = view.context("a frame that is no picture").and_then(|view| {
                faces += u64::from(perceiver.look(&view).context("looking at a frame")?.face.is_some());
                Ok(())
            });
        })?;
        looked
    };
    (0..FIRST).try_for_each(|_| step())?;
    let begun_us = now_us();
    let mut done = Ok(());
    let counted = allocation_counter::measure(|| done = (0..LOOKS).try_for_each(|_| step()));
    done?;
    let per_frame = |count: u64| count as f64 / LOOKS as f64;
    let counts = meter.counts();
    Ok(json!({
        "faces": faces,
        "ms": per_frame(now_us() - begun_us) / 1000.0,
        "allocations_per_frame": per_frame(counted.count_total),
        "copies_per_frame": counts.copied as f64 / counts.taken.max(1) as f64,
    }))
}

/// The camera of the agent's configuration, and where the models are.
fn open(meter: &Arc<Meter>) -> Result<(Box<dyn Camera>, std::path::PathBuf)> {
    let config = Config::read(Path::new(CONFIG))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(0));
    Ok((board::open(&config.board, &clock, meter)?.camera, config.models))
}
