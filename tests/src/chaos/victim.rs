//! A process that is killed at random and started again, as a supervisor would, with a clock of its own that can be set while
//! it runs (`libfaketime`).

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};

use crate::process::Process;

/// A process and how it is started.
pub(super) struct Victim {
    name: &'static str,
    namespace: String,
    order: Vec<String>,
    log: PathBuf,
    clock: Clock,
    state: Mutex<State>,
}

/// The library that tells a program another time, and the file in which it looks for that.
#[derive(Clone)]
pub(super) struct Clock {
    library: PathBuf,
    file: PathBuf,
}

/// A clock that is right.
pub(super) const RIGHT: &str = "+0";

impl Clock {
    /// A clock whose file is `file`.
    ///
    /// # Errors
    /// `libfaketime` is not installed, or the file cannot be written.
    pub(super) fn new(file: PathBuf) -> Result<Self> {
        let library = libraries()?.into_iter().find(|path| path.exists());
        let library = library.context("libfaketime is not here: apt-get install faketime")?;
        let clock = Self { library, file };
        clock.set(RIGHT)?;
        Ok(clock)
    }

    /// Sets it, while the program runs too: an offset (`+12y`), or a moment (`@1970-01-01 00:10:00`).
    pub(super) fn set(&self, time: &str) -> Result<()> {
        std::fs::write(&self.file, format!("{time}\n")).with_context(|| format!("writing {}", self.file.display()))
    }

    fn environment(&self) -> [String; 4] {
        [
            format!("LD_PRELOAD={}", self.library.display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.file.display()),
            "FAKETIME_CACHE_DURATION=1".to_owned(),
            "DONT_FAKE_MONOTONIC=1".to_owned(),
        ]
    }
}

/// Where Debian and Ubuntu put the library, for whichever architecture.
fn libraries() -> Result<Vec<PathBuf>> {
    let folders = std::fs::read_dir("/usr/lib").context("reading /usr/lib")?;
    Ok(folders.filter_map(|entry| Some(entry.ok()?.path().join("faketime/libfaketime.so.1"))).collect())
}

#[derive(Default)]
struct State {
    process: Option<Process>,
    kills: u64,
    /// Ends that nobody ordered.
    falls: u64,
    /// Not to be started before the next [`Victim::rise`].
    down: bool,
}

impl Victim {
    /// A program to be run by `order` inside `namespace`.
    ///
    /// # Errors
    /// There is no clock for it: [`Clock::new`].
    pub(super) fn new(name: &'static str, namespace: &str, order: Vec<String>, log: PathBuf) -> Result<Self> {
        let clock = Clock::new(log.with_extension("clock"))?;
        Ok(Self { name, namespace: namespace.to_owned(), order, log, clock, state: Mutex::default() })
    }

    /// Its clock.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Starts it, unless it runs.
    pub(super) fn rise(&self) -> Result<()> {
        let mut state = self.state();
        state.down = false;
        if state.process.is_none() {
            let inside = ["netns", "exec", &self.namespace, "env"].map(str::to_owned);
            let environment = self.clock.environment();
            let arguments: Vec<&String> = inside.iter().chain(&environment).chain(&self.order).collect();
            state.process = Some(Process::start(self.name, "ip".as_ref(), &arguments, &self.log)?);
        }
        Ok(())
    }

    /// SIGKILL; whether there was anything to kill.
    pub(super) fn kill(&self) -> Result<bool> {
        let mut state = self.state();
        state.down = true;
        let Some(mut process) = state.process.take() else { return Ok(false) };
        process.kill()?;
        state.kills += 1;
        Ok(true)
    }

    /// Whether it ended by itself; then it is to be started again.
    pub(super) fn has_fallen(&self) -> Result<bool> {
        let mut state = self.state();
        let ended = match &mut state.process {
            Some(process) => process.has_ended()?,
            None => false,
        };
        if ended {
            state.process = None;
            state.falls += 1;
        }
        Ok(state.process.is_none() && !state.down)
    }

    /// SIGTERM, and the wait for its end.
    pub(super) fn stop(&self) -> Result<()> {
        let mut state = self.state();
        state.down = true;
        match state.process.take() {
            Some(mut process) => process.stop().map(drop),
            None => Ok(()),
        }
    }

    /// Kills and ends that nobody ordered, so far.
    pub(super) fn counts(&self) -> (u64, u64) {
        let state = self.state();
        (state.kills, state.falls)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
