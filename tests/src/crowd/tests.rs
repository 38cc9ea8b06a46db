//! The living pass and every species of attack is refused, over fixed seeds; one seed is one attempt.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use didar_liveness::transcript::{Label, label};
use didar_liveness::{Evidence, Policy, Recording};
use didar_vision::{Models, Perceiver};

use crate::people::{ASTRONAUT, HOPPER, portrait};
use crate::scene::Subject;

use super::{Conditions, Person, Profile, Species, present};

/// Variations of both portraits; found once, because the networks are slow.
fn people() -> &'static [Arc<Person>] {
    static PEOPLE: OnceLock<Vec<Arc<Person>>> = OnceLock::new();
    PEOPLE.get_or_init(|| {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut perceiver = Perceiver::new(&Models::load(&project.join("models/manifest.toml")).unwrap()).unwrap();
        [ASTRONAUT, HOPPER]
            .into_iter()
            .flat_map(|name| {
                let person = Person::of(&Subject::load(&portrait(&project, name), &mut perceiver).unwrap());
                (500..508).map(move |seed| Arc::new(person.varied(seed)))
            })
            .collect()
    })
}

fn judged(species: Species, profile: Profile, seeds: std::ops::Range<u64>) -> Vec<Evidence> {
    let one = |seed| {
        let (capture, code) = present(species, people(), profile, [0.0, 0.2], seed);
        capture.play(&code).judge(&Policy::shipped())
    };
    seeds.map(one).collect()
}

#[test]
fn most_of_the_living_are_live_and_hardly_one_is_accused() {
    let found = judged(Species::Live, Profile::Fps60, 9_000..9_060);
    let live = found.iter().filter(|evidence| evidence.answer().is_live()).count();
    let accused = found.iter().filter(|evidence| evidence.answer().to_string().starts_with("spoof")).count();
    assert!(live >= 45 && accused <= 4, "{live} live, {accused} accused of {}", found.len());
}

#[test]
fn no_print_and_no_video_passes() {
    for species in Species::PRINTS[..5].iter().chain(&Species::VIDEOS) {
        for evidence in judged(*species, Profile::Fps60, 9_100..9_112) {
            assert!(!evidence.answer().is_live(), "{}\n{evidence}", species.name());
        }
    }
}

#[test]
fn one_seed_is_one_attempt_to_the_last_byte() {
    let once = || {
        let (capture, code) = present(Species::BentPrint, people(), Profile::Fps30, [0.0, 0.4], 77);
        capture.play(&code).to_cbor()
    };
    assert_eq!(once(), once());
}

/// A few seeds of one species in a quiet room, judged by `judge`: how many are live.
fn live_of(species: Species, change: impl Fn(&mut super::Capture), judge: impl Fn(Recording) -> Evidence) -> usize {
    let one = |seed| {
        let (mut capture, code) = present(species, people(), Profile::Fps60, [0.05, 0.1], seed);
        capture.conditions = Conditions { strength: capture.conditions.strength, ..Conditions::plain(Profile::Fps60) };
        change(&mut capture);
        judge(capture.play(&code))
    };
    (9_300..9_308).map(one).filter(|evidence| evidence.answer().is_live()).count()
}

/// `species` is refused by the whole judge, and passes at least once where `without` takes one witness away.
fn earns_its_place(
    species: Species,
    change: impl Fn(&mut super::Capture) + Copy,
    edit: impl Fn(&mut Recording) + Copy,
    without: impl Fn(&mut Recording, &mut Policy),
) {
    let whole = live_of(species, change, |mut recording| {
        edit(&mut recording);
        recording.judge(&Policy::shipped())
    });
    let less = live_of(species, change, |mut recording| {
        let mut policy = Policy::shipped();
        edit(&mut recording);
        without(&mut recording, &mut policy);
        recording.judge(&policy)
    });
    assert_eq!(whole, 0, "{} passes the whole judge", species.name());
    assert!(less > 0, "{} is refused without the witness too", species.name());
}

#[test]
fn without_the_code_another_sessions_recording_passes() {
    // The attacker's own session answered its own code; here the matcher asks for another one.
    let other = |recording: &mut Recording| recording.code.rotate_left(5);
    earns_its_place(Species::Live, |_| {}, other, |recording, _| recording.code = recording.transcript.code.clone());
}

#[test]
fn without_the_relief_a_flat_print_passes() {
    earns_its_place(
        Species::FlatPrint,
        |_| {},
        |_| {},
        |_, policy| {
            policy.relief.beta_milli_min = -1_000_000;
            policy.relief.significance_milli_min = -1_000_000_000;
        },
    );
}

#[test]
fn without_the_texture_a_screen_that_mirrors_the_lamps_passes() {
    let people = people();
    let screens = |policy: &Policy| {
        let one = |seed| {
            let (capture, code) = present(Species::Tablet, people, Profile::Fps60, [0.0, 0.4], seed);
            capture.play(&code).judge(policy)
        };
        // Two of these imitate a relief well enough.
        (10_950..10_990).map(one).filter(|evidence| evidence.answer().is_live()).count()
    };
    assert_eq!(screens(&Policy::shipped()), 0);
    let mut without = Policy::shipped();
    without.texture.common_milli_min = -1_000;
    assert!(screens(&without) > 0, "no screen imitates a relief by what it mirrors");
}

#[test]
fn without_the_response_a_nearly_covered_lamp_passes() {
    let cover = |capture: &mut super::Capture| capture.conditions.strength = [1.0, 0.12];
    earns_its_place(Species::CoveredLamp, cover, |_| {}, |_, policy| policy.light.balance_milli_min = 0);
}

#[test]
fn without_the_timing_a_relay_passes() {
    earns_its_place(
        Species::Relay(2),
        |_| {},
        |_| {},
        |recording, _| {
            // A judge that believes any delay of lamps.
            let transcript = &mut recording.transcript;
            transcript.camera.delay_us += 2 * transcript.camera.frame_us;
            let (switches, camera) = (&transcript.switches, &transcript.camera);
            transcript.frames.retain_mut(|frame| match label(switches, camera, frame) {
                Label::Slot(slot) => {
                    frame.slot = slot;
                    true
                }
                Label::Mixed | Label::Outside => false,
            });
        },
    );
}

#[test]
fn without_continuity_a_face_swapped_after_the_proof_passes() {
    earns_its_place(Species::FaceSwap, |_| {}, |_| {}, |_, policy| policy.continuity.cosine_milli_min = -1_000);
}

#[test]
fn without_the_replay_check_a_relit_picture_passes() {
    earns_its_place(
        Species::RelitStill,
        |_| {},
        |_| {},
        |_, policy| {
            policy.motion.repeated_max = u16::MAX;
            policy.fusion.total_llr_milli_min = i64::MIN;
        },
    );
}

#[test]
fn without_the_passive_network_a_mask_that_looks_false_passes() {
    let looks_false = |recording: &mut Recording| recording.passive.mean_llr_milli = -2_500;
    earns_its_place(Species::RigidMask, |_| {}, looks_false, |recording, _| recording.passive.mean_llr_milli = 0);
}
