//! `make chaos`: real processes, killed at random. Writes its part of target/chaos/summary.json.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::path::Path;

use anyhow::{Result, bail};
use clap::Parser;
use didar_tests::chaos::{Plan, run};
use didar_tests::summary;

/// Kills and breaks a whole site of real processes, and audits what it did. Needs root.
#[derive(Parser)]
struct Arguments {
    /// Attempts to be begun at least.
    #[arg(long, default_value_t = 2_000)]
    attempts: u64,
    /// Processes to be killed at least.
    #[arg(long, default_value_t = 200)]
    kills: u64,
    /// Kiosks at once.
    #[arg(long, default_value_t = 12)]
    kiosks: usize,
    /// Of everything that is chosen.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<()> {
    let Arguments { attempts, kills, kiosks, seed } = Arguments::parse();
    let root = std::path::absolute(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))?;
    let folder = root.join("target/chaos/run");
    #[expect(clippy::disallowed_methods, reason = "says how long it took")]
    let began = std::time::Instant::now();
    let tally = run(&Plan { attempts, kills, kiosks, seed, folder: folder.clone(), root })?;
    let seconds = began.elapsed().as_secs_f64();
    let mut part = serde_json::to_value(&tally)?;
    part["seed"] = seed.into();
    part["kiosks"] = kiosks.into();
    part["seconds"] = seconds.round().into();
    let file = summary::write("chaos", part)?;
    println!("{tally:#?}\n{seconds:.0} s; see {}, logs in {}", file.display(), folder.display());
    if !tally.findings.is_clean() {
        bail!("the ledger and what was told differ");
    }
    Ok(())
}
