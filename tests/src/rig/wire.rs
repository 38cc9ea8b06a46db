//! What the guest's camera asks of the host, and what the host answers: little endian, over a virtio-serial port. The
//! pixels lie on a disk that both see: a port would carry them in pieces of 4 KiB, and keep a processor busy with it.
//!
//! The guest asks for a frame at the end of its exposure and says what the lamps did until then. The host renders what
//! that light shows. So the light goes through the kernel's GPIO, and the picture through the kernel's V4L2.

use std::io::{self, Read, Write};

use didar_protocol::light_code::Light;

/// One frame that the guest wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its number, as the camera will count it.
    pub sequence: u32,
    /// Start of its exposure, microseconds of the guest's CLOCK_MONOTONIC.
    pub start_us: u64,
    /// What the lamps did since the last frame that was wanted, by the kernel's trace of the GPIO lines.
    pub switches: Vec<(u64, Light)>,
}

/// Most switches of one message; a code has seventeen.
const SWITCHES_MAX: u16 = 1024;
/// Longest frame, and the size of the disk.
pub const FRAME_MAX: u32 = 1 << 20;

impl Wanted {
    /// Writes the question, in one piece.
    ///
    /// # Errors
    /// The port is gone.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        let mut bytes = b"DRIG".to_vec();
        bytes.extend(self.sequence.to_le_bytes());
        bytes.extend(self.start_us.to_le_bytes());
        let count = self.switches.len().min(usize::from(SWITCHES_MAX));
        bytes.extend((count as u16).to_le_bytes());
        for (at_us, light) in &self.switches[..count] {
            bytes.extend(at_us.to_le_bytes());
            bytes.push(light.number());
        }
        to.write_all(&bytes)
    }

    /// Reads a question.
    ///
    /// # Errors
    /// The port is gone, or says something else.
    pub fn read(mut from: impl Read) -> io::Result<Self> {
        let mut head = [0; 18];
        from.read_exact(&mut head)?;
        if &head[..4] != b"DRIG" {
            return Err(malformed("a question begins with DRIG"));
        }
        let count = u16::from_le_bytes([head[16], head[17]]);
        if count > SWITCHES_MAX {
            return Err(malformed("too many switches"));
        }
        let mut switches = Vec::new();
        for _ in 0..count {
            let mut switch = [0; 9];
            from.read_exact(&mut switch)?;
            let light = Light::try_from(switch[8]).map_err(|_| malformed("no such light"))?;
            switches.push((word(&switch), light));
        }
        let sequence = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        Ok(Self { sequence, start_us: word(&head[8..]), switches })
    }
}

/// Writes the answer: so many bytes of pixels lie at the beginning of the disk. Fewer than the frame has are what a bad
/// cable delivers.
///
/// # Errors
/// The port is gone.
pub fn write_answer(mut to: impl Write, length: u32) -> io::Result<()> {
    to.write_all(&length.to_le_bytes())
}

/// Reads the answer.
///
/// # Errors
/// The port is gone, or says something else.
pub fn read_answer(mut from: impl Read) -> io::Result<u32> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > FRAME_MAX {
        return Err(malformed("a frame of more than a mebibyte"));
    }
    Ok(length)
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn malformed(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn question_and_answer_arrive_as_they_were_sent() {
        let wanted = Wanted { sequence: 7, start_us: 1 << 40, switches: vec![(3, Light::Left), (1 << 33, Light::Off)] };
        let mut bytes = Vec::new();
        wanted.write(&mut bytes).unwrap();
        assert_eq!(Wanted::read(bytes.as_slice()).unwrap(), wanted);
        let mut bytes = Vec::new();
        write_answer(&mut bytes, 614_400).unwrap();
        assert_eq!(read_answer(bytes.as_slice()).unwrap(), 614_400);
    }

    #[test]
    fn what_is_no_question_is_refused() {
        assert!(Wanted::read(&[b'X'; 18][..]).is_err());
        let mut bytes = Vec::new();
        Wanted { sequence: 0, start_us: 0, switches: vec![(1, Light::Both)] }.write(&mut bytes).unwrap();
        *bytes.last_mut().unwrap() = 4;
        assert!(Wanted::read(bytes.as_slice()).is_err());
        assert!(read_answer(&(FRAME_MAX + 1).to_le_bytes()[..]).is_err());
    }
}
