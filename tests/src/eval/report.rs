//! What was measured, for people (Markdown, a plot) and for programs (JSON).

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::data::Data;
use super::det::{COMPARISONS, Line, plot};
use super::people::Figures;
use super::presentation::{Presentations, Qualities};
use didar_tests::rate::Rate;

use super::score::FAR;

/// Everything that one run measured.
pub(crate) struct Report {
    pub figures: Figures,
    pub passive: Vec<Presentations>,
    pub qualities: Vec<Qualities>,
}

impl Report {
    /// Writes `docs/accuracy.md`, `docs/accuracy-det.svg` and `target/eval/verification.json` below the project.
    pub(crate) fn write(&self, project: &Path, data: &Data) -> anyhow::Result<()> {
        let lines: Vec<Line<'_>> = self
            .figures
            .forms
            .iter()
            .map(|f| Line { name: &f.name, shipped: f.shipped, points: &f.rates.curve })
            .collect();
        write(&project.join("docs/accuracy-det.svg"), &plot(&lines, &COMPARISONS))?;
        write(&project.join("docs/accuracy.md"), &self.markdown(data))?;
        let verification = serde_json::to_string_pretty(&self.verification())?;
        write(&project.join("target/eval/verification.json"), &(verification + "\n"))
    }

    /// `{form: {accuracy, auc, eer, tar_at_far, pairs, not_found, shipped}}`.
    fn verification(&self) -> Value {
        let forms = self.figures.forms.iter().map(|form| {
            let r = &form.rates;
            let tar: Map<String, Value> =
                FAR.iter().zip(&r.tar).map(|(far, tar)| (format!("{far:e}"), json!(round(tar.value)))).collect();
            let figures = json!({
                "accuracy": round(r.accuracy.value),
                "auc": round(r.auc.value),
                "eer": round(r.eer.value),
                "tar_at_far": tar,
                "pairs": r.pairs,
                "not_found": self.figures.not_found,
                "shipped": form.shipped,
            });
            (form.name.clone(), figures)
        });
        Value::Object(forms.collect())
    }

    /// The whole document.
    pub(crate) fn markdown(&self, data: &Data) -> String {
        let mut text = String::from("# Accuracy\n\nWritten by `make eval`; do not edit.\n\n");
        let mut add = |line: &str| {
            text.push_str(line);
            text.push('\n');
        };
        add("## Verification: are two pictures of one person?\n");
        add(&self.setting(data));
        add(
            "| form | accuracy | AUC | EER | TAR at FAR 1e-2 | TAR at FAR 1e-3 | TAR at FAR 1e-4 | threshold at 1e-3, 1e-4 |",
        );
        add("| --- | --- | --- | --- | --- | --- | --- | --- |");
        for form in &self.figures.forms {
            let r = &form.rates;
            let name = if form.shipped { format!("**{}** (shipped)", form.name) } else { form.name.clone() };
            let [t2, t3, t4] = r.tar.map(percent);
            add(&format!(
                "| {name} | {} | {} | {} | {t2} | {t3} | {t4} | {:.3}, {:.3} |",
                percent(r.accuracy),
                share(r.auc),
                percent(r.eer),
                r.threshold[1],
                r.threshold[2]
            ));
        }
        add("\n![DET plot](accuracy-det.svg)\n");
        add(
            "Thresholds found on press photographs do not carry over to a kiosk's camera; see the models' cards. A model\n\
             trained by others may have seen these people: no package names its training data.\n",
        );
        self.presentations(&mut add);
        self.quality_table(&mut add);
        text
    }

    fn setting(&self, data: &Data) -> String {
        let mut text = String::new();
        let Some(first) = self.figures.forms.first() else {
            return text;
        };
        let r = &first.rates;
        writeln!(
            text,
            "{} pictures of {} people; faces were not found in {} (counted as never matching). Accuracy: {} pairs, every\n\
             fold judged with the best threshold of the others, Wilson's 95 % interval. Everything else: all {} pairs of one\n\
             person and {} pairs of two, 95 % intervals from 1,000 draws of people. Each picture goes through the shipped\n\
             path: detector, mesh, alignment, embedding.",
            data.pictures.len(),
            data.people.iter().max().map_or(0, |m| m + 1),
            self.figures.not_found,
            r.pairs,
            r.genuine,
            r.impostor
        )
        .expect("a string takes any text");
        if !self.figures.absent.is_empty() {
            writeln!(
                text,
                "\nNot measured, files absent (`make models` makes them): {}.",
                self.figures.absent.join(", ")
            )
            .expect("a string takes any text");
        }
        text
    }

    fn presentations(&self, add: &mut dyn FnMut(&str)) {
        if self.passive.is_empty() {
            return;
        }
        add("## Passive network: does one picture look alive?\n");
        add(
            "Recorded presentations, webcam, printed photographs. Wrong: the log-likelihood ratio has the wrong sign. The\n\
             ratio's mapping was fitted on these pictures; this table shows that the shipped path gives the same, no more.\n",
        );
        add("| presentation | pictures | no face | context missing | wrong | least and greatest ratio |");
        add("| --- | --- | --- | --- | --- | --- |");
        for p in &self.passive {
            add(&format!(
                "| {} | {} | {} | {} | {} | {:.2}, {:.2} |",
                p.kind,
                p.pictures,
                p.not_found,
                p.context_missing,
                percent(p.wrong),
                p.range.0,
                p.range.1
            ));
        }
        add("");
    }

    fn quality_table(&self, add: &mut dyn FnMut(&str)) {
        let Some(widest) = self.qualities.iter().max_by_key(|q| q.medians.len()) else {
            return;
        };
        add("## Quality: what the figures say about good and bad pictures\n");
        add("Medians; 100 is good, except occlusion (0) and the distance between the eyes (pixels).\n");
        let names: Vec<&str> = widest.medians.iter().map(|m| m.0).collect();
        add(&format!("| pictures | count | refused | face found | most faces | {} |", names.join(" | ")));
        add(&format!("| --- | --- | --- | --- | --- |{}", " --- |".repeat(names.len())));
        for q in &self.qualities {
            let cells: Vec<String> = if q.medians.is_empty() {
                names.iter().map(|_| "-".to_owned()).collect()
            } else {
                q.medians.iter().map(|m| format!("{:.0}", m.1)).collect()
            };
            add(&format!(
                "| {} | {} | {} | {} | {} | {} |",
                q.kind,
                q.pictures,
                q.refused,
                q.found,
                q.faces,
                cells.join(" | ")
            ));
        }
    }
}

fn percent(rate: Rate) -> String {
    format!("{:.2} % ({:.2}-{:.2})", rate.value * 100.0, rate.low * 100.0, rate.high * 100.0)
}

fn share(rate: Rate) -> String {
    format!("{:.5} ({:.5}-{:.5})", rate.value, rate.low, rate.high)
}

fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
