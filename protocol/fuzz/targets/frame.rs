//! Any bytes as a camera's compressed frame of a given size.

#![no_main]

use didar_fuzz::frame::{PixelFormat, Unpacker};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut unpacker = Unpacker::new();
    for (width, height) in [(32, 32), (64, 48), (640, 480)] {
        if let Ok(frame) = unpacker.view(PixelFormat::Mjpeg, width, height, 0, bytes) {
            assert_eq!((frame.width(), frame.height()), (width, height));
        }
    }
});
