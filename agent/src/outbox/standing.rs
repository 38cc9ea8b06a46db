//! What must outlive a boot, in one small frame that proves itself.
//!
//! It lies twice: in the store, changed in one step with the letters, and in a file beside it. The file saves the
//! chain's head when the store is lost as a whole: without it a device could only begin a second chain, which is a fork.

use didar_protocol::id::{Hash, sha256};

const MAGIC: &[u8; 4] = b"DST1";
const NUMBERS: usize = 6;
/// Bytes of a frame: magic, numbers, head, and the hash of all that.
pub(super) const FRAME: usize = 4 + NUMBERS * 8 + 32 + 32;

/// Where the device's chain stands, and the counters that live as long as the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Number of the next record; the first is 1.
    pub(super) next: u64,
    /// SHA-256 of the last signed record; zeros before the first.
    pub(super) head: Hash,
    /// Every record up to this number is the matcher's now.
    pub(super) acknowledged: u64,
    /// Records between `acknowledged` and `next` known to be lost, and told or to be told.
    pub(super) holes: u64,
    /// Entries lost that no record has told yet.
    pub(super) lost: u64,
    /// Connections to the broker.
    pub(super) connects: u64,
    /// Latest verified time of the matcher that was stored, milliseconds since 1970.
    pub(super) signed_time_ms: u64,
}

impl Default for Standing {
    fn default() -> Self {
        Self { next: 1, head: [0; 32], acknowledged: 0, holes: 0, lost: 0, connects: 0, signed_time_ms: 0 }
    }
}

impl Standing {
    /// Records issued and not acknowledged, lost ones included.
    pub(super) fn issued(&self) -> u64 {
        self.next - 1 - self.acknowledged
    }

    /// The bytes as stored.
    pub(super) fn frame(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for number in [self.next, self.acknowledged, self.holes, self.lost, self.connects, self.signed_time_ms] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(self.head);
        bytes.extend(sha256(&bytes));
        bytes
    }

    /// Reads a frame; `None` for anything that is not a whole and sensible one.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let body = bytes.get(..FRAME - 32)?;
        let fields = body.strip_prefix(MAGIC)?;
        if bytes.len() != FRAME || sha256(body) != bytes[FRAME - 32..] {
            return None;
        }
        let number = |at: usize| Some(u64::from_be_bytes(fields.get(at * 8..at * 8 + 8)?.try_into().ok()?));
        let standing = Self {
            next: number(0)?,
            acknowledged: number(1)?,
            holes: number(2)?,
            lost: number(3)?,
            connects: number(4)?,
            signed_time_ms: number(5)?,
            head: fields.get(NUMBERS * 8..)?.try_into().ok()?,
        };
        (standing.next > standing.acknowledged).then_some(standing)
    }

    /// The later of two: counters never go back, and head belongs to the longer chain.
    pub(super) fn later(self, other: Self) -> Self {
        let (long, short) = if other.next > self.next { (other, self) } else { (self, other) };
        Self {
            connects: long.connects.max(short.connects),
            signed_time_ms: long.signed_time_ms.max(short.signed_time_ms),
            ..long.with_receipts_of(short)
        }
    }

    /// This one, with what the other knows of receipts where that is more.
    pub(super) fn with_receipts_of(self, other: Self) -> Self {
        let near = if self.acknowledged >= other.acknowledged { self } else { other };
        Self { acknowledged: near.acknowledged, holes: near.holes, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_back_and_any_flipped_bit_is_noticed() {
        let standing =
            Standing { next: 9, head: [7; 32], acknowledged: 3, holes: 1, lost: 2, connects: 4, signed_time_ms: 5 };
        let frame = standing.frame();
        assert_eq!(Standing::read(&frame), Some(standing));
        for bit in 0..frame.len() * 8 {
            let mut bad = frame.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Standing::read(&bad), None);
        }
        for length in 0..frame.len() {
            assert_eq!(Standing::read(&frame[..length]), None);
        }
    }
}
