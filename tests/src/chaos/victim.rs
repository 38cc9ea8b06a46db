//! A process that is killed at random and started again, as a supervisor would.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use crate::process::Process;

/// A process and how it is started.
pub(super) struct Victim {
    name: &'static str,
    namespace: String,
    order: Vec<String>,
    log: PathBuf,
    state: Mutex<State>,
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
    pub(super) fn new(name: &'static str, namespace: &str, order: Vec<String>, log: PathBuf) -> Self {
        Self { name, namespace: namespace.to_owned(), order, log, state: Mutex::default() }
    }

    /// Starts it, unless it runs; `environment` goes before the order (`NAME=value`).
    pub(super) fn rise(&self, environment: &[String]) -> Result<()> {
        let mut state = self.state();
        state.down = false;
        if state.process.is_none() {
            let inside = ["netns", "exec", &self.namespace, "env"].map(str::to_owned);
            let arguments: Vec<&String> = inside.iter().chain(environment).chain(&self.order).collect();
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
