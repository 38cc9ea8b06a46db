//! The driver keeps its budget, whoever forgets.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::attempt::LIT_MAX;
use crate::time::Calendar;

/// A clock that goes only when it is told to.
#[derive(Default)]
struct SetClock(AtomicU64);

impl SetClock {
    fn go(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_nanos()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Moment {
        Moment::from_nanos(self.0.load(Ordering::SeqCst))
    }

    fn calendar(&self) -> &Calendar {
        static CALENDAR: Calendar = Calendar::new(0, Moment::ZERO);
        &CALENDAR
    }
}

/// Lines that write down what they showed.
struct LoggedPins {
    log: Arc<Log>,
    broken: bool,
}

#[derive(Default)]
struct Log {
    shown: Mutex<Vec<Light>>,
    changed: Condvar,
}

impl Pins for LoggedPins {
    fn show(&mut self, light: Light) -> io::Result<()> {
        if self.broken && light != Light::Off {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.log.shown.lock().unwrap().push(light);
        self.log.changed.notify_all();
        Ok(())
    }

    fn place(&self) -> String {
        "lines 1 and 2".to_owned()
    }
}

impl Log {
    fn last(&self) -> Light {
        *self.shown.lock().unwrap().last().unwrap()
    }

    /// Waits until the lines show `light`.
    fn wait_for(&self, light: Light) {
        let shown = self.shown.lock().unwrap();
        let waiting = |shown: &mut Vec<Light>| shown.last() != Some(&light);
        let waited = self.changed.wait_timeout_while(shown, Duration::from_secs(60), waiting).unwrap();
        assert!(!waited.1.timed_out(), "the lamps never showed {light:?}");
    }
}

fn lamps(broken: bool) -> (WatchedLamps, Arc<Log>, Arc<SetClock>) {
    let (log, clock) = (Arc::<Log>::default(), Arc::<SetClock>::default());
    let pins = LoggedPins { log: Arc::clone(&log), broken };
    (WatchedLamps::start(Box::new(pins), Arc::clone(&clock) as _).unwrap(), log, clock)
}

#[test]
fn dark_at_the_start_and_when_dropped() {
    let (mut lamps, log, _clock) = lamps(false);
    assert_eq!(log.last(), Light::Off);
    lamps.set(Light::Both).unwrap();
    assert_eq!(log.last(), Light::Both);
    drop(lamps);
    assert_eq!(log.last(), Light::Off);
}

#[test]
fn lamps_that_nobody_switches_off_go_dark_and_stay_so_for_a_while() {
    let (mut lamps, log, clock) = lamps(false);
    lamps.set(Light::Left).unwrap();
    clock.go(LIT_MAX);
    log.wait_for(Light::Off);
    assert!(matches!(lamps.set(Light::Both), Err(LampError::Spent { .. })), "the budget is used up");
    assert_eq!(log.last(), Light::Off);
    clock.go(LIT_MAX);
    lamps.set(Light::Both).unwrap();
}

#[test]
fn a_panic_anywhere_makes_them_dark() {
    let (mut lamps, log, _clock) = lamps(false);
    lamps.darken_on_panic();
    lamps.set(Light::Both).unwrap();
    thread::spawn(|| panic!("on purpose")).join().unwrap_err();
    assert_eq!(log.last(), Light::Off);
}

#[test]
fn lines_that_do_not_obey_are_an_error() {
    let (mut lamps, log, _clock) = lamps(true);
    let error = lamps.set(Light::Right).unwrap_err().to_string();
    assert!(error.contains("lines 1 and 2"), "{error}");
    assert_eq!(log.last(), Light::Off);
}
