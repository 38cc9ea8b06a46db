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

/// When a frame was received.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When it was read.
    pub at: Moment,
    /// Since when it was waited for; `None` where it lay in the driver's ring already, for nobody knows how long.
    pub awaited: Option<Moment>,
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
    /// Stamped so long before it was waited for: another clock.
    Behind(Duration),
}

/// A frame cannot be stamped later than it was received; so much is the two clocks' rounding.
const AHEAD_MAX: Duration = Duration::from_millis(2);
/// From its stamp until a driver hands a frame over that is waited for, at most; older stamps are of another clock. A frame that
/// lay in the ring may be older: a network that takes long looks at a full ring for seconds.
const BEHIND_MAX: Duration = Duration::from_secs(1);
/// A larger gap of numbers is a driver that began to count anew.
const GAP_MAX: u32 = 10_000;

/// Reads one stream's stamps in order.
#[derive(Debug)]
pub struct Stamps {
    /// Exposure and readout of one frame.
    length: Duration,
    frame: Duration,
    last: Option<Stamp>,
    /// Since then: frames that are missing before one that could not be used, by their numbers.
    missing: u32,
    /// Since then: frames that came, had no number of their own and could not be used.
    unnumbered: u32,
}

impl Stamps {
    /// For frames `frame` apart, whose exposure and readout take `length`.
    pub const fn new(length: Duration, frame: Duration) -> Self {
        Self { length, frame, last: None, missing: 0, unnumbered: 0 }
    }

    /// Reads the stamp of a frame that arrived so.
    pub fn read(&mut self, stamp: Stamp, arrival: Arrival) -> Read {
        let ahead = stamp.at.since(arrival.at);
        if ahead > AHEAD_MAX {
            return Read::Ahead(ahead);
        }
        // Reckoned from the beginning of the wait: a thread that was held up after it is no slow driver.
        let behind = arrival.awaited.unwrap_or(stamp.at).since(stamp.at);
        if behind > BEHIND_MAX {
            return Read::Behind(behind);
        }
        let lost = match self.last {
            Some(last) if stamp.at <= last.at => {
                // The same frame once more has the same number; another one with its stamp has one of its own.
                if stamp.sequence != last.sequence {
                    self.refused(stamp.sequence);
                }
                return Read::Repeated;
            }
            Some(last) => self.lost(last, stamp),
            None => 0,
        };
        (self.last, self.missing, self.unnumbered) = (Some(stamp), 0, 0);
        let start = match stamp.marks {
            Marks::Start => stamp.at,
            Marks::End => stamp.at.before(self.length),
        };
        Read::Exposed(start, lost)
    }

    /// A frame of this number came and cannot be used: it is not lost as well.
    pub fn refused(&mut self, sequence: u32) {
        let Some(last) = &mut self.last else { return };
        match sequence.wrapping_sub(last.sequence) {
            0 => self.unnumbered = self.unnumbered.saturating_add(1),
            gap if gap <= GAP_MAX => {
                self.missing = self.missing.saturating_add(gap - 1);
                last.sequence = sequence;
            }
            // A broken frame may have a broken number.
            _ => {}
        }
    }

    fn lost(&self, last: Stamp, stamp: Stamp) -> u32 {
        match stamp.sequence.wrapping_sub(last.sequence) {
            // A driver that does not count: the time between the stamps tells.
            0 => {
                let frames = (nanos(stamp.at.since(last.at)) + nanos(self.frame) / 2) / nanos(self.frame).max(1);
                let between = u32::try_from(frames.saturating_sub(1)).unwrap_or(u32::MAX).min(GAP_MAX);
                between.saturating_sub(self.unnumbered)
            }
            gap if gap <= GAP_MAX => gap - 1 + self.missing,
            _ => self.missing,
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

    /// Reads frames of (stamp, received, number), in ms, at 30 frames a second with 20 ms of exposure and readout. Each was
    /// waited for since a millisecond.
    fn read(marks: Marks, frames: &[(u64, u64, u32)]) -> Vec<Read> {
        let mut stamps = Stamps::new(Duration::from_millis(20), Duration::from_millis(33));
        let one = |&(at, received, sequence)| {
            let arrival = Arrival { at: ms(received), awaited: Some(ms(received - 1)) };
            stamps.read(Stamp { at: ms(at), marks, sequence }, arrival)
        };
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
    fn a_frame_that_came_and_could_not_be_used_is_not_lost_as_well() {
        // The numbers of broken frames between a first frame and a next one of that number, and what is lost then.
        for (broken, next, lost) in [
            (&[1][..], 2, 0),
            (&[1, 2, 3], 4, 0),
            (&[2], 3, 1),
            (&[2], 5, 3),
            (&[900_000], 2, 1),
            // Neither broken nor good frames are numbered: four frames' time lies between the good ones.
            (&[0], 0, 2),
            (&[0, 0, 0], 0, 0),
        ] {
            let mut stamps = Stamps::new(Duration::from_millis(20), Duration::from_millis(33));
            let read = |stamps: &mut Stamps, at, sequence| {
                let stamp = Stamp { at: ms(at), marks: Marks::Start, sequence };
                stamps.read(stamp, Arrival { at: ms(at + 40), awaited: None })
            };
            read(&mut stamps, 5_000, 0);
            broken.iter().for_each(|sequence| stamps.refused(*sequence));
            assert_eq!(read(&mut stamps, 5_132, next), Read::Exposed(ms(5_132), lost), "{broken:?} {next}");
            assert_eq!(read(&mut stamps, 5_165, next + 1), Read::Exposed(ms(5_165), 0), "counted once: {broken:?}");
        }
        // One that has the stamp of the frame before and a number of its own was there.
        let found = read(Marks::Start, &[(5_000, 5_040, 1), (5_000, 5_070, 2), (5_066, 5_100, 3)]);
        assert_eq!(found[1..], [Read::Repeated, Read::Exposed(ms(5_066), 0)]);
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
        assert_eq!(found[1], Read::Behind(Duration::from_millis(3_999)));
        assert!(matches!(found[2], Read::Exposed(..)));
        assert_eq!(found[3], Read::Repeated);
    }

    #[test]
    fn frames_that_lay_in_the_ring_may_be_old_and_one_that_was_waited_for_may_not() {
        let mut stamps = Stamps::new(Duration::from_millis(20), Duration::from_millis(33));
        let mut read = |at, received, awaited: Option<u64>| {
            let stamp = Stamp { at: ms(at), marks: Marks::Start, sequence: 0 };
            stamps.read(stamp, Arrival { at: ms(received), awaited: awaited.map(ms) })
        };
        assert!(matches!(read(1_000, 6_000, None), Read::Exposed(..)), "nobody came for five seconds");
        assert!(matches!(read(1_033, 6_130, None), Read::Exposed(..)), "and each look takes a while");
        assert!(matches!(read(6_140, 9_000, Some(6_135)), Read::Exposed(..)), "held up after the wait");
        assert_eq!(read(6_173, 9_100, Some(9_090)), Read::Behind(Duration::from_millis(2_917)));
    }
}
