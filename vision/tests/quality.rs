//! Quality figures and following, on the two public-domain portraits and on what can be done to them.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::{Path, PathBuf};

use didar_vision::{Face, FrameView, Models, Perceiver, PixelFormat, Quality, align, passive_crop, portrait, quality};
use image::{Rgb, RgbImage, imageops};

const PORTRAITS: [&str; 2] = ["astronaut.png", "grace_hopper.png"];

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

fn perceiver() -> Perceiver {
    Perceiver::new(&Models::load(&models().join("manifest.toml")).unwrap()).unwrap()
}

fn read(name: &str) -> RgbImage {
    image::open(models().join("build/faces").join(name)).unwrap().into_rgb8()
}

fn view(image: &RgbImage) -> FrameView<'_> {
    let stride = image.width() as usize * 3;
    FrameView::new(PixelFormat::Rgb8, image.width(), image.height(), stride, image.as_raw()).unwrap()
}

fn face(perceiver: &mut Perceiver, image: &RgbImage) -> Face {
    perceiver.reset();
    perceiver.look(&view(image)).unwrap().face.unwrap()
}

fn measured(image: &RgbImage) -> Quality {
    let face = face(&mut perceiver(), image);
    quality(&view(image), &face)
}

/// Paints everything from under the nose to under the chin, cheek to cheek.
fn masked(image: &RgbImage, colour: [u8; 3]) -> (Quality, RgbImage) {
    let mut perceiver = perceiver();
    let face = face(&mut perceiver, image);
    let mut covered = image.clone();
    let eyes = face.interocular_px;
    let middle = (face.five[0][0] + face.five[1][0]) / 2.0;
    for (x, y, pixel) in covered.enumerate_pixels_mut() {
        if y as f32 > face.five[2][1] && (y as f32) < face.five[2][1] + 1.6 * eyes && (x as f32 - middle).abs() < eyes {
            *pixel = Rgb(colour);
        }
    }
    // The landmarks of the free face: what is asked is the colour's part, not how the mesh takes a painted bar.
    (quality(&view(&covered), &face), covered)
}

#[test]
fn good_portraits_are_good() {
    for name in PORTRAITS {
        let q = measured(&read(name));
        println!("{name}: {q:?}");
        assert!(q.sharpness > 50 && q.exposure > 80 && q.dynamic_range > 60 && q.eyes_open > 60, "{name}: {q:?}");
        assert!(q.occlusion < 20, "{name}: {q:?}");
        assert!(q.pose.yaw.abs() < 20.0 && q.pose.pitch.abs() < 20.0 && q.pose.roll.abs() < 15.0, "{name}: {q:?}");
    }
}

#[test]
fn blur_and_darkness_are_told() {
    for name in PORTRAITS {
        let good = measured(&read(name));
        let blurred = measured(&imageops::blur(&read(name), 3.5));
        assert!(blurred.sharpness + 25 < good.sharpness, "{name}: {} {}", good.sharpness, blurred.sharpness);
        let mut dark = read(name);
        dark.iter_mut().for_each(|v| *v /= 4);
        assert!(measured(&dark).exposure < 60, "{name}");
    }
}

#[test]
fn masks_are_suspected() {
    for name in PORTRAITS {
        for colour in [[235, 238, 240], [120, 170, 220], [20, 20, 22]] {
            let (q, _) = masked(&read(name), colour);
            println!("{name}: {colour:?} {}", q.occlusion);
            assert!(q.occlusion >= 60, "{name}: mask of {colour:?} gives {}", q.occlusion);
        }
    }
}

#[test]
fn a_face_is_followed_under_one_track_and_lost_with_it() {
    let mut perceiver = perceiver();
    let image = read(PORTRAITS[0]);
    let mut tracks = Vec::new();
    for step in 0..40_i64 {
        let mut moved = RgbImage::new(image.width(), image.height());
        imageops::replace(&mut moved, &image, step * 2, step);
        let sight = perceiver.look(&view(&moved)).unwrap();
        let face = sight.face.unwrap();
        assert_eq!(sight.faces, 1);
        tracks.push(face.track);
    }
    tracks.dedup();
    assert_eq!(tracks.len(), 1, "the face moved by two pixels a frame");
    let empty = RgbImage::new(image.width(), image.height());
    assert!(perceiver.look(&view(&empty)).unwrap().face.is_none());
    let again = perceiver.look(&view(&image)).unwrap().face.unwrap();
    assert_ne!(again.track, tracks[0], "found again is another track");
}

#[test]
fn a_followed_face_is_aligned_as_a_found_one() {
    let mut perceiver = perceiver();
    for name in PORTRAITS {
        let image = read(name);
        let found = face(&mut perceiver, &image);
        let followed = perceiver.look(&view(&image)).unwrap().face.unwrap();
        let marks = [found, followed].map(|f| perceiver.mark(&align(&view(&image), &f)).unwrap());
        let similarity = marks[0].similarity(&marks[1]);
        println!("{name}: {similarity}");
        assert!(similarity > 0.97, "{name}: {similarity}");
    }
}

#[test]
fn a_second_person_is_counted_within_half_a_second() {
    let mut perceiver = perceiver();
    let close = imageops::crop_imm(&read(PORTRAITS[0]), 120, 10, 210, 210).to_image();
    let one = imageops::resize(&close, 320, 320, imageops::FilterType::Triangle);
    let mut alone = RgbImage::new(640, 320);
    imageops::replace(&mut alone, &one, 0, 0);
    let mut both = alone.clone();
    imageops::replace(&mut both, &one, 320, 0);
    assert_eq!(perceiver.look(&view(&alone)).unwrap().faces, 1);
    let seen = (1..=16).find(|_| perceiver.look(&view(&both)).unwrap().faces == 2);
    assert!(seen.is_some(), "never counted");
}

#[test]
fn a_face_without_surroundings_is_not_judged() {
    let mut perceiver = perceiver();
    let image = read(PORTRAITS[1]);
    let whole = face(&mut perceiver, &image);
    let b = whole.bounding;
    let cut = imageops::crop_imm(&image, b.x as u32 + 20, b.y as u32 - 20, b.width as u32 - 20, b.height as u32 + 20)
        .to_image();
    perceiver.reset();
    let face = perceiver.look(&view(&cut)).unwrap().face.unwrap_or_else(|| {
        let mut moved = whole.clone();
        moved.bounding.x = -20.0;
        moved.bounding.y = 20.0;
        moved
    });
    let missing = passive_crop(&view(&cut), &face).err().expect("too little context");
    assert!(missing.inside < 0.5 && missing.to_string().contains("step back"));
}

#[test]
fn a_portrait_fits_into_its_limit() {
    let image = read(PORTRAITS[0]);
    let face = face(&mut perceiver(), &image);
    let jpeg = portrait(&view(&image), &face).to_jpeg(64 * 1024).unwrap();
    assert!(jpeg.len() <= 64 * 1024);
    let small = image::load_from_memory(&jpeg).unwrap();
    assert_eq!((small.width(), small.height()), (240, 320));
    assert!(portrait(&view(&image), &face).to_jpeg(100).is_err());
}
