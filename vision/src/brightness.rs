//! How bright a frame is as a whole: a lens cap, a lamp in the lens and a dead sensor show here before any face does.

use crate::frame::{FrameView, Pixels};
use crate::mesh::Rect;
use crate::warp::{Deep, Grey, Nv12, Rgb, Texels, Yuyv};

/// Samples along each side: few enough for every frame.
const SAMPLES: usize = 24;
/// A frame whose brightest sample is below this is black: dark noise of a covered sensor stays under it.
const BLACK_BELOW: u8 = 12;
/// A frame whose darkest sample is above this is white.
const WHITE_ABOVE: u8 = 243;

/// Brightness of sparse samples, full range, 0..=255.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Brightness {
    /// The darkest sample.
    pub least: u8,
    /// The brightest sample.
    pub most: u8,
    /// Mean of all samples.
    pub mean: f32,
}

impl Brightness {
    /// Nothing to be seen: a covered lens, or a dead sensor.
    pub fn is_black(&self) -> bool {
        self.most < BLACK_BELOW
    }

    /// Everything clipped: a lamp in the lens, or an exposure far too long.
    pub fn is_white(&self) -> bool {
        self.least > WHITE_ABOVE
    }
}

/// Samples `area` of `frame`, or all of it where that is `None`. Allocates nothing.
pub fn brightness(frame: &FrameView<'_>, area: Option<Rect>) -> Brightness {
    match frame.pixels {
        Pixels::Grey(plane) => measure(&Grey(plane), frame, area),
        Pixels::Deep { plane, shift } => measure(&Deep { plane, shift }, frame, area),
        Pixels::Yuyv(plane) => measure(&Yuyv(plane), frame, area),
        Pixels::Nv12 { luma, chroma } => measure(&Nv12 { luma, chroma }, frame, area),
        Pixels::Rgb(plane) => measure(&Rgb(plane), frame, area),
    }
}

fn measure<S: Texels>(source: &S, frame: &FrameView<'_>, area: Option<Rect>) -> Brightness {
    let (width, height) = (frame.width() as f32, frame.height() as f32);
    let area = area.unwrap_or(Rect { x: 0.0, y: 0.0, width, height });
    let along = |from: f32, length: f32, index: usize, whole: f32| {
        // A face's box may reach out of the picture.
        (from + length * (index as f32 + 0.5) / SAMPLES as f32).clamp(0.0, whole - 1.0) as usize
    };
    let (mut least, mut most, mut sum) = (u8::MAX, 0, 0_u32);
    for row in 0..SAMPLES {
        let y = along(area.y, area.height, row, height);
        for column in 0..SAMPLES {
            let luma = source.luma(along(area.x, area.width, column, width), y);
            least = least.min(luma);
            most = most.max(luma);
            sum += u32::from(luma);
        }
    }
    Brightness { least, most, mean: sum as f32 / (SAMPLES * SAMPLES) as f32 }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::PixelFormat;

    #[test]
    fn a_covered_lens_a_blinded_one_and_a_picture_are_told_apart() {
        let of = |bytes: &[u8], area| {
            let frame = FrameView::new(PixelFormat::Grey8, 64, 48, 64, bytes).unwrap();
            brightness(&frame, area)
        };
        let noise: Vec<u8> = (0..64 * 48).map(|i| (i % 7) as u8).collect();
        assert!(of(&noise, None).is_black() && !of(&noise, None).is_white());
        assert!(of(&[250; 64 * 48], None).is_white());
        let half: Vec<u8> = (0..64 * 48).map(|i| if i % 64 < 32 { 20 } else { 220 }).collect();
        let whole = of(&half, None);
        assert_eq!((whole.least, whole.most, whole.mean), (20, 220, 120.0));
        let right = Rect { x: 40.0, y: 10.0, width: 1e9, height: 10.0 };
        assert_eq!(of(&half, Some(right)).mean, 220.0);
    }
}
