//! What the kiosk's application is told: names, data, and the words for the person in three languages.

use std::time::Duration;

use didar_protocol::reason::Reason;
use serde_json::{Value, json};

use crate::attempt::Language;
use crate::camera::meter::Counts;
use crate::journal::{Ended, Entry};
use crate::screen::text::{Text, checking_text, hint_text};
use crate::screen::{Help, outcome_text};

/// The event's name.
pub(super) const fn name(entry: &Entry) -> &'static str {
    match entry {
        Entry::Positioning(_) => "positioning",
        Entry::HoldStill(_) => "hold-still",
        Entry::Checking => "checking",
        Entry::Outcome(_) => "outcome",
    }
}

/// The event's data.
pub(super) fn data(entry: &Entry, place: &Help) -> Value {
    match entry {
        Entry::Positioning(hint) => {
            json!({ "hint": hint.name(), "text": words(|language| hint_text(*hint, language)) })
        }
        Entry::HoldStill(progress) => json!({ "progress": progress }),
        Entry::Checking => json!({ "text": words(checking_text) }),
        Entry::Outcome(ended) => outcome(ended, place),
    }
}

fn outcome(ended: &Ended, place: &Help) -> Value {
    let Ended { outcome, reason: why, took, stages } = ended;
    json!({
        "outcome": outcome.name(),
        "reason": reason(*why),
        "text": words(|language| outcome_text(*outcome, *why, language)),
        "help": help(place),
        "ms": millis(*took),
        "stages_ms": {
            "positioning": millis(stages.positioning),
            "proving": millis(stages.proving),
            "judging": millis(stages.judging),
            "awaiting": millis(stages.awaiting),
        },
    })
}

/// A reason's stable name and number.
pub(super) fn reason(reason: Reason) -> Value {
    json!({ "name": reason.name(), "number": reason.number() })
}

/// What was counted of the camera's frames since the agent started.
pub(crate) fn camera(counts: &Counts) -> Value {
    let Counts { taken, lost, passed_over, refused, copied, black, white, opened } = *counts;
    json!({
        "frames": taken,
        "lost_frames": lost,
        "passed_over_frames": passed_over,
        "refused_frames": refused,
        "copied_frames": copied,
        "black_frames": black,
        "white_frames": white,
        "opened": opened,
    })
}

/// Where a person finds help, in three languages.
pub(super) fn help(help: &Help) -> Value {
    json!({ "kk": help.line(Language::Kk), "ru": help.line(Language::Ru), "en": help.line(Language::En) })
}

fn words(text: impl Fn(Language) -> Text) -> Value {
    let one = |language| {
        let Text { title, next_step } = text(language);
        json!({ "title": title, "next_step": next_step })
    };
    json!({ "kk": one(Language::Kk), "ru": one(Language::Ru), "en": one(Language::En) })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
