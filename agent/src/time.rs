//! Time: the monotonic clock that everything is measured by, and what the device knows of the calendar.
//!
//! **Here:** [`Moment`], [`Calendar`], and the one real [`Clock`]: the only file of the agent that reads the system's clocks.
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

/// A verified time of the matcher, milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// In answer to a question of ours: it is the time now.
    Now(u64),
    /// In a message that may have lain somewhere: it is at least this.
    AtLeast(u64),
}

/// What a device knows of the calendar: what its board said at the start, until a matcher's signed time says better. From
/// then on the monotonic clock carries it, so that only another answer to a question changes it.
pub struct Calendar {
    /// Unix milliseconds at [`Moment::ZERO`], at the start.
    begun_ms: u64,
    /// And now.
    zero_ms: AtomicU64,
    signed: AtomicBool,
    told: AtomicBool,
}

impl Calendar {
    /// It is `unix_ms` at `at`, as far as anybody here knows.
    pub const fn new(unix_ms: u64, at: Moment) -> Self {
        let begun_ms = unix_ms.saturating_sub(millis(at));
        let (signed, told) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { begun_ms, zero_ms: AtomicU64::new(begun_ms), signed, told }
    }

    /// Unix milliseconds at `at`.
    pub fn unix_ms(&self, at: Moment) -> u64 {
        self.zero_ms.load(Ordering::Relaxed).saturating_add(millis(at))
    }

    /// Takes what was heard at `at`; false where it says nothing new.
    pub fn learn(&self, heard: Heard, at: Moment) -> bool {
        let unix_ms = match heard {
            Heard::AtLeast(unix_ms) if self.is_told() || unix_ms <= self.unix_ms(at) => return false,
            Heard::AtLeast(unix_ms) => unix_ms,
            Heard::Now(unix_ms) => {
                self.told.store(true, Ordering::Relaxed);
                unix_ms
            }
        };
        self.zero_ms.store(unix_ms.saturating_sub(millis(at)), Ordering::Relaxed);
        self.signed.store(true, Ordering::Relaxed);
        true
    }

    /// Whether a signed time has changed it.
    pub fn is_signed(&self) -> bool {
        self.signed.load(Ordering::Relaxed)
    }

    /// Whether a matcher has answered a question of this start, and so told the time.
    pub fn is_told(&self) -> bool {
        self.told.load(Ordering::Relaxed)
    }

    /// Back to what the board said at the start: what was told since can't have been the time.
    pub fn forget(&self) {
        self.told.store(false, Ordering::Relaxed);
        self.signed.store(false, Ordering::Relaxed);
        self.zero_ms.store(self.begun_ms, Ordering::Relaxed);
    }
}

const fn millis(at: Moment) -> u64 {
    at.as_nanos() / 1_000_000
}

/// The system's clocks, corrected by the matcher's signed time. Clones of the `Arc` around it share the correction.
pub struct SystemClock(Calendar);

impl SystemClock {
    /// Starts no earlier than `not_before_ms` (Unix): the later of the build and the last signed time that was stored.
    pub fn new(not_before_ms: u64) -> Self {
        Self::at(calendar_ms().max(not_before_ms))
    }

    /// Starts at this time of the calendar (Unix milliseconds), whatever the system says.
    pub fn at(unix_ms: u64) -> Self {
        Self(Calendar::new(unix_ms, monotonic()))
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        monotonic()
    }

    fn calendar(&self) -> &Calendar {
        &self.0
    }
}

fn monotonic() -> Moment {
    let now = clock_gettime(ClockId::Monotonic);
    Moment(Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0)))
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
