//! What was measured, for people (Markdown, plots) and for programs (JSON).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use didar_liveness::guess_bound;
use didar_protocol::reason::Reason;
use didar_tests::crowd::{Profile, Species};
use didar_tests::physical::Physical;
use serde_json::{Map, Value, json};

use super::measure::{Outcome, Verdict};
use super::recorded::Recorded;
use crate::det::{self, Line};
use didar_tests::rate::{Rate, wilson};

/// Everything that one run measured.
pub(crate) struct Report {
    pub outcomes: Vec<Outcome>,
    pub people: String,
    pub recorded: Option<Recorded>,
    /// Mean log-likelihood ratio below which the policy lets the network refuse alone.
    pub alone_below: f32,
    pub policy_version: u32,
    pub scale: f64,
    /// What trials on devices found.
    pub physical: Option<Physical>,
}

/// One row of a table.
struct Row {
    name: String,
    n: usize,
    live: usize,
    spoof: usize,
    inconclusive: usize,
    /// Of the inconclusive: answers that are about the light.
    light: usize,
}

impl Row {
    fn of<'a>(name: impl Into<String>, outcomes: impl Iterator<Item = &'a Outcome>) -> Self {
        let mut row = Self { name: name.into(), n: 0, live: 0, spoof: 0, inconclusive: 0, light: 0 };
        for outcome in outcomes {
            row.n += 1;
            match outcome.verdict {
                Verdict::Live => row.live += 1,
                Verdict::Spoof => row.spoof += 1,
                Verdict::Inconclusive => {
                    row.inconclusive += 1;
                    row.light += usize::from(ABOUT_LIGHT.contains(&outcome.reason));
                }
            }
        }
        row
    }

    fn passed(&self) -> Rate {
        wilson(self.live, self.n)
    }

    fn accused(&self) -> Rate {
        wilson(self.spoof, self.n)
    }

    fn attack(&self) -> String {
        let inconclusive = percent(self.inconclusive as f64 / self.n.max(1) as f64);
        format!("| {} | {} | {} | {} | {inconclusive} |", self.name, self.n, self.live, self.passed().percent())
    }

    fn bona_fide(&self) -> String {
        let inconclusive = wilson(self.inconclusive, self.n).percent();
        let live = percent(self.live as f64 / self.n.max(1) as f64);
        let light = if self.inconclusive == 0 { "".into() } else { self.light.to_string() };
        let (name, n, accused) = (&self.name, self.n, self.accused().percent());
        format!("| {name} | {n} | {live} | {accused} | {inconclusive} | {light} |")
    }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// Reasons that tell a person about the light.
const ABOUT_LIGHT: [&str; 2] = [Reason::TooMuchInfrared.name(), Reason::TooBright.name()];
/// The profile whose bounds the tables state; the others stand in the frontier.
const MAIN: Profile = Profile::Fps60;
/// Ambient light up to which the main figures are told, and beyond which the answer is about the light.
const AMBIENT_MAX: f32 = 0.6;

impl Report {
    /// Writes `docs/liveness-report.md`, its plot and `target/liveness/summary.json` below the project.
    pub(crate) fn write(&self, project: &Path) -> anyhow::Result<()> {
        put(&project.join("docs/liveness/det.svg"), &self.plot())?;
        put(&project.join("docs/liveness-report.md"), &self.markdown())?;
        let summary = serde_json::to_string_pretty(&self.summary())? + "\n";
        put(&project.join("target/liveness/summary.json"), &summary)
    }

    fn of(&self, profile: Profile, species: Species) -> impl Iterator<Item = &Outcome> + Clone {
        self.outcomes.iter().filter(move |o| o.profile == profile && o.species == species)
    }

    fn alive(&self, profile: Profile) -> impl Iterator<Item = &Outcome> + Clone {
        self.of(profile, Species::Live).filter(|o| o.ambient <= AMBIENT_MAX)
    }

    /// The living in groups: by distance, pose, ambient light and so on.
    fn groups(&self, profile: Profile) -> Vec<(&'static str, &'static str, Vec<Row>)> {
        let all: Vec<&Outcome> = self.alive(profile).collect();
        let cut = |name: &str, unit: &str, edges: &[f32], of: &dyn Fn(&Outcome) -> f32| -> Vec<Row> {
            edges
                .windows(2)
                .map(|w| {
                    let inside = all.iter().copied().filter(|o| (w[0]..w[1]).contains(&of(o)));
                    Row::of(format!("{name}{} to {}{unit}", w[0], w[1]), inside)
                })
                .collect()
        };
        let mut tones: Vec<f32> = all.iter().map(|o| o.tone).collect();
        tones.sort_by(f32::total_cmp);
        let third = |k: usize| tones.get(k * tones.len() / 3).copied().unwrap_or(0.0);
        let tone = |o: &Outcome| if o.tone < third(1) { 0 } else { 1 + usize::from(o.tone >= third(2)) };
        let tones = ["darkest third", "middle third", "lightest third"].into_iter().enumerate();
        let tones = tones.map(|(n, name)| Row::of(name, all.iter().copied().filter(|o| tone(o) == n))).collect();
        let either = |yes: &str, no: &str, of: &dyn Fn(&Outcome) -> bool| {
            vec![
                Row::of(yes, all.iter().copied().filter(|o| of(o))),
                Row::of(no, all.iter().copied().filter(|o| !of(o))),
            ]
        };
        let light = |edges: &[f32]| -> Vec<Row> {
            let every: Vec<&Outcome> = self.of(profile, Species::Live).collect();
            let level = |o: &&Outcome, w: &[f32]| (w[0]..w[1]).contains(&o.ambient);
            edges
                .windows(2)
                .map(|w| {
                    let inside = every.iter().copied().filter(|o| level(o, w));
                    Row::of(format!("{:.0} to {:.0} %", w[0] * 100.0, w[1] * 100.0), inside)
                })
                .collect()
        };
        vec![
            ("ambient", "ambient light, of full scale", light(&[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])),
            (
                "distance",
                "distance",
                cut("", " mm", &[350.0, 400.0, 450.0, 500.0, 550.0, 600.0, 650.0, 700.1], &|o| o.distance_mm),
            ),
            (
                "pose",
                "head turned by",
                cut("", " degrees", &[0.0, 5.0, 10.0, 15.1], &|o| o.turned_deg[0].hypot(o.turned_deg[1])),
            ),
            ("movement", "fastest movement between frames", cut("", " px", &[0.0, 1.0, 2.0, 4.1], &|o| o.sway_px)),
            ("glasses", "glasses", either("with", "without", &|o| o.glasses)),
            ("flicker", "flicker at 100 Hz", either("up to 30 %", "none", &|o| o.flicker)),
            ("skin", "brightness of the skin in its picture", tones),
        ]
    }

    fn summary(&self) -> Value {
        let mut species = Map::new();
        for kind in attacks() {
            let row = Row::of(kind.name(), self.of(MAIN, kind));
            let rate = row.passed();
            let figures = json!({
                "n": row.n, "passed": row.live, "apcer": round(rate.value), "ci95": [round(rate.low), round(rate.high)],
                "inconclusive": row.inconclusive,
            });
            species.insert(row.name, figures);
        }
        let told = |row: &Row| {
            let rate = row.accused();
            json!({
                "n": row.n, "refused": row.spoof, "bpcer": round(rate.value), "ci95": [round(rate.low), round(rate.high)],
                "inconclusive": row.inconclusive,
            })
        };
        let live = Row::of("live", self.alive(MAIN));
        let mut summary = json!({
            "policy_version": self.policy_version,
            "species": species,
            "bpcer": round(live.accused().value),
            "bona_fide": told(&live),
            "physical": self.physical.as_ref().map(Physical::summary),
        });
        for (name, _, rows) in self.groups(MAIN) {
            let rows: Map<String, Value> = rows.iter().map(|row| (row.name.clone(), told(row))).collect();
            summary[format!("by_{name}")] = Value::Object(rows);
        }
        let profiles = Profile::ALL.into_iter();
        let profiles = profiles.map(|p| (p.name().to_owned(), told(&Row::of(p.name(), self.alive(p)))));
        summary["by_profile"] = Value::Object(profiles.collect());
        let bounds = Profile::ALL.into_iter().map(|p| {
            let bound = guess_bound(p.shape());
            let figures = json!({ "passing": bound.passing, "codes": bound.codes, "log2": round(bound.log2()) });
            (p.name().to_owned(), figures)
        });
        summary["guess"] = Value::Object(bounds.collect());
        summary
    }

    /// The relief's figure alone as a score: attack passes against living refused.
    fn plot(&self) -> String {
        let betas = |outcomes: &mut dyn Iterator<Item = &Outcome>| -> Vec<i64> {
            let mut found: Vec<i64> = outcomes.map(|o| o.beta).collect();
            found.sort_unstable();
            found
        };
        let living = betas(&mut self.of(MAIN, Species::Live).filter(|o| o.ambient <= 0.4));
        let kinds: Vec<Species> = Species::PRINTS.into_iter().chain(Species::SOLIDS).collect();
        let curves: Vec<(String, Vec<(f64, f64)>)> = kinds
            .iter()
            .map(|kind| {
                let forged = betas(&mut self.of(MAIN, *kind));
                let points = (-300..1500).step_by(5).map(|threshold| {
                    let passed = forged.len() - forged.partition_point(|b| *b < threshold);
                    let refused = living.partition_point(|b| *b < threshold);
                    (passed as f64 / forged.len().max(1) as f64, refused as f64 / living.len().max(1) as f64)
                });
                (kind.name(), points.collect())
            })
            .collect();
        let lines: Vec<Line<'_>> = curves.iter().map(|(name, points)| Line { name, shipped: false, points }).collect();
        det::plot(&lines, &det::PRESENTATIONS)
    }

    fn markdown(&self) -> String {
        let mut text = String::new();
        let mut add = |line: &str| writeln!(text, "{line}").expect("a string takes any text");
        add(include_str!("preamble.md"));
        add(&format!(
            "Policy version {}; {} attempts; {}; scale {}. People and seeds are others than those that set thresholds.\n",
            self.policy_version,
            self.outcomes.len(),
            self.people,
            self.scale
        ));
        self.simulated(&mut add);
        self.recorded(&mut add);
        add("## 3. Physical\n");
        match &self.physical {
            Some(physical) => add(&physical.markdown()),
            None => add(
                "Nothing: no trial's folder was named (`make liveness TRIAL=DIR`). **Nobody has tried a device yet.**\n",
            ),
        }
        add(include_str!("limits.md"));
        text
    }

    fn simulated(&self, add: &mut dyn FnMut(&str)) {
        add("## 1. Simulated\n");
        add("### The living (60 frames a second, ambient light to 60 % of full scale)\n");
        let live = Row::of("all", self.alive(MAIN));
        add(LIVING);
        add(&live.bona_fide());
        add("");
        self.reasons(add);
        let worst = attacks()
            .into_iter()
            .filter(|kind| !Species::SOLIDS.contains(kind))
            .map(|kind| Row::of(kind.name(), self.of(MAIN, kind)).passed().value)
            .fold(0.0, f64::max);
        add(&format!(
            "ACER (the mean of BPCER and the worst species' APCER, solids apart): {}.\n",
            percent(f64::midpoint(live.accused().value, worst))
        ));
        for (title, kinds) in [
            ("Prints", &Species::PRINTS[..]),
            ("Recordings, injections and relays", &Species::VIDEOS[..]),
            ("Others", &Species::OTHERS[..]),
            ("What light and relief cannot tell apart", &Species::SOLIDS[..]),
        ] {
            add(&format!("### {title} (60 frames a second, ambient light to 40 %)\n"));
            add("| species | n | passed | APCER (95 %) | inconclusive |\n| --- | --- | --- | --- | --- |");
            let rows: Vec<Row> = kinds.iter().map(|kind| Row::of(kind.name(), self.of(MAIN, *kind))).collect();
            rows.iter().for_each(|row| add(&row.attack()));
            let all = kinds.iter().flat_map(|kind| self.of(MAIN, *kind));
            add(&Row::of("together", all).attack());
            add("");
        }
        add("![DET](liveness/det.svg)\n");
        add("### The living, by group (60 frames a second)\n");
        for (_, title, rows) in self.groups(MAIN) {
            add(&LIVING.replace("presented", title));
            rows.iter().for_each(|row| add(&row.bona_fide()));
            add("");
        }
        self.frontier(add);
    }

    /// Why the living were not judged live.
    fn reasons(&self, add: &mut dyn FnMut(&str)) {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for outcome in self.alive(MAIN).filter(|o| o.verdict != Verdict::Live) {
            let kind = if outcome.verdict == Verdict::Spoof { "spoof" } else { "inconclusive" };
            *counts.entry(format!("{kind}: {}", outcome.reason)).or_default() += 1;
        }
        let told: Vec<String> = counts.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
        add(&format!("Not judged live: {}.\n", if told.is_empty() { "nobody".into() } else { told.join("; ") }));
    }

    fn frontier(&self, add: &mut dyn FnMut(&str)) {
        add("### By camera profile: the frontier of guess bound and comfort\n");
        add(
            "| profile | slots, frames a slot, wrong allowed | chance of a guess | living n | BPCER | inconclusive to 40 % | inconclusive 40 to 60 % | prints and videos passed |",
        );
        add("| --- | --- | --- | --- | --- | --- | --- | --- |");
        for profile in Profile::ALL {
            let shape = profile.shape();
            let live = Row::of("", self.alive(profile));
            let dim = Row::of("", self.alive(profile).filter(|o| o.ambient <= 0.4));
            let bright = Row::of("", self.alive(profile).filter(|o| o.ambient > 0.4));
            let kinds = || Species::PRINTS.into_iter().chain(Species::VIDEOS);
            let forged = Row::of("", kinds().flat_map(|kind| self.of(profile, kind)));
            add(&format!(
                "| {} | {}, {}, {} | 2^{:.2} | {} | {} | {} | {} | {} of {} |",
                profile.name(),
                shape.slots,
                shape.frames_per_slot,
                shape.wrong_allowed,
                guess_bound(shape).log2(),
                live.n,
                percent(live.accused().value),
                percent(dim.inconclusive as f64 / dim.n.max(1) as f64),
                percent(bright.inconclusive as f64 / bright.n.max(1) as f64),
                forged.live,
                forged.n
            ));
        }
        add("\nThe chance is counted: sequences that the tolerance takes for one code, over all lawful codes:");
        for profile in Profile::ALL {
            let bound = guess_bound(profile.shape());
            add(&format!("- {}: {} of {}", profile.name(), bound.passing, bound.codes));
        }
        add("");
    }

    fn recorded(&self, add: &mut dyn FnMut(&str)) {
        add("## 2. Recorded\n");
        let Some(recorded) = &self.recorded else {
            add("Nothing: no evaluation folder was there (`DIDAR_DATA`).\n");
            return;
        };
        let (threshold, refused) = recorded.at_one_percent();
        let [live, spoof] = recorded.below(self.alone_below);
        let rate = |part, all: &[f32]| wilson(part, all.len()).percent();
        add(
            "The passive network on webcam pictures of living people and of prints (NUAA), one picture each, single frames.\n",
        );
        add("| what | figure |\n| --- | --- |");
        add(&format!("| living, prints judged | {}, {} |", recorded.live.len(), recorded.spoof.len()));
        add(&format!("| without a face or its surroundings | {}, {} |", recorded.unjudged[0], recorded.unjudged[1]));
        add(&format!("| BPCER at APCER 1 % (ratio {threshold:.2}) | {} |", rate(refused, &recorded.live)));
        add(&format!(
            "| living refused by the network alone (below {:.2}) | {} |",
            self.alone_below,
            rate(live, &recorded.live)
        ));
        add(&format!("| prints refused by the network alone | {} |", rate(spoof, &recorded.spoof)));
        add(
            "\nThe data folder's talking heads are not used: no packaged decoder for their format is part of the build.\n",
        );
    }
}

/// Heads a table of the living.
const LIVING: &str = "| presented | n | judged live | BPCER (95 %) | inconclusive (95 %) | of these about the light |\n\
    | --- | --- | --- | --- | --- | --- |";

fn attacks() -> Vec<Species> {
    let all = Species::PRINTS.into_iter().chain(Species::VIDEOS).chain(Species::OTHERS).chain(Species::SOLIDS);
    all.collect()
}

fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn put(file: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
