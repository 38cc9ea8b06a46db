//! Whether a buffer of the driver holds a frame, and when it was exposed.

use std::io;

use v4l::buffer::{Flags, Metadata};

use super::super::stamp::{Arrival, Marks, Read, Stamp, Stamps};
use crate::time::Moment;

/// Why a stream ended, or a frame is not used.
#[derive(Debug)]
pub(super) enum Fault {
    Gone(io::Error),
    Stamp(String),
    Refused(String),
}

/// Start of exposure, and frames lost before this one, of a buffer of `room` bytes that arrived so.
pub(super) fn accept(
    stamps: &mut Stamps,
    meta: &Metadata,
    room: usize,
    arrival: Arrival,
) -> Result<(Moment, u32), Fault> {
    if let Some(why) = spoilt(meta, room) {
        stamps.refused(meta.sequence);
        return Err(Fault::Refused(why));
    }
    let (seconds, micros) = (meta.timestamp.sec.max(0).unsigned_abs(), meta.timestamp.usec.max(0).unsigned_abs());
    let at = Moment::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(micros.saturating_mul(1_000)));
    let marks = if meta.flags.contains(Flags::TSTAMP_SRC_SOE) { Marks::Start } else { Marks::End };
    match stamps.read(Stamp { at, marks, sequence: meta.sequence }, arrival) {
        Read::Exposed(start, lost) => Ok((start, lost)),
        Read::Repeated => Err(Fault::Refused("its time stamp is not later than the one before".to_owned())),
        Read::Ahead(off) => Err(Fault::Stamp(format!("{off:?} ahead"))),
        Read::Behind(off) => Err(Fault::Stamp(format!("{off:?} behind"))),
    }
}

/// Why a buffer of `room` bytes holds no frame.
fn spoilt(meta: &Metadata, room: usize) -> Option<String> {
    if meta.flags.contains(Flags::ERROR) {
        return Some("the driver marks it as broken: a bad cable, or a bus that is too slow".to_owned());
    }
    let holds = meta.bytesused > 0 && meta.bytesused as usize <= room;
    (!holds).then(|| format!("it holds {} bytes in a buffer of {room}", meta.bytesused))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use v4l::timestamp::Timestamp;

    use super::*;

    const ROOM: usize = 1_000;

    /// What is made of a buffer that was received ten seconds after the clock began.
    fn take(stamps: &mut Stamps, bytes: u32, flags: Flags, (seconds, micros): (i64, i64)) -> Result<Moment, String> {
        let timestamp = Timestamp::new(seconds, micros);
        let meta = Metadata { bytesused: bytes, flags, field: 0, timestamp, sequence: 0 };
        let at = Moment::from_nanos(10_000_000_000);
        accept(stamps, &meta, ROOM, Arrival { at, awaited: Some(at) }).map(|(at, _)| at).map_err(|fault| match fault {
            Fault::Refused(why) => format!("refused: {why}"),
            Fault::Stamp(off) => format!("stamp: {off}"),
            Fault::Gone(cause) => format!("gone: {cause}"),
        })
    }

    #[test]
    fn buffers_that_hold_no_frame_are_refused_and_say_why() {
        let mut stamps = Stamps::new(Duration::from_millis(12), Duration::from_millis(33));
        let whole = Flags::TSTAMP_SRC_SOE;
        assert_eq!(take(&mut stamps, 1_000, whole, (9, 990_000)), Ok(Moment::from_nanos(9_990_000_000)));
        for (bytes, flags, at, why) in [
            (1_000, whole | Flags::ERROR, (9, 995_000), "refused: the driver marks it as broken"),
            (0, whole, (9, 995_000), "refused: it holds 0 bytes"),
            (1_001, whole, (9, 995_000), "refused: it holds 1001 bytes in a buffer of 1000"),
            (1_000, whole, (9, 990_000), "refused: its time stamp is not later"),
            (1_000, whole, (10, 160_000), "stamp: 160ms ahead"),
            (1_000, whole, (5, 0), "stamp: 5s behind"),
            (1_000, whole, (-5, -5), "stamp: 10s behind"),
        ] {
            let said = take(&mut stamps, bytes, flags, at).unwrap_err();
            assert!(said.starts_with(why), "{said}");
        }
        assert!(take(&mut stamps, 1_000, whole, (9, 995_000)).is_ok(), "a good frame after bad ones");
    }

    #[test]
    fn a_broken_frame_is_refused_and_not_lost_as_well() {
        let mut stamps = Stamps::new(Duration::from_millis(12), Duration::from_millis(33));
        let mut lost = |sequence, flags| {
            let timestamp = Timestamp::new(9, 100_000 + 33_000 * i64::from(sequence));
            let meta = Metadata { bytesused: 1_000, flags, field: 0, timestamp, sequence };
            accept(&mut stamps, &meta, ROOM, Arrival { at: Moment::from_nanos(10_000_000_000), awaited: None })
                .map_or(None, |(_, lost)| Some(lost))
        };
        let whole = Flags::TSTAMP_SRC_SOE;
        let found = [(1, whole), (2, whole | Flags::ERROR), (3, whole), (6, whole | Flags::ERROR), (7, whole)];
        assert_eq!(found.map(|(sequence, flags)| lost(sequence, flags)), [Some(0), None, Some(0), None, Some(2)]);
    }
}
