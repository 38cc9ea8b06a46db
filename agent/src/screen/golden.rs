//! Pictures of every screen, compared with the ones in `golden/`. `UPDATE_GOLDEN=1` rewrites them; then look at them.
//!
//! Every view that people meet is painted in every language at the sizes of [`SIZES`]; `golden/screens.txt` keeps a
//! hash of each. Pictures to look at: one sheet per view with the three languages, and one
//! sheet per size.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use embedded_graphics::pixelcolor::raw::RawU16;
use embedded_graphics::pixelcolor::{Rgb565, Rgb888};
use embedded_graphics::prelude::*;
use sha2::{Digest, Sha256};

use super::gallery;
use super::{Canvas, Language, Painter, Preview};
use crate::attempt::event::View;

const SIZES: [(u16, u16); 6] = [(320, 240), (640, 480), (800, 480), (480, 800), (1024, 600), (1280, 800)];
/// The sizes that have a sheet of their own.
const SHEETS: [(u16, u16); 4] = [(320, 240), (800, 480), (480, 800), (1280, 800)];
/// The size of the sheets with three languages.
const SHEET: (u16, u16) = (480, 320);
/// Pixels between the pictures of a sheet.
const GUTTER: usize = 8;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/screen/golden")
}

fn updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

/// A likeness of a head and shoulders before a wall, as a camera would see them: few flat colours keep the files small.
pub(super) fn sitter() -> (usize, usize, Vec<u16>) {
    let (width, height) = (180_usize, 240_usize);
    let colour = |x: f32, y: f32| -> [u16; 3] {
        let inside = |cx: f32, cy: f32, rx: f32, ry: f32| ((x - cx) / rx).powi(2) + ((y - cy) / ry).powi(2) < 1.0;
        match () {
            () if inside(-21.0, -12.0, 4.5, 4.5) || inside(21.0, -12.0, 4.5, 4.5) => [48, 36, 32],
            () if inside(-21.0, -23.0, 10.0, 2.6) || inside(21.0, -23.0, 10.0, 2.6) => [56, 42, 36],
            () if inside(0.0, 38.0, 15.0, 4.0) => [176, 92, 84],
            () if inside(0.0, 10.0, 5.5, 16.0) => [236, 196, 168],
            () if inside(0.0, 2.0, 51.0, 68.0) && y > -40.0 - x * x / 180.0 => [226, 182, 152],
            () if inside(0.0, -6.0, 57.0, 72.0) && y < 12.0 => [58, 44, 38],
            () if inside(-52.0, -2.0, 8.0, 14.0) || inside(52.0, -2.0, 8.0, 14.0) => [214, 168, 138],
            () if inside(0.0, 70.0, 24.0, 40.0) => [206, 160, 130],
            () if inside(0.0, 138.0, 96.0, 56.0) => [62, 96, 132],
            () => [186, 198, 204],
        }
    };
    let pixel = |index: usize| {
        // Four looks a pixel, for smooth edges.
        let (left, top) = ((index % width) as f32 - 90.0, (index / width) as f32 - 120.0);
        let looks = [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)].map(|(x, y)| colour(left + x, top + y));
        let mean = |channel: usize| (looks.iter().map(|look| look[channel]).sum::<u16>() / 4) as u8;
        RawU16::from(super::palette::on_screen(Rgb888::new(mean(0), mean(1), mean(2)))).into_inner()
    };
    (width, height, (0..width * height).map(pixel).collect())
}

fn paint(painter: &mut Painter, view: &View, language: Language, (width, height): (u16, u16)) -> Canvas {
    let mut canvas = Canvas::new(width, height).unwrap();
    let (across, down, pixels) = sitter();
    let preview = Preview::new(across, down, &pixels).unwrap();
    // Where nobody is there yet, the oval stays empty, so that both kinds of oval have their pictures.
    let empty = View::Positioning { hint: crate::attempt::event::Hint::LookForFace };
    let preview = (*view != empty).then_some(preview);
    painter.draw(view, language, &gallery::help(), preview, &mut canvas).unwrap();
    canvas
}

#[test]
fn every_screen_is_as_it_was() {
    let mut painter = Painter::new();
    let mut found = String::new();
    for (name, view) in gallery::natural_views() {
        for size in SIZES {
            for language in Language::ALL {
                let canvas = paint(&mut painter, &view, language, size);
                let bytes: Vec<u8> = canvas.pixels().iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
                let hash: String = Sha256::digest(&bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
                writeln!(found, "{hash} {name} {language:?} {}x{}", size.0, size.1).unwrap();
            }
        }
    }
    let file = folder().join("screens.txt");
    if updating() {
        fs::write(&file, &found).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap();
    let changed: Vec<&str> = found.lines().filter(|line| !kept.contains(line)).collect();
    // Other processors may round a letter's edge differently; there the pictures below are compared instead.
    if cfg!(target_arch = "x86_64") {
        assert!(
            changed.is_empty(),
            "{} screens changed; UPDATE_GOLDEN=1, then look:\n{}",
            changed.len(),
            changed.join("\n")
        );
    }
    assert_eq!(kept.lines().count(), found.lines().count(), "screens.txt names screens that are no more");
}

#[test]
fn every_picture_is_as_it_was() {
    let mut painter = Painter::new();
    let mut names = Vec::new();
    for (name, view) in gallery::natural_views() {
        let screens = Language::ALL.map(|language| paint(&mut painter, &view, language, SHEET));
        compare(&name, &screens, 3);
        names.push(format!("{name}.png"));
    }
    for size in SHEETS {
        let name = format!("at-{}x{}", size.0, size.1);
        let in_turn = gallery::layouts().into_iter().zip(Language::ALL.into_iter().cycle());
        let screens: Vec<Canvas> =
            in_turn.map(|((_, view), language)| paint(&mut painter, &view, language, size)).collect();
        compare(&name, &screens, 3);
        names.push(format!("{name}.png"));
    }
    let kept = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let stray: Vec<String> = kept.filter(|name| name.ends_with(".png") && !names.contains(name)).collect();
    assert!(stray.is_empty(), "pictures of screens that are no more: {stray:?}");
}

#[test]
fn the_documents_show_what_the_kiosk_shows() {
    let named = |name: &str| gallery::views().into_iter().find(|(found, _)| found == name).unwrap().1;
    let names = [
        "idle",
        "positioning-closer",
        "hold-still-35",
        "checking",
        "grant-none",
        "deny-not-same-person",
        "spoof-none",
        "offline-no-connection",
        "out-of-service-camera-fault",
    ];
    let mut painter = Painter::new();
    let in_turn = names.into_iter().zip(Language::ALL.into_iter().cycle());
    let screens: Vec<Canvas> =
        in_turn.map(|(name, language)| paint(&mut painter, &named(name), language, SHEET)).collect();
    compare_with(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/screens.png"), &screens, 3);
}

#[test]
fn the_pictures_stay_small() {
    let bytes: u64 = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes < 3_000_000, "golden pictures take {bytes} bytes");
}

/// Compares the sheet of these screens with its picture, or writes it.
fn compare(name: &str, screens: &[Canvas], columns: usize) {
    compare_with(&folder().join(format!("{name}.png")), screens, columns);
}

fn compare_with(file: &Path, screens: &[Canvas], columns: usize) {
    let (width, height, pixels) = sheet(screens, columns);
    let name = file.display();
    if updating() {
        write_png(file, width, height, &pixels);
    }
    let (kept_width, kept_height, kept) = read_png(file);
    assert_eq!((kept_width, kept_height), (width, height), "{name}: the sheet's size changed");
    let far = kept.iter().zip(&pixels).filter(|(one, other)| apart(**one, **other) > 12).count();
    assert_eq!(far, 0, "{name}: {far} pixels changed; UPDATE_GOLDEN=1, then look");
}

fn apart(one: [u8; 3], other: [u8; 3]) -> u8 {
    one.iter().zip(&other).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

fn sheet(screens: &[Canvas], columns: usize) -> (usize, usize, Vec<[u8; 3]>) {
    let (across, down) = (usize::from(screens[0].width()), usize::from(screens[0].height()));
    let rows = screens.len().div_ceil(columns);
    let width = columns * (across + GUTTER) - GUTTER;
    let height = rows * (down + GUTTER) - GUTTER;
    let mut pixels = vec![[0x80_u8; 3]; width * height];
    for (index, canvas) in screens.iter().enumerate() {
        let (left, top) = ((index % columns) * (across + GUTTER), (index / columns) * (down + GUTTER));
        for (at, raw) in canvas.pixels().iter().enumerate() {
            let colour = Rgb888::from(Rgb565::from(RawU16::new(*raw)));
            pixels[(top + at / across) * width + left + at % across] = [colour.r(), colour.g(), colour.b()];
        }
    }
    (width, height, pixels)
}

fn write_png(file: &Path, width: usize, height: usize, pixels: &[[u8; 3]]) {
    let mut colours: Vec<[u8; 3]> = pixels.to_vec();
    colours.sort_unstable();
    colours.dedup();
    let mut encoder = png::Encoder::new(fs::File::create(file).unwrap(), width as u32, height as u32);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    // Few colours: a palette takes a third of the bytes.
    let bytes: Vec<u8> = if colours.len() <= 256 {
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_palette(colours.concat());
        encoder.set_filter(png::Filter::NoFilter);
        pixels.iter().map(|pixel| colours.binary_search(pixel).unwrap() as u8).collect()
    } else {
        encoder.set_color(png::ColorType::Rgb);
        pixels.concat()
    };
    encoder.write_header().unwrap().write_image_data(&bytes).unwrap();
}

fn read_png(file: &Path) -> (usize, usize, Vec<[u8; 3]>) {
    let open =
        fs::File::open(file).unwrap_or_else(|error| panic!("{}: {error}; UPDATE_GOLDEN=1 writes it", file.display()));
    let mut decoder = png::Decoder::new(std::io::BufReader::new(open));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    let pixels = bytes[..info.buffer_size()].chunks_exact(3).map(|rgb| [rgb[0], rgb[1], rgb[2]]).collect();
    (info.width as usize, info.height as usize, pixels)
}
