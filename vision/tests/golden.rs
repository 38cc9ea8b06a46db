//! Agreement with the independent Python run whose numbers stand in models/build/golden.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::{Path, PathBuf};

use didar_vision::{Face, Models, Perceiver, Picture, ReferenceFace, Template, align, passive_crop};
use serde_json::Value;

/// Asked of every form that computes in floating point.
const COSINE_LEAST: f32 = 0.999;
/// For forms that round inside: another release of the runtime rounds elsewhere, and the reference runs on another. With
/// the same aligned pixels, weights in bytes come out at .997, weights and activations in bytes at .979 and more.
const ROUNDING_COSINE_LEAST: f32 = 0.97;
/// In distances between the eyes.
const LANDMARK_MOST: f64 = 0.01;
/// Mean difference of aligned pixels: rounding, and edges where a landmark moved by a hundredth of a pixel.
const PIXEL_MOST: f64 = 1.5;
/// Int8 logits step by about a tenth.
const LOGIT_MOST: f64 = 0.5;

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

/// Every golden view with its numbers.
fn views() -> Vec<(String, Value)> {
    let folder = models().join("build/golden");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "json"));
    files.sort();
    assert!(files.len() >= 6, "{} golden views in {}", files.len(), folder.display());
    files
        .into_iter()
        .map(|f| {
            let numbers = serde_json::from_slice(&std::fs::read(&f).unwrap()).unwrap();
            (f.file_stem().unwrap().to_string_lossy().into_owned(), numbers)
        })
        .collect()
}

fn picture(name: &Value) -> Picture {
    let file = models().join("build/golden").join(name.as_str().unwrap());
    Picture::decode(&std::fs::read(file).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

fn perceiver(form: Option<&str>) -> Perceiver {
    let manifest = models().join("manifest.toml");
    let models = form.map_or_else(|| Models::load(&manifest), |f| Models::load_form(&manifest, f)).unwrap();
    Perceiver::new(&models).unwrap()
}

fn seen(perceiver: &mut Perceiver, picture: &Picture) -> Face {
    perceiver.reset();
    perceiver.look(&picture.view()).unwrap().face.expect("a portrait shows a face")
}

#[test]
fn landmarks_and_boxes_agree() {
    let mut perceiver = perceiver(None);
    for (name, golden) in views() {
        let face = seen(&mut perceiver, &picture(&golden["picture"]));
        let eyes = f64::from(face.interocular_px);
        let expected = numbers(&golden["mesh"]["landmarks"]);
        let off = face.landmarks.iter().zip(expected.chunks_exact(2));
        let worst = off.map(|(l, e)| (f64::from(l[0]) - e[0]).hypot(f64::from(l[1]) - e[1]) / eyes).fold(0.0, f64::max);
        let centre = numbers(&golden["detector"]["centre"]);
        let box_off = (f64::from(face.bounding.x + face.bounding.width / 2.0) - centre[0]).abs() / eyes;
        println!("{name}: worst landmark {:.3} %, box {:.3} %", worst * 100.0, box_off * 100.0);
        assert!(worst <= LANDMARK_MOST, "{name}: a landmark is off by {:.2} % of the eyes' distance", worst * 100.0);
        assert!(box_off <= LANDMARK_MOST, "{name}: the box is off by {:.2} % of the eyes' distance", box_off * 100.0);
    }
}

#[test]
fn aligned_faces_agree() {
    let mut perceiver = perceiver(None);
    for (name, golden) in views() {
        let picture = picture(&golden["picture"]);
        let aligned = align(&picture.view(), &seen(&mut perceiver, &picture));
        let bytes = std::fs::read(models().join("build/golden").join(golden["aligned"].as_str().unwrap())).unwrap();
        let expected = image::load_from_memory(&bytes).unwrap().into_rgb8().into_raw();
        let sum: u64 = aligned.pixels().iter().zip(&expected).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        let mean = sum as f64 / expected.len() as f64;
        println!("{name}: mean difference {mean:.3} grey values");
        assert!(mean <= PIXEL_MOST, "{name}: aligned pixels differ by {mean:.2} on the average");
    }
}

#[test]
fn embeddings_of_every_form_at_hand_agree() {
    let forms = Models::forms(&models().join("manifest.toml")).unwrap();
    let mut compared = 0;
    for form in forms.iter().filter(|f| f.present) {
        let mut perceiver = perceiver(Some(&form.name));
        let least = if rounds(&form.name) { ROUNDING_COSINE_LEAST } else { COSINE_LEAST };
        for (name, golden) in views() {
            let Some(expected) = golden["embeddings"].get(&form.name) else {
                continue;
            };
            let picture = picture(&golden["picture"]);
            let face = ReferenceFace::from_document(align(&picture.view(), &seen(&mut perceiver, &picture)));
            let cosine = perceiver.embed_reference(face).unwrap().similarity(&template(&numbers(expected)));
            println!("{name}: {} cosine {cosine:.5}", form.name);
            assert!(cosine >= least, "{name}: {} has cosine {cosine:.5}", form.name);
            compared += usize::from(form.shipped);
        }
    }
    assert!(compared >= 6, "the shipped form was compared {compared} times");
}

/// Whether the manifest says that this form computes in bytes.
fn rounds(form: &str) -> bool {
    let text = std::fs::read_to_string(models().join("manifest.toml")).unwrap();
    let manifest: toml::Table = toml::from_str(&text).unwrap();
    let entries = ["model", "candidate"].into_iter().flat_map(|kind| manifest[kind].as_array().unwrap());
    let own = entries.filter(|e| e["name"].as_str() == Some(form));
    own.map(|e| e["quantisation"].as_str().unwrap().to_owned()).any(|q| !q.starts_with("float"))
}

/// As a template; rounding to bytes costs less than a ten-thousandth of the cosine.
fn template(values: &[f64]) -> Template {
    let largest = values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let bytes: Vec<i8> = values.iter().map(|v| (v / largest * 127.0).round() as i8).collect();
    Template::from_quantised(1.0, &bytes).unwrap()
}

#[test]
fn passive_scores_agree() {
    let mut perceiver = perceiver(None);
    for (name, golden) in views() {
        let picture = picture(&golden["picture"]);
        let face = seen(&mut perceiver, &picture);
        let inside = golden["passive"]["inside"].as_f64().unwrap();
        let crop = match passive_crop(&picture.view(), &face) {
            Ok(crop) => crop,
            Err(missing) => {
                assert!(inside < 0.51, "{name}: {missing}, the reference has {inside}");
                continue;
            }
        };
        assert!(inside > 0.49, "{name}: the reference has only {inside} inside");
        let score = perceiver.passive(&crop).unwrap();
        let expected = numbers(&golden["passive"]["logits"]);
        println!("{name}: {:?} {expected:?}", score.logits);
        for (found, expected) in score.logits.iter().zip(expected) {
            let off = (f64::from(*found) - expected).abs();
            assert!(off <= LOGIT_MOST, "{name}: logits {:?} are off by {off:.2}", score.logits);
        }
    }
}
