//! The simulated kiosk as a board: camera and lamps over one Unix socket, the screen over another, so that no picture
//! is in a lamp order's way.
//!
//! **Here:** the agent's end. The other end listens, sends frames and takes orders; it stands for devices that a
//! developer's machine does not have. **Not here:** any use of it outside the test environment: the configuration
//! refuses that, since a camera made of bytes is what an attacker would like to have.
//!
//! The wire, little endian. Towards the agent, a frame: `DFR1`, a V4L2 pixel format (fourcc), width, height, length and
//! sequence (u32 each), the start of exposure in nanoseconds of CLOCK_MONOTONIC (u64), `length` bytes of pixels. From the
//! agent, an order: `C` and whether to capture (0 or 1; 0 at first), or `L` and a lamp state (0 off, 1 left, 2 right,
//! 3 both). The screen's socket has the same path with `.screen` after it; over it go pictures: `S`, the screen's width
//! and height, the first column and row of the part that follows, its width and height (u16 each), its pixels in RGB565.

mod ring;

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use didar_protocol::light_code::Light;
use zeroize::Zeroize;

use crate::camera::meter::Meter;
use crate::edge::{
    Camera, CameraError, Clock, Controls, Frame, Got, LampError, Lamps, Pick, Screen, ScreenError, Switching,
};
use crate::screen::Area;
use crate::time::Moment;
use ring::{ReadError, Reader};

/// The three devices of the bridge at `path`. Nothing is connected yet: the camera does that, and does it again after a
/// break. A screen has `screen` pixels (width, height).
pub fn devices(
    path: &Path,
    screen: (u16, u16),
    clock: Arc<dyn Clock>,
    meter: Arc<Meter>,
) -> (BridgeCamera, BridgeLamps, BridgeScreen) {
    let link = Arc::new(Link { path: path.to_path_buf(), orders: Mutex::new(None) });
    (
        BridgeCamera {
            link: Arc::clone(&link),
            clock: Arc::clone(&clock),
            meter,
            reader: None,
            last: None,
            since: None,
        },
        BridgeLamps { link, clock },
        BridgeScreen { path: screen_socket(path), size: screen, stream: None, bytes: Vec::new() },
    )
}

/// Where the bridge at `path` takes the screen's pictures.
pub fn screen_socket(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".screen");
    name.into()
}

/// The bridge's camera.
pub struct BridgeCamera {
    link: Arc<Link>,
    clock: Arc<dyn Clock>,
    meter: Arc<Meter>,
    reader: Option<Reader>,
    /// Number of the last frame since capturing began.
    last: Option<u32>,
    /// When capturing was ordered; `None` at rest. Older frames are left over from before the rest.
    since: Option<Moment>,
}

/// The bridge's lamps.
pub struct BridgeLamps {
    link: Arc<Link>,
    clock: Arc<dyn Clock>,
}

/// The bridge's screen.
pub struct BridgeScreen {
    path: PathBuf,
    size: (u16, u16),
    stream: Option<UnixStream>,
    bytes: Vec<u8>,
}

/// The one connection of camera and lamps; the camera opens it.
struct Link {
    path: PathBuf,
    orders: Mutex<Option<UnixStream>>,
}

/// Longest wait for the other end to take an order.
const ORDER_WAIT: Duration = Duration::from_millis(200);
/// Longest wait for the other end to take a picture of the screen.
const PICTURE_WAIT: Duration = Duration::from_secs(2);

impl Camera for BridgeCamera {
    fn next(&mut self, pick: Pick, within: Duration, look: &mut dyn FnMut(&Frame<'_>)) -> Result<Got, CameraError> {
        let path = self.link.path.display().to_string();
        if self.reader.is_none() {
            let stream = self.link.open().map_err(|cause| CameraError::Open { path: path.clone(), cause })?;
            self.reader = Some(Reader::start(stream).map_err(|cause| CameraError::Open { path: path.clone(), cause })?);
            self.meter.opened();
        }
        self.fresh_frame(pick, within, look).map_err(|error| {
            self.close();
            match error {
                ReadError::Broken(cause) => CameraError::Gone { path, cause },
                ReadError::Malformed(why) => CameraError::Malformed { path, why },
            }
        })
    }

    fn control(&mut self, _: Controls) -> Result<(), CameraError> {
        // The simulated camera's exposure is fixed.
        Ok(())
    }

    fn rest(&mut self) {
        self.since = None;
        // An order that fails has closed the connection: then nothing is captured either.
        if self.reader.is_some() && self.link.order(&[b"C\0"]).is_err() {
            self.close();
        }
        if let Some(reader) = &self.reader {
            reader.forget();
        }
    }
}

impl BridgeCamera {
    fn fresh_frame(
        &mut self,
        pick: Pick,
        within: Duration,
        look: &mut dyn FnMut(&Frame<'_>),
    ) -> Result<Got, ReadError> {
        let Some(reader) = &self.reader else { return Ok(Got::Nothing) };
        let since = match self.since {
            Some(since) => since,
            None => {
                self.link.order(&[b"C\x01"]).map_err(ReadError::Broken)?;
                self.last = None;
                *self.since.insert(self.clock.now())
            }
        };
        while let Some(slot) = reader.take(within)? {
            if slot.captured_at < since {
                reader.give_back(slot);
                continue;
            }
            let lost = self.last.map_or(0, |last| slot.sequence.wrapping_sub(last).saturating_sub(1));
            self.last = Some(slot.sequence);
            self.meter.took(lost);
            if pick == Pick::Newest && reader.has_more() {
                self.meter.passed_over();
                reader.give_back(slot);
                continue;
            }
            self.meter.copied();
            look(&slot.frame());
            reader.give_back(slot);
            return Ok(Got::Frame);
        }
        Ok(Got::Nothing)
    }

    fn close(&mut self) {
        self.reader = None;
        self.since = None;
        self.link.close();
    }
}

impl Lamps for BridgeLamps {
    fn set(&mut self, light: Light) -> Result<Switching, LampError> {
        let ordered = self.clock.now();
        self.link
            .order(&[&[b'L', light as u8]])
            .map_err(|cause| LampError::Switch { place: self.link.path.display().to_string(), cause })?;
        Ok(Switching { ordered, done: self.clock.now() })
    }
}

impl Drop for BridgeLamps {
    fn drop(&mut self) {
        // The other end takes a closed connection for "off" as well.
        let _ = self.set(Light::Off);
    }
}

impl Screen for BridgeScreen {
    fn size(&self) -> (u16, u16) {
        self.size
    }

    fn show(&mut self, pixels: &[u16], area: Area) -> Result<(), ScreenError> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.open().map_err(|cause| ScreenError::Open { place: self.place(), cause })?,
        };
        self.bytes.clear();
        self.bytes.push(b'S');
        let (width, height) = self.size;
        for number in [width, height, area.x, area.y, area.width, area.height] {
            self.bytes.extend(number.to_le_bytes());
        }
        let rows = area.rows(pixels, width);
        self.bytes.extend(rows.flatten().flat_map(|pixel| pixel.to_le_bytes()));
        // After a failure the stream is closed: the rest of a picture would be read as another one.
        stream.write_all(&self.bytes).map_err(|cause| ScreenError::Write { place: self.place(), cause })?;
        self.stream = Some(stream);
        Ok(())
    }
}

impl BridgeScreen {
    fn open(&self) -> io::Result<UnixStream> {
        let stream = UnixStream::connect(&self.path)?;
        stream.set_write_timeout(Some(PICTURE_WAIT))?;
        Ok(stream)
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

impl Drop for BridgeScreen {
    /// The last picture may show a person.
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl Link {
    fn open(&self) -> io::Result<UnixStream> {
        let stream = UnixStream::connect(&self.path)?;
        let orders = stream.try_clone()?;
        orders.set_write_timeout(Some(ORDER_WAIT))?;
        *self.orders() = Some(orders);
        Ok(stream)
    }

    fn close(&self) {
        *self.orders() = None;
    }

    fn order(&self, parts: &[&[u8]]) -> io::Result<()> {
        let mut orders = self.orders();
        let stream = orders.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let written = parts.iter().try_for_each(|part| stream.write_all(part));
        if written.is_err() {
            // Half an order would be read as another one.
            let _ = stream.shutdown(std::net::Shutdown::Both);
            *orders = None;
        }
        written
    }

    fn orders(&self) -> MutexGuard<'_, Option<UnixStream>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;
    use crate::time::SystemClock;

    const WAIT: Duration = Duration::from_secs(2);
    /// No frame is stale that is stamped with it.
    const FUTURE_NS: u64 = u64::MAX / 2;

    fn frame_bytes(magic: &[u8; 4], fourcc: &[u8; 4], width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
        let length = u32::try_from(pixels.len()).unwrap();
        let mut bytes = [magic.as_slice(), fourcc.as_slice()].concat();
        for word in [width, height, length, 7] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(FUTURE_NS.to_le_bytes());
        bytes.extend(pixels);
        bytes
    }

    /// What the agent's end makes of a peer that sends `sent` and goes.
    fn receive(sent: Vec<u8>) -> Result<Seen, CameraError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bridge");
        let listener = UnixListener::bind(&path).unwrap();
        let peer = thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            // An agent that has seen enough hangs up in the middle of what is sent: no error of this peer's.
            let _ = stream.write_all(&sent);
            // Nothing more comes, but orders are still taken: they must not fail before the frame was read.
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let (mut camera, lamps, screen) = devices(&path, (480, 320), Arc::new(SystemClock::new(0)), Arc::default());
        let result = next(&mut camera);
        drop((camera, lamps, screen));
        peer.join().unwrap();
        result
    }

    /// Width, height, stride, number, moment and pixels of a frame.
    type Seen = ((u32, u32, usize, u32), Moment, Vec<u8>);

    fn next(camera: &mut BridgeCamera) -> Result<Seen, CameraError> {
        let mut seen = None;
        let got = camera.next(Pick::Next, WAIT, &mut |frame| {
            let facts = (frame.width, frame.height, frame.stride, frame.sequence);
            seen = Some((facts, frame.captured_at, frame.pixels.to_vec()));
        });
        got.map(|_| seen.unwrap())
    }

    #[test]
    fn a_frame_arrives_as_it_was_sent() {
        let (facts, captured_at, pixels) = receive(frame_bytes(b"DFR1", b"GREY", 2, 2, &[1, 2, 3, 4])).unwrap();
        assert_eq!(facts, (2, 2, 2, 7));
        assert_eq!(captured_at, Moment::from_nanos(FUTURE_NS));
        assert_eq!(pixels, [1, 2, 3, 4]);
    }

    #[test]
    fn what_is_no_frame_is_named() {
        let message = |bytes| receive(bytes).unwrap_err().to_string();
        assert!(message(frame_bytes(b"XXXX", b"GREY", 2, 2, &[0; 4])).contains("DFR1"));
        assert!(message(frame_bytes(b"DFR1", b"H264", 2, 2, &[0; 4])).contains("H264"));
        assert!(message(frame_bytes(b"DFR1", b"GREY", 0, 2, &[0; 4])).contains("0x2"));
        assert!(matches!(receive(b"DFR1GR".to_vec()), Err(CameraError::Gone { .. })));
    }

    #[test]
    fn orders_reach_the_other_end_and_fail_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bridge");
        let (mut camera, mut lamps, _screen) = devices(&path, (2, 1), Arc::new(SystemClock::new(0)), Arc::default());
        assert!(lamps.set(Light::Left).is_err(), "nothing is connected");
        assert!(matches!(next(&mut camera), Err(CameraError::Open { .. })));

        let listener = UnixListener::bind(&path).unwrap();
        let sent = frame_bytes(b"DFR1", b"GREY", 1, 1, &[9]);
        let peer = thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            stream.write_all(&sent).unwrap();
            let mut orders = Vec::new();
            stream.read_to_end(&mut orders).unwrap();
            orders
        });
        next(&mut camera).unwrap();
        lamps.set(Light::Both).unwrap();
        camera.rest();
        drop((camera, lamps));
        assert_eq!(peer.join().unwrap(), b"C\x01L\x03C\0L\0");
    }

    #[test]
    fn a_picture_reaches_the_screens_own_socket_and_fails_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bridge");
        let (_, _, mut screen) = devices(&path, (2, 2), Arc::new(SystemClock::new(0)), Arc::default());
        let area = Area { x: 1, y: 0, width: 1, height: 2 };
        let error = screen.show(&[1, 2, 3, 4], area).unwrap_err();
        assert!(matches!(error, ScreenError::Open { .. }) && error.to_string().contains("bridge.screen"), "{error}");

        let listener = UnixListener::bind(screen_socket(&path)).unwrap();
        let peer = thread::spawn(move || {
            let mut pictures = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut pictures).unwrap();
            pictures
        });
        screen.show(&[1, 0x0203, 3, 0x0405], area).unwrap();
        drop(screen);
        assert_eq!(peer.join().unwrap(), b"S\x02\0\x02\0\x01\0\0\0\x01\0\x02\0\x03\x02\x05\x04");
    }
}
