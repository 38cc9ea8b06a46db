//! Whatever a transcript holds, the judge answers: no panic, never live by chance, the same bytes each time.

use didar_liveness::{Policy, Recording, TranscriptBuilder, judge, recorded};
use didar_protocol::light_code::{CodeShape, Light};
use didar_protocol::message::{Motion, PassiveSummary};
use didar_protocol::transcript::{CELLS, CameraFacts, FrameSample, LightTranscript, Spectrum, Switch};
use didar_protocol::transcript::{NOISE_BANDS, POINTS};
use proptest::prelude::*;

fn light() -> impl Strategy<Value = Light> {
    (0u8..4).prop_map(|number| Light::try_from(number).expect("0 to 3"))
}

fn camera() -> impl Strategy<Value = CameraFacts> {
    (any::<[u16; 3]>(), any::<[u32; 5]>()).prop_map(
        |([gamma_milli, baseline_mm, noise_milli], [frame_us, exposure_us, readout_us, delay_us, focal_px10])| {
            CameraFacts {
                gamma_milli,
                frame_us,
                exposure_us,
                readout_us,
                delay_us,
                baseline_mm,
                focal_px10,
                noise_milli,
                spectrum: Spectrum::Infrared,
            }
        },
    )
}

/// Cells that are all alike, or wild.
fn cells() -> impl Strategy<Value = Vec<u16>> {
    prop_oneof![any::<u16>().prop_map(|one| vec![one; CELLS]), proptest::collection::vec(any::<u16>(), CELLS),]
}

fn frame() -> impl Strategy<Value = FrameSample> {
    let numbers = (any::<u32>(), 0u8..20, any::<[i16; 3]>(), any::<u16>(), any::<[i32; 2]>());
    let grid = (cells(), proptest::collection::vec(any::<u16>(), 0..32), any::<u8>(), any::<[u8; 8]>());
    let more = (any::<[u16; 2]>(), any::<[i16; 2 * POINTS]>(), any::<[u16; NOISE_BANDS]>(), any::<[u8; 2]>());
    (numbers, grid, more).prop_map(|(numbers, (means, background, clip, print), more)| {
        let (at_us, slot, pose_cdeg, eyes_px10, centre_px10) = numbers;
        let (rows_milli, points_px10, noise_x256, [eyes_open, track]) = more;
        FrameSample {
            rows_milli,
            points_px10,
            noise_x256,
            eyes_open,
            track,
            at_us,
            slot,
            pose_cdeg,
            eyes_px10,
            centre_px10,
            clipped: std::array::from_fn(|cell| if means[cell] > 60_000 { clip } else { 0 }),
            means: means.try_into().expect("as many as cells"),
            background,
            print,
        }
    })
}

/// Out of order, empty, with or without meaning.
fn transcript() -> impl Strategy<Value = LightTranscript> {
    let code = proptest::collection::vec(light(), 0..20);
    let switches = proptest::collection::vec((any::<u32>(), light()), 0..24);
    (code, camera(), switches, proptest::collection::vec(frame(), 0..40)).prop_map(
        |(code, camera, switches, frames)| {
            let switches = switches.into_iter().map(|(at_us, light)| Switch { at_us, light }).collect();
            let embedded_at_us = frames.first().map(|frame| frame.at_us);
            LightTranscript { shape: CodeShape::AT_30, code, camera, switches, frames, mixed: 0, embedded_at_us }
        },
    )
}

/// In order and labelled by the builder, but with any brightness: what a forger without lamps could send.
fn orderly() -> impl Strategy<Value = LightTranscript> {
    let code = proptest::collection::vec(light(), 12);
    (code, proptest::collection::vec(frame(), 24)).prop_map(|(code, frames)| {
        let facts = CameraFacts {
            gamma_milli: 2200,
            frame_us: 33_333,
            exposure_us: 12_000,
            readout_us: 6_000,
            delay_us: 400,
            baseline_mm: 90,
            focal_px10: 7_300,
            noise_milli: 1_500,
            spectrum: Spectrum::ColourNoFilter,
        };
        let mut builder = TranscriptBuilder::new(CodeShape::AT_30, &code, facts);
        (0u32..)
            .zip(code.iter().chain(&[Light::Off]))
            .for_each(|(slot, &light)| builder.switched([slot * 66_667; 2], light));
        (0u32..).zip(frames).for_each(|(index, frame)| {
            builder.frame(FrameSample {
                at_us: 5_000 + index * 33_333,
                centre_px10: [3200, 2400],
                eyes_px10: 900,
                ..frame
            });
        });
        builder.finish()
    })
}

fn recording(transcript: LightTranscript) -> Recording {
    Recording {
        code: transcript.code.clone(),
        transcript,
        passive: PassiveSummary { frames: 9, mean_llr_milli: 5_000, worst_llr_milli: 0, context_missing: 0 },
        motion: Motion { frames: 40, still_pairs: 0, path_px10: 100, blink: true },
        continuity_milli: 900,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_transcript_is_answered_and_never_live(transcript in prop_oneof![transcript(), orderly()]) {
        let recording = recording(transcript);
        let evidence = recording.judge(&Policy::shipped());
        prop_assert!(!evidence.answer().is_live(), "{evidence}");
        prop_assert_eq!(evidence.to_bytes(), recording.judge(&Policy::shipped()).to_bytes());
    }

    #[test]
    fn any_recording_reads_back(transcript in transcript()) {
        prop_assume!(!transcript.code.is_empty());
        let recording = recording(transcript);
        for bytes in [recording.to_json().into_bytes(), recording.to_cbor()] {
            let again = recorded::read(&bytes);
            prop_assert!(again.is_ok_and(|again| again == recording));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = recorded::read(&bytes);
        let _ = recorded::read(&[b"{", &bytes[..]].concat());
        let _ = recorded::read(&[&[0xaa], &bytes[..]].concat());
    }
}

#[test]
fn an_empty_transcript_is_too_few_frames() {
    let transcript = LightTranscript {
        shape: CodeShape::AT_30,
        code: vec![Light::Off; 12],
        camera: CameraFacts {
            gamma_milli: 0,
            frame_us: 0,
            exposure_us: 0,
            readout_us: 0,
            delay_us: 0,
            baseline_mm: 0,
            focal_px10: 0,
            noise_milli: 0,
            spectrum: Spectrum::Infrared,
        },
        switches: Vec::new(),
        frames: Vec::new(),
        mixed: 0,
        embedded_at_us: None,
    };
    let code = transcript.code.clone();
    let recording = recording(transcript);
    let evidence = judge(
        &recording.transcript,
        &code,
        &recording.passive,
        &recording.motion,
        recording.continuity_milli,
        &Policy::shipped(),
    );
    assert_eq!(evidence.answer().to_string(), "inconclusive: too-few-frames");
}
