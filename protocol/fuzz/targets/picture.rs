//! Any bytes as a picture that a device sends or an operator enrols.

#![no_main]

use didar_vision::Picture;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(picture) = Picture::decode(bytes) {
        assert!(picture.view().width() >= 64);
    }
});
