//! The rig: the shipped agent in a virtual machine with a real V4L2 camera, real GPIO lines and a real screen; the
//! demo's centre outside, over mutual TLS. Outcomes and measures go to target/rig/summary.json.
#![allow(clippy::print_stdout, reason = "telling in the terminal what happens is what this program is for")]

use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use didar_tests::people::{self, ASTRONAUT, HOPPER};
use didar_tests::rig::doctor::Doctor;
use didar_tests::rig::feed::Feed;
use didar_tests::rig::kiosk::{self, Near, Settings};
use didar_tests::rig::machine::{Machine, Plan};
use didar_tests::rig::panel;
use didar_tests::rig::scenes::{Booth, Middle, Scene};
use didar_tests::rig::slots::Tally;
use didar_tests::rig::summary;
use didar_tests::scene::{CameraModel, Kiosk, Presentation, Room, Subject};
use didar_tests::site::{KioskSite, Site};
use didar_vision::{Models, Perceiver};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

/// Runs the rig.
#[derive(Parser)]
struct Arguments {
    /// The project's folder.
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// Where the guest's image is and everything else goes.
    #[arg(long, default_value = "target/rig")]
    out: PathBuf,
    /// How fast the guest's clock runs in the scenes, 1 is as fast as ours; by default what the machine can do.
    #[arg(long)]
    speed: Option<f64>,
    /// How long frames are counted, seconds of the guest; 0 leaves the first boot out, and then `speed` must be given.
    #[arg(long, default_value_t = 60)]
    count: u64,
}

/// Seed of sway and noise.
const SEED: u64 = 20_260_712;
/// The board of the guest.
const BOARD: &str = "rig";
/// Frames a second that are tried, the highest first.
const RATES: [u64; 5] = [30, 20, 15, 10, 5];
/// How long the guest's feeder may take to do what it was told, at our clock.
const SETTLE: Duration = Duration::from_millis(500);
/// How fast the first boot's clock runs against ours. At our speed a look takes two thirds of the time in which the driver's
/// ring fills: then the host's moods are counted, not the agent's losses. At half of it, the host may be almost three
/// times slower than a quiet one.
const COUNTING_SPEED: f64 = 0.5;
/// So many frames may pass while the agent looks at one, in the scenes: the driver's ring keeps the others. A code of 26
/// frames that begins in the middle of a look then still fits the ring of 32.
const FRAMES_A_LOOK: f64 = 5.0;
/// How long the guest may take to draw a screen, by its own clock.
const DRAWING: Duration = Duration::from_millis(350);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("rig: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            done = rig(&arguments) => done,
            _ = tokio::signal::ctrl_c() => bail!("stopped; the guest and every process of the rig are ended"),
            _ = terminate.recv() => bail!("terminated; the guest and every process of the rig are ended"),
        }
    })
}

/// Everything that both boots need.
struct Stage {
    root: PathBuf,
    out: PathBuf,
    site: Site,
    /// One for each boot: a device that begins its records anew is a copy to the matcher, and is quarantined.
    kiosks: [KioskSite; 2],
    right: Arc<Subject>,
    other: Arc<Subject>,
    person: String,
}

async fn rig(arguments: &Arguments) -> Result<()> {
    let begun = now();
    let stage = set_up(arguments)?;
    let mut summary = json!({ "host_cores": std::thread::available_parallelism()?.get() });
    let mut speed = arguments.speed;
    if arguments.count > 0 {
        let (measured, look_ms) = count_frames(&stage, arguments.count).await?;
        merge(&mut summary, measured);
        summary["counting_seconds"] = json!(begun.elapsed().as_secs());
        let fitting = COUNTING_SPEED * f64::from(CameraModel::default().frame_us) / 1000.0 * FRAMES_A_LOOK / look_ms;
        speed = speed.or(Some(fitting.clamp(0.01, 1.0)));
    }
    let speed = speed.context("--count 0 needs --speed")?;
    println!("the scenes' clock runs at {speed:.3} of ours");
    merge(&mut summary, scenes(&stage, speed).await?);
    summary["speed"] = json!(speed);
    summary["seconds"] = json!(begun.elapsed().as_secs());
    let path = stage.out.join("summary.json");
    std::fs::write(&path, serde_json::to_string_pretty(&summary)? + "\n").context("writing the summary")?;
    stage.site.close()?;
    println!("summary: {}", path.display());
    let wrong = summary::wrong(&summary);
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("the rig went otherwise:\n  {}", wrong.join("\n  "))
}

fn set_up(arguments: &Arguments) -> Result<Stage> {
    let root = std::path::absolute(&arguments.root)?;
    let out = std::path::absolute(&arguments.out)?;
    let manifest = manifest(&root);
    let [right, other] = [ASTRONAUT, HOPPER].map(|name| people::portrait(&root, name));
    let mut perceiver = Perceiver::new(&Models::load(&manifest)?)?;
    let subjects = [&right, &other].map(|path| Subject::load(path, &mut perceiver).map(Arc::new));
    let [right_subject, other_subject] = subjects;
    // Challenge and verdict live by the centre's clock, the kiosk's attempt by a slower one.
    let site = Site::open(&out.join("run"), &manifest)?.reconfigured(&manifest, |matcher| {
        matcher["challenge"]["lifetime_s"] = 600.into();
        matcher["challenge"]["verdict_s"] = 600.into();
    })?;
    let person = people::iin("900101", 4, 17).context("no lawful number")?;
    site.enrol(&person, &right)?;
    let sockets = out.join("run");
    let install = |id| site.kiosk(id, &manifest, &sockets, site.broker().port(), 60);
    let kiosks = [install("kiosk-0001")?, install("kiosk-0002")?];
    let person = person.as_str().to_owned();
    Ok(Stage { root, out, site, kiosks, right: right_subject?, other: other_subject?, person })
}

impl Stage {
    fn manifest(&self) -> PathBuf {
        manifest(&self.root)
    }
}

fn manifest(root: &Path) -> PathBuf {
    root.join("models/manifest.toml")
}

/// Boots a guest and puts `stage.right` before its camera.
fn boot(stage: &Stage, name: &str, speed: f64, settings: &Settings<'_>) -> Result<(Machine, Booth)> {
    let folder = stage.out.join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let archive = kiosk::pack(settings, &stage.root, &folder)?;
    let archives = [stage.out.join("guest.cpio"), archive];
    let plan = Plan { kernel: &stage.out.join("vmlinuz"), archives: &archives, speed, folder: &folder };
    let begun = now();
    let mut machine = Machine::boot(&plan)?;
    let control = machine.control()?;
    println!("{name}: the guest is up after {} s", begun.elapsed().as_secs());
    let scene = Kiosk::new(Arc::clone(&stage.right), Room::default(), CameraModel::default(), SEED);
    let feed = Feed::start(&machine.camera(), scene)?;
    let app = relay(&folder.join("api.sock"), machine.api_port())?;
    let log = folder.join("agent.log");
    let (eye, pictures) = (machine.eye(), stage.out.join("pictures"));
    std::fs::create_dir_all(&pictures)?;
    let drawing = DRAWING.div_f64(speed);
    Ok((machine, Booth { app, control, feed, subject: stage.person.clone(), log, eye, pictures, drawing }))
}

/// The guest's local API, as a socket on this host.
fn relay(socket: &Path, port: u16) -> Result<didar_tests::kiosk_app::KioskApp> {
    let listener = UnixListener::bind(socket).with_context(|| format!("listening on {}", socket.display()))?;
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
            // A connection that breaks is the kiosk application's to notice.
            let _ = join(near, far);
        }
    });
    Ok(didar_tests::kiosk_app::KioskApp::new(socket))
}

fn join(near: UnixStream, far: TcpStream) -> std::io::Result<()> {
    let (mut up_from, mut up_to) = (near.try_clone()?, far.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut up_from, &mut up_to);
        let _ = up_to.shutdown(std::net::Shutdown::Write);
    });
    std::thread::spawn(move || {
        let (mut far, mut near) = (far, near);
        let _ = std::io::copy(&mut far, &mut near);
        let _ = near.shutdown(std::net::Shutdown::Both);
    });
    Ok(())
}

/// The first boot: what the camera's interface carries alone, and what is lost while inference runs.
async fn count_frames(stage: &Stage, seconds: u64) -> Result<(Value, f64)> {
    let settings =
        Settings { kiosk: &stage.kiosks[0], broker_port: stage.site.broker().port(), near: Near::Never, board: BOARD };
    let (machine, mut booth) = boot(stage, "count", COUNTING_SPEED, &settings)?;
    // A still picture: rendering would take the guest's processors from it.
    booth.feed.present(Presentation::Still);
    let (rate, alone) = highest_rate(stage, &mut booth)?;
    let look = booth.control.order("look")?;
    println!("one look at {COUNTING_SPEED} of our clock, without the agent: {look}");
    let look_ms = look["ms"].as_f64().context("the time of a look")?;
    let watched = booth.control.order("watch")?;
    println!("the camera's thread, guidance, mirror and screen: {watched}");
    let before_start = booth.control.order("camera")?;
    booth.start().await?;
    let id = booth.begin().await?;
    let counted = booth.count(seconds).await?;
    booth.app.cancel(&id).await?;
    println!("with inference at {rate} frames/s: {counted}");
    let lost = counted["lost"].as_u64().unwrap_or(u64::MAX);
    booth.said()?;
    let stopped = booth.control.order("stop")?;
    if stopped["success"] != true {
        bail!("the agent did not stop in order: {stopped}");
    }
    let doctor = Doctor { root: &stage.root, board: BOARD, home: &stage.out.join("count").join("root/didar") };
    let good = doctor.good_devices(&mut booth, &mut Perceiver::new(&Models::load(&stage.manifest())?)?)?;
    // What is wrong with it is told at the end, with everything else.
    let panel =
        panel::at_rest(&doctor, &mut booth).await.unwrap_or_else(|error| json!({ "error": format!("{error:#}") }));
    let nokhwa = doctor.camera_by_nokhwa(&mut booth)?;
    let bad = doctor.bad_devices(&mut booth)?;
    machine.end(&mut booth.control)?;
    let facts = json!({
        "rate": rate,
        "counting_speed": COUNTING_SPEED,
        "capture_alone": alone,
        "lost_frames": lost,
        "counted": counted,
        "lost_before": before_start["lost"],
        "look_ms_in_guest": look_ms,
        "allocations_per_frame": watched["allocations_per_frame"],
        "watched": watched,
        "copies_per_frame": look["copies_per_frame"],
        "spi_panel": panel,
        "good_devices": good,
        "bad_devices": bad,
        "nokhwa": nokhwa,
    });
    Ok((facts, look_ms))
}

/// The highest rate at which capture alone loses nothing; the board's file in the guest states it from now on.
fn highest_rate(stage: &Stage, booth: &mut Booth) -> Result<(u64, Value)> {
    let board = std::fs::read_to_string(stage.root.join("firmware-config/boards").join(format!("{BOARD}.toml")))?;
    let late = |booth: &mut Booth| -> Result<u64> { Ok(booth.control.order("camera")?["late"].as_u64().unwrap_or(0)) };
    let mut tried = Vec::new();
    for rate in RATES {
        let text = board.replace("rate = 30 ", &format!("rate = {rate} "));
        booth.control.give(json!({ "order": "write", "path": format!("/didar/boards/{BOARD}.toml"), "text": text }))?;
        booth.control.give(json!({ "order": "pace", "frame_us": 1_000_000 / rate }))?;
        // The feeder states the new rate within some milliseconds.
        std::thread::park_timeout(SETTLE);
        let before = late(booth)?;
        let mut read = booth.control.give(json!({ "order": "capture", "seconds": 5 }))?;
        read["rate"] = json!(rate);
        // A frame that the rig was too late to render never came to the camera.
        read["late"] = json!(late(booth)? - before);
        println!("capture alone at {rate} frames/s: {read}");
        let none_lost = read["lost"] == 0;
        let fits = none_lost && read["late"] == 0;
        tried.push(read);
        // At the lowest rate a host that renders too slowly is borne: what it was late for is in the summary.
        if fits || none_lost && rate == RATES[RATES.len() - 1] {
            return Ok((rate, json!(tried)));
        }
    }
    bail!("capture alone loses frames at every rate: this machine is too busy")
}

/// The second boot, at a clock that suits the interpreted processor: attempts of every kind.
async fn scenes(stage: &Stage, speed: f64) -> Result<Value> {
    let settings = Settings {
        kiosk: &stage.kiosks[1],
        broker_port: stage.site.broker().port(),
        near: Near::AsShipped,
        board: BOARD,
    };
    let (machine, mut booth) = boot(stage, "scenes", speed, &settings)?;
    let pid = booth.start().await?;
    let mut played = Vec::new();
    let mut play = |scene: Scene| {
        println!(
            "{:<32} {:<12} {:<20} {:>6} ms  slots {}/{}  tries {}",
            scene.name, scene.outcome, scene.reason, scene.ms, scene.tally.right, scene.tally.slots, scene.tries
        );
        played.push(scene);
    };

    booth.feed.start_recording();
    play(booth.attempt("grant", Middle::Photographed).await?);
    let recording = booth.feed.stop_recording();
    booth.photograph("grant")?;
    booth.feed.step_up(Arc::clone(&stage.other));
    // What was told stays told when the camera goes.
    play(booth.attempt("another-person", Middle::PulledAt("outcome")).await?);
    booth.plug().await?;
    booth.feed.step_up(Arc::clone(&stage.right));
    booth.feed.present(Presentation::Print);
    play(booth.attempt("print", Middle::Undisturbed).await?);
    booth.feed.present(Presentation::Live);

    // After each of these, and after the one above, the next attempt shows what a camera that came back is good for.
    play(booth.attempt_once("pulled-while-positioning", Middle::PulledAt("positioning")).await?);
    booth.plug().await?;
    play(booth.attempt_once("pulled-while-checking", Middle::PulledAt("checking")).await?);
    play(booth.attempt_once("begun-without-camera", Middle::Undisturbed).await?);
    booth.plug().await?;
    play(booth.attempt_once("pulled-while-proving", Middle::PulledAt("hold-still")).await?);
    booth.plug().await?;
    booth.feed.present(Presentation::Recording(recording));
    play(booth.attempt("recording", Middle::Undisturbed).await?);
    booth.feed.present(Presentation::Live);
    let same = booth.control.order("agent")?;
    let killed = booth.killed_while_lit().await?;
    println!("killed while lit: {killed}");
    let again = booth.start().await?;
    play(booth.attempt("after-kill", Middle::Undisturbed).await?);
    booth.said()?;
    let stopped = booth.control.order("stop")?;
    machine.end(&mut booth.control)?;
    let tally = played.iter().fold(Tally::default(), |sum, scene| sum.plus(scene.tally));
    let told: Vec<Value> = played.iter().map(Scene::to_json).collect();
    Ok(json!({
        "scenes": told,
        "slots": tally.slots,
        "slots_right": tally.right,
        "same_process": same["pid"] == pid && same["running"] == true,
        "agent_peak_kb": same["peak_kb"],
        "killed_while_lit": killed,
        "started_again": again != pid,
        "stopped": stopped,
    }))
}

fn merge(into: &mut Value, from: Value) {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}

#[expect(clippy::disallowed_methods, reason = "the rig measures real time")]
fn now() -> Instant {
    Instant::now()
}
