//! What must hold of a run of the rig, by its summary.

use serde_json::{Value, json};

/// How each scene must end.
const EXPECTED: [(&str, &[&str]); 10] = [
    ("grant", &["grant"]),
    ("another-person", &["deny"]),
    ("print", &["spoof"]),
    ("recording", &["spoof"]),
    ("pulled-while-positioning", &["fault"]),
    // With the code's last frames in hand the agent needs no camera any more.
    ("pulled-while-checking", &["fault", "grant"]),
    ("begun-without-camera", &["fault"]),
    ("pulled-while-proving", &["fault"]),
    ("after-proving", &["grant"]),
    ("after-kill", &["grant"]),
];
/// What `doctor` must find wrong with each device that cannot be used: the finding, and words of it.
const BAD_DEVICES: [(&str, &str, &str); 5] = [
    ("lamp line taken", "lamps", "/dev/gpiochip0 line 0"),
    ("camera of another size", "camera", "320x480"),
    ("camera of another format", "camera", "RGB3"),
    ("no camera", "camera", "no single-planar capture"),
    ("no panel", "screen", "/dev/fb7"),
];
/// After a kill the lamps must be dark within this time, microseconds.
const DARK_US_MAX: u64 = 100_000;

/// What is not as it must be. What the first boot measures may be missing as a whole.
pub fn wrong(summary: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, outcomes) in EXPECTED {
        let outcome = find(&summary["scenes"], "scene", name)["outcome"].as_str();
        if !outcome.is_some_and(|outcome| outcomes.contains(&outcome)) {
            wrong.push(format!("{name}: {outcome:?} instead of {outcomes:?}"));
        }
    }
    if summary["slots"].as_u64().is_none_or(|slots| slots == 0) {
        wrong.push(format!("slots: {}", summary["slots"]));
    }
    for (key, expected) in [("same_process", json!(true)), ("slots_right", summary["slots"].clone())] {
        if summary[key] != expected {
            wrong.push(format!("{key}: {} instead of {expected}", summary[key]));
        }
    }
    let dark_us = summary["killed_while_lit"]["driven_dark_us"].as_u64();
    if dark_us.is_none_or(|dark_us| dark_us > DARK_US_MAX) {
        wrong.push(format!("after a kill the lamps were driven dark within {dark_us:?} us"));
    }
    if summary.get("rate").is_some() {
        wrong.extend(wrong_of_frames(summary));
    }
    wrong
}

fn wrong_of_frames(summary: &Value) -> Vec<String> {
    let keys = ["lost_frames", "copies_per_frame", "allocations_per_frame"];
    let counts = keys.iter().filter(|key| summary[**key].as_f64() != Some(0.0));
    let mut wrong: Vec<String> = counts.map(|key| format!("{key}: {} instead of 0", summary[*key])).collect();
    for (device, part, words) in BAD_DEVICES {
        let told = find(&summary["bad_devices"], "device", device);
        let finding = find(&told["said"]["findings"], "device", part);
        let names_it = finding["says"].as_str().is_some_and(|says| says.contains(words));
        if told["code"] != 1 || finding["verdict"] != "wrong" || !names_it {
            wrong.push(format!("{device}: doctor ends with {} and says {finding}", told["code"]));
        }
    }
    wrong
}

/// The part of `list` whose `key` is `name`; null where there is none.
fn find<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
    list.as_array().into_iter().flatten().find(|part| part[key] == name).unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Value {
        let scenes: Vec<_> =
            EXPECTED.iter().map(|(name, outcomes)| json!({ "scene": name, "outcome": outcomes[0] })).collect();
        let bad = BAD_DEVICES.iter().map(|(device, part, words)| {
            let finding = json!({ "device": part, "verdict": "wrong", "says": format!("cannot use {words} for it") });
            json!({ "device": device, "code": 1, "said": { "findings": [finding] } })
        });
        json!({
            "scenes": scenes, "slots": 72, "slots_right": 72, "same_process": true,
            "killed_while_lit": { "driven_dark_us": 5_000 },
            "rate": 30, "lost_frames": 0, "copies_per_frame": 0.0, "allocations_per_frame": 0.0,
            "bad_devices": bad.collect::<Vec<_>>(),
        })
    }

    #[test]
    fn a_run_in_which_everything_holds_is_good_and_any_one_thing_else_is_named() {
        assert!(wrong(&good()).is_empty());
        for (at, value) in [
            ("/scenes/2/outcome", json!("grant")),
            ("/scenes/9", json!({})),
            ("/slots", json!(0)),
            ("/slots_right", json!(71)),
            ("/same_process", json!(false)),
            ("/killed_while_lit/driven_dark_us", json!(100_001)),
            ("/killed_while_lit", json!(null)),
            ("/lost_frames", json!(1)),
            ("/copies_per_frame", json!(0.125)),
            ("/allocations_per_frame", json!(null)),
            ("/bad_devices/0/code", json!(0)),
            ("/bad_devices/1/said", json!("a panic")),
            ("/bad_devices/3/said/findings/0/verdict", json!("ok")),
        ] {
            let mut summary = good();
            *summary.pointer_mut(at).unwrap() = value;
            assert!(!wrong(&summary).is_empty(), "{at} was not missed");
        }
        let mut summary = good();
        summary["slots"] = json!(0);
        summary["slots_right"] = json!(0);
        assert_eq!(wrong(&summary), ["slots: 0"]);
    }
}
