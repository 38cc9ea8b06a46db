//! Pictures from files: documents' photographs and references; and portraits cut from frames.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use zeroize::Zeroize;

use crate::affine::Affine;
use crate::frame::{FrameView, PixelFormat};
use crate::mesh::Face;
use crate::warp::{IDENTITY, warp};

/// Shortest side of a picture in pixels.
const SIDE_LEAST: u32 = 64;
/// Longest side of a picture in pixels.
const SIDE_MOST: u32 = 8192;
/// Most pixels of a picture: 24 million take 72 MB.
const PIXELS_MOST: u64 = 24_000_000;
/// Longest encoded picture in bytes.
const BYTES_MOST: usize = 32 << 20;
/// Bytes before a PNG's first chunk.
const PNG_SIGNATURE: usize = 8;
/// Sides of a portrait in pixels: 3 to 4, as documents' photographs are.
const PORTRAIT: (usize, usize) = (240, 320);
/// Height of a portrait in boxes of the face.
const PORTRAIT_BOXES: f64 = 2.2;

/// A decoded picture, upright, RGB. Wiped on drop; never shown by `Debug`.
pub struct Picture {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

/// Why bytes are not a picture that can be used.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The file is too long to be looked at.
    #[error("picture file of {found} bytes: at most {BYTES_MOST} are read; send a smaller picture")]
    TooLong {
        /// Bytes given.
        found: usize,
    },
    /// Neither PNG nor JPEG.
    #[error("not a picture that can be read: its first bytes are neither PNG nor JPEG")]
    Format,
    /// A side is too short or too long, or the area too large.
    #[error(
        "picture of {width}x{height} pixels: each side must be {SIDE_LEAST} to {SIDE_MOST} and the area at most {PIXELS_MOST}"
    )]
    Size {
        /// Pixels a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The decoder refuses the bytes.
    #[error("picture is damaged: {cause}")]
    Damaged {
        /// The decoder's words.
        cause: String,
    },
    /// Even the strongest compression leaves more bytes than asked for.
    #[error("portrait does not fit into {limit} bytes")]
    Limit {
        /// Bytes allowed.
        limit: usize,
    },
}

impl Picture {
    /// Decodes a PNG or JPEG file and turns it upright as its EXIF data say.
    ///
    /// # Errors
    /// [`PictureError`] where the bytes are no picture, or one beyond the bounds named there.
    pub fn decode(bytes: &[u8]) -> Result<Picture, PictureError> {
        if bytes.len() > BYTES_MOST {
            return Err(PictureError::TooLong { found: bytes.len() });
        }
        let format = match image::guess_format(bytes) {
            Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => format,
            Ok(_) | Err(_) => return Err(PictureError::Format),
        };
        if format == ImageFormat::Png && !has_lawful_palettes(bytes) {
            return Err(PictureError::Damaged { cause: "its palette is not of 1 to 256 colours".to_owned() });
        }
        let damaged = |e: image::ImageError| PictureError::Damaged { cause: e.to_string() };
        let mut decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder().map_err(damaged)?;
        let (width, height) = decoder.dimensions();
        let sides = SIDE_LEAST..=SIDE_MOST;
        let area = u64::from(width) * u64::from(height);
        if !sides.contains(&width) || !sides.contains(&height) || area > PIXELS_MOST {
            return Err(PictureError::Size { width, height });
        }
        let mut limits = Limits::default();
        limits.max_alloc = Some(PIXELS_MOST * 12);
        decoder.set_limits(limits).map_err(damaged)?;
        let orientation = decoder.orientation().map_err(damaged)?;
        let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
        image.apply_orientation(orientation);
        let image = image.into_rgb8();
        Ok(Picture { width: image.width(), height: image.height(), rgb: image.into_raw() })
    }

    /// The picture as a frame.
    pub fn view(&self) -> FrameView<'_> {
        FrameView::new(PixelFormat::Rgb8, self.width, self.height, self.width as usize * 3, &self.rgb)
            .expect("decode checked the sides, and the decoder filled them")
    }
}

/// Whether every palette of this PNG has 1 to 256 colours of three bytes (PNG, third edition, 11.2.2): at another length the
/// decoder panics (`png` 0.18.1).
fn has_lawful_palettes(mut rest: &[u8]) -> bool {
    rest = rest.get(PNG_SIGNATURE..).unwrap_or_default();
    while let Some((length, named)) = rest.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        if named.starts_with(b"PLTE") && (length == 0 || length > 768 || !length.is_multiple_of(3)) {
            return false;
        }
        // Name, content and checksum; a chunk that is cut off is the decoder's to refuse.
        rest = named.get(length.saturating_add(8)..).unwrap_or_default();
    }
    true
}

impl Drop for Picture {
    fn drop(&mut self) {
        self.rgb.zeroize();
    }
}

/// A small upright picture of head and shoulders, RGB. Wiped on drop.
pub struct Portrait {
    rgb: Vec<u8>,
}

/// Cuts the portrait of `face` out of `frame`; what lies outside the frame is black.
pub fn portrait(frame: &FrameView<'_>, face: &Face) -> Portrait {
    let (width, height) = PORTRAIT;
    let tall = f64::from(face.bounding.height) * PORTRAIT_BOXES;
    let wide = tall * width as f64 / height as f64;
    let centre = face.bounding.centre();
    let (left, top) = (centre[0] - wide / 2.0, centre[1] - tall / 2.0);
    let mut rgb = vec![0; width * height * 3];
    warp(frame, &Affine::of_box(left, top, left + wide, top + tall, width, height), width, &IDENTITY, &mut rgb);
    Portrait { rgb }
}

impl Portrait {
    /// The portrait as a JPEG file of at most `limit` bytes; quality is lowered until it fits.
    ///
    /// # Errors
    /// [`PictureError::Limit`] where the lowest quality is still too long.
    pub fn to_jpeg(&self, limit: usize) -> Result<Vec<u8>, PictureError> {
        for quality in [92, 85, 75, 60, 40] {
            let mut bytes = Vec::new();
            let (width, height) = (PORTRAIT.0 as u32, PORTRAIT.1 as u32);
            JpegEncoder::new_with_quality(&mut bytes, quality)
                .encode(&self.rgb, width, height, image::ExtendedColorType::Rgb8)
                .map_err(|e| PictureError::Damaged { cause: e.to_string() })?;
            if bytes.len() <= limit {
                return Ok(bytes);
            }
            bytes.zeroize();
        }
        Err(PictureError::Limit { limit })
    }
}

impl Drop for Portrait {
    fn drop(&mut self) {
        self.rgb.zeroize();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        image::GrayImage::new(width, height).write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
        bytes
    }

    fn refusal(bytes: &[u8]) -> String {
        Picture::decode(bytes).err().unwrap().to_string()
    }

    #[test]
    fn pictures_are_bounded_in_size() {
        assert!(refusal(&png(1, 1)).starts_with("picture of 1x1 pixels"));
        assert!(refusal(&png(8191, 4000)).starts_with("picture of 8191x4000 pixels"));
        let large = Picture::decode(&png(5472, 3648)).unwrap();
        assert_eq!((large.view().width(), large.view().height()), (5472, 3648));
    }

    #[test]
    fn what_is_no_picture_is_named_so() {
        assert!(refusal(b"").starts_with("not a picture"));
        assert!(refusal(b"GIF89a......").starts_with("not a picture"));
        assert!(refusal(&png(100, 100)[..60]).starts_with("picture is damaged"));
    }
}
