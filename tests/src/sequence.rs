//! The light code as the agent plays it, before cameras that drop and straddle frames: what is used of it is right, and
//! what is left of a bad camera's frames never accuses a living person.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use didar_liveness::decode::decode;
use didar_liveness::{Policy, Recording};
use didar_protocol::light_code::Light;
use didar_vision::{Models, Perceiver};

use crate::crowd::{Capture, Conditions, Person, Profile, Species, present};
use crate::people::{ASTRONAUT, portrait};
use crate::scene::Subject;

fn people() -> &'static [Arc<Person>] {
    static PEOPLE: OnceLock<Vec<Arc<Person>>> = OnceLock::new();
    PEOPLE.get_or_init(|| {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut perceiver = Perceiver::new(&Models::load(&project.join("models/manifest.toml")).unwrap()).unwrap();
        vec![Arc::new(Person::of(&Subject::load(&portrait(&project, ASTRONAUT), &mut perceiver).unwrap()))]
    })
}

/// Living people in a quiet room before a camera of this kind, one for each seed.
fn played(profile: Profile, change: impl Fn(&mut Conditions)) -> Vec<Recording> {
    let one = |seed| {
        let (mut capture, code): (Capture, _) = present(Species::Live, people(), profile, [0.05, 0.1], seed);
        capture.conditions = Conditions::plain(profile);
        change(&mut capture.conditions);
        capture.play(&code)
    };
    (40..56).map(one).collect()
}

/// The light of the lamps during the whole of a frame's exposure of the face; `None` where it changed.
fn light_during(recording: &Recording, frame: usize) -> Option<Light> {
    let transcript = &recording.transcript;
    let (camera, frame) = (&transcript.camera, &transcript.frames[frame]);
    let row = |milli: u16| camera.readout_us * u32::from(milli) / 1000;
    let from = frame.at_us + row(frame.rows_milli[0].min(frame.rows_milli[1]));
    let until = frame.at_us + row(frame.rows_milli[0].max(frame.rows_milli[1])) + camera.exposure_us;
    let lit = |at: u32| transcript.switches.iter().rev().find(|s| s.at_us + camera.delay_us <= at).map(|s| s.light);
    let changed = |s: &&didar_protocol::transcript::Switch| {
        (from + 1..until).contains(&(s.at_us + camera.delay_us)) && Some(s.light) != lit(from)
    };
    if transcript.switches.iter().find(changed).is_some() { None } else { lit(from) }
}

#[test]
fn frames_that_straddle_a_switch_are_left_out_and_the_rest_decodes_right() {
    for profile in Profile::ALL {
        let rolling_us = if profile == Profile::Fps60 { 8_000 } else { 12_000 };
        let mut mixed = 0;
        for recording in played(profile, |conditions| conditions.rolling_us = rolling_us) {
            let transcript = &recording.transcript;
            mixed += usize::from(transcript.mixed);
            for frame in 0..transcript.frames.len() {
                let slot = usize::from(transcript.frames[frame].slot);
                assert_eq!(light_during(&recording, frame), Some(transcript.code[slot]), "{profile:?}");
            }
            let found = decode(transcript);
            assert_eq!(found.wrong, 0, "{profile:?}: {found:?}");
        }
        // Lamps in step with the exposure straddle none; on a clock of their own, many.
        assert!(mixed > 0 || profile == Profile::Fps30InStep, "{profile:?}: nothing was mixed");
    }
}

#[test]
fn dropped_frames_cost_slots_and_never_a_wrong_one() {
    for profile in Profile::ALL {
        for recording in played(profile, |conditions| conditions.dropped = 0.15) {
            let found = decode(&recording.transcript);
            assert_eq!(found.wrong, 0, "{profile:?}: {found:?}");
            let answer = recording.judge(&Policy::shipped()).answer().to_string();
            assert!(!answer.starts_with("spoof"), "{profile:?}: {answer}, {found:?}");
        }
    }
}

#[test]
fn too_many_dropped_frames_are_about_the_picture_and_not_about_the_person() {
    for profile in Profile::ALL {
        for (dropped, recording) in [0.6, 0.8, 1.0]
            .into_iter()
            .flat_map(|d| played(profile, move |c| c.dropped = d).into_iter().map(move |r| (d, r)))
        {
            let answer = recording.judge(&Policy::shipped()).answer().to_string();
            assert!(answer.starts_with("inconclusive"), "{profile:?}, {dropped} dropped: {answer}");
        }
    }
}
