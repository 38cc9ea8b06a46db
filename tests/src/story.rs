//! The story as it is told: lines in the terminal, and `story.json` for machines.
#![allow(clippy::print_stdout, reason = "the terminal is where the story is told")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::stage::{Attempted, Ending};

/// What happened so far.
pub struct Story {
    out: PathBuf,
    scenes: Vec<Value>,
    surprises: Vec<String>,
}

impl Story {
    /// Begins a story in the folder `out`, which is emptied.
    pub fn begin(out: &Path) -> Result<Self> {
        if out.exists() {
            std::fs::remove_dir_all(out).with_context(|| format!("emptying {}", out.display()))?;
        }
        std::fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
        Ok(Self { out: out.to_path_buf(), scenes: Vec::new(), surprises: Vec::new() })
    }

    /// A heading.
    pub fn chapter(&self, title: &str) {
        println!("\n\x1b[1m{title}\x1b[0m");
    }

    /// A line, or several.
    pub fn say(&self, text: &str) {
        text.lines().for_each(|line| println!("  {line}"));
    }

    /// Lines of the operator's view.
    pub fn events(&self, lines: &[String]) {
        for line in lines {
            println!("  \x1b[36mcentre |\x1b[0m {}", readable(line).unwrap_or_else(|| line.clone()));
        }
    }

    /// One attempt, and what was expected of it.
    pub fn scene(&mut self, name: &str, attempted: Attempted, expected: Ending) -> Result<()> {
        for (stage, at) in &attempted.stages {
            println!("  {:>6} ms  {stage}", at.as_millis());
        }
        if attempted.tries > 1 {
            println!("  {} captures did not suffice and were tried again", attempted.tries - 1);
        }
        println!("  \x1b[1m{} ({})\x1b[0m {}", attempted.outcome, attempted.reason, attempted.text);
        if attempted.outcome != expected.0 {
            self.surprises.push(format!("{name}: {} instead of {}", attempted.outcome, expected.0));
        }
        let stages: Vec<Value> =
            attempted.stages.iter().map(|(stage, at)| json!({ "stage": stage, "at_ms": millis(*at) })).collect();
        self.scenes.push(json!({
            "scene": name,
            "outcome": attempted.outcome,
            "reason": attempted.reason,
            "ms": millis(attempted.took),
            "tries": attempted.tries,
            "stages": stages,
        }));
        Ok(())
    }

    /// Something that is no attempt but belongs to the story.
    pub fn note(&mut self, name: &str, outcome: &str, reason: &str, took: Duration) {
        println!("  {:>6} ms  {name}: {outcome}", took.as_millis());
        self.scenes.push(json!({ "scene": name, "outcome": outcome, "reason": reason, "ms": millis(took) }));
    }

    /// What the agent needed.
    pub fn agent(&mut self, ready_ms: u64, resident_mb: f64, peak_mb: f64) -> Result<()> {
        let facts = json!({ "ready_ms": ready_ms, "agent_rss_mb": resident_mb, "agent_peak_rss_mb": peak_mb });
        std::fs::write(self.out.join("agent.json"), serde_json::to_string_pretty(&facts)?).context("writing agent.json")
    }

    /// A stopwatch.
    #[expect(clippy::disallowed_methods, reason = "the demo measures real time")]
    pub fn clock(&self) -> Instant {
        Instant::now()
    }

    /// Writes `story.json`; fails if anything went otherwise than it should.
    pub fn finish(self) -> Result<()> {
        let path = self.out.join("story.json");
        std::fs::write(&path, serde_json::to_string_pretty(&self.scenes)?).context("writing story.json")?;
        println!("\n{} scenes; pictures and story.json are in {}", self.scenes.len(), self.out.display());
        if self.surprises.is_empty() {
            return Ok(());
        }
        bail!("the story went otherwise:\n  {}", self.surprises.join("\n  "))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn readable(line: &str) -> Option<String> {
    let event: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
    let words = ["kind", "device", "verdict", "outcome", "reason", "note"].map(text);
    Some(words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("  "))
}
