//! Time: the monotonic clock that everything is measured by, and what the device knows of the calendar.
//!
//! **Here:** [`Moment`], and the one real [`Clock`]: the only file of the agent that reads the system's clocks.
//! **Not here:** timers; the loop waits for [`crate::attempt::Machine::deadline`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::edge::Clock;

/// A reading of CLOCK_MONOTONIC: the clock that stamps V4L2 buffers. Comparable within one boot only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// The boot.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// A moment by nanoseconds since the boot, as cameras stamp it.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(Duration::from_nanos(nanos))
    }

    /// Nanoseconds since the boot.
    pub const fn as_nanos(self) -> u64 {
        self.0.as_secs().saturating_mul(1_000_000_000).saturating_add(self.0.subsec_nanos() as u64)
    }

    /// The moment `wait` later.
    pub const fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait))
    }

    /// The moment `time` earlier; the boot where that is later.
    pub const fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(time))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The system's clocks, corrected by the matcher's signed time. Clones of the `Arc` around it share the correction.
pub struct SystemClock {
    /// Unix milliseconds at the boot: what is added to the monotonic clock.
    boot_unix_ms: AtomicU64,
    signed: AtomicBool,
}

impl SystemClock {
    /// Starts no earlier than `not_before_ms` (Unix): the later of the build and the last signed time that was stored.
    pub fn new(not_before_ms: u64) -> Self {
        let boot_unix_ms = calendar_ms().max(not_before_ms).saturating_sub(monotonic_ms());
        Self { boot_unix_ms: AtomicU64::new(boot_unix_ms), signed: AtomicBool::new(false) }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let now = clock_gettime(ClockId::Monotonic);
        Moment(Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0)))
    }

    fn unix_ms(&self, at: Moment) -> u64 {
        let since_boot = u64::try_from(at.0.as_millis()).unwrap_or(u64::MAX);
        self.boot_unix_ms.load(Ordering::Relaxed).saturating_add(since_boot)
    }

    fn learn(&self, signed_unix_ms: u64) {
        let at_boot = signed_unix_ms.saturating_sub(monotonic_ms());
        self.boot_unix_ms.store(at_boot, Ordering::Relaxed);
        self.signed.store(true, Ordering::Relaxed);
    }

    fn is_signed(&self) -> bool {
        self.signed.load(Ordering::Relaxed)
    }
}

fn monotonic_ms() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs().saturating_mul(1000) + now.tv_nsec.unsigned_abs() / 1_000_000
}

/// What the system believes, Unix milliseconds; zero before 1970. By way of libc, where a wrong clock can be put before
/// the agent without one before the whole machine.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn calendar_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

/// How long ago the process `id` was started; `None` where the kernel does not say.
pub fn process_age(id: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // Field 22, counted after the name's closing bracket: start in clock ticks since the boot.
    let ticks: u64 = stat.rsplit(')').next()?.split_whitespace().nth(19)?.parse().ok()?;
    let started = Duration::from_millis(ticks.checked_mul(1000)? / rustix::param::clock_ticks_per_second());
    let boottime = clock_gettime(ClockId::Boottime);
    let now = Duration::new(boottime.tv_sec.unsigned_abs(), u32::try_from(boottime.tv_nsec).ok()?);
    now.checked_sub(started)
}
