//! Sampling of frames: bilinear, black outside, straight from the camera's own format.
//!
//! Every crop that a model sees comes from here. Arithmetic is in fixed point, so that a crop has the same bytes on
//! every machine.

use crate::affine::Affine;
use crate::frame::{FrameView, Pixels, Plane};

/// Bits after the point of a coordinate.
const COORDINATE_BITS: u32 = 24;
/// Bits of a weight between two pixels.
const WEIGHT_BITS: u32 = 11;
/// Weight one.
const ONE: u64 = 1 << WEIGHT_BITS;

/// From the red, green and blue of a pixel to the values that are written, in the order in which they are written.
pub(crate) struct Tint<T> {
    /// By written channel.
    pub(crate) tables: [[T; 256]; 3],
    /// Write blue first.
    pub(crate) blue_first: bool,
}

impl<T: Copy> Tint<T> {
    /// Writes every pixel of `rgb`; both have three values a pixel.
    pub(crate) fn paint(&self, rgb: &[u8], out: &mut [T]) {
        let [first, second, third] = &self.tables;
        for (pixel, values) in rgb.chunks_exact(3).zip(out.chunks_exact_mut(3)) {
            let (early, late) = if self.blue_first { (pixel[2], pixel[0]) } else { (pixel[0], pixel[2]) };
            values[0] = first[usize::from(early)];
            values[1] = second[usize::from(pixel[1])];
            values[2] = third[usize::from(late)];
        }
    }
}

/// Pixels as they are.
pub(crate) const IDENTITY: Tint<u8> = {
    let mut table = [0; 256];
    let mut v = 0;
    while v < 256 {
        table[v] = v as u8;
        v += 1;
    }
    Tint { tables: [table; 3], blue_first: false }
};

/// Fills `out`, rows of `width` pixels of three values, with the frame at `inverse` of every place in it.
pub(crate) fn warp<T: Copy>(frame: &FrameView<'_>, inverse: &Affine, width: usize, tint: &Tint<T>, out: &mut [T]) {
    let size = (frame.width() as usize, frame.height() as usize);
    match frame.pixels {
        Pixels::Grey(plane) => sample(&Grey(plane), size, inverse, width, tint, out),
        Pixels::Deep { plane, shift } => sample(&Deep { plane, shift }, size, inverse, width, tint, out),
        Pixels::Yuyv(plane) => sample(&Yuyv(plane), size, inverse, width, tint, out),
        Pixels::Nv12 { luma, chroma } => sample(&Nv12 { luma, chroma }, size, inverse, width, tint, out),
        Pixels::Rgb(plane) => sample(&Rgb(plane), size, inverse, width, tint, out),
    }
}

/// A frame's pixels. Callers keep x and y inside the frame; `blend` needs a right and a lower neighbour too.
pub(crate) trait Texels {
    /// Red, green and blue.
    fn texel(&self, x: usize, y: usize) -> [u8; 3];
    /// Mean of four pixels; `wx` and `wy` are the weights of the right and the lower ones, 0..ONE.
    fn blend(&self, x: usize, y: usize, wx: u64, wy: u64) -> [u8; 3];
    /// Brightness, full range.
    fn luma(&self, x: usize, y: usize) -> u8;
}

fn sample<S: Texels, T: Copy>(
    source: &S,
    (frame_width, frame_height): (usize, usize),
    inverse: &Affine,
    width: usize,
    tint: &Tint<T>,
    out: &mut [T],
) {
    let (last_x, last_y) = (frame_width as u64 - 1, frame_height as u64 - 1);
    let [[a, b, c], [d, e, f]] = inverse.0;
    let (du, dv) = (fixed(a), fixed(d));
    let [first, second, third] = &tint.tables;
    for (row_index, row) in out.chunks_exact_mut(3 * width).enumerate() {
        let (mut u, mut v) = (fixed(b * row_index as f64 + c), fixed(e * row_index as f64 + f));
        for pixel in row.chunks_exact_mut(3) {
            let (x, y) = (u >> COORDINATE_BITS, v >> COORDINATE_BITS);
            let (wx, wy) = (weight(u), weight(v));
            let [red, green, blue] = if (x as u64) < last_x && (y as u64) < last_y {
                source.blend(x as usize, y as usize, wx, wy)
            } else {
                bordered(source, frame_width as i64, frame_height as i64, (x, y), (wx, wy))
            };
            let (early, late) = if tint.blue_first { (blue, red) } else { (red, blue) };
            pixel[0] = first[usize::from(early)];
            pixel[1] = second[usize::from(green)];
            pixel[2] = third[usize::from(late)];
            // Coordinates come from a model's numbers: however wild, they must not stop the program.
            u = u.wrapping_add(du);
            v = v.wrapping_add(dv);
        }
    }
}

fn fixed(value: f64) -> i64 {
    (value * f64::from(1_u32 << COORDINATE_BITS)).round() as i64
}

fn weight(coordinate: i64) -> u64 {
    (coordinate >> (COORDINATE_BITS - WEIGHT_BITS)) as u64 & (ONE - 1)
}

#[cold]
fn bordered<S: Texels>(source: &S, width: i64, height: i64, (x, y): (i64, i64), (wx, wy): (u64, u64)) -> [u8; 3] {
    let mut sum = [0_u64; 3];
    for (dx, dy, share) in
        [(0, 0, (ONE - wx) * (ONE - wy)), (1, 0, wx * (ONE - wy)), (0, 1, (ONE - wx) * wy), (1, 1, wx * wy)]
    {
        let (x, y) = (x.wrapping_add(dx), y.wrapping_add(dy));
        if (0..width).contains(&x) && (0..height).contains(&y) {
            let texel = source.texel(x as usize, y as usize);
            for (s, t) in sum.iter_mut().zip(texel) {
                *s += u64::from(t) * share;
            }
        }
    }
    sum.map(|s| ((s + ONE * ONE / 2) >> (2 * WEIGHT_BITS)) as u8)
}

#[inline(always)]
fn mix(a: u8, b: u8, c: u8, d: u8, wx: u64, wy: u64) -> u8 {
    let top = u64::from(a) * (ONE - wx) + u64::from(b) * wx;
    let bottom = u64::from(c) * (ONE - wx) + u64::from(d) * wx;
    ((top * (ONE - wy) + bottom * wy + ONE * ONE / 2) >> (2 * WEIGHT_BITS)) as u8
}

/// Full-range brightness of a limited-range one.
pub(crate) fn full_range(luma: u8) -> u8 {
    ((i32::from(luma) - 16) * 255 / 219).clamp(0, 255) as u8
}

/// BT.601, limited range.
fn rgb_of(luma: u8, u: u8, v: u8) -> [u8; 3] {
    let (c, d, e) = (298 * (i32::from(luma) - 16) + 128, i32::from(u) - 128, i32::from(v) - 128);
    [c + 409 * e, c - 100 * d - 208 * e, c + 516 * d].map(|v| (v >> 8).clamp(0, 255) as u8)
}

pub(crate) struct Grey<'a>(pub(crate) Plane<'a>);

impl Texels for Grey<'_> {
    fn texel(&self, x: usize, y: usize) -> [u8; 3] {
        [self.luma(x, y); 3]
    }

    #[inline(always)]
    fn blend(&self, x: usize, y: usize, wx: u64, wy: u64) -> [u8; 3] {
        let at = y * self.0.stride + x;
        let (top, bottom) = (&self.0.bytes[at..at + 2], &self.0.bytes[at + self.0.stride..][..2]);
        [mix(top[0], top[1], bottom[0], bottom[1], wx, wy); 3]
    }

    #[inline(always)]
    fn luma(&self, x: usize, y: usize) -> u8 {
        self.0.bytes[y * self.0.stride + x]
    }
}

/// Brightness of more than eight bits, of which the upper eight count.
pub(crate) struct Deep<'a> {
    pub(crate) plane: Plane<'a>,
    pub(crate) shift: u8,
}

impl Texels for Deep<'_> {
    fn texel(&self, x: usize, y: usize) -> [u8; 3] {
        [self.luma(x, y); 3]
    }

    #[inline(always)]
    fn blend(&self, x: usize, y: usize, wx: u64, wy: u64) -> [u8; 3] {
        let [top, bottom] = [y, y + 1].map(|y| [self.luma(x, y), self.luma(x + 1, y)]);
        [mix(top[0], top[1], bottom[0], bottom[1], wx, wy); 3]
    }

    /// A sensor that counts beyond its range is clipped, not wrapped.
    #[inline(always)]
    fn luma(&self, x: usize, y: usize) -> u8 {
        let at = y * self.plane.stride + 2 * x;
        let value = u16::from_le_bytes([self.plane.bytes[at], self.plane.bytes[at + 1]]);
        (value >> self.shift).min(255) as u8
    }
}

pub(crate) struct Rgb<'a>(pub(crate) Plane<'a>);

impl Texels for Rgb<'_> {
    fn texel(&self, x: usize, y: usize) -> [u8; 3] {
        let at = y * self.0.stride + 3 * x;
        [self.0.bytes[at], self.0.bytes[at + 1], self.0.bytes[at + 2]]
    }

    #[inline(always)]
    fn blend(&self, x: usize, y: usize, wx: u64, wy: u64) -> [u8; 3] {
        let at = y * self.0.stride + 3 * x;
        let (top, bottom) = (&self.0.bytes[at..at + 6], &self.0.bytes[at + self.0.stride..][..6]);
        [0, 1, 2].map(|c| mix(top[c], top[c + 3], bottom[c], bottom[c + 3], wx, wy))
    }

    #[inline(always)]
    fn luma(&self, x: usize, y: usize) -> u8 {
        let [r, g, b] = self.texel(x, y).map(u32::from);
        ((77 * r + 150 * g + 29 * b + 128) >> 8) as u8
    }
}

pub(crate) struct Yuyv<'a>(pub(crate) Plane<'a>);

impl Yuyv<'_> {
    #[inline(always)]
    fn chroma(&self, x: usize, y: usize) -> (u8, u8) {
        let at = y * self.0.stride + (x / 2) * 4;
        (self.0.bytes[at + 1], self.0.bytes[at + 3])
    }
}

impl Texels for Yuyv<'_> {
    fn texel(&self, x: usize, y: usize) -> [u8; 3] {
        let (u, v) = self.chroma(x, y);
        rgb_of(self.0.bytes[y * self.0.stride + 2 * x], u, v)
    }

    /// Brightness is mixed, colour is taken from the nearest pixel: it has half the resolution anyway.
    #[inline(always)]
    fn blend(&self, x: usize, y: usize, wx: u64, wy: u64) -> [u8; 3] {
        let at = y * self.0.stride + 2 * x;
        let (top, bottom) = (&self.0.bytes[at..at + 3], &self.0.bytes[at + self.0.stride..][..3]);
        let luma = mix(top[0], top[2], bottom[0], bottom[2], wx, wy);
        let (u, v) = self.chroma(x + usize::from(wx > ONE / 2), y + usize::from(wy > ONE / 2));
        rgb_of(luma, u, v)
    }

    #[inline(always)]
    fn luma(&self, x: usize, y: usize) -> u8 {
        full_range(self.0.bytes[y * self.0.stride + 2 * x])
    }
}

pub(crate) struct Nv12<'a> {
    pub(crate) luma: Plane<'a>,
    pub(crate) chroma: Plane<'a>,
}

impl Nv12<'_> {
    #[inline(always)]
    fn chroma(&self, x: usize, y: usize) -> (u8, u8) {
        let at = (y / 2) * self.chroma.stride + (x / 2) * 2;
        (self.chroma.bytes[at], self.chroma.bytes[at + 1])
    }
}

impl Texels for Nv12<'_> {
    fn texel(&self, x: usize, y: usize) -> [u8; 3] {
        let (u, v) = self.chroma(x, y);
        rgb_of(self.luma.bytes[y * self.luma.stride + x], u, v)
    }

    #[inline(always)]
    fn blend(&self, x: usize, y: usize, wx: u64, wy: u64) -> [u8; 3] {
        let at = y * self.luma.stride + x;
        let (top, bottom) = (&self.luma.bytes[at..at + 2], &self.luma.bytes[at + self.luma.stride..][..2]);
        let luma = mix(top[0], top[1], bottom[0], bottom[1], wx, wy);
        let (u, v) = self.chroma(x + usize::from(wx > ONE / 2), y + usize::from(wy > ONE / 2));
        rgb_of(luma, u, v)
    }

    #[inline(always)]
    fn luma(&self, x: usize, y: usize) -> u8 {
        full_range(self.luma.bytes[y * self.luma.stride + x])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::frame::PixelFormat;

    const SIDE: usize = 64;

    fn scene(x: usize, y: usize) -> [u8; 3] {
        [(x * 4) as u8, (y * 4) as u8, ((x + y) * 2) as u8]
    }

    fn rgb() -> Vec<u8> {
        (0..SIDE * SIDE).flat_map(|i| scene(i % SIDE, i / SIDE)).collect()
    }

    fn yuv(rgb: [u8; 3]) -> [u8; 3] {
        let [r, g, b] = rgb.map(i32::from);
        [
            ((66 * r + 129 * g + 25 * b + 128) >> 8) + 16,
            ((-38 * r - 74 * g + 112 * b + 128) >> 8) + 128,
            ((112 * r - 94 * g - 18 * b + 128) >> 8) + 128,
        ]
        .map(|v| v as u8)
    }

    /// The same scene in every format, warped in the same way.
    fn warped(format: PixelFormat, inverse: &Affine) -> Vec<u8> {
        let (stride, bytes): (usize, Vec<u8>) = match format {
            PixelFormat::Yuyv => (
                SIDE * 2,
                (0..SIDE * SIDE)
                    .flat_map(|i| {
                        let own = yuv(scene(i % SIDE, i / SIDE));
                        let pair = yuv(scene(i % SIDE / 2 * 2, i / SIDE));
                        [own[0], pair[1 + i % 2]]
                    })
                    .collect(),
            ),
            PixelFormat::Nv12 => {
                let luma = (0..SIDE * SIDE).map(|i| yuv(scene(i % SIDE, i / SIDE))[0]);
                let chroma = (0..SIDE * SIDE / 2).map(|i| yuv(scene(i % SIDE / 2 * 2, i / SIDE * 2))[1 + i % 2]);
                (SIDE, luma.chain(chroma).collect())
            }
            PixelFormat::Grey8 => (SIDE, (0..SIDE * SIDE).map(|i| scene(i % SIDE, i / SIDE)[0]).collect()),
            PixelFormat::Grey10 | PixelFormat::Grey16 => {
                let shift = if format == PixelFormat::Grey10 { 2 } else { 8 };
                let deep = |i| u16::from(scene(i % SIDE, i / SIDE)[0]) << shift | 1;
                (SIDE * 2, (0..SIDE * SIDE).flat_map(|i| deep(i).to_le_bytes()).collect())
            }
            PixelFormat::Rgb8 | PixelFormat::Mjpeg => (SIDE * 3, rgb()),
        };
        let frame = FrameView::new(format, SIDE as u32, SIDE as u32, stride, &bytes).unwrap();
        let mut out = vec![0; 32 * 32 * 3];
        warp(&frame, inverse, 32, &IDENTITY, &mut out);
        out
    }

    #[test]
    fn a_turned_crop_is_what_the_formula_says() {
        let inverse = Affine([[0.9, 0.3, 10.0], [-0.3, 0.9, 20.0]]);
        let out = warped(PixelFormat::Rgb8, &inverse);
        for (i, pixel) in out.chunks_exact(3).enumerate() {
            let [x, y] = inverse.apply([(i % 32) as f64, (i / 32) as f64]);
            // The scene is linear in x and y, so a bilinear mean of it is the scene at the place between.
            for (found, expected) in pixel.iter().zip([x * 4.0, y * 4.0, (x + y) * 2.0]) {
                assert!((f64::from(*found) - expected).abs() <= 0.6, "{found} {expected} at {x} {y}");
            }
        }
    }

    #[test]
    fn every_format_shows_the_same_scene() {
        let inverse = Affine([[1.1, 0.2, 8.0], [-0.2, 1.1, 12.0]]);
        let expected = warped(PixelFormat::Rgb8, &inverse);
        for format in [PixelFormat::Yuyv, PixelFormat::Nv12] {
            let found = warped(format, &inverse);
            let worst = expected.iter().zip(&found).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(worst <= 14, "{format:?} differs by {worst}");
        }
        let grey = warped(PixelFormat::Grey8, &inverse);
        assert_eq!(grey, warped(PixelFormat::Grey10, &inverse));
        assert_eq!(grey, warped(PixelFormat::Grey16, &inverse));
        assert!(grey.iter().step_by(3).zip(expected.iter().step_by(3)).all(|(a, b)| a == b));
    }

    #[test]
    fn outside_is_black_and_wild_numbers_do_no_harm() {
        let out = warped(PixelFormat::Rgb8, &Affine([[1.0, 0.0, -40.0], [0.0, 1.0, -40.0]]));
        assert!(out.iter().all(|v| *v == 0));
        for wild in [f64::NAN, f64::INFINITY, -1e300, 1e18] {
            warped(PixelFormat::Rgb8, &Affine([[wild, 1.0, wild], [1.0, wild, wild]]));
        }
    }
}
