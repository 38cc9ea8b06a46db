//! The two infrared lamps of real boards: two GPIO lines, and who watches over them.
//!
//! **Here:** the driver that every kind of line is behind. It keeps the lamps' budget by itself: whoever forgets to
//! switch them off, hangs or panics, a thread of the driver switches them off in time. **Not here:** when to light them
//! (the attempt machine's), the lines themselves ([`pins`]), what happens when the whole process is killed ([`guard`]).
//! **Start** with [`WatchedLamps`].

pub mod budget;
pub mod guard;
pub mod pins;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use budget::Budget;
use didar_protocol::light_code::Light;
use pins::Lines;

use crate::edge::{Clock, LampError, Lamps, Switching};
use crate::time::Moment;

/// Two lines, as one. What is not lit is dark: there is no other state.
pub trait Pins: Send {
    /// Switches both lines.
    ///
    /// # Errors
    /// A line did not obey; it must be taken for lit.
    fn show(&mut self, light: Light) -> io::Result<()>;

    /// Which lines, for people.
    fn place(&self) -> String;
}

/// Lamps that go dark by themselves: when their budget is used up, when dropped, and when any thread panics after
/// [`WatchedLamps::darken_on_panic`].
pub struct WatchedLamps {
    core: Arc<Core>,
    watchman: Option<JoinHandle<()>>,
}

struct Core {
    state: Mutex<State>,
    changed: Condvar,
    clock: Arc<dyn Clock>,
    place: String,
}

struct State {
    pins: Box<dyn Pins>,
    budget: Budget,
    closed: bool,
}

/// How soon lamps that could not be switched off are tried again.
const RETRY: Duration = Duration::from_millis(20);

impl WatchedLamps {
    /// Takes the lines over and makes them dark.
    ///
    /// # Errors
    /// The lines cannot be switched, or the system gave no thread.
    pub fn start(mut pins: Box<dyn Pins>, clock: Arc<dyn Clock>) -> Result<Self, LampError> {
        let place = pins.place();
        let failed = |cause| LampError::Switch { place: place.clone(), cause };
        pins.show(Light::Off).map_err(failed)?;
        let state = Mutex::new(State { pins, budget: Budget::new(clock.now()), closed: false });
        let core = Arc::new(Core { state, changed: Condvar::new(), clock, place: place.clone() });
        let watched = Arc::clone(&core);
        let watchman = thread::Builder::new().name("lamps".into()).spawn(move || watched.watch()).map_err(failed)?;
        Ok(Self { core, watchman: Some(watchman) })
    }

    /// From now on a panic of any thread makes the lamps dark before its message is printed.
    pub fn darken_on_panic(&self) {
        let core = Arc::downgrade(&self.core);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if let Some(core) = core.upgrade() {
                core.darken_now();
            }
            before(panic);
        }));
    }
}

impl Lamps for WatchedLamps {
    fn set(&mut self, light: Light) -> Result<Switching, LampError> {
        let core = &self.core;
        let mut state = core.lock();
        let now = core.clock.now();
        let wait = state.budget.wait(now);
        if light != Light::Off && !wait.is_zero() {
            core.darken(&mut state, now).map_err(|cause| core.failed(cause))?;
            return Err(LampError::Spent { place: core.place.clone(), wait });
        }
        if light != Light::Off {
            // Before the light: whatever happens then, the watchman knows.
            state.budget.lit(now);
            core.changed.notify_all();
        }
        let ordered = core.clock.now();
        if let Err(cause) = state.pins.show(light) {
            // Perhaps one of the two obeyed; dark is what we can try.
            let _ = state.pins.show(Light::Off);
            return Err(core.failed(cause));
        }
        let done = core.clock.now();
        if light == Light::Off {
            state.budget.dark(done);
        }
        Ok(Switching { ordered, done })
    }
}

impl Drop for WatchedLamps {
    fn drop(&mut self) {
        {
            let mut state = self.core.lock();
            // What cannot be switched any more goes dark with its line, see `pins`.
            let _ = state.pins.show(Light::Off);
            state.closed = true;
        }
        self.core.changed.notify_all();
        if let Some(watchman) = self.watchman.take() {
            // One that panicked has said so on its own.
            let _ = watchman.join();
        }
    }
}

impl Core {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is half done under this lock but a switch, which is done again.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, cause: io::Error) -> LampError {
        LampError::Switch { place: self.place.clone(), cause }
    }

    fn darken(&self, state: &mut State, now: Moment) -> io::Result<()> {
        state.pins.show(Light::Off)?;
        state.budget.dark(now);
        Ok(())
    }

    /// For the panic hook: the thread that panics may hold the lock; then its unwinding drops the lamps or the watchman
    /// finds them.
    fn darken_now(&self) {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let _ = self.darken(&mut state, self.clock.now());
    }

    /// Switches off what nobody else did in time.
    fn watch(&self) {
        let mut state = self.lock();
        let mut complained = false;
        while !state.closed {
            let now = self.clock.now();
            let wait = match state.budget.ends() {
                Some(end) if end <= now => match self.darken(&mut state, now) {
                    Ok(()) => {
                        tracing::error!("lamps at {}: nobody switched them off; the driver did", self.place);
                        complained = false;
                        continue;
                    }
                    Err(cause) => {
                        if !complained {
                            tracing::error!("lamps at {} cannot be switched off: {cause}", self.place);
                        }
                        complained = true;
                        RETRY
                    }
                },
                Some(end) => end.since(now),
                None => IDLE,
            };
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Lamps at GPIO lines: opened at the first order and, after an error, at the next one, so that a line that is taken is a
/// fault that can be mended, and not the end of the service.
pub struct LineLamps {
    lines: Lines,
    clock: Arc<dyn Clock>,
    opened: Option<WatchedLamps>,
}

impl LineLamps {
    /// Lamps at `lines`; nothing is opened yet.
    pub fn new(lines: Lines, clock: Arc<dyn Clock>) -> Self {
        Self { lines, clock, opened: None }
    }
}

impl Lamps for LineLamps {
    fn set(&mut self, light: Light) -> Result<Switching, LampError> {
        let mut lamps = match self.opened.take() {
            Some(lamps) => lamps,
            None => {
                let lamps = WatchedLamps::start(self.lines.open()?, Arc::clone(&self.clock))?;
                lamps.darken_on_panic();
                lamps
            }
        };
        let switched = lamps.set(light);
        if !matches!(switched, Err(LampError::Switch { .. })) {
            self.opened = Some(lamps);
        }
        switched
    }
}

/// How often the watchman looks up while the lamps are dark.
const IDLE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
