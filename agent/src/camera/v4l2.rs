//! A V4L2 device: mapped buffers, looked at where the driver filled them.
//!
//! **Here:** the calls into `v4l`, and their order. What is decided about formats, stamps and controls is pure and next
//! door. **Not here:** any copy of a frame.
//!
//! The driver's ring of buffers is the queue between camera and networks: while a frame is looked at, the driver fills
//! the others. One thread owns the stream, because `v4l` lends a buffer for as long as its stream is borrowed.

mod intake;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use didar_vision::PixelFormat;
use v4l::Device;
use v4l::buffer::Type;
use v4l::capability::Flags as Capability;
use v4l::control::{Control, Value};
use v4l::device::Handle;
use v4l::format::{Format, FourCC};
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::io::mmap::Stream;
use v4l::io::traits::{CaptureStream, Stream as _};
use v4l::video::Capture;
use v4l::video::capture::Parameters;

use super::knobs::{Held, Knobs, set_free};
use super::let_go;
use super::meter::Meter;
use super::offer::{Need, Offer, Sizes};
use super::stamp::{Arrival, Stamps};
use crate::edge::{Camera, CameraError, Clock, Controls, Frame, Got, Pick};
use intake::{Fault, accept};

/// What a V4L2 camera is, by the board's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V4l2Settings {
    /// The device: a name that udev keeps stable.
    pub device: PathBuf,
    /// Formats, size and rate.
    pub need: Need,
    /// Buffers of the driver's ring.
    pub buffers: u32,
    /// Longest exposure while the code plays, microseconds.
    pub exposure_us: u32,
    /// From the first row's exposure to the last row's, microseconds.
    pub readout_us: u32,
}

/// A V4L2 camera. Nothing is opened before the first frame is wanted.
pub struct V4l2Camera {
    settings: V4l2Settings,
    clock: Arc<dyn Clock>,
    meter: Arc<Meter>,
    opened: Option<Opened>,
    controls: Controls,
}

/// A device that streams.
struct Opened {
    // Dropped first: the stream's buffers belong to the device.
    stream: Option<Stream<'static>>,
    handle: Arc<Handle>,
    knobs: DeviceKnobs,
    held: Option<Held>,
    format: PixelFormat,
    stride: usize,
    stamps: Stamps,
    /// Frames in a row that could not be used.
    refused: u32,
}

/// So many frames in a row that cannot be used are a broken camera.
const REFUSED_MAX: u32 = 15;
/// Most buffers that V4L2 has.
const BUFFERS_MAX: usize = 32;

impl V4l2Camera {
    /// A camera at `settings.device`, counted by `meter`.
    pub fn new(settings: V4l2Settings, clock: Arc<dyn Clock>, meter: Arc<Meter>) -> Self {
        Self { settings, clock, meter, opened: None, controls: Controls::Automatic }
    }

    fn path(&self) -> String {
        self.settings.device.display().to_string()
    }

    fn open(&self) -> Result<Opened, CameraError> {
        let path = self.path();
        let device = Device::with_path(&self.settings.device)
            .map_err(|cause| CameraError::Open { path: path.clone(), cause })?;
        let (format, stride) = negotiate(&device, &self.settings.need, &path)?;
        let failed = |cause: io::Error| match cause.raw_os_error() {
            Some(BUSY) => CameraError::Busy { path: path.clone() },
            _ => CameraError::Open { path: path.clone(), cause },
        };
        let mut stream =
            Stream::<'static>::with_buffers(&device, Type::VideoCapture, self.settings.buffers).map_err(failed)?;
        // `next` queues the buffer that it lent last, at first number 0, so that one stays with us.
        for index in 1..BUFFERS_MAX {
            if CaptureStream::queue(&mut stream, index).is_err() {
                break;
            }
        }
        let started = stream.start();
        let frame = Duration::from_secs(1) / self.settings.need.rate.max(1);
        let length = Duration::from_micros((self.settings.exposure_us + self.settings.readout_us).into());
        let opened = Opened {
            handle: stream.handle(),
            stream: Some(stream),
            knobs: DeviceKnobs::new(device),
            held: None,
            format,
            stride,
            stamps: Stamps::new(length, frame),
            refused: 0,
        };
        started.map_err(failed)?;
        set_free(&opened.knobs).map_err(|cause| CameraError::Gone { path, cause })?;
        self.meter.opened();
        Ok(opened)
    }

    /// Opens the device where it is not, held as ordered.
    fn ensure_open(&mut self) -> Result<(), CameraError> {
        if self.opened.is_none() {
            let mut opened = self.open()?;
            if self.controls == Controls::Held {
                opened.hold(self.settings.exposure_us).map_err(|cause| self.gone(cause))?;
            }
            self.opened = Some(opened);
        }
        Ok(())
    }

    fn gone(&self, cause: io::Error) -> CameraError {
        CameraError::Gone { path: self.path(), cause }
    }
}

/// `EBUSY`
const BUSY: i32 = 16;

impl Camera for V4l2Camera {
    fn next(&mut self, pick: Pick, within: Duration, look: &mut dyn FnMut(&Frame<'_>)) -> Result<Got, CameraError> {
        self.ensure_open()?;
        let Self { settings, clock, meter, opened: Some(opened), .. } = self else { return Ok(Got::Nothing) };
        opened.next(&settings.need, pick, within, (&**clock, meter), look).map_err(|fault| {
            self.opened = None;
            let path = self.path();
            match fault {
                Fault::Gone(cause) => CameraError::Gone { path, cause },
                Fault::Stamp(off) => CameraError::Stamp { path, off },
                Fault::Refused(why) => CameraError::Malformed { path, why },
            }
        })
    }

    fn control(&mut self, controls: Controls) -> Result<(), CameraError> {
        self.controls = controls;
        let exposure_us = self.settings.exposure_us;
        let Some(opened) = &mut self.opened else { return Ok(()) };
        match controls {
            Controls::Held => opened.hold(exposure_us).map_err(|cause| self.gone(cause)),
            Controls::Automatic => {
                opened.give_back();
                Ok(())
            }
        }
    }

    fn rest(&mut self) {
        self.controls = Controls::Automatic;
        self.opened = None;
    }
}

impl Opened {
    fn next(
        &mut self,
        need: &Need,
        pick: Pick,
        within: Duration,
        (clock, meter): (&dyn Clock, &Meter),
        look: &mut dyn FnMut(&Frame<'_>),
    ) -> Result<Got, Fault> {
        let Some(stream) = &mut self.stream else { return Ok(Got::Nothing) };
        let mut patience = within;
        // At most once around the ring: a camera faster than this loop must not hold it for ever.
        for _ in 0..BUFFERS_MAX {
            // `next` of `v4l` must not be called before a frame is ready: after a time-out it would queue twice.
            let begun = clock.now();
            let waiting = !ready(&self.handle, Duration::ZERO).map_err(Fault::Gone)?;
            if waiting && (patience.is_zero() || !ready(&self.handle, patience).map_err(Fault::Gone)?) {
                return Ok(Got::Nothing);
            }
            patience = Duration::ZERO;
            let (bytes, meta) = stream.next().map_err(Fault::Gone)?;
            let arrival = Arrival { at: clock.now(), awaited: waiting.then_some(begun) };
            let (captured_at, lost) = match accept(&mut self.stamps, meta, bytes.len(), arrival) {
                Ok(accepted) => accepted,
                Err(Fault::Refused(why)) => {
                    meter.refused();
                    self.refused += 1;
                    if self.refused >= REFUSED_MAX {
                        return Err(Fault::Refused(why));
                    }
                    continue;
                }
                Err(fault) => return Err(fault),
            };
            self.refused = 0;
            meter.took(lost);
            if pick == Pick::Newest && ready(&self.handle, Duration::ZERO).map_err(Fault::Gone)? {
                meter.passed_over();
                continue;
            }
            look(&Frame {
                format: self.format,
                width: need.width,
                height: need.height,
                stride: self.stride,
                sequence: meta.sequence,
                captured_at,
                pixels: &bytes[..(meta.bytesused as usize).min(bytes.len())],
                beside: None,
            });
            return Ok(Got::Frame);
        }
        Ok(Got::Nothing)
    }

    fn hold(&mut self, exposure_us: u32) -> io::Result<()> {
        if self.held.is_none() {
            self.held = Some(Held::hold(&self.knobs, exposure_us)?);
        }
        Ok(())
    }

    fn give_back(&mut self) {
        if let Some(held) = self.held.take() {
            held.give_back(&self.knobs);
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.give_back();
        let_go(self.stream.take());
    }
}

/// Whether a frame is ready, or becomes so within `patience`.
fn ready(handle: &Handle, patience: Duration) -> io::Result<bool> {
    /// `POLLIN`
    const READABLE: i16 = 1;
    match handle.poll(READABLE, i32::try_from(patience.as_millis()).unwrap_or(i32::MAX)) {
        Ok(events) => Ok(events > 0),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sets format and rate; returns what frames look like then.
fn negotiate(device: &Device, need: &Need, path: &str) -> Result<(PixelFormat, usize), CameraError> {
    let refused = |offered: String| CameraError::Format { path: path.to_owned(), offered, needed: need.to_string() };
    let opening = |cause: io::Error| match cause.raw_os_error() {
        Some(BUSY) => CameraError::Busy { path: path.to_owned() },
        _ => CameraError::Open { path: path.to_owned(), cause },
    };
    let able = guarded(|| device.query_caps()).map_err(opening)?.capabilities;
    if !able.contains(Capability::VIDEO_CAPTURE | Capability::STREAMING) {
        return Err(refused("no single-planar capture with mapped buffers (is anything feeding it?)".to_owned()));
    }
    let offers = guarded(|| offers(device, need)).map_err(opening)?;
    let (format, code) = need.choose(&offers).map_err(&refused)?;
    let wanted = Format::new(need.width, need.height, FourCC::new(&code));
    let set = guarded(|| device.set_format(&wanted)).map_err(opening)?;
    if (set.width, set.height, set.fourcc.repr) != (need.width, need.height, code) {
        return Err(refused(format!("{} {}x{} when asked for it", set.fourcc, set.width, set.height)));
    }
    // A driver that knows no rate has none to be set; what it does is measured.
    if let Ok(rate) = device.set_params(&Parameters::with_fps(need.rate)) {
        let (part, whole) = (rate.interval.numerator, rate.interval.denominator);
        let rate = f64::from(whole) / f64::from(part.max(1));
        if part > 0 && whole > 0 && !need.is_rate((rate, rate)) {
            return Err(refused(format!("{rate:.1} frames a second when asked for {}", need.rate)));
        }
    }
    Ok((format, set.stride as usize))
}

fn offers(device: &Device, need: &Need) -> io::Result<Vec<Offer>> {
    let formats = device.enum_formats()?;
    Ok(formats
        .into_iter()
        .map(|format| {
            let sizes = device.enum_framesizes(format.fourcc).unwrap_or_default();
            let rates = device.enum_frameintervals(format.fourcc, need.width, need.height).unwrap_or_default();
            Offer {
                code: format.fourcc.repr,
                sizes: sizes.into_iter().map(|size| sizes_of(size.size)).collect(),
                rates: rates.into_iter().map(|rate| rates_of(&rate.interval)).collect(),
            }
        })
        .collect())
}

fn sizes_of(size: FrameSizeEnum) -> Sizes {
    match size {
        FrameSizeEnum::Discrete(one) => Sizes { least: (one.width, one.height), most: (one.width, one.height) },
        FrameSizeEnum::Stepwise(step) => {
            Sizes { least: (step.min_width, step.min_height), most: (step.max_width, step.max_height) }
        }
    }
}

/// Frames a second; the longest interval is the least rate.
fn rates_of(interval: &FrameIntervalEnum) -> (f64, f64) {
    let rate = |of: &v4l::Fraction| f64::from(of.denominator) / f64::from(of.numerator.max(1));
    match interval {
        FrameIntervalEnum::Discrete(one) => (rate(one), rate(one)),
        FrameIntervalEnum::Stepwise(step) => (rate(&step.max), rate(&step.min)),
    }
}

/// `v4l` panics where a driver answers with numbers that it does not know: newer kernels have some.
fn guarded<T>(ask: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(ask))
        .unwrap_or_else(|_| Err(io::Error::other("the driver's answer cannot be understood")))
}

/// What a V4L2 camera says of itself, for `doctor`.
#[derive(Debug)]
pub struct Card {
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// Its formats.
    pub offers: Vec<Offer>,
    /// Least, largest and usual exposure, in units of 100 microseconds; `None` where it cannot be set.
    pub exposure: Option<(i64, i64, i64)>,
}

/// Asks the device of `settings` what it is; it must not be in use by another program to be asked in full.
///
/// # Errors
/// It cannot be opened.
pub fn card(settings: &V4l2Settings) -> io::Result<Card> {
    let device = Device::with_path(&settings.device)?;
    let about = guarded(|| device.query_caps())?;
    let offers = guarded(|| offers(&device, &settings.need))?;
    let exposure = DeviceKnobs::new(device).range(super::knobs::EXPOSURE_ABSOLUTE);
    Ok(Card { name: about.card, driver: about.driver, offers, exposure })
}

/// The device's controls.
struct DeviceKnobs {
    device: Device,
    /// Least, largest and usual value of each control.
    ranges: Vec<(u32, (i64, i64, i64))>,
}

impl DeviceKnobs {
    fn new(device: Device) -> Self {
        let listed = guarded(|| device.query_controls()).unwrap_or_default();
        let ranges = listed.into_iter().map(|knob| (knob.id, (knob.minimum, knob.maximum, knob.default))).collect();
        Self { device, ranges }
    }
}

impl Knobs for DeviceKnobs {
    fn read(&self, id: u32) -> Option<i64> {
        match guarded(|| self.device.control(id)).ok()?.value {
            Value::Integer(value) => Some(value),
            Value::Boolean(value) => Some(value.into()),
            _ => None,
        }
    }

    fn write(&self, id: u32, value: i64) -> io::Result<()> {
        self.device.set_control(Control { id, value: Value::Integer(value) })
    }

    fn range(&self, id: u32) -> Option<(i64, i64, i64)> {
        self.ranges.iter().find(|(known, _)| *known == id).map(|(_, range)| *range)
    }
}
