//! Frames as cameras give them, looked at in place: no copy and no conversion of what is not needed.

use std::fmt;

use zeroize::Zeroize;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Shortest side of a frame in pixels: less holds no face that could be recognised.
const SIDE_LEAST: u32 = 32;
/// Longest side of a frame in pixels: larger than any camera here, small enough for every later product of sizes.
const SIDE_MOST: u32 = 8192;

/// How the bytes of a frame mean colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// One byte of brightness a pixel, 0..=255.
    Grey8,
    /// Two bytes of brightness a pixel, little endian, 0..=1023: `Y10` of infrared sensors.
    Grey10,
    /// Two bytes of brightness a pixel, little endian, 0..=65535: `Y16` of infrared sensors.
    Grey16,
    /// Y0 U Y1 V for two pixels, BT.601, limited range (what V4L2 means by default). Even width.
    Yuyv,
    /// A plane of Y, then one of interleaved U and V at half size with the same stride; BT.601, limited. Even sides.
    Nv12,
    /// One JPEG picture a frame; `stride` is not used. Must be unpacked: see [`Unpacker`].
    Mjpeg,
    /// Red, green, blue.
    Rgb8,
}

/// A frame's bytes together with what they mean; every pixel can be read.
#[derive(Clone, Copy)]
pub struct FrameView<'a> {
    width: u32,
    height: u32,
    pub(crate) pixels: Pixels<'a>,
}

/// The planes of a frame, checked to be long enough for its sides.
#[derive(Clone, Copy)]
pub(crate) enum Pixels<'a> {
    Grey(Plane<'a>),
    /// Two bytes a pixel; the value shifted right by `shift` is one of 0..=255.
    Deep {
        plane: Plane<'a>,
        shift: u8,
    },
    Yuyv(Plane<'a>),
    Nv12 {
        luma: Plane<'a>,
        chroma: Plane<'a>,
    },
    Rgb(Plane<'a>),
}

/// Rows of bytes, `stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Plane<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) stride: usize,
}

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FrameError {
    /// A side is too short or too long.
    #[error("frame of {width}x{height} pixels: each side must be {SIDE_LEAST} to {SIDE_MOST}")]
    Size {
        /// Pixels a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The format stores pixels in pairs, and a side is odd.
    #[error("{format:?} frame of {width}x{height} pixels: its sides must be even")]
    Odd {
        /// As given.
        format: PixelFormat,
        /// Pixels a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// Rows would overlap.
    #[error("{format:?} frame: stride of {stride} bytes, at least {needed} needed for {width} pixels")]
    Stride {
        /// As given.
        format: PixelFormat,
        /// Bytes from row to row.
        stride: usize,
        /// The least that holds a row.
        needed: usize,
        /// Pixels a row.
        width: u32,
    },
    /// Bytes are missing at the end.
    #[error("{format:?} frame of {width}x{height} pixels is cut short: {found} bytes, {needed} needed")]
    Short {
        /// As given.
        format: PixelFormat,
        /// Pixels a row.
        width: u32,
        /// Rows.
        height: u32,
        /// Bytes given.
        found: usize,
        /// Bytes that the sides and the stride ask for.
        needed: usize,
    },
    /// A compressed frame was to be viewed in place.
    #[error("Mjpeg frames cannot be viewed in place: unpack them with Unpacker")]
    Compressed,
    /// The JPEG decoder refuses the bytes.
    #[error("Mjpeg frame of {length} bytes cannot be decoded: {cause}")]
    Mjpeg {
        /// Bytes given.
        length: usize,
        /// The decoder's words.
        cause: String,
    },
    /// The JPEG is another picture than the camera announced.
    #[error("Mjpeg frame is {found:?} pixels, {expected:?} announced")]
    MjpegSize {
        /// Width and height that the camera announced.
        expected: (u32, u32),
        /// Width and height in the JPEG.
        found: (u32, u32),
    },
}

impl<'a> FrameView<'a> {
    /// Looks at `bytes` as a frame. `stride` is the distance of rows in bytes; bytes after the last row are allowed.
    ///
    /// # Errors
    /// [`FrameError`] where sides, stride and length do not fit together, and always for [`PixelFormat::Mjpeg`].
    pub fn new(
        format: PixelFormat,
        width: u32,
        height: u32,
        stride: usize,
        bytes: &'a [u8],
    ) -> Result<FrameView<'a>, FrameError> {
        check_size(width, height)?;
        let (w, h) = (width as usize, height as usize);
        let (row, rows, even) = match format {
            PixelFormat::Grey8 => (w, h, false),
            PixelFormat::Grey10 | PixelFormat::Grey16 => (w * 2, h, false),
            PixelFormat::Yuyv => (w * 2, h, true),
            PixelFormat::Nv12 => (w, h + h / 2, true),
            PixelFormat::Rgb8 => (w * 3, h, false),
            PixelFormat::Mjpeg => return Err(FrameError::Compressed),
        };
        let odd = w % 2 == 1 || (h % 2 == 1 && format == PixelFormat::Nv12);
        if even && odd {
            return Err(FrameError::Odd { format, width, height });
        }
        if stride < row {
            return Err(FrameError::Stride { format, stride, needed: row, width });
        }
        let needed = stride.saturating_mul(rows - 1).saturating_add(row);
        if bytes.len() < needed {
            return Err(FrameError::Short { format, width, height, found: bytes.len(), needed });
        }
        let plane = Plane { bytes, stride };
        let pixels = match format {
            PixelFormat::Grey8 => Pixels::Grey(plane),
            PixelFormat::Grey10 => Pixels::Deep { plane, shift: 2 },
            PixelFormat::Grey16 => Pixels::Deep { plane, shift: 8 },
            PixelFormat::Yuyv => Pixels::Yuyv(plane),
            PixelFormat::Nv12 => {
                let (luma, chroma) = bytes.split_at(stride * h);
                Pixels::Nv12 { luma: Plane { bytes: luma, stride }, chroma: Plane { bytes: chroma, stride } }
            }
            PixelFormat::Rgb8 | PixelFormat::Mjpeg => Pixels::Rgb(plane),
        };
        Ok(FrameView { width, height, pixels })
    }

    /// Pixels a row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }
}

impl fmt::Debug for FrameView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FrameView({}x{})", self.width, self.height)
    }
}

fn check_size(width: u32, height: u32) -> Result<(), FrameError> {
    let lawful = SIDE_LEAST..=SIDE_MOST;
    if lawful.contains(&width) && lawful.contains(&height) { Ok(()) } else { Err(FrameError::Size { width, height }) }
}

/// Makes a [`FrameView`] of any format: raw ones are viewed in place, JPEG is decoded into a buffer that is kept.
///
/// Decoding a JPEG allocates inside the decoder; nothing else here does after the first frame.
#[derive(Default)]
pub struct Unpacker {
    rgb: Vec<u8>,
}

impl Unpacker {
    /// An unpacker with an empty buffer.
    pub fn new() -> Unpacker {
        Unpacker::default()
    }

    /// The frame in `bytes`; `stride` is ignored for [`PixelFormat::Mjpeg`].
    ///
    /// # Errors
    /// [`FrameError`] as for [`FrameView::new`], or where the JPEG is broken or of another size than announced.
    pub fn view<'a>(
        &'a mut self,
        format: PixelFormat,
        width: u32,
        height: u32,
        stride: usize,
        bytes: &'a [u8],
    ) -> Result<FrameView<'a>, FrameError> {
        if format != PixelFormat::Mjpeg {
            return FrameView::new(format, width, height, stride, bytes);
        }
        check_size(width, height)?;
        self.decode(width, height, bytes)?;
        FrameView::new(PixelFormat::Rgb8, width, height, width as usize * 3, &self.rgb)
    }

    fn decode(&mut self, width: u32, height: u32, bytes: &[u8]) -> Result<(), FrameError> {
        let refused = |cause: String| FrameError::Mjpeg { length: bytes.len(), cause };
        let options = DecoderOptions::default()
            .jpeg_set_out_colorspace(ColorSpace::RGB)
            .set_max_width(SIDE_MOST as usize)
            .set_max_height(SIDE_MOST as usize);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
        decoder.decode_headers().map_err(|e| refused(e.to_string()))?;
        let found = decoder.info().map_or((0, 0), |i| (u32::from(i.width), u32::from(i.height)));
        if found != (width, height) {
            return Err(FrameError::MjpegSize { expected: (width, height), found });
        }
        self.rgb.resize(width as usize * height as usize * 3, 0);
        decoder.decode_into(&mut self.rgb).map_err(|e| refused(e.to_string()))
    }
}

impl Drop for Unpacker {
    fn drop(&mut self) {
        self.rgb.zeroize();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(format: PixelFormat, width: u32, height: u32, stride: usize, length: usize, expected: &str) {
        let bytes = vec![0; length];
        let found = match FrameView::new(format, width, height, stride, &bytes) {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(found.starts_with(expected), "{format:?} {width}x{height}/{stride}: {found}");
    }

    #[test]
    fn sides_strides_and_lengths_must_fit_together() {
        use PixelFormat::{Grey8, Grey10, Grey16, Mjpeg, Nv12, Rgb8, Yuyv};
        check(Grey8, 64, 48, 64, 64 * 48, "ok");
        check(Grey8, 64, 48, 80, 80 * 47 + 64, "ok");
        check(Grey8, 1, 1, 1, 1, "frame of 1x1 pixels");
        check(Grey8, 9000, 48, 9000, 9000 * 48, "frame of 9000x48 pixels");
        check(Grey8, 64, 48, 63, 64 * 48, "Grey8 frame: stride of 63 bytes, at least 64");
        check(Grey8, 64, 48, 64, 64 * 48 - 1, "Grey8 frame of 64x48 pixels is cut short: 3071 bytes, 3072 needed");
        check(Grey8, 64, 48, usize::MAX, 64 * 48, "Grey8 frame of 64x48 pixels is cut short");
        check(Grey10, 64, 48, 128, 128 * 48, "ok");
        check(Grey10, 64, 48, 64, 128 * 48, "Grey10 frame: stride of 64 bytes, at least 128");
        check(Grey16, 64, 48, 128, 128 * 48 - 1, "Grey16 frame of 64x48 pixels is cut short");
        check(Yuyv, 64, 48, 128, 128 * 48, "ok");
        check(Yuyv, 65, 48, 130, 130 * 48, "Yuyv frame of 65x48 pixels: its sides must be even");
        check(Nv12, 64, 48, 64, 64 * 72, "ok");
        check(Nv12, 64, 48, 64, 64 * 71, "Nv12 frame of 64x48 pixels is cut short");
        check(Nv12, 64, 49, 64, 64 * 80, "Nv12 frame of 64x49 pixels: its sides must be even");
        check(Rgb8, 64, 48, 192, 192 * 48, "ok");
        check(Mjpeg, 64, 48, 0, 100, "Mjpeg frames cannot be viewed in place");
    }

    #[test]
    fn bytes_that_are_no_jpeg_are_refused() {
        let mut unpacker = Unpacker::new();
        let mut state = 7_u32;
        for length in [0, 1, 2, 20, 4_000] {
            let mut bytes: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .take(length)
            .collect();
            assert!(unpacker.view(PixelFormat::Mjpeg, 64, 48, 0, &bytes).is_err());
            if length > 2 {
                bytes[..3].copy_from_slice(&[0xff, 0xd8, 0xff]);
                assert!(unpacker.view(PixelFormat::Mjpeg, 64, 48, 0, &bytes).is_err());
            }
        }
    }

    #[test]
    fn a_jpeg_of_another_size_is_refused_and_the_right_one_is_unpacked() {
        let mut bytes = Vec::new();
        image::RgbImage::from_pixel(64, 48, image::Rgb([200, 100, 50]))
            .write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Jpeg)
            .unwrap();
        let mut unpacker = Unpacker::new();
        assert_eq!(
            unpacker.view(PixelFormat::Mjpeg, 640, 480, 0, &bytes).unwrap_err(),
            FrameError::MjpegSize { expected: (640, 480), found: (64, 48) }
        );
        let view = unpacker.view(PixelFormat::Mjpeg, 64, 48, 0, &bytes).unwrap();
        let Pixels::Rgb(plane) = view.pixels else { panic!("not RGB") };
        assert!(plane.bytes[0].abs_diff(200) < 6 && plane.bytes[1].abs_diff(100) < 6);
        bytes.truncate(bytes.len() / 2);
        assert!(unpacker.view(PixelFormat::Mjpeg, 64, 48, 0, &bytes).is_err());
    }
}
