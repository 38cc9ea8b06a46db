//! The host's orders: one JSON line each, one JSON line back.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::super::CONFIG;
use super::camera::Cable;
use super::lamps::Watch;
use super::{capture, steady};
use super::{now_us, sleep_until};

/// The agent's program.
const AGENT: &str = "/bin/didar-agent";
/// Longest wait for a lamp to be lit before the agent is killed.
const LIT_WAIT: Duration = Duration::from_secs(60);
/// How long the lines are watched after a kill, microseconds.
const WATCH_US: u64 = 1_000_000;

/// The agent's process and what it has said.
#[derive(Default)]
struct Agent {
    child: Option<Child>,
    said: Arc<Mutex<Vec<String>>>,
}

/// Obeys one host after the other until one says `end`.
pub(super) fn obey(control: &TcpListener, cable: &Cable, lamps: &Watch) -> Result<()> {
    let mut agent = Agent::default();
    for host in control.incoming() {
        let host = host.context("the host's connection")?;
        if talk(&host, &mut agent, cable, lamps)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether the host said that it is over.
fn talk(host: &TcpStream, agent: &mut Agent, cable: &Cable, lamps: &Watch) -> Result<bool> {
    for line in BufReader::new(host).lines().map_while(Result::ok) {
        let order: Value = serde_json::from_str(&line).context("an order is a JSON line")?;
        let name = order["order"].as_str().unwrap_or("");
        let answer = obey_one(name, &order, agent, cable, lamps).unwrap_or_else(|e| json!({"error": format!("{e:#}")}));
        let mut host = host;
        host.write_all((answer.to_string() + "\n").as_bytes()).context("answering")?;
        if name == "end" {
            return Ok(true);
        }
    }
    Ok(false)
}

fn obey_one(name: &str, order: &Value, agent: &mut Agent, cable: &Cable, lamps: &Watch) -> Result<Value> {
    let text = |key: &str| order[key].as_str().with_context(|| format!("the order {name} needs {key}"));
    match name {
        "start" => agent.start(),
        "stop" => agent.stop(),
        "agent" => agent.state(),
        "said" => Ok(json!({ "lines": std::mem::take(&mut *lock(&agent.said)) })),
        "kill-lit" => kill_lit(agent, lamps),
        "pull" => cable.set_pulled(true).map(|()| json!({})),
        "plug" => cable.set_pulled(false).map(|()| json!({})),
        "offer" => {
            let side = |key: &str| order[key].as_u64().and_then(|side| u32::try_from(side).ok()).context("a side");
            let pixels: [u8; 4] = text("pixels")?.as_bytes().try_into().context("four letters")?;
            *lock(&cable.offer) = (side("width")?, side("height")?, pixels);
            Ok(json!({}))
        }
        "hold-line" => lamps.hold(true).map(|()| json!({})),
        "free-line" => lamps.hold(false).map(|()| json!({})),
        "pace" => {
            let frame_us = order["frame_us"].as_u64().and_then(|us| u32::try_from(us).ok()).context("frame_us")?;
            cable.frame_us.store(frame_us, Ordering::Relaxed);
            Ok(json!({}))
        }
        "camera" => Ok(json!({
            "written": cable.written.load(Ordering::Relaxed),
            "late": cable.late.load(Ordering::Relaxed),
            "lost": parameter("v4l2loopback", "lost")?,
            "now_us": now_us(),
        })),
        "capture" => capture::alone(order["seconds"].as_u64().context("seconds")?),
        "look" => capture::look(),
        "watch" => steady::watch(),
        "run" => run(order),
        "write" => {
            std::fs::write(text("path")?, text("text")?).context("writing")?;
            Ok(json!({}))
        }
        "end" => agent.stop(),
        other => bail!("no order is named {other}"),
    }
}

impl Agent {
    fn start(&mut self) -> Result<Value> {
        let mut child = Command::new(AGENT)
            .args(["run", "--config", CONFIG])
            .env("DIDAR_LOG", "info,didar_agent=debug")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting the agent")?;
        let (out, err) = (child.stdout.take().context("its output")?, child.stderr.take().context("its log")?);
        self.keep(out);
        self.keep(err);
        let id = child.id();
        self.child = Some(child);
        Ok(json!({ "pid": id }))
    }

    fn keep(&self, from: impl std::io::Read + Send + 'static) {
        let said = Arc::clone(&self.said);
        thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                let mut said = lock(&said);
                // A host that does not ask loses the oldest.
                if said.len() == 20_000 {
                    said.drain(..10_000);
                }
                said.push(line);
            }
        });
    }

    fn state(&mut self) -> Result<Value> {
        let Some(child) = &mut self.child else { return Ok(json!({ "running": false })) };
        let ended = child.try_wait().context("looking at the agent")?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let peak_kb = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        Ok(json!({
            "pid": child.id(),
            "running": ended.is_none(),
            "ended": ended.map(|status| status.to_string()),
            "peak_kb": peak_kb.and_then(|text| text.trim().parse::<u64>().ok()),
        }))
    }

    fn stop(&mut self) -> Result<Value> {
        let Some(mut child) = self.child.take() else { return Ok(json!({ "running": false })) };
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)?;
        let status = child.wait().context("waiting for the agent's end")?;
        Ok(json!({ "ended": status.to_string(), "success": status.success() }))
    }
}

/// Waits for light, kills the agent at once, and looks at the lines.
fn kill_lit(agent: &mut Agent, lamps: &Watch) -> Result<Value> {
    if !lamps.wait_until_lit(LIT_WAIT) {
        bail!("no lamp was lit within {LIT_WAIT:?}");
    }
    let Some(mut child) = agent.child.take() else { bail!("no agent runs") };
    let before = lamps.light();
    let killed_us = now_us();
    child.kill().context("killing the agent")?;
    let since = |at_us: u64| at_us.saturating_sub(killed_us);
    let (mut read_dark_us, mut guarded_us) = (None, None);
    while (read_dark_us.is_none() || guarded_us.is_none()) && now_us() < killed_us + WATCH_US {
        if read_dark_us.is_none() && lamps.lines()? == [false, false] {
            read_dark_us = Some(since(now_us()));
        }
        guarded_us = guarded_us.or_else(|| lamps.dark_since().filter(|at_us| *at_us >= killed_us).map(since));
        sleep_until(now_us() + 500);
    }
    child.wait().context("waiting for the agent's end")?;
    Ok(json!({
        "light": before.to_string(),
        // The simulated chip reads 0 as soon as nobody holds the line.
        "released_us": read_dark_us,
        // By the kernel's trace: when somebody drove the last lit line low. Only the guard is left to do it.
        "driven_dark_us": guarded_us,
    }))
}

fn run(order: &Value) -> Result<Value> {
    let words: Vec<&str> =
        order["arguments"].as_array().context("arguments")?.iter().filter_map(Value::as_str).collect();
    let (program, arguments) = words.split_first().context("a program")?;
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {program}"))?;
    Ok(json!({
        "code": output.status.code(),
        "out": String::from_utf8_lossy(&output.stdout),
        "err": String::from_utf8_lossy(&output.stderr),
    }))
}

fn parameter(module: &str, name: &str) -> Result<u64> {
    let path = format!("/sys/module/{module}/parameters/{name}");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    text.trim().parse().with_context(|| format!("{path} holds {text:?}"))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
