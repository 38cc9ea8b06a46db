//! Any bytes as the picture of a document or of a live face: decoded within the bounds or refused, and a portrait cut from it.

#![no_main]

use didar_fuzz::mesh::{Face, Rect};
use didar_fuzz::picture::{Picture, portrait};
use didar_protocol::message::Picture as Sent;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(picture) = Picture::decode(bytes) else {
        return;
    };
    let view = picture.view();
    let (width, height) = (view.width(), view.height());
    assert!((64..=8192).contains(&width) && (64..=8192).contains(&height));
    assert!(u64::from(width) * u64::from(height) <= 24_000_000);
    // A face as large as the picture: its portrait reaches beyond every edge.
    let bounding = Rect { x: 0.0, y: 0.0, width: width as f32, height: height as f32 };
    if let Ok(jpeg) = portrait(&view, &Face { bounding }).to_jpeg(Sent::BYTES_MAX) {
        assert!(jpeg.len() <= Sent::BYTES_MAX && Picture::decode(&jpeg).is_ok());
    }
});
