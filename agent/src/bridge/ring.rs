//! The bridge's ring of frames: what a driver's ring of buffers is to a real camera. A thread fills it, whoever looks
//! empties it, and the oldest frame makes room where nobody did.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use didar_vision::PixelFormat;
use zeroize::Zeroizing;

use crate::edge::Frame;
use crate::time::Moment;

/// Frames that may wait: half a second at 30 frames a second.
const RING: usize = 16;
/// Longest wait for the rest of a frame that has begun.
const FRAME_WAIT: Duration = Duration::from_millis(500);
/// Largest frame: 4096 x 4096 grey, or 8 megapixels of YUYV.
const FRAME_MAX: u32 = 16 * 1024 * 1024;
/// Longest side of a frame, pixels.
const SIDE_MAX: u32 = 4096;
/// Bytes before a frame's pixels.
const HEADER: usize = 32;

/// The thread that fills the ring. Dropping it ends it.
pub(super) struct Reader {
    ring: Arc<Ring>,
    stream: UnixStream,
    thread: Option<JoinHandle<()>>,
}

struct Ring {
    held: Mutex<Held>,
    changed: Condvar,
}

#[derive(Default)]
struct Held {
    ready: VecDeque<Slot>,
    spare: Vec<Slot>,
    /// Why no more frames come.
    end: Option<ReadError>,
}

/// One frame; its pixels are wiped when it is dropped.
pub(super) struct Slot {
    format: PixelFormat,
    width: u32,
    height: u32,
    stride: usize,
    pub(super) sequence: u32,
    pub(super) captured_at: Moment,
    pixels: Zeroizing<Vec<u8>>,
}

/// Why no more frames come.
pub(super) enum ReadError {
    Broken(io::Error),
    Malformed(String),
}

impl Slot {
    fn empty() -> Self {
        Self {
            format: PixelFormat::Grey8,
            width: 0,
            height: 0,
            stride: 0,
            sequence: 0,
            captured_at: Moment::ZERO,
            pixels: Zeroizing::default(),
        }
    }

    pub(super) fn frame(&self) -> Frame<'_> {
        Frame {
            format: self.format,
            width: self.width,
            height: self.height,
            stride: self.stride,
            sequence: self.sequence,
            captured_at: self.captured_at,
            pixels: &self.pixels,
            beside: None,
        }
    }
}

impl Reader {
    pub(super) fn start(stream: UnixStream) -> io::Result<Self> {
        let ring = Arc::new(Ring { held: Mutex::default(), changed: Condvar::new() });
        let (filled, mut source) = (Arc::clone(&ring), stream.try_clone()?);
        let thread = std::thread::Builder::new().name("bridge".into()).spawn(move || fill(&mut source, &filled))?;
        Ok(Self { ring, stream, thread: Some(thread) })
    }

    /// The oldest frame that is ready, or that becomes so within `patience`.
    pub(super) fn take(&self, patience: Duration) -> Result<Option<Slot>, ReadError> {
        let idle = |held: &mut Held| held.ready.is_empty() && held.end.is_none();
        let waited = self.ring.changed.wait_timeout_while(self.ring.lock(), patience, idle);
        let (mut held, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match held.ready.pop_front() {
            Some(slot) => Ok(Some(slot)),
            None => held.end.take().map_or(Ok(None), Err),
        }
    }

    pub(super) fn has_more(&self) -> bool {
        !self.ring.lock().ready.is_empty()
    }

    pub(super) fn give_back(&self, slot: Slot) {
        self.ring.lock().spare.push(slot);
    }

    /// Drops every frame: no picture of a person outlives the service.
    pub(super) fn forget(&self) {
        let mut held = self.ring.lock();
        held.ready.clear();
        held.spare.clear();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Wakes the thread; a stream that is closed already has done so. Orders still have their way out: the last one makes
        // the lamps dark.
        let _ = self.stream.shutdown(Shutdown::Read);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so on its own.
            let _ = thread.join();
        }
    }
}

impl Ring {
    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing is half done under this lock, so a panic elsewhere leaves it usable.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fill(stream: &mut UnixStream, ring: &Ring) {
    loop {
        let mut slot = ring.lock().spare.pop().unwrap_or_else(Slot::empty);
        let read = read_frame(stream, &mut slot);
        let mut held = ring.lock();
        let ended = read.is_err();
        match read {
            Ok(()) => held.ready.push_back(slot),
            Err(error) => held.end = Some(error),
        }
        if held.ready.len() > RING {
            let oldest = held.ready.pop_front();
            held.spare.extend(oldest);
        }
        ring.changed.notify_all();
        if ended {
            return;
        }
    }
}

fn read_frame(stream: &mut UnixStream, slot: &mut Slot) -> Result<(), ReadError> {
    let mut header = [0; HEADER];
    stream.set_read_timeout(None).map_err(ReadError::Broken)?;
    let begun = match stream.read(&mut header) {
        Ok(0) => return Err(ReadError::Broken(io::ErrorKind::UnexpectedEof.into())),
        Ok(count) => count,
        Err(cause) => return Err(ReadError::Broken(cause)),
    };
    stream.set_read_timeout(Some(FRAME_WAIT)).map_err(ReadError::Broken)?;
    stream.read_exact(&mut header[begun..]).map_err(ReadError::Broken)?;
    let length = read_header(&header, slot)?;
    slot.pixels.resize(length, 0);
    stream.read_exact(&mut slot.pixels).map_err(ReadError::Broken)
}

/// Fills everything but the pixels; returns how many bytes of them follow.
fn read_header(header: &[u8; HEADER], slot: &mut Slot) -> Result<usize, ReadError> {
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if &header[..4] != b"DFR1" {
        return Err(ReadError::Malformed("it does not begin with DFR1".to_owned()));
    }
    let (width, height, length) = (word(8), word(12), word(16));
    let (format, bytes_per_row) = match &header[4..8] {
        b"GREY" => (PixelFormat::Grey8, Some(width)),
        b"YUYV" => (PixelFormat::Yuyv, width.checked_mul(2)),
        b"NV12" => (PixelFormat::Nv12, Some(width)),
        b"MJPG" => (PixelFormat::Mjpeg, Some(0)),
        b"RGB3" => (PixelFormat::Rgb8, width.checked_mul(3)),
        other => {
            let offered = String::from_utf8_lossy(other).into_owned();
            return Err(ReadError::Malformed(format!(
                "pixel format {offered:?}; we read GREY, YUYV, NV12, MJPG, RGB3"
            )));
        }
    };
    if width == 0 || height == 0 || width > SIDE_MAX || height > SIDE_MAX || length > FRAME_MAX {
        return Err(ReadError::Malformed(format!(
            "{width}x{height}, {length} bytes; at most {SIDE_MAX} a side, {FRAME_MAX} bytes"
        )));
    }
    slot.format = format;
    slot.width = width;
    slot.height = height;
    slot.stride = bytes_per_row.unwrap_or(0) as usize;
    slot.sequence = word(20);
    slot.captured_at = Moment::from_nanos(u64::from(word(24)) | u64::from(word(28)) << 32);
    usize::try_from(length).map_err(|_| ReadError::Malformed("its length does not fit".to_owned()))
}
