//! Physical trials: what `didar-agent trial` kept, judged again and counted as ISO/IEC 30107-3 asks.
//!
//! **Here:** the report's third table. **Not here:** taking presentations (the agent's), judging (`didar_liveness`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use didar_agent::trial::folder::{self, FolderError};
use didar_agent::trial::record::{Kept, Species};
use didar_liveness::{Answer, Evidence, Policy};
use serde_json::{Map, Value, json};

use crate::rate::wilson;

/// Some presentations, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Numbers of the persons that were stated.
    pub subjects: BTreeSet<u16>,
    /// Presentations.
    pub n: usize,
    /// Judged live.
    pub live: usize,
    /// Judged spoofs.
    pub spoof: usize,
    /// Captured, and too poor to judge.
    pub inconclusive: usize,
    /// Not captured: no face was found, or it went away. ISO/IEC 30107-3 calls their share the non-response rate.
    pub silent: usize,
}

/// Everything that trials found.
#[derive(Clone, Debug, Default)]
pub struct Physical {
    /// By species.
    pub species: BTreeMap<Species, Count>,
    /// The living and the attacks by what the tester said of distance and light.
    conditions: BTreeMap<(String, &'static str), Count>,
    /// Devices, boards and programs that were tried.
    devices: BTreeSet<String>,
    /// Policies that judged on the devices.
    policies: BTreeSet<u32>,
    /// The policy that judged here.
    policy: u32,
    /// Recordings that are judged otherwise here than on the device.
    pub changed: usize,
}

impl Physical {
    /// Reads a trial's folder and judges every recording again, by `policy`.
    ///
    /// # Errors
    /// A file is not what a trial wrote; it is named, with the cure.
    pub fn read(path: &Path, policy: &Policy) -> Result<Self, FolderError> {
        let mut found = Self { policy: policy.version, ..Self::default() };
        folder::read(path)?.iter().for_each(|kept| found.count(kept, policy));
        Ok(found)
    }

    fn count(&mut self, kept: &Kept, policy: &Policy) {
        let record = &kept.record;
        let evidence = kept.judge(policy);
        self.changed += usize::from(!kept.agrees(evidence.as_ref()));
        self.policies.insert(record.policy_version);
        self.devices.insert(format!("{} ({}, didar-agent {})", record.device, record.board, record.agent));
        let kind = if record.species.is_live() { "living" } else { "attacks" };
        let stated = |name: &str, value: Option<String>| {
            (format!("{name} {}", value.unwrap_or_else(|| "not stated".to_owned())), kind)
        };
        let distance = stated("distance", record.distance.map(|distance| format!("{distance:?}").to_lowercase()));
        let ambient = stated("light", record.ambient.map(|ambient| format!("{ambient:?}").to_lowercase()));
        let answer = evidence.as_ref().map(Evidence::answer);
        self.species.entry(record.species.clone()).or_default().add(record.subject, answer);
        for condition in [distance, ambient] {
            self.conditions.entry(condition).or_default().add(record.subject, answer);
        }
    }

    /// The third table of the report.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let mut add = |line: &str| writeln!(text, "{line}").expect("a string takes any text");
        add("| attack species | subjects | n | passed | APCER (95 %) | inconclusive | no answer |");
        add("| --- | --- | --- | --- | --- | --- | --- |");
        for (species, count) in self.species.iter().filter(|(species, _)| !species.is_live()) {
            add(&count.row(species.as_str(), count.live));
        }
        add("\n| living people | subjects | n | refused | BPCER (95 %) | inconclusive | no answer |");
        add("| --- | --- | --- | --- | --- | --- | --- |");
        for (species, count) in self.species.iter().filter(|(species, _)| species.is_live()) {
            add(&count.row(species.as_str(), count.spoof));
        }
        add("\n| as the tester said | subjects | n | wrongly judged | their share (95 %) | inconclusive | no answer |");
        add("| --- | --- | --- | --- | --- | --- | --- |");
        for ((condition, kind), count) in &self.conditions {
            let wrong = if *kind == "living" { count.spoof } else { count.live };
            add(&count.row(&format!("{kind}, {condition}"), wrong));
        }
        let list = |items: Vec<String>| items.join(", ");
        add(&format!(
            "\nTried: {}. Judged on the devices by policy {}, here by policy {}; {} recordings are judged otherwise here.",
            list(self.devices.iter().cloned().collect()),
            list(self.policies.iter().map(u32::to_string).collect()),
            self.policy,
            self.changed
        ));
        text
    }

    /// The same for programs.
    pub fn summary(&self) -> Value {
        let mut species = Map::new();
        let mut bona_fide = Value::Null;
        for (name, count) in &self.species {
            if name.is_live() {
                bona_fide = count.figures(("refused", "bpcer"), count.spoof);
            } else {
                species.insert(name.to_string(), count.figures(("passed", "apcer"), count.live));
            }
        }
        json!({ "species": species, "bona_fide": bona_fide, "changed": self.changed })
    }
}

impl Count {
    fn add(&mut self, subject: Option<u16>, answer: Option<&Answer>) {
        self.subjects.extend(subject);
        self.n += 1;
        match answer {
            Some(Answer::Live(_)) => self.live += 1,
            Some(Answer::Spoof(_)) => self.spoof += 1,
            Some(Answer::Inconclusive(_)) => self.inconclusive += 1,
            None => self.silent += 1,
        }
    }

    fn row(&self, name: &str, wrong: usize) -> String {
        let share = |part: usize| format!("{:.2} %", part as f64 * 100.0 / self.n.max(1) as f64);
        format!(
            "| {name} | {} | {} | {wrong} | {} | {} | {} |",
            self.subjects.len(),
            self.n,
            wilson(wrong, self.n).percent(),
            share(self.inconclusive),
            share(self.silent)
        )
    }

    fn figures(&self, (part, rate): (&str, &str), wrong: usize) -> Value {
        let found = wilson(wrong, self.n);
        json!({
            "subjects": self.subjects.len(), "n": self.n, part: wrong, rate: found.value,
            "ci95": [found.low, found.high], "inconclusive": self.inconclusive, "no_answer": self.silent,
        })
    }
}
