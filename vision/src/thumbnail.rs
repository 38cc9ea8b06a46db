//! The middle of a frame, made small: what a person sees of themselves. For eyes, not for models.

use crate::affine::Affine;
use crate::frame::FrameView;
use crate::warp::{IDENTITY, warp};

/// Fills `rgb`, rows of `width` pixels in red, green and blue, with the frame's middle: a field of the shape of `rgb`, and
/// `share` of the frame's height high (more than 0, at most 1). What lies outside the frame is black.
pub fn thumbnail(frame: &FrameView<'_>, share: f64, width: usize, rgb: &mut [u8]) {
    let height = rgb.len() / (3 * width.max(1));
    if height == 0 {
        return;
    }
    let (across, down) = (f64::from(frame.width()), f64::from(frame.height()));
    let half_height = down * share / 2.0;
    let half_width = half_height * width as f64 / height as f64;
    let (x, y) = (across / 2.0 - 0.5, down / 2.0 - 0.5);
    let field = Affine::of_box(x - half_width, y - half_height, x + half_width, y + half_height, width, height);
    warp(frame, &field, width, &IDENTITY, rgb);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::PixelFormat;

    #[test]
    fn the_middle_is_shown_upright() {
        // A frame whose brightness is its column in the upper half, and 255 in the lower one.
        let pixel = |at: usize| if at / 64 < 24 { (at % 64) as u8 } else { 255 };
        let pixels: Vec<u8> = (0..64 * 48).map(pixel).collect();
        let frame = FrameView::new(PixelFormat::Grey8, 64, 48, 64, &pixels).unwrap();
        let mut rgb = vec![0; 3 * 12 * 16];
        thumbnail(&frame, 2.0 / 3.0, 12, &mut rgb);
        // 32 rows and 24 columns of the frame: columns 20 to 43, two for each pixel.
        let red = |x: usize, y: usize| rgb[3 * (12 * y + x)];
        assert_eq!((red(0, 2), red(11, 2), red(5, 12)), (21, 43, 255));
    }

    #[test]
    fn nothing_asked_for_is_nothing_done() {
        let pixels = [7; 64 * 48];
        let frame = FrameView::new(PixelFormat::Grey8, 64, 48, 64, &pixels).unwrap();
        thumbnail(&frame, 1.0, 0, &mut []);
        thumbnail(&frame, 1.0, 5, &mut []);
    }
}
