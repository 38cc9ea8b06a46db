//! What must hold of a run of the rig, by its summary.

use serde_json::{Value, json};

/// How each scene must end.
const EXPECTED: [(&str, &[&str]); 9] = [
    ("grant", &["grant"]),
    ("another-person", &["deny"]),
    ("print", &["spoof"]),
    ("pulled-while-positioning", &["fault"]),
    // With the code's last frames in hand the agent needs no camera any more.
    ("pulled-while-checking", &["fault", "grant"]),
    ("begun-without-camera", &["fault"]),
    ("pulled-while-proving", &["fault"]),
    ("recording", &["spoof"]),
    ("after-kill", &["grant"]),
];
/// Scenes that end by a judgement, which must have been of every slot of the code.
const JUDGED: [&str; 5] = ["grant", "another-person", "print", "recording", "after-kill"];
/// Slots of the rig's code.
const SLOTS: u64 = 12;
/// What `doctor` must find wrong with each device that cannot be used: the finding, and words of it.
const BAD_DEVICES: [(&str, &str, &str); 5] = [
    ("lamp line taken and no panel", "lamps", "/dev/gpiochip0 line 0"),
    ("lamp line taken and no panel", "screen", "/dev/fb7"),
    ("camera of another size", "camera", "320x480"),
    ("camera of another format", "camera", "RGB3"),
    ("no camera", "camera", "no single-planar capture"),
];
/// The light on the face as the host rendered it and as `doctor` measured it differ at most by this share: the person moves.
const LIGHT_SLACK: f64 = 0.1;
/// A delay is measured by a share of light of 8 bits, and orders take their time in an interpreted guest, microseconds.
const DELAY_SLACK_US: f64 = 1_500.0;
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
    for name in JUDGED {
        let judged = &find(&summary["scenes"], "scene", name)["slots_judged"];
        if *judged != SLOTS {
            wrong.push(format!("{name}: judged on {judged} slots instead of {SLOTS}"));
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
        wrong.extend(wrong_of_measures(&summary["good_devices"]));
        let panel = &summary["spi_panel"];
        if panel["as_painted"] != panel["pixels"] || panel["on"] != true || panel["lost"] != 0 {
            wrong.push(format!("the panel on SPI does not show what was painted: {panel}"));
        }
    }
    wrong
}

fn wrong_of_frames(summary: &Value) -> Vec<String> {
    let keys = ["lost_frames", "copies_per_frame", "allocations_per_frame"];
    let counts = keys.iter().filter(|key| summary[**key].as_f64() != Some(0.0));
    let mut wrong: Vec<String> = counts.map(|key| format!("{key}: {} instead of 0", summary[*key])).collect();
    // What the driver lost, what the agent counted itself, and frames that came too late to be any camera's.
    let counted = &summary["counted"];
    if counted["late"] != 0 || counted["agent"]["lost_frames"] != 0 {
        wrong.push(format!("while frames were counted some were late, or lost by the agent's own count: {counted}"));
    }
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

/// `doctor` and `calibrate` must find of devices that work what the host knows of them.
fn wrong_of_measures(good: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let known_us = good["known_delay_us"].as_f64();
    let near = |found: &Value, known: Option<f64>, slack: f64| {
        found.as_f64().zip(known).is_some_and(|(found, known)| (found - known).abs() <= slack)
    };
    let findings = &good["doctor"]["said"]["findings"];
    for device in ["camera", "left lamp", "right lamp", "screen"] {
        let finding = find(findings, "device", device);
        if finding["verdict"] != "ok" {
            wrong.push(format!("doctor, of a {device} that works: {finding}"));
        }
    }
    for lamp in ["left lamp", "right lamp"] {
        let figures = &find(findings, "device", lamp)["figures"];
        let known = good["known_lit_minus_dark"][lamp].as_f64();
        let light = near(&figures["lit_minus_dark"], known, known.unwrap_or(0.0) * LIGHT_SLACK);
        // A lamp of which no pulse hit a frame in its middle is not timed.
        let delay = figures["delay_us"].is_null() || near(&figures["delay_us"], known_us, DELAY_SLACK_US);
        if !light || !delay {
            wrong.push(format!(
                "doctor, of the {lamp}: {figures}; the host knows {known:?} code values, {known_us:?} us"
            ));
        }
    }
    if good["calibrate"]["code"] != 0 || !near(&good["calibrate"]["delay_us"], known_us, DELAY_SLACK_US) {
        wrong.push(format!("calibrate: {}; the host knows {known_us:?} us", good["calibrate"]));
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
        let scene = |(name, outcomes): &(&str, &[&str])| {
            let judged = if JUDGED.contains(name) { SLOTS } else { 0 };
            json!({ "scene": name, "outcome": outcomes[0], "slots_judged": judged })
        };
        let scenes: Vec<_> = EXPECTED.iter().map(scene).collect();
        let mut names = BAD_DEVICES.map(|(name, _, _)| name).to_vec();
        names.dedup();
        let bad = names.into_iter().map(|name| {
            let parts = BAD_DEVICES.iter().filter(|(of, _, _)| *of == name);
            let findings = parts.map(|(_, part, words)| {
                json!({ "device": part, "verdict": "wrong", "says": format!("cannot use {words} for it") })
            });
            json!({ "device": name, "code": 1, "said": { "findings": findings.collect::<Vec<_>>() } })
        });
        json!({
            "scenes": scenes, "slots": 72, "slots_right": 72, "same_process": true,
            "killed_while_lit": { "driven_dark_us": 5_000 },
            "counted": { "late": 0, "agent": { "lost_frames": 0 } },
            "rate": 30, "lost_frames": 0, "copies_per_frame": 0.0, "allocations_per_frame": 0.0,
            "bad_devices": bad.collect::<Vec<_>>(),
            "spi_panel": { "pixels": 76_800, "as_painted": 76_800, "on": true, "lost": 0 },
            "good_devices": {
                "known_delay_us": 400,
                "known_lit_minus_dark": { "left lamp": 30.0, "right lamp": 40.0 },
                "calibrate": { "code": 0, "delay_us": 900 },
                "doctor": { "said": { "findings": [
                    { "device": "camera", "verdict": "ok" },
                    { "device": "screen", "verdict": "ok" },
                    { "device": "left lamp", "verdict": "ok", "figures": { "lit_minus_dark": 31.0, "delay_us": 700 } },
                    { "device": "right lamp", "verdict": "ok", "figures": { "lit_minus_dark": 38.0, "delay_us": null } },
                ] } },
            },
        })
    }

    #[test]
    fn a_run_in_which_everything_holds_is_good_and_any_one_thing_else_is_named() {
        assert!(wrong(&good()).is_empty());
        for (at, value) in [
            ("/scenes/2/outcome", json!("grant")),
            ("/scenes/8", json!({})),
            ("/scenes/2/slots_judged", json!(11)),
            ("/scenes/7/slots_judged", json!(null)),
            ("/counted/late", json!(1)),
            ("/counted/agent/lost_frames", json!(3)),
            ("/counted", json!(null)),
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
            ("/bad_devices/0/said/findings/1/verdict", json!("ok")),
            ("/spi_panel", json!(null)),
            ("/spi_panel/as_painted", json!(76_799)),
            ("/spi_panel/on", json!(false)),
            ("/good_devices", json!(null)),
            ("/good_devices/calibrate/code", json!(1)),
            ("/good_devices/calibrate/delay_us", json!(2_000)),
            ("/good_devices/doctor/said/findings/0/verdict", json!("wrong")),
            ("/good_devices/doctor/said/findings/2/figures/lit_minus_dark", json!(20.0)),
            ("/good_devices/doctor/said/findings/2/figures/delay_us", json!(-5_000)),
            ("/good_devices/doctor/said/findings/3/figures/lit_minus_dark", json!(null)),
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
