//! Any camera that `nokhwa` reaches, for a developer's or pilot's machine. Copies every frame, and stamps it when it
//! arrives: good enough for guidance and trials, not for timing a light code closely.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use didar_vision::PixelFormat;
use nokhwa::Camera as Device;
use nokhwa::utils::{
    ApiBackend, CameraFormat, CameraIndex, FrameFormat, RequestedFormat, RequestedFormatType, Resolution,
};

use super::let_go;
use super::meter::Meter;
use super::offer::Need;
use crate::edge::{Camera, CameraError, Clock, Controls, Frame, Got, Pick};

/// A camera by its number.
pub struct NokhwaCamera {
    index: u32,
    need: Need,
    /// Exposure and readout: so long before its arrival a frame's exposure began, at the latest.
    length: Duration,
    clock: Arc<dyn Clock>,
    meter: Arc<Meter>,
    opened: Option<(Device, PixelFormat)>,
    sequence: u32,
}

impl Drop for NokhwaCamera {
    fn drop(&mut self) {
        self.close();
    }
}

impl NokhwaCamera {
    /// The camera `index`, whose exposure and readout take `length`.
    pub fn new(index: u32, need: Need, length: Duration, clock: Arc<dyn Clock>, meter: Arc<Meter>) -> Self {
        Self { index, need, length, clock, meter, opened: None, sequence: 0 }
    }

    fn path(&self) -> String {
        format!("nokhwa {}", self.index)
    }

    fn close(&mut self) {
        if let Some((device, _)) = self.opened.take() {
            let_go(device);
        }
    }

    fn open(&self) -> Result<(Device, PixelFormat), CameraError> {
        let Need { width, height, rate, .. } = self.need;
        let mut refused = String::new();
        for &format in &self.need.formats {
            let Some(wanted) = frame_format(format) else { continue };
            let exact = CameraFormat::new(Resolution::new(width, height), wanted, rate);
            let wanted = [wanted];
            let request = RequestedFormat::with_formats(RequestedFormatType::Exact(exact), &wanted);
            let opened = Device::with_backend(CameraIndex::Index(self.index), request, ApiBackend::Auto);
            match opened.and_then(|mut device| device.open_stream().map(|()| device)) {
                Ok(device) => {
                    self.meter.opened();
                    return Ok((device, format));
                }
                Err(error) => refused = error.to_string(),
            }
        }
        Err(CameraError::Format { path: self.path(), offered: refused, needed: self.need.to_string() })
    }
}

impl Camera for NokhwaCamera {
    fn next(&mut self, _: Pick, _: Duration, look: &mut dyn FnMut(&Frame<'_>)) -> Result<Got, CameraError> {
        if self.opened.is_none() {
            self.opened = Some(self.open()?);
        }
        let path = self.path();
        let Some((device, format)) = &mut self.opened else { return Ok(Got::Nothing) };
        let pixels = match device.frame_raw() {
            Ok(pixels) => pixels,
            Err(error) => {
                let cause = io::Error::other(error.to_string());
                self.close();
                return Err(CameraError::Gone { path, cause });
            }
        };
        let arrived = self.clock.now();
        self.sequence = self.sequence.wrapping_add(1);
        self.meter.took(0);
        self.meter.copied();
        let stride = match format {
            PixelFormat::Yuyv => self.need.width as usize * 2,
            _ => self.need.width as usize,
        };
        look(&Frame {
            format: *format,
            width: self.need.width,
            height: self.need.height,
            stride,
            sequence: self.sequence,
            captured_at: arrived.before(self.length),
            pixels: &pixels,
            beside: None,
        });
        Ok(Got::Frame)
    }

    fn control(&mut self, _: Controls) -> Result<(), CameraError> {
        Ok(())
    }

    fn rest(&mut self) {
        self.close();
    }
}

fn frame_format(format: PixelFormat) -> Option<FrameFormat> {
    match format {
        PixelFormat::Yuyv => Some(FrameFormat::YUYV),
        PixelFormat::Nv12 => Some(FrameFormat::NV12),
        PixelFormat::Mjpeg => Some(FrameFormat::MJPEG),
        PixelFormat::Grey8 => Some(FrameFormat::GRAY),
        PixelFormat::Grey10 | PixelFormat::Grey16 | PixelFormat::Rgb8 => None,
    }
}
