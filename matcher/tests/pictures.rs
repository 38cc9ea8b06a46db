//! Pictures that become references and pictures that do not, through the program, with the real models.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::Cursor;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use didar_liveness::Recording;
use didar_matcher::config::Config;
use didar_matcher::reference::{Portraits as _, Source, VisionPortraits};
use didar_matcher::site::{Site, Wishes};
use didar_matcher::store::Store;
use didar_protocol::light_code::{CodeShape, light_code};
use didar_protocol::message::{Motion, PassiveSummary};
use didar_protocol::transcript::{CameraFacts, LightTranscript, Spectrum};

const IIN: &str = "900101300017";

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

/// A site without its broker: enrolling needs none.
fn site() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let wishes = Wishes {
        bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: None,
        names: Vec::new(),
        models: models().join("manifest.toml"),
    };
    Site::new(folder.path()).prepare(&wishes, didar_matcher::time::now_ms()).unwrap();
    folder
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_didar-matcher")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn enrol(site: &Path, picture: &Path) -> (i32, String, String) {
    run(&["enrol", "--dir", site.to_str().unwrap(), "--iin", IIN, "--picture", picture.to_str().unwrap()])
}

fn grey(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image::GrayImage::new(width, height).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn a_portrait_becomes_a_reference_and_its_destruction_has_a_receipt() {
    let site = site();
    let (code, out, error) = enrol(site.path(), &models().join("build/faces/grace_hopper.png"));
    assert_eq!((code, out.contains("enrolled: version 1")), (0, true), "{out}{error}");
    let dir = site.path().to_str().unwrap();
    let (_, out, error) = run(&["consent", "withdraw", "--iin", IIN, "--dir", dir]);
    assert_eq!(out, "destroyed 1 reference(s); receipt: ledger line 2\n", "{error}");
    let (_, out, _) = run(&["ledger", "verify", "--dir", dir]);
    assert!(out.starts_with("2 lines hold"));
    let (_, out, _) = run(&["ledger", "export", "--dir", dir]);
    assert!(out.lines().all(|line| !line.contains(IIN) && line.starts_with('{')));
}

#[test]
fn another_picture_of_a_document_ends_what_was_made_by_the_first() {
    let site = site();
    let config = Config::read(&Site::new(site.path()).config()).unwrap();
    let (hopper, astronaut) =
        (models().join("build/faces/grace_hopper.png"), models().join("build/faces/astronaut.png"));
    assert_eq!(enrol(site.path(), &astronaut).0, 0);
    let live = VisionPortraits::load(&config).unwrap().document(&std::fs::read(&astronaut).unwrap()).unwrap();
    let now_ms = didar_matcher::time::now_ms();
    let mut store = Store::open(&config.store.database, &config.keys.store, config.env).unwrap();
    let work = store.begin().unwrap();
    let tag = work.tag(&IIN.parse().unwrap());
    work.put_reference(&tag, Source::Live, &live, now_ms, now_ms + 1_000_000).unwrap();
    work.commit().unwrap();
    assert_eq!(enrol(site.path(), &hopper).0, 0);
    let work = store.begin().unwrap();
    assert!(!work.has_reference(&tag, Source::Live, now_ms).unwrap());
    assert!(work.has_reference(&tag, Source::Document, now_ms).unwrap());
    drop(work);
    let mut told = Vec::new();
    store
        .each_line(|line| {
            told.push(line.text.contains(r#""what":"destroyed""#));
            Ok(())
        })
        .unwrap();
    assert_eq!(told, [false, true, false]);
}

#[test]
fn a_site_keeps_what_it_has_and_renews_its_own_certificates_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new(folder.path());
    let wishes = Wishes {
        bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: None,
        names: Vec::new(),
        models: models().join("manifest.toml"),
    };
    let day_ms = 86_400_000;
    let now_ms = didar_matcher::time::now_ms();
    let look = |at_ms| {
        site.prepare(&wishes, at_ms).unwrap();
        let read = |path: &str| std::fs::read(folder.path().join(path)).unwrap();
        let own = ["matcher/matcher.pem", "broker/broker.key", "operator/operator.pem"].map(read);
        let lasting = ["ca/ca.pem", "matcher/store.key", "matcher/matcher.toml"].map(read);
        (own, lasting)
    };
    let first = look(now_ms);
    assert!(look(now_ms + 240 * day_ms) == first);
    let renewed = look(now_ms + 250 * day_ms);
    assert!(renewed.1 == first.1);
    assert!(renewed.0.iter().zip(&first.0).all(|(new, old)| new != old));
    assert!(site.add_operator("operator", now_ms + 251 * day_ms).is_err());
    assert!(site.add_operator("../x", now_ms).is_err());
}

#[test]
fn the_kept_portrait_shows_the_same_person() {
    let site = site();
    let config = Config::read(&Site::new(site.path()).config()).unwrap();
    let mut portraits = VisionPortraits::load(&config).unwrap();
    let mut document = |name: &str| {
        let reference = portraits.document(&std::fs::read(models().join("build/faces").join(name)).unwrap()).unwrap();
        assert!(reference.picture.len() < 64 * 1024);
        // As a live picture would come: the same cut, and the centre's own template of it.
        let again = portraits.reduce(&reference.picture, Source::Live).unwrap();
        let alike = portraits.similarity(&reference.template, &again).unwrap();
        assert!(alike > 0.8, "{name}: {alike}");
        (reference.template, again)
    };
    let (hopper, astronaut) = (document("grace_hopper.png"), document("astronaut.png"));
    let between = portraits.similarity(&hopper.0, &astronaut.1).unwrap();
    assert!(between < portraits.threshold(), "{between}");
}

#[test]
fn every_other_picture_is_refused_with_its_reason() {
    let site = site();
    let folder = site.path().join("pictures");
    std::fs::create_dir(&folder).unwrap();
    let portrait = std::fs::read(models().join("build/faces/grace_hopper.png")).unwrap();
    for (name, bytes, reason) in [
        ("one.png", grey(1, 1), "picture of 1x1 pixels"),
        ("large.png", grey(5472, 3648), "no face found"),
        ("huge.png", grey(8000, 4000), "picture of 8000x4000 pixels"),
        ("empty.png", grey(640, 480), "no face found"),
        ("text.png", b"hello".to_vec(), "not a picture"),
        ("nothing.png", Vec::new(), "not a picture"),
        ("half.png", portrait[..portrait.len() / 2].to_vec(), "picture is damaged"),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        let (code, _, error) = enrol(site.path(), &path);
        assert_eq!(code, 3, "{name}: {error}");
        assert!(error.contains(reason) && error.contains(name), "{name}: {error}");
    }
    let (code, _, error) = enrol(site.path(), &folder.join("absent.png"));
    assert_eq!((code, error.contains("cannot read picture")), (3, true), "{error}");
}

#[test]
fn a_recording_is_judged_again_with_every_figure() {
    let device = "kiosk-1".parse().unwrap();
    let attempt = didar_protocol::id::AttemptId::from_bytes([1; 16]);
    let code = light_code(&[5; 32], &attempt, &device, CodeShape::AT_30);
    let camera = CameraFacts {
        gamma_milli: 2200,
        frame_us: 33_333,
        exposure_us: 20_000,
        delay_us: 0,
        baseline_mm: 90,
        readout_us: 0,
        focal_px10: 7_300,
        noise_milli: 0,
        spectrum: Spectrum::ColourNoFilter,
    };
    let recording = Recording {
        transcript: LightTranscript {
            shape: CodeShape::AT_30,
            code: code.clone(),
            camera,
            switches: Vec::new(),
            frames: Vec::new(),
            mixed: 0,
            embedded_at_us: None,
        },
        code,
        passive: PassiveSummary { frames: 9, mean_llr_milli: 100, worst_llr_milli: 0, context_missing: 0 },
        motion: Motion { frames: 20, still_pairs: 0, path_px10: 40, blink: false },
        continuity_milli: 900,
    };
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [("a.json", recording.to_json().into_bytes()), ("a.cbor", recording.to_cbor())] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap();
        let (code, out, error) = run(&["judge", path]);
        assert_eq!(code, 2, "{error}");
        assert!(out.starts_with("answer ") && out.contains("inconclusive"), "{out}");
        let (code, out, _) = run(&["judge", path, "--json"]);
        let told: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, told["answer"].as_str()), (2, Some("inconclusive")));
        assert!(told["figures_milli"].as_object().unwrap().len() > 3, "{told}");
    }
}
