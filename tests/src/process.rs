//! A program of ours as a child process: its lines of output, its memory, its end.
//!
//! Here: what the demo and the end-to-end tests need of a child. Not here: restarts (a supervisor's work).

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

/// A running child; ended (politely, then not) when it is dropped.
pub struct Process {
    name: &'static str,
    child: Child,
    lines: Receiver<String>,
}

/// Longest wait for a polite end.
const GRACE: Duration = Duration::from_secs(8);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

impl Process {
    /// Starts `program` with `arguments`; its log (standard error) goes to the end of `log`.
    pub fn start<S: AsRef<OsStr>>(name: &'static str, program: &Path, arguments: &[S], log: &Path) -> Result<Self> {
        let log_file = std::fs::OpenOptions::new().create(true).append(true).open(log);
        let log_file = log_file.with_context(|| format!("creating {}", log.display()))?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let output = child.stdout.take().context("the child's output")?;
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { name, child, lines })
    }

    /// The next line of output that `wanted` accepts, within `wait`.
    pub fn wait_for_line(&self, wait: Duration, wanted: impl Fn(&str) -> bool) -> Result<String> {
        loop {
            match self.lines.recv_timeout(wait) {
                Ok(line) if wanted(&line) => return Ok(line),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => bail!("{}: nothing within {wait:?}", self.name),
                Err(RecvTimeoutError::Disconnected) => bail!("{} ended before it said what was waited for", self.name),
            }
        }
    }

    /// Lines of output that have come and were not read yet.
    pub fn lines_so_far(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Resident memory now and its peak, in MB, as the kernel counts it.
    pub fn resident_mb(&self) -> Result<(f64, f64)> {
        resident_mb(self.child.id())
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child's own child of this name.
    pub fn child(&self, name: &str) -> Result<u32> {
        let named = |child: &u32| {
            std::fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|found| found.trim() == name)
        };
        let found = children(self.child.id())?.into_iter().find(named);
        found.with_context(|| format!("{} has no child {name}", self.name))
    }

    /// Ends the child as a power cut would (SIGKILL).
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("killing {}", self.name))?;
        self.child.wait().with_context(|| format!("waiting for {}", self.name)).map(drop)
    }

    /// Whether the child has ended.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Asks the child to end (SIGTERM) and waits for it.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).context("asking the child to end")?;
        let steps = GRACE.as_millis() / LOOK.as_millis();
        for _ in 0..steps {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            // A parked thread with a time limit: waiting for a child has no other portable form without a signal handler.
            thread::park_timeout(LOOK);
        }
        self.child.kill()?;
        let _ = self.child.wait()?;
        bail!("{} did not end within {GRACE:?}", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.stop().is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The children of the process `id`.
fn children(id: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{id}/task"))? {
        let children = std::fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    }
    Ok(found)
}

/// From now on SIGINT and SIGTERM end this program's children first, politely: nothing of it goes on alone.
///
/// # Errors
/// Signals cannot be received.
pub fn end_with_children() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        let living = |id: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim().starts_with('Z'))
        };
        let mut waited = Duration::ZERO;
        let children = children(std::process::id()).unwrap_or_default();
        for child in children.iter().filter_map(|id| Pid::from_raw(i32::try_from(*id).ok()?)) {
            let _ = kill_process(child, Signal::TERM);
        }
        while waited < GRACE && children.iter().any(living) {
            thread::park_timeout(LOOK);
            waited += LOOK;
        }
        std::process::exit(130);
    });
    Ok(())
}

/// Resident memory of the process `id` now and its peak, in MB, as the kernel counts it.
pub fn resident_mb(id: u32) -> Result<(f64, f64)> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).context("the process's status")?;
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok())
    };
    Ok((field("VmRSS:").unwrap_or(0.0) / 1024.0, field("VmHWM:").unwrap_or(0.0) / 1024.0))
}

/// Processor time that the process `id` has taken so far, seconds, as the kernel counts it in hundredths.
pub fn cpu_s(id: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).context("the process's times")?;
    // After its name, which may hold anything: state is the first field, user and system time the 12th and 13th.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks =
        fields.skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>().context("the process's times")?;
    Ok(ticks / 100.0)
}

/// Runs `program` to its end; its output, or an error with what it said.
pub fn run<S: AsRef<OsStr>>(program: &Path, arguments: &[S]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {}", program.display()))?;
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        bail!("{} {}: {}", program.display(), output.status, said.trim());
    }
    Ok(said)
}

/// The path of the program `name` built with this one (same profile folder).
pub fn sibling(name: &str) -> Result<PathBuf> {
    let mut folder = std::env::current_exe().context("this program's path")?;
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let path = folder.join(name);
    if !path.exists() {
        bail!(
            "{} is not built: run `cargo build -p {}`",
            path.display(),
            if name == "didar-agent" { "didar-agent" } else { "didar-matcher" }
        );
    }
    Ok(path)
}
