//! Which face becomes the template.
#![allow(clippy::unwrap_used)]

use didar_vision::{Face, FrameView, LANDMARKS, PixelFormat, Pose, Rect};

use super::*;

const CAMERA: CameraFacts = CameraFacts {
    gamma_milli: 2_200,
    frame_us: 33_333,
    exposure_us: 20_000,
    delay_us: 1_000,
    baseline_mm: 90,
    readout_us: 0,
    focal_px10: 6_200,
    noise_milli: 0,
    spectrum: Spectrum::ColourNoFilter,
};

/// A face in the middle of 640x480 pixels, turned so far to the side: the less, the more it is worth.
fn face(yaw: f32) -> Face {
    let five = [[290.0, 220.0], [350.0, 220.0], [320.0, 250.0], [295.0, 285.0], [345.0, 285.0]];
    let landmarks = std::array::from_fn(|n| {
        let (turn, far) = (n as f32 * 2.4, (n as f32 / LANDMARKS as f32).sqrt());
        [320.0 + 70.0 * far * turn.cos(), 250.0 + 90.0 * far * turn.sin(), 0.0]
    });
    Face {
        bounding: Rect { x: 250.0, y: 160.0, width: 140.0, height: 180.0 },
        landmarks,
        score: 1.0,
        five,
        pose: Pose { yaw, ..Pose::default() },
        interocular_px: 60.0,
        track: 1,
    }
}

#[test]
fn a_face_whose_light_changed_does_not_push_out_one_in_the_wanted_light() {
    let ms = |at: u32| Moment::ZERO.after(Duration::from_millis(at.into()));
    let code: Vec<Light> = [Light::Off, Light::Left].into_iter().cycle().take(12).collect();
    let attempt = AttemptId::from_bytes([1; 16]);
    let order = ProofOrder { attempt, code: code.clone(), start: Moment::ZERO, picture: false };
    let mut collector = Collector::new(order, CodeShape::AT_30, CAMERA);
    let pixels = vec![128; 640 * 480];
    let view = FrameView::new(PixelFormat::Grey8, 640, 480, 640, &pixels).unwrap();
    let (clean, mixed) = (face(20.0), face(0.0));
    let see = |collector: &mut Collector, face: &Face, at_ms| {
        let shown = Some(Shown { view: &view, face });
        collector.see(1, shown, shown, ms(at_ms));
    };
    for (slot, light) in (0u32..).zip(code.into_iter().chain([Light::Off])) {
        let done = ms(slot * 60);
        collector.switched(Switching { ordered: done, done }, light);
        if slot == 0 {
            see(&mut collector, &clean, 10);
        }
        // Each begins 10 ms before a switch that spoils it: the first ones are seen before it is known, the others after it.
        if slot < 8 && light == Light::Off {
            see(&mut collector, &mixed, slot * 60 + 50);
        } else if slot > 8 && light == Light::Left {
            see(&mut collector, &mixed, slot * 60 - 10);
        }
        assert!(collector.candidates.iter().any(|candidate| candidate.at_us == 10_000), "pushed out in slot {slot}");
    }
    let transcript = collector.builder.finish();
    assert_eq!(collector.choose(&transcript).unwrap().at_us, 10_000);
}
