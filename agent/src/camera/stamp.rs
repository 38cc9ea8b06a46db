//! When a frame was exposed, and which frames are missing: by the driver's time stamps and numbers.

use std::time::Duration;

use crate::time::Moment;

/// What a driver's time stamp marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// The start of exposure.
    Start,
    /// The end of the frame: exposure and readout are over.
    End,
}

/// A frame's stamp, as the driver gave it.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// When, by the driver's clock.
    pub at: Moment,
    /// What it marks.
    pub marks: Marks,
    /// The frame's number.
    pub sequence: u32,
}

/// What became of a frame's stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Exposed from this moment on, after so many frames that are missing.
    Exposed(Moment, u32),
    /// No later than the frame before: the driver sent one twice, or its clock ran back.
    Repeated,
    /// Stamped so much later than it was received.
    Ahead(Duration),
    /// Stamped so long before it was received: another clock, or a ring that nobody emptied.
    Behind(Duration),
}

/// A frame cannot be stamped later than it was received; so much is the two clocks' rounding.
const AHEAD_MAX: Duration = Duration::from_millis(2);
/// A full ring of 32 buffers at 10 frames a second; older stamps are of another clock.
const BEHIND_MAX: Duration = Duration::from_millis(3_200);
/// A larger gap of numbers is a driver that began to count anew.
const GAP_MAX: u32 = 10_000;

/// Reads one stream's stamps in order.
#[derive(Debug)]
pub struct Stamps {
    /// Exposure and readout of one frame.
    length: Duration,
    frame: Duration,
    last: Option<Stamp>,
    /// When a frame was received last.
    received: Option<Moment>,
    /// How long nobody came for frames, until those of that time are out of the ring.
    away: Duration,
}

impl Stamps {
    /// For frames `frame` apart, whose exposure and readout take `length`.
    pub const fn new(length: Duration, frame: Duration) -> Self {
        Self { length, frame, last: None, received: None, away: Duration::ZERO }
    }

    /// Reads the stamp of a frame that was received at `received`.
    pub fn read(&mut self, stamp: Stamp, received: Moment) -> Read {
        let ahead = stamp.at.since(received);
        if ahead > AHEAD_MAX {
            return Read::Ahead(ahead);
        }
        // A thread that was held up finds old frames in the ring: that is not the driver's clock.
        self.away = self.away.max(received.since(self.received.replace(received).unwrap_or(received)));
        let behind = received.since(stamp.at);
        if behind > BEHIND_MAX + self.away {
            return Read::Behind(behind);
        }
        if behind <= BEHIND_MAX {
            self.away = Duration::ZERO;
        }
        let lost = match self.last {
            Some(last) if stamp.at <= last.at => return Read::Repeated,
            Some(last) => self.lost(last, stamp),
            None => 0,
        };
        self.last = Some(stamp);
        let start = match stamp.marks {
            Marks::Start => stamp.at,
            Marks::End => stamp.at.before(self.length),
        };
        Read::Exposed(start, lost)
    }

    fn lost(&self, last: Stamp, stamp: Stamp) -> u32 {
        match stamp.sequence.wrapping_sub(last.sequence) {
            // A driver that does not count: the time between the stamps tells.
            0 => {
                let frames = (nanos(stamp.at.since(last.at)) + nanos(self.frame) / 2) / nanos(self.frame).max(1);
                u32::try_from(frames.saturating_sub(1)).unwrap_or(u32::MAX).min(GAP_MAX)
            }
            gap if gap <= GAP_MAX => gap - 1,
            _ => 0,
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(at: u64) -> Moment {
        Moment::from_nanos(at * 1_000_000)
    }

    /// Reads frames of (stamp, received, number), in ms, at 30 frames a second with 20 ms of exposure and readout.
    fn read(marks: Marks, frames: &[(u64, u64, u32)]) -> Vec<Read> {
        let mut stamps = Stamps::new(Duration::from_millis(20), Duration::from_millis(33));
        let one = |&(at, received, sequence)| stamps.read(Stamp { at: ms(at), marks, sequence }, ms(received));
        frames.iter().map(one).collect()
    }

    #[test]
    fn the_start_of_exposure_is_what_counts() {
        assert_eq!(read(Marks::Start, &[(5_000, 5_040, 1)]), [Read::Exposed(ms(5_000), 0)]);
        assert_eq!(read(Marks::End, &[(5_000, 5_001, 1)]), [Read::Exposed(ms(4_980), 0)]);
    }

    #[test]
    fn gaps_in_the_numbers_are_lost_frames() {
        let frames = [(5_000, 5_040, u32::MAX - 1), (5_033, 5_070, u32::MAX), (5_133, 5_170, 2), (5_166, 5_200, 3)];
        let lost: Vec<_> = read(Marks::Start, &frames)
            .into_iter()
            .map(|read| if let Read::Exposed(_, lost) = read { lost } else { 99 })
            .collect();
        assert_eq!(lost, [0, 0, 2, 0]);
    }

    #[test]
    fn a_driver_that_does_not_count_is_judged_by_its_stamps() {
        let found = read(Marks::Start, &[(5_000, 5_040, 0), (5_033, 5_070, 0), (5_133, 5_170, 0)]);
        assert_eq!(found[1..], [Read::Exposed(ms(5_033), 0), Read::Exposed(ms(5_133), 2)]);
    }

    #[test]
    fn numbers_that_begin_anew_lose_nothing() {
        let found = read(Marks::Start, &[(5_000, 5_040, 700_000), (5_033, 5_070, 0)]);
        assert_eq!(found[1], Read::Exposed(ms(5_033), 0));
    }

    #[test]
    fn stamps_that_cannot_be_are_named() {
        let found = read(Marks::Start, &[(5_160, 5_000, 0), (1_000, 5_000, 1), (4_990, 5_000, 2), (4_990, 5_030, 3)]);
        assert_eq!(found[0], Read::Ahead(Duration::from_millis(160)));
        assert_eq!(found[1], Read::Behind(Duration::from_secs(4)));
        assert!(matches!(found[2], Read::Exposed(..)));
        assert_eq!(found[3], Read::Repeated);
    }
    #[test]
    fn frames_of_a_time_when_nobody_came_are_old_and_not_of_another_clock() {
        let found = read(Marks::Start, &[(1_000, 1_010, 0), (1_033, 6_000, 1), (1_066, 6_001, 2), (5_990, 6_010, 3)]);
        assert!(found.iter().all(|read| matches!(read, Read::Exposed(_, 0))), "{found:?}");
        let late = read(Marks::Start, &[(1_000, 1_000, 0), (1_010, 2_000, 1), (1_020, 5_000, 2), (1_030, 5_010, 3)]);
        assert!(late.iter().all(|read| matches!(read, Read::Exposed(..))), "{late:?}");
        let slow = [(1_000, 1_000, 0), (1_010, 3_000, 1), (1_020, 4_000, 2), (1_030, 5_000, 3), (1_040, 6_300, 4)];
        assert_eq!(read(Marks::Start, &slow)[4], Read::Behind(Duration::from_millis(5_260)));
    }
}
