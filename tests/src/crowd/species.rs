//! Everything that is presented to the kiosk: the living, and every species of attack.

use std::f32::consts::TAU;
use std::sync::Arc;

use didar_protocol::light_code::Light;

use crate::scene::Sheet;
use crate::scene::random::Random;
use crate::scene::trial::code;

use super::capture::{Capture, Signal};
use super::conditions::{Conditions, Profile};
use super::forms::{Crease, Form};
use super::person::Person;

/// What is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Species {
    /// A living person, here and now.
    Live,
    /// A print, held straight.
    FlatPrint,
    /// A print, tilted by 10 to 40 degrees in any direction.
    TiltedPrint,
    /// A print, bent about any axis, to radii from 80 mm, towards the camera or away.
    BentPrint,
    /// A print with one or two creases in any direction.
    FoldedPrint,
    /// A print with holes, the attacker's eyes behind.
    EyeHoles,
    /// A print over a head-like form without features.
    HeadLikeForm,
    /// A print whose nose is pushed out, 8 to 25 mm.
    PushedNose,
    /// A video of an earlier session on a telephone.
    Phone,
    /// A video in the room's light on a tablet.
    Tablet,
    /// A video in the room's light, in place of the camera.
    InjectedVideo,
    /// A recording of an earlier session with its own code, in place of the camera.
    InjectedCode,
    /// Pieces of earlier sessions, slot by slot, in place of the camera.
    Spliced,
    /// A live face elsewhere, lit by the same code so many frames late.
    Relay(u8),
    /// One picture over and over, in place of the camera.
    Still,
    /// One picture with fresh noise put on it.
    NoisyStill,
    /// One picture, lit anew by a program that sees the lamps.
    RelitStill,
    /// A short video over and over.
    Loop,
    /// A live face proves itself, and another one is held before the camera for the template.
    FaceSwap,
    /// A print, and one lamp covered.
    CoveredLampPrint,
    /// A living person, and one lamp covered: no attack, but nothing to be judged live either.
    CoveredLamp,
    /// A rigid mask of a face.
    RigidMask,
    /// A bas-relief: 40 to 70 % of a face's depth.
    BasRelief,
    /// A head form with a nose and hollows for the eyes.
    HeadForm,
}

impl Species {
    /// Prints, which light and relief must refuse: the first five are bound to none in a thousand.
    pub const PRINTS: [Self; 7] = [
        Self::FlatPrint,
        Self::TiltedPrint,
        Self::BentPrint,
        Self::FoldedPrint,
        Self::EyeHoles,
        Self::HeadLikeForm,
        Self::PushedNose,
    ];
    /// Videos, which the code must refuse.
    pub const VIDEOS: [Self; 13] = [
        Self::Phone,
        Self::Tablet,
        Self::InjectedVideo,
        Self::InjectedCode,
        Self::Spliced,
        Self::Relay(2),
        Self::Relay(3),
        Self::Relay(4),
        Self::Relay(5),
        Self::Still,
        Self::NoisyStill,
        Self::RelitStill,
        Self::Loop,
    ];
    /// The rest that is to be refused.
    pub const OTHERS: [Self; 4] = [Self::Relay(1), Self::FaceSwap, Self::CoveredLampPrint, Self::CoveredLamp];
    /// What has the relief of a face: light and relief can't tell it apart.
    pub const SOLIDS: [Self; 3] = [Self::RigidMask, Self::BasRelief, Self::HeadForm];

    /// In reports.
    pub fn name(self) -> String {
        match self {
            Self::Live => "live".into(),
            Self::FlatPrint => "print-flat".into(),
            Self::TiltedPrint => "print-tilted".into(),
            Self::BentPrint => "print-bent".into(),
            Self::FoldedPrint => "print-folded".into(),
            Self::EyeHoles => "print-eye-holes".into(),
            Self::HeadLikeForm => "print-on-head-like-form".into(),
            Self::PushedNose => "print-pushed-nose".into(),
            Self::Phone => "replay-phone".into(),
            Self::Tablet => "replay-tablet".into(),
            Self::InjectedVideo => "injected-video".into(),
            Self::InjectedCode => "injected-other-code".into(),
            Self::Spliced => "injected-spliced".into(),
            Self::Relay(frames) => format!("relay-{frames}-frames"),
            Self::Still => "still-picture".into(),
            Self::NoisyStill => "still-picture-noisy".into(),
            Self::RelitStill => "still-picture-relit".into(),
            Self::Loop => "looped-video".into(),
            Self::FaceSwap => "face-swap".into(),
            Self::CoveredLampPrint => "covered-lamp-print".into(),
            Self::CoveredLamp => "covered-lamp-live".into(),
            Self::RigidMask => "rigid-mask".into(),
            Self::BasRelief => "bas-relief".into(),
            Self::HeadForm => "head-form-with-nose".into(),
        }
    }

    fn number(self) -> u64 {
        match self {
            Self::Relay(frames) => 100 + u64::from(frames),
            Self::Live => 1,
            other => other.name().bytes().fold(7, |sum: u64, byte| (sum * 31 + u64::from(byte)) % 0xffff),
        }
    }
}

/// One attempt and the code that it was asked for. `people` is who may be presented; `seed` decides everything.
pub fn present(
    species: Species,
    people: &[Arc<Person>],
    profile: Profile,
    ambient: [f32; 2],
    seed: u64,
) -> (Capture, Vec<Light>) {
    let seed = seed ^ species.number() << 40;
    let mut random = Random::new(seed ^ 0x5bec);
    let one = |random: &mut Random| people[random.next() as usize % people.len()].clone();
    let (person, behind) = (one(&mut random), one(&mut random));
    let mut conditions = Conditions::drawn(profile, ambient, seed);
    let form = form(species, &mut conditions, &mut random);
    let signal = signal(species, profile, seed, &mut random);
    match species {
        Species::CoveredLamp | Species::CoveredLampPrint => conditions.strength[(random.next() >> 63) as usize] = 0.0,
        _ => {}
    }
    let capture = Capture {
        form,
        person,
        behind,
        signal,
        screen: matches!(species, Species::Phone | Species::Tablet),
        continuity_milli: continuity(species, &mut random),
        blinks: !matches!(species, Species::RigidMask | Species::BasRelief | Species::HeadForm),
        seed,
        conditions,
    };
    (capture, code(seed, profile.shape()))
}

/// Cosines (x 1000) of faces in one sequence, and of two different people: .95 and more in the scene; across people
/// about 0 with a deviation of .1 (one in a thousand reaches .3).
fn continuity(species: Species, random: &mut Random) -> i16 {
    let cosine = match species {
        Species::FaceSwap => 0.1 * random.normal(),
        _ => 0.95 + 0.02 * random.normal(),
    };
    (cosine.clamp(-1.0, 1.0) * 1000.0) as i16
}

fn signal(species: Species, profile: Profile, seed: u64, random: &mut Random) -> Signal {
    let frame_us = u64::from(profile.camera(0).frame_us);
    match species {
        Species::Phone | Species::InjectedCode => Signal::Recorded(code(seed ^ 0xbad, profile.shape())),
        Species::Spliced => {
            let states = [Light::Off, Light::Left, Light::Right, Light::Both];
            let slots = usize::from(profile.shape().slots);
            Signal::Recorded((0..slots).map(|_| states[(random.next() >> 62) as usize]).collect())
        }
        Species::Tablet | Species::InjectedVideo => Signal::Unlit,
        Species::Relay(frames) => Signal::Late(u64::from(frames) * frame_us),
        Species::Still => Signal::Still { noise: false },
        Species::NoisyStill => Signal::Still { noise: true },
        Species::RelitStill => Signal::Relit,
        Species::Loop => Signal::Loop(4 + (random.next() >> 61) as u32),
        _ => Signal::Honest,
    }
}

fn form(species: Species, conditions: &mut Conditions, random: &mut Random) -> Form {
    let slopes = |random: &mut Random, degrees: [f32; 2]| {
        let slope = random.between(degrees[0], degrees[1]).to_radians().tan();
        let (sin, cos) = random.between(0.0, TAU).sin_cos();
        [slope * cos, slope * sin]
    };
    let flat = |tilt| Sheet { tilt, radius_mm: f32::INFINITY, across: 0.0 };
    let straight = |random: &mut Random| flat(slopes(random, [0.0, 5.0]));
    let form = match species {
        Species::FlatPrint | Species::CoveredLampPrint => Form::Sheet(straight(random)),
        Species::TiltedPrint => Form::Sheet(flat(slopes(random, [10.0, 40.0]))),
        Species::BentPrint => Form::Sheet(Sheet {
            tilt: slopes(random, [0.0, 8.0]),
            radius_mm: 80.0
                * 5.0_f32.powf(random.between(0.0, 1.0))
                * if random.next() >> 62 == 0 { -1.0 } else { 1.0 },
            across: random.between(0.0, TAU / 2.0),
        }),
        Species::FoldedPrint => Form::Folded(creases(random)),
        Species::EyeHoles => Form::EyeHoles(straight(random), random.between(5.0, 30.0)),
        Species::HeadLikeForm => Form::Egg([random.between(70.0, 100.0), random.between(90.0, 140.0)]),
        Species::PushedNose => Form::PushedNose(straight(random), random.between(8.0, 25.0)),
        Species::BasRelief => Form::Head(random.between(0.4, 0.7)),
        Species::HeadForm => {
            Form::Bust([random.between(70.0, 85.0), random.between(95.0, 120.0)], random.between(18.0, 26.0))
        }
        _ => Form::Head(1.0),
    };
    if !matches!(form, Form::Head(_)) {
        // Vision reads the pose of the printed face, which looked more or less ahead.
        conditions.pose_deg = [6.0 * random.normal(), 6.0 * random.normal(), conditions.pose_deg[2]];
        conditions.glasses = false;
    }
    form
}

fn creases(random: &mut Random) -> Vec<Crease> {
    (0..1 + (random.next() >> 63))
        .map(|_| {
            let steep = random.between(0.1, 0.8) * if random.next() >> 63 == 0 { -1.0 } else { 1.0 };
            let lean = random.between(-0.3, 0.3);
            // Most folds run down the nose, where they imitate it best.
            let upright = random.next() >> 62 != 0;
            let across = if upright { random.between(-0.15, 0.15) } else { random.between(0.0, TAU / 2.0) };
            Crease { across, at_mm: random.between(-25.0, 25.0), slopes: [lean + steep, lean - steep] }
        })
        .collect()
}
