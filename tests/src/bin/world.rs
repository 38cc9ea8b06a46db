//! `make world`: worlds in which everything breaks, a million times. Writes its part of target/chaos/summary.json after
//! each world: a run that was stopped says how far it came.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};
use clap::Parser;
use didar_tests::summary;
use didar_tests::world::{Site, Tally, run};

/// Plays simulated worlds and audits them.
#[derive(Parser)]
struct Arguments {
    /// Things that break, all worlds together.
    #[arg(long, default_value_t = 1_000_000)]
    points: u64,
    /// Things that break in one world.
    #[arg(long, default_value_t = 1_000)]
    each: u64,
    /// The first world's seed; each next one's is one more.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Worlds at once; by default as many as there are processors.
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let site = Site::new()?;
    let worlds = arguments.points.div_ceil(arguments.each);
    let threads = arguments.threads.unwrap_or(std::thread::available_parallelism()?.get());
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let played = Mutex::new(Played::default());
    #[expect(clippy::disallowed_methods, reason = "says how long it took")]
    let began = std::time::Instant::now();
    let play = || -> Result<()> {
        loop {
            let world = next.fetch_add(1, Ordering::Relaxed);
            if world >= worlds || failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            let seed = arguments.seed + world;
            let tally = run(&site, seed, arguments.each).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            if !tally.findings.is_clean() {
                failed.store(true, Ordering::Relaxed);
                bail!("seed {seed}: {tally:?}");
            }
            let mut played = played.lock().unwrap_or_else(PoisonError::into_inner);
            played.worlds += 1;
            played.total.add(&tally);
            played.write(arguments.seed, began.elapsed().as_secs())?;
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(play)).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(played) => played,
            Err(_) => bail!("a world ended in a panic; it is above"),
        })
    })?;
    let played = played.into_inner().unwrap_or_else(PoisonError::into_inner);
    let seconds = began.elapsed().as_secs();
    let file = played.write(arguments.seed, seconds)?;
    let Played { worlds, total } = played;
    println!("{} things broke in {worlds} worlds within {seconds} s: {total:?}; see {}", total.points, file.display());
    Ok(())
}

/// The worlds that came to their end.
#[derive(Default)]
struct Played {
    worlds: u64,
    total: Tally,
}

impl Played {
    fn write(&self, seed: u64, seconds: u64) -> Result<PathBuf> {
        let mut part = serde_json::to_value(&self.total)?;
        part["kills"] = self.total.points.into();
        part["seed"] = seed.into();
        part["worlds"] = self.worlds.into();
        part["seconds"] = seconds.into();
        summary::write("simulation", part)
    }
}
