//! `make bench`: how long each stage takes, what the pipeline costs beyond its networks, and what a frame allocates.
//!
//! The networks' own times are taken by TensorFlow Lite alone, with nothing of Didar around it, in turns with the
//! pipeline. All runs on one thread, and the time is that thread's time on a processor: on an idle machine it is what a clock
//! on the wall shows, on a busy one it leaves the others' work out. Writes target/bench/summary.json.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use didar_liveness::Policy;
use didar_protocol::id::AttemptId;
use didar_protocol::message::{Attempt, Ending, Message as _, Outcome};
use didar_protocol::reason::Reason;
use didar_protocol::transcript::LightTranscript;
use didar_tests::crowd::{Person, Profile, Species, present};
use didar_tests::people::{ASTRONAUT, portrait};
use didar_tests::scene::Subject;
use didar_vision::{
    AlignedFace, Face, FrameView, LightGrid, Models, Perceiver, Picture, PixelFormat, ReferenceFace, align, align_into,
    light_grid, passive_crop, quality,
};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tflitec::interpreter::{Interpreter, Options};
use tflitec::model::Model;

/// Rounds; the median of each stage counts.
const ROUNDS: usize = 120;
/// Rounds before, not counted.
const WARM_UP: usize = 10;
/// Frames over which allocations are counted: several recounts of faces are among them.
const STEADY_FRAMES: u64 = 64;
/// Sides of the frame.
const FRAME: (usize, usize) = (640, 480);

fn main() -> anyhow::Result<()> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manifest = project.join("models/manifest.toml");
    let bytes = yuyv(&project.join("models/build/faces/astronaut.png"))?;
    let frame = FrameView::new(PixelFormat::Yuyv, FRAME.0 as u32, FRAME.1 as u32, FRAME.0 * 2, &bytes)?;
    let mut perceiver = Perceiver::new(&Models::load(&manifest)?)?;
    let files = shipped(&manifest)?;
    let networks = files.iter().map(|(_, f)| network(f)).collect::<anyhow::Result<Vec<_>>>()?;
    let interpreters = networks.iter().map(interpreter).collect::<anyhow::Result<Vec<_>>>()?;

    let mut times = Times::default();
    for round in 0..WARM_UP + ROUNDS {
        if round == WARM_UP {
            times = Times::default();
        }
        for ((name, _), interpreter) in files.iter().zip(&interpreters) {
            times.take(&format!("network {name}"), || interpreter.invoke())?;
        }
        attempt(&mut perceiver, &frame, &mut times)?;
    }
    let allocations = allocations(&mut perceiver, &frame)?;
    let judged = judged(&project, &mut perceiver)?;
    report(&project, &times, allocations, &judged)
}

/// What the judge costs for one attempt, and what its transcript weighs on the wire.
struct Judged {
    /// Median, milliseconds.
    ms: f64,
    /// Bytes that the transcript adds to the attempt's message.
    bytes: usize,
    frames: usize,
}

/// A living face's attempt with the longest code: 16 slots of two frames.
fn judged(project: &Path, perceiver: &mut Perceiver) -> anyhow::Result<Judged> {
    let person = Arc::new(Person::of(&Subject::load(&portrait(project, ASTRONAUT), perceiver)?));
    let (capture, code) = present(Species::Live, &[person], Profile::Fps60, [0.1, 0.1], 1);
    let recording = capture.play(&code);
    let policy = Policy::shipped();
    let mut times = Times::default();
    for _ in 0..ROUNDS {
        times.take("judge", || anyhow::Ok(black_box(recording.judge(&policy))))?;
    }
    let weight = |transcript: Option<LightTranscript>| -> anyhow::Result<usize> {
        let attempt = Attempt {
            attempt: AttemptId::from_bytes([7; 16]),
            device: "kiosk-1".parse()?,
            request_hash: [1; 32],
            nonce: [2; 32],
            transcript,
            passive: recording.passive,
            motion: recording.motion,
            quality: didar_protocol::message::Quality::default(),
            models: Vec::new(),
            continuity_milli: recording.continuity_milli,
            ending: Ending::Stopped { outcome: Outcome::Spoof, reason: Reason::NoRelief },
            sent_at_ms: 1,
        };
        Ok(attempt.encode()?.len())
    };
    let bytes = weight(Some(recording.transcript.clone()))? - weight(None)?;
    let ms = times.medians().map(|(_, ms)| ms).next().context("it was judged")?;
    Ok(Judged { ms, bytes, frames: recording.transcript.frames.len() })
}

/// Everything that one attempt needs once, stage by stage, on a frame never seen before.
fn attempt(perceiver: &mut Perceiver, frame: &FrameView<'_>, times: &mut Times) -> anyhow::Result<()> {
    let mut grid = LightGrid::default();
    perceiver.reset();
    let whole = thread_time();
    let face =
        times.take("find (detector, mesh)", || perceiver.look(frame))?.face.context("no face in the portrait")?;
    times.take("light grid", || {
        light_grid(frame, &face, &mut grid);
        anyhow::Ok(())
    })?;
    times.take("quality", || anyhow::Ok(black_box(quality(frame, &face))))?;
    let crop = times.take("passive crop", || passive_crop(frame, &face))?;
    times.take("passive", || perceiver.passive(&crop))?;
    let aligned = times.take("align", || anyhow::Ok(align(frame, &face)))?;
    times.take("embed", || perceiver.embed_reference(ReferenceFace::from_document(aligned)))?;
    times.add("whole pipeline", whole);
    times.take("follow (mesh)", || perceiver.look(frame))?;
    Ok(())
}

/// Allocations per frame while a face is followed and its light measured. The library's own are not seen: it makes none
/// after its tensors are laid out.
fn allocations(perceiver: &mut Perceiver, frame: &FrameView<'_>) -> anyhow::Result<f64> {
    let mut grid = LightGrid::default();
    let mut aligned = AlignedFace::blank();
    perceiver.reset();
    let mut result = Ok(());
    let mut steady = |face: Option<Face>| {
        if let Some(face) = face {
            light_grid(frame, &face, &mut grid);
            align_into(frame, &face, &mut aligned);
            black_box(quality(frame, &face));
        }
    };
    steady(perceiver.look(frame)?.face);
    let counted = allocation_counter::measure(|| {
        for _ in 0..STEADY_FRAMES {
            match perceiver.look(frame) {
                Ok(sight) => steady(sight.face),
                Err(error) => result = Err(error),
            }
        }
    });
    result?;
    Ok(counted.count_total as f64 / STEADY_FRAMES as f64)
}

fn report(project: &Path, times: &Times, allocations: f64, judged: &Judged) -> anyhow::Result<()> {
    let raw: f64 = times.medians().filter(|(name, _)| name.starts_with("network ")).map(|(_, ms)| ms).sum();
    let pipeline = times.medians().find(|(name, _)| *name == "whole pipeline").map_or(f64::NAN, |(_, ms)| ms);
    println!("median processor time of {ROUNDS} rounds, one thread, {}x{} YUYV", FRAME.0, FRAME.1);
    for (name, ms) in times.medians() {
        println!("{name:<24}{ms:>9.3} ms");
    }
    println!("{:<24}{raw:>9.3} ms", "all networks");
    println!("{:<24}{:>9.3}", "pipeline over networks", pipeline / raw);
    println!("{:<24}{allocations:>9.3}", "allocations per frame");
    println!("{:<24}{:>9.3} ms, over the networks {:.4}", "judge, an attempt", judged.ms, judged.ms / raw);
    println!("{:<24}{:>9} bytes, {} frames", "transcript", judged.bytes, judged.frames);
    let agent = agent(project);
    if agent.is_null() {
        println!("agent: not measured, `make demo` measures it (target/demo/agent.json)");
    } else {
        println!("agent: {} MB resident, ready after {} ms", agent["agent_rss_mb"], agent["ready_ms"]);
    }
    let stages: serde_json::Map<String, Value> = times.medians().map(|(n, ms)| (n.to_owned(), json!(ms))).collect();
    let summary = json!({
        "pipeline_over_raw": pipeline / raw,
        "pipeline_ms": pipeline,
        "raw_ms": raw,
        "allocations_per_frame": allocations,
        "judge_ms": judged.ms,
        "judge_over_raw": judged.ms / raw,
        "transcript_bytes": judged.bytes,
        "transcript_frames": judged.frames,
        "agent_rss_mb": agent["agent_rss_mb"],
        "ready_ms": agent["ready_ms"],
        "stages_ms": stages,
    });
    let file = project.join("target/bench/summary.json");
    std::fs::create_dir_all(file.parent().context("the file has a folder")?)?;
    std::fs::write(&file, serde_json::to_string_pretty(&summary)? + "\n")
        .with_context(|| format!("cannot write {}", file.display()))
}

/// What the last demo measured of the shipped agent; null where none ran.
fn agent(project: &Path) -> Value {
    let text = std::fs::read_to_string(project.join("target/demo/agent.json")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// Times by stage, in the order in which stages were first seen.
#[derive(Default)]
struct Times(Vec<(String, Vec<f64>)>);

impl Times {
    fn take<T, E>(&mut self, stage: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let start = thread_time();
        let done = work();
        self.add(stage, start);
        done
    }

    fn add(&mut self, stage: &str, start: Duration) {
        let ms = (thread_time() - start).as_secs_f64() * 1e3;
        match self.0.iter_mut().find(|(name, _)| name == stage) {
            Some((_, all)) => all.push(ms),
            None => self.0.push((stage.to_owned(), vec![ms])),
        }
    }

    fn medians(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, all)| {
            let mut all = all.clone();
            all.sort_by(f64::total_cmp);
            (name.as_str(), all[all.len() / 2])
        })
    }
}

/// Time that this thread has spent on a processor.
fn thread_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Role and file of every shipped model.
fn shipped(manifest: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let table: toml::Table = toml::from_str(&std::fs::read_to_string(manifest)?)?;
    let folder = manifest.parent().context("the manifest lies in a folder")?;
    let models = table.get("model").and_then(|m| m.as_array()).context("the manifest has models")?;
    let text = |model: &toml::Value, key: &str| model.get(key).and_then(|v| v.as_str()).map(str::to_owned);
    models
        .iter()
        .map(|m| {
            let role = text(m, "role").context("a model has a role")?;
            Ok((role, folder.join(text(m, "file").context("a model has a file")?)))
        })
        .collect()
}

fn network(file: &Path) -> anyhow::Result<Model<'static>> {
    Model::new(&file.to_string_lossy()).with_context(|| format!("TensorFlow Lite refuses {}", file.display()))
}

fn interpreter<'a>(model: &'a Model<'a>) -> anyhow::Result<Interpreter<'a>> {
    let options = Options { thread_count: 1, is_xnnpack_enabled: true };
    let interpreter = Interpreter::new(model, Some(options))?;
    interpreter.allocate_tensors()?;
    Ok(interpreter)
}

/// The portrait in the middle of a camera's frame.
fn yuyv(portrait: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = std::fs::read(portrait).with_context(|| format!("cannot read {}", portrait.display()))?;
    Picture::decode(&bytes)?;
    let picture = image::load_from_memory(&bytes)?.to_rgb8();
    let (left, width, height) = ((FRAME.0 as u32 - 512) / 2, picture.width(), picture.height());
    let pixel = |x: u32, y: u32| {
        let inside = x >= left && x - left < width && y < height;
        let [r, g, b] = if inside { picture.get_pixel(x - left, y).0.map(i32::from) } else { [90, 100, 110] };
        [
            ((66 * r + 129 * g + 25 * b + 128) >> 8) + 16,
            ((-38 * r - 74 * g + 112 * b + 128) >> 8) + 128,
            ((112 * r - 94 * g - 18 * b + 128) >> 8) + 128,
        ]
        .map(|v| v as u8)
    };
    let pairs = (0..FRAME.1 as u32).flat_map(|y| (0..FRAME.0 as u32 / 2).map(move |x| (2 * x, y)));
    Ok(pairs
        .flat_map(|(x, y)| {
            let (first, second) = (pixel(x, y), pixel(x + 1, y));
            [first[0], first[1], second[0], first[2]]
        })
        .collect())
}
