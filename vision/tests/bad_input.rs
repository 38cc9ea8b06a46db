//! What must be refused is refused by name, and nothing panics.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use didar_vision::{FrameView, LightGrid, Models, Perceiver, PixelFormat, light_grid, quality};

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

/// The shipped models in a folder of their own, after `change`.
fn refusal(change: impl FnOnce(&Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(shipped()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "tflite" || e == "toml") {
            std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    change(folder.path());
    Models::load(&folder.path().join("manifest.toml")).err().expect("a refusal").to_string()
}

/// The line of the manifest that begins with `key`, after the entry of `role`, replaced by `line`.
fn edit(folder: &Path, role: &str, key: &str, line: &str) {
    let file = folder.join("manifest.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let entry = text.find(&format!("role = \"{role}\"")).unwrap();
    let start = entry + text[entry..].find(&format!("\n{key}")).unwrap() + 1;
    let end = start + text[start..].find('\n').unwrap();
    std::fs::write(file, format!("{}{line}{}", &text[..start], &text[end..])).unwrap();
}

fn file_of(folder: &Path, role: &str) -> PathBuf {
    let text = std::fs::read_to_string(folder.join("manifest.toml")).unwrap();
    let entry = text.find(&format!("role = \"{role}\"")).unwrap();
    let name = text[entry..].split("file = \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    folder.join(name)
}

#[test]
fn a_missing_truncated_or_changed_model_is_named_with_its_cure() {
    let missing = refusal(|f| std::fs::remove_file(file_of(f, "mesh")).unwrap());
    assert!(missing.contains("cannot read") && missing.contains(".tflite") && missing.contains("git checkout models/"));
    let truncated = refusal(|f| {
        let file = file_of(f, "embedding");
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
    });
    assert!(truncated.contains("has sha256") && truncated.contains("the manifest says"), "{truncated}");
    let changed = refusal(|f| {
        let file = file_of(f, "passive");
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[4_000] ^= 1;
        std::fs::write(file, bytes).unwrap();
    });
    assert!(changed.contains("has sha256") && changed.contains("make models"), "{changed}");
}

#[test]
fn a_model_that_is_no_model_is_refused_even_with_the_right_hash() {
    for content in [&b""[..], b"no model at all", &[0xff; 5_000]] {
        let refused = refusal(|f| {
            std::fs::write(file_of(f, "detector"), content).unwrap();
            let hash = sha256(content);
            edit(f, "detector", "sha256", &format!("sha256 = \"{hash}\""));
        });
        assert!(refused.contains("TensorFlow Lite refuses it"), "{refused}");
    }
}

fn sha256(content: &[u8]) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(content))
}

#[test]
fn a_manifest_that_does_not_fit_says_where() {
    let shape = refusal(|f| {
        edit(
            f,
            "mesh",
            "input",
            "input = { index = 0, width = 160, height = 160, channels = 3, order = \"rgb\", type = \"float32\", mean = [0.0, 0.0, 0.0], std = [255.0, 255.0, 255.0] }",
        );
    });
    assert!(shape.contains("[1, 192, 192, 3]") && shape.contains("[1, 160, 160, 3]"), "{shape}");
    let syntax = refusal(|f| edit(f, "mesh", "file", "file = 7"));
    assert!(syntax.contains("line"), "{syntax}");
    let role = refusal(|f| edit(f, "passive", "name", "name = \"x\"\nnonsense ="));
    assert!(role.contains("not usable"), "{role}");
    let missing = Models::load(Path::new("/nowhere/manifest.toml")).err().unwrap().to_string();
    assert!(missing.contains("/nowhere/manifest.toml"));
}

/// Found by fuzzing: the decoder panics for a palette whose last colour is cut off.
#[test]
fn a_palette_with_a_cut_colour_is_refused() {
    let bytes = include_bytes!("../../protocol/fuzz/seeds/picture/palette-of-49-bytes.png");
    let why = didar_vision::Picture::decode(bytes).err().unwrap().to_string();
    assert_eq!(why, "picture is damaged: its palette is not of 1 to 256 colours");
    let whole = include_bytes!("../../protocol/fuzz/seeds/picture/palette.png");
    assert!(didar_vision::Picture::decode(whole).is_ok());
}

#[test]
fn frames_of_noise_in_every_format_are_looked_at_without_harm() {
    let mut perceiver = Perceiver::new(&Models::load(&shipped().join("manifest.toml")).unwrap()).unwrap();
    let mut state = 1_u64;
    for (format, stride, rows) in [
        (PixelFormat::Grey8, 320, 240),
        (PixelFormat::Yuyv, 640, 240),
        (PixelFormat::Nv12, 320, 360),
        (PixelFormat::Rgb8, 960, 240),
    ] {
        let bytes: Vec<u8> = (0..stride * rows)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        let frame = FrameView::new(format, 320, 240, stride, &bytes).unwrap();
        for _ in 0..3 {
            if let Some(face) = perceiver.look(&frame).unwrap().face {
                quality(&frame, &face);
                light_grid(&frame, &face, &mut LightGrid::default());
            }
        }
    }
}

#[test]
fn the_smallest_frame_is_looked_at_too() {
    let mut perceiver = Perceiver::new(&Models::load(&shipped().join("manifest.toml")).unwrap()).unwrap();
    let bytes = [128; 32 * 32];
    let frame = FrameView::new(PixelFormat::Grey8, 32, 32, 32, &bytes).unwrap();
    assert!(perceiver.look(&frame).unwrap().face.is_none());
}
