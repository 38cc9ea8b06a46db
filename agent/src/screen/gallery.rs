//! Every view that the screen can show, by name: what the tests look at.

use didar_protocol::message::Outcome;
use didar_protocol::reason::Reason;

use super::text::{Desk, Help};
use crate::attempt::event::{Hint, View};

/// Every outcome.
pub(crate) const OUTCOMES: [Outcome; 9] = [
    Outcome::Grant,
    Outcome::Deny,
    Outcome::Spoof,
    Outcome::Inconclusive,
    Outcome::Refused,
    Outcome::TimeOut,
    Outcome::Offline,
    Outcome::Fault,
    Outcome::Cancelled,
];

/// Sizes of screens that are sold: the smallest and the largest, lying and upright.
pub(super) const SIZES: [(u16, u16); 9] =
    [(320, 240), (480, 320), (320, 480), (640, 480), (800, 480), (480, 800), (1024, 600), (1280, 800), (800, 1280)];

/// An ordinary help line.
pub(super) fn help() -> Help {
    let desk = Desk { kk: "№ 1 терезе".into(), ru: "окно № 1".into(), en: "window 1".into() };
    Help::new(desk, Some("1414".into())).unwrap()
}

/// The longest help line that the configuration lets in, in wide letters.
pub(super) fn longest_help() -> Help {
    let most = |text: &str| text.chars().cycle().take(Help::DESK_MOST).collect();
    let desk = Desk {
        kk: most("Шаңырақ қызметкері "), ru: most("Дежурная Шушкова "), en: most("Mammoth window ")
    };
    Help::new(desk, Some("0".repeat(Help::PHONE_MOST))).unwrap()
}

/// Every view with its name. An ending appears with every reason that it can have.
pub(super) fn views() -> Vec<(String, View)> {
    let mut all = vec![("idle".to_owned(), View::Idle { faults: Vec::new() }), ("checking".to_owned(), View::Checking)];
    for &reason in Reason::ALL {
        all.push((format!("idle-{}", reason.name()), View::Idle { faults: vec![reason] }));
        all.push((format!("out-of-service-{}", reason.name()), View::OutOfService { reason }));
        for outcome in OUTCOMES {
            let name = format!("{}-{}", format!("{outcome:?}").to_lowercase(), reason.name());
            all.push((name, View::Result { outcome, reason }));
        }
    }
    for hint in Hint::ALL {
        all.push((format!("positioning-{}", hint.name()), View::Positioning { hint }));
    }
    for progress in [0, 35, 50, 80, 100] {
        all.push((format!("hold-still-{progress}"), View::HoldStill { progress }));
    }
    all
}

/// One view of each layout, with its name.
pub(super) fn layouts() -> Vec<(String, View)> {
    natural_views().into_iter().filter(|(name, _)| LAYOUTS.contains(&name.as_str())).collect()
}

/// Names of one view of each layout.
pub(super) const LAYOUTS: [&str; 6] = [
    "idle-no-connection",
    "deny-not-same-person",
    "grant-none",
    "refused-subject-unknown",
    "positioning-take-off-mask",
    "hold-still-35",
];

/// The views that people meet: each ending with the reasons that belong to it. These have pictures.
pub(super) fn natural_views() -> Vec<(String, View)> {
    views().into_iter().filter(|(_, view)| natural(view)).collect()
}

fn natural(view: &View) -> bool {
    match view {
        View::Idle { faults } => faults.first().is_none_or(|fault| *fault == Reason::NoConnection),
        View::Positioning { .. } | View::Checking => true,
        View::HoldStill { progress } => matches!(progress, 35 | 80),
        // The stand-in tells of the program; whoever stops says so.
        View::OutOfService { reason } => matches!(reason.number(), 520..=524 | 526 | 531),
        View::Result { outcome, reason } => match outcome {
            Outcome::Grant | Outcome::Spoof => *reason == Reason::None,
            Outcome::Deny => *reason == Reason::NotSamePerson,
            Outcome::Inconclusive => (400..500).contains(&reason.number()),
            Outcome::Refused => (100..200).contains(&reason.number()),
            Outcome::TimeOut => (500..510).contains(&reason.number()),
            Outcome::Offline => *reason == Reason::NoConnection,
            Outcome::Fault => (520..=524).contains(&reason.number()) || *reason == Reason::RequestMalformed,
            Outcome::Cancelled => (530..=531).contains(&reason.number()),
        },
    }
}
