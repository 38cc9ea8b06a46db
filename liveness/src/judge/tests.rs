use super::*;
use crate::recorded::Recording;
use crate::testing::{Surface, World, code};
use crate::transcript::{Label, label};

const PASSIVE: PassiveSummary =
    PassiveSummary { frames: 20, mean_llr_milli: 1000, worst_llr_milli: 0, context_missing: 0 };
const MOTION: Motion = Motion { frames: 40, still_pairs: 0, path_px10: 200, blink: true };

fn recording(change: impl FnOnce(&mut World)) -> Recording {
    let mut world = World::face(7);
    change(&mut world);
    let transcript = world.play(&code(7));
    let code = transcript.code.clone();
    Recording { transcript, code, passive: PASSIVE, motion: MOTION, continuity_milli: 800 }
}

fn answer(change: impl FnOnce(&mut World), forge: impl FnOnce(&mut LightTranscript)) -> String {
    let mut recording = recording(change);
    forge(&mut recording.transcript);
    recording.code = recording.transcript.code.clone();
    recording.judge(&Policy::shipped()).answer().to_string()
}

#[test]
fn a_face_that_answers_is_live() {
    assert_eq!(answer(|_| {}, |_| {}), "live");
}

#[test]
fn each_witness_refuses_with_its_reason() {
    assert_eq!(answer(|world| world.surface = Surface::Plane { tilt: [0.1, 0.1] }, |_| {}), "spoof: no-relief");
    assert_eq!(answer(|world| world.lamps = 0.0, |_| {}), "spoof: no-response");
    assert_eq!(answer(|_| {}, |t| relabel(t, &code(8))), "spoof: light-code-wrong");
    assert_eq!(answer(|_| {}, |t| t.frames.iter_mut().for_each(|f| f.print = [7; 8])), "spoof: still-or-looped");
    assert_eq!(answer(|world| world.ambient = 1.0, |_| {}), "inconclusive: too-much-infrared");
    assert_eq!(answer(|_| {}, |t| t.frames.truncate(11)), "inconclusive: too-few-frames");
    assert_eq!(answer(|_| {}, |t| t.embedded_at_us = None), "inconclusive: too-few-frames");
    assert_eq!(answer(|_| {}, |t| t.frames[3].centre_px10[0] += 900), "inconclusive: hold-still");
    assert_eq!(answer(|_| {}, |t| t.frames[9].track = 2), "inconclusive: hold-still");
}

#[test]
fn a_doubtful_picture_in_strong_light_is_about_the_light() {
    let moved = |ambient| answer(|world| world.ambient = ambient, |t| t.frames[3].centre_px10[0] += 900);
    assert_eq!(moved(0.2), "inconclusive: hold-still");
    assert_eq!(moved(0.4), "inconclusive: too-much-infrared");
    let flat = |ambient, lamps| {
        let change = |world: &mut World| {
            (world.ambient, world.lamps) = (ambient, lamps);
            world.surface = Surface::Plane { tilt: [0.1; 2] };
        };
        answer(change, |_| {})
    };
    assert_eq!(flat(0.4, 0.2), "spoof: no-relief");
    assert_eq!(flat(0.1, 0.08), "spoof: no-relief");
    assert_eq!(flat(0.4, 0.08), "inconclusive: too-much-infrared");
    assert_eq!(answer(|world| (world.lamps, world.ambient) = (0.0, 0.4), |_| {}), "spoof: no-response");
}

#[test]
fn with_most_slots_unseen_nothing_is_said_of_the_person() {
    let unlit = |frames| answer(|world| world.lamps = 0.0, |t| t.frames.truncate(frames));
    assert_eq!(unlit(usize::MAX), "spoof: no-response");
    assert_eq!(unlit(4), "inconclusive: too-few-frames");
}

/// The same frames under another code, as a recording would be.
fn relabel(transcript: &mut LightTranscript, code: &[Light]) {
    transcript.code = code.to_vec();
    for (switch, light) in transcript.switches.iter_mut().zip(code) {
        switch.light = *light;
    }
}

/// The answer comes so many frames late.
fn relay(late: u32) -> String {
    let forge = |t: &mut LightTranscript| {
        for switch in &mut t.switches {
            switch.at_us -= late * 33_333;
        }
        let (switches, camera) = (t.switches.clone(), t.camera.clone());
        for frame in &mut t.frames {
            if let Label::Slot(slot) = label(&switches, &camera, frame) {
                frame.slot = slot;
            }
        }
    };
    answer(|world| world.start_us = 300_000, forge)
}

#[test]
fn a_relay_is_named_and_a_delay_of_one_frame_is_not_accused() {
    assert_eq!(relay(1), "inconclusive: hold-still");
    for late in 2..=5 {
        assert_eq!(relay(late), "spoof: too-late", "{late} frames");
    }
}

#[test]
fn a_dark_lamp_is_named() {
    for (side, name) in [(0, "inconclusive: left-lamp-dark"), (1, "inconclusive: right-lamp-dark")] {
        assert_eq!(answer(|world| world.strength[side] = 0.0, |_| {}), name);
    }
}

#[test]
fn a_code_that_the_matcher_did_not_choose_is_a_spoof() {
    let recording = Recording { code: code(8), ..recording(|_| {}) };
    assert_eq!(recording.judge(&Policy::shipped()).answer().to_string(), "spoof: light-code-wrong");
}

/// The decoder learns what each state looks like, so exchanged states decode as well; response and relief know better.
#[test]
fn no_exchange_of_the_states_passes() {
    let states = [Light::Off, Light::Left, Light::Right, Light::Both];
    let mut decoded = 0;
    for permutation in 1..4usize.pow(4) {
        let to: Vec<usize> = (0..4).map(|k| permutation / 4usize.pow(k) % 4).collect();
        if (0..4).any(|state| !to.contains(&state)) || to == [0, 1, 2, 3] {
            continue;
        }
        let mut attack = recording(|_| {});
        let exchanged: Vec<Light> = attack.code.iter().map(|light| states[to[*light as usize]]).collect();
        relabel(&mut attack.transcript, &exchanged);
        attack.code = exchanged;
        let found = crate::decode::decode(&attack.transcript);
        decoded += usize::from(found.wrong + found.missing == 0);
        assert!(!attack.judge(&Policy::shipped()).answer().is_live(), "{to:?}");
    }
    assert!(decoded > 0, "the decoder alone refuses all: this test is about those that it does not");
}

#[test]
fn the_other_witnesses_count() {
    let verdict = |passive: PassiveSummary, motion: Motion, continuity_milli| {
        let recording = Recording { passive, motion, continuity_milli, ..recording(|_| {}) };
        recording.judge(&Policy::shipped()).answer().to_string()
    };
    assert_eq!(verdict(PassiveSummary { mean_llr_milli: -90_000, ..PASSIVE }, MOTION, 800), "spoof: looks-false");
    assert_eq!(verdict(PassiveSummary { frames: 0, ..PASSIVE }, MOTION, 800), "inconclusive: context-missing");
    assert_eq!(verdict(PASSIVE, Motion { still_pairs: 30, ..MOTION }, 800), "spoof: still-or-looped");
    assert_eq!(verdict(PASSIVE, MOTION, 100), "spoof: face-changed");
}

#[test]
fn weak_hints_refuse_nobody_alone_and_count_together() {
    let verdict = |mean_llr_milli, blink| {
        let mut recording = recording(|_| {});
        recording.passive.mean_llr_milli = mean_llr_milli;
        recording.motion.blink = blink;
        for frame in &mut recording.transcript.frames {
            frame.noise_x256 = [3; 4];
        }
        recording.judge(&Policy::shipped()).answer().to_string()
    };
    assert_eq!(verdict(1_000, false), "live");
    assert_eq!(verdict(-1_000, true), "live");
    assert_eq!(verdict(-1_000, false), "spoof: looks-false");
}

/// Named attacks, each with the one witness that stops it.
fn attacks() -> Vec<(&'static str, Witness, Recording)> {
    let spliced = || {
        // A recording of another code whose wrong slots were cut out, but for three.
        let mut attack = recording(|_| {});
        let mut ordered = attack.code.clone();
        for slot in [2, 5, 9] {
            ordered[slot] = if ordered[slot] == Light::Left { Light::Both } else { Light::Left };
        }
        relabel(&mut attack.transcript, &ordered);
        Recording { code: ordered, ..attack }
    };
    let slow = || {
        let mut attack = recording(|_| {});
        attack.transcript.switches.iter_mut().for_each(|switch| switch.at_us *= 2);
        attack.transcript.frames.iter_mut().for_each(|frame| frame.at_us *= 2);
        attack.transcript.embedded_at_us = attack.transcript.embedded_at_us.map(|at| 2 * at);
        attack
    };
    let looped = || {
        let mut attack = recording(|_| {});
        attack.transcript.frames.iter_mut().zip(0u8..).for_each(|(frame, index)| frame.print = [index % 5; 8]);
        attack
    };
    let mask = || {
        let mut attack = recording(|_| {});
        attack.passive.mean_llr_milli = -3_500;
        attack
    };
    vec![
        ("spliced recording", Witness::Code, spliced()),
        ("looped video", Witness::Motion, looped()),
        ("code played slowly, answered elsewhere", Witness::Timing, slow()),
        ("light painted over the whole picture", Witness::Response, recording(|world| world.behind = 2.0)),
        ("screen whose glass mirrors both lamps", Witness::Texture, recording(|world| world.screen = true)),
        ("flat print", Witness::Relief, recording(|world| world.surface = Surface::Plane { tilt: [0.1, 0.1] })),
        ("mask with a face's relief", Witness::Fusion, mask()),
        ("face swapped after the proof", Witness::Continuity, Recording { continuity_milli: 50, ..recording(|_| {}) }),
    ]
}

#[test]
fn every_witness_stops_an_attack_that_passes_without_it() {
    let policy = Policy::shipped();
    for (attack, needed, recording) in attacks() {
        assert!(!recording.judge(&policy).answer().is_live(), "{attack} passes");
        let transcript = &timing::honest_frames(&recording.transcript);
        let looks = looks(transcript);
        let fit = Fit::new(&looks, &transcript.code, None);
        let case = Case {
            transcript,
            demanded: &recording.code,
            passive: &recording.passive,
            motion: &recording.motion,
            continuity_milli: recording.continuity_milli,
            looks,
            fit,
            policy: &policy,
        };
        let without = hear(&case, |witness| witness != needed);
        assert!(without.answer().is_live(), "{attack} is stopped without {needed:?} too:\n{without}");
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let bytes = || recording(|_| {}).judge(&Policy::shipped()).to_bytes();
    assert_eq!(bytes(), bytes());
}

/// Recordings of the small world, as files: `UPDATE_GOLDEN=1` writes them and what they are judged to be.
#[test]
fn golden_recordings_are_judged_to_the_same_bytes() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let room = |change: fn(&mut World)| recording(change);
    let mut golden = vec![
        ("live", room(|_| {})),
        ("live-flickering", room(|world| (world.ambient, world.flicker) = (0.3, 0.3))),
        ("live-rolling", room(|world| (world.flicker, world.readout_us) = (0.2, 8_000))),
        ("live-clipped", room(|world| world.lamps = 0.8)),
        ("left-lamp-dark", room(|world| world.strength[0] = 0.0)),
        ("too-much-infrared", room(|world| world.ambient = 1.0)),
    ];
    golden.extend(attacks().into_iter().map(|(name, _, recording)| (name, recording)));
    let policy = Policy::shipped();
    for (name, recording) in golden {
        let path = folder.join(name.replace(", ", "-").replace([' ', '\''], "-"));
        let (file, evidence) = (path.with_extension("cbor"), path.with_extension("evidence"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&file, recording.to_cbor()).unwrap();
            if name == "live" {
                std::fs::write(path.with_extension("json"), recording.to_json()).unwrap();
            }
            std::fs::write(&evidence, recording.judge(&policy).to_bytes()).unwrap();
            std::fs::write(path.with_extension("txt"), recording.judge(&policy).to_string()).unwrap();
        }
        // The file, not the small world, is what is judged: the world's sines may differ from machine to machine.
        let read = crate::recorded::read(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(
            read.judge(&policy).to_bytes(),
            std::fs::read(&evidence).unwrap(),
            "{name}:\n{}",
            read.judge(&policy)
        );
    }
}
