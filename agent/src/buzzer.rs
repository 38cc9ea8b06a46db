//! The buzzer: one line that sounds while it is on, for people who don't see the screen. Each ending has its own pattern.
//!
//! **Here:** the pure table of patterns ([`pattern`]) and the thread that plays them ([`Buzzer`]). **Not here:** which
//! line it is (the board's file). A buzzer that fails is logged once, and missed by nobody else.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use didar_protocol::message::Outcome;
use embedded_hal::digital::OutputPin;

use crate::line;

/// A beep, or a silence between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sound {
    /// A short beep.
    Short,
    /// A long beep.
    Long,
}

impl Sound {
    /// How long it is on.
    pub const fn length(self) -> Duration {
        match self {
            Self::Short => Duration::from_millis(80),
            Self::Long => Duration::from_millis(400),
        }
    }
}

/// Silence between two sounds of a pattern.
pub const GAP: Duration = Duration::from_millis(120);

/// What an ending sounds like. Two short beeps mean yes; everything else has a long one or is cut off after one.
pub const fn pattern(outcome: Outcome) -> &'static [Sound] {
    use Sound::{Long, Short};
    match outcome {
        Outcome::Grant => &[Short, Short],
        Outcome::Deny => &[Long],
        Outcome::Inconclusive => &[Short, Long],
        Outcome::Spoof => &[Short, Short, Long],
        Outcome::Refused => &[Long, Long],
        Outcome::TimeOut => &[Long, Short],
        Outcome::Offline => &[Long, Short, Short],
        Outcome::Fault => &[Long, Long, Long],
        Outcome::Cancelled => &[Short],
    }
}

/// A buzzer's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuzzerLine {
    /// The chip, e.g. `/dev/gpiochip0`.
    pub chip: PathBuf,
    /// The line's number on it.
    pub line: u32,
}

/// The buzzer's thread. Dropping it ends the sound and the thread.
pub struct Buzzer {
    slot: Arc<Slot>,
    thread: Option<JoinHandle<()>>,
}

/// The buzzer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BuzzerError {
    /// Its line cannot be taken.
    #[error("cannot take buzzer line {line} of {chip}: {cause}; is the number right, and does nothing else hold it?")]
    Line {
        /// The chip.
        chip: PathBuf,
        /// The line.
        line: u32,
        /// What the system said.
        cause: io::Error,
    },
    /// The system gave no thread.
    #[error("cannot start the buzzer's thread: {0}")]
    Thread(io::Error),
}

#[derive(Default)]
struct Slot {
    next: Mutex<Next>,
    changed: Condvar,
}

#[derive(Default)]
struct Next {
    outcome: Option<Outcome>,
    closed: bool,
}

impl Buzzer {
    /// Takes the line, silent, and starts the thread.
    ///
    /// # Errors
    /// The line cannot be taken, or the system gave no thread.
    pub fn open(place: &BuzzerLine) -> Result<Self, BuzzerError> {
        let pin = line::output(&place.chip, place.line, 0).map_err(|cause| BuzzerError::Line {
            chip: place.chip.clone(),
            line: place.line,
            cause,
        })?;
        Self::start(pin)
    }

    /// Starts the thread with any line that sounds while it is high.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn start(pin: impl OutputPin + Send + 'static) -> Result<Self, BuzzerError> {
        let slot = Arc::<Slot>::default();
        let shared = Arc::clone(&slot);
        let player = Player { pin, broken: false };
        let thread = thread::Builder::new()
            .name("buzzer".into())
            .spawn(move || player.run(&shared))
            .map_err(BuzzerError::Thread)?;
        Ok(Self { slot, thread: Some(thread) })
    }

    /// Plays this ending's pattern; never waits. One that still plays is broken off.
    pub fn play(&self, outcome: Outcome) {
        self.slot.lock().outcome = Some(outcome);
        self.slot.changed.notify_one();
    }
}

impl Drop for Buzzer {
    fn drop(&mut self) {
        self.slot.lock().closed = true;
        self.slot.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so on its own.
            let _ = thread.join();
        }
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Next> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next ending to play; `None` at the end.
    fn take(&self) -> Option<Outcome> {
        let idle = |next: &mut Next| next.outcome.is_none() && !next.closed;
        let mut next = self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        if next.closed { None } else { next.outcome.take() }
    }

    /// Waits; true if nothing else came meanwhile.
    fn rest(&self, wait: Duration) -> bool {
        let quiet = |next: &mut Next| next.outcome.is_none() && !next.closed;
        let waited = self.changed.wait_timeout_while(self.lock(), wait, quiet);
        waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

/// What the buzzer's thread owns. Silent when dropped, by a panic too.
struct Player<P: OutputPin> {
    pin: P,
    broken: bool,
}

impl<P: OutputPin> Player<P> {
    fn run(mut self, slot: &Slot) {
        while let Some(outcome) = slot.take() {
            for sound in pattern(outcome) {
                let switched = self.pin.set_high();
                self.note(switched);
                let undisturbed = slot.rest(sound.length());
                let switched = self.pin.set_low();
                self.note(switched);
                if !undisturbed || !slot.rest(GAP) {
                    break;
                }
            }
        }
    }

    fn note(&mut self, switched: Result<(), P::Error>) {
        if let Err(error) = switched
            && !self.broken
        {
            self.broken = true;
            tracing::error!("the buzzer's line cannot be switched: {error:?}");
        }
    }
}

impl<P: OutputPin> Drop for Player<P> {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = self.pin.set_low();
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::mpsc::{Sender, channel};

    use embedded_hal::digital::ErrorType;

    use super::*;

    const OUTCOMES: [Outcome; 9] = crate::screen::OUTCOMES;

    struct MockPin(Sender<bool>);

    impl ErrorType for MockPin {
        type Error = Infallible;
    }

    impl OutputPin for MockPin {
        fn set_low(&mut self) -> Result<(), Infallible> {
            let _ = self.0.send(false);
            Ok(())
        }

        fn set_high(&mut self) -> Result<(), Infallible> {
            let _ = self.0.send(true);
            Ok(())
        }
    }

    #[test]
    fn every_ending_sounds_different_and_is_over_soon() {
        for (index, outcome) in OUTCOMES.into_iter().enumerate() {
            let mine = pattern(outcome);
            assert!(!mine.is_empty());
            assert!(OUTCOMES[..index].iter().all(|other| pattern(*other) != mine), "{outcome:?}");
            let whole: Duration = mine.iter().map(|sound| sound.length() + GAP).sum();
            assert!(whole < Duration::from_secs(2), "{outcome:?} takes {whole:?}");
        }
    }

    #[test]
    fn a_pattern_is_played_to_its_end() {
        let (switched, heard) = channel();
        let buzzer = Buzzer::start(MockPin(switched)).unwrap();
        buzzer.play(Outcome::Inconclusive);
        let said: Vec<bool> = (0..4).map(|_| heard.recv().unwrap()).collect();
        assert_eq!(said, [true, false, true, false]);
    }

    #[test]
    fn it_is_silent_at_the_end_even_in_the_middle_of_a_sound() {
        let (switched, heard) = channel();
        let buzzer = Buzzer::start(MockPin(switched)).unwrap();
        buzzer.play(Outcome::Fault);
        assert!(heard.recv().unwrap());
        drop(buzzer);
        assert_eq!(heard.iter().last(), Some(false));
    }

    #[test]
    fn a_newer_ending_breaks_an_older_one_off() {
        let slot = Slot::default();
        assert!(slot.rest(Duration::from_millis(1)), "nothing came");
        slot.lock().outcome = Some(Outcome::Grant);
        assert!(!slot.rest(Duration::from_secs(3600)), "at once");
        assert_eq!(slot.take(), Some(Outcome::Grant));
        slot.lock().closed = true;
        assert!(!slot.rest(Duration::from_secs(3600)), "at once");
    }

    #[test]
    fn a_line_that_is_not_there_is_named() {
        let place = BuzzerLine { chip: "/dev/gpiochip99".into(), line: 7 };
        let error = Buzzer::open(&place).err().unwrap().to_string();
        assert!(error.contains("buzzer line 7 of /dev/gpiochip99"), "{error}");
    }
}
