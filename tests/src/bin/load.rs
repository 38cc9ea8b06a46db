//! `make load`: a month's records, a thousand devices at once, the cost of a reconnect. Writes target/load/summary.json.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Parser;
use didar_tests::load::{drain, herd, resumption};
use didar_tests::people::{self, ASTRONAUT};
use didar_tests::process;
use didar_tests::site::Site;
use serde_json::json;

/// Measures what the centre of one machine bears.
#[derive(Parser)]
struct Arguments {
    /// Records of one kiosk: days times attempts a day.
    #[arg(long, default_value_t = 30_000)]
    records: u64,
    /// Devices that come back at once.
    #[arg(long, default_value_t = 1_000)]
    devices: usize,
}

fn main() -> Result<()> {
    let Arguments { records, devices } = Arguments::parse();
    process::end_with_children()?;
    let root = std::path::absolute(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))?;
    let (folder, manifest) = (root.join("target/load"), root.join("models/manifest.toml"));
    let sockets = tempfile::tempdir()?;
    let site = Site::open(&folder.join("run"), &manifest)?;
    let subject = people::iin("900101", 4, 17).context("no lawful number")?;
    site.enrol(&subject, &people::portrait(&root, ASTRONAUT))?;
    let kiosk = site.kiosk("kiosk-tls", &manifest, sockets.path(), site.broker().port(), 30)?;
    let resumption = resumption::run(&site, &kiosk)?;
    println!("{resumption:#?}");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let drain = runtime.block_on(drain::run(&site, &manifest, sockets.path(), records))?;
    println!("{drain:#?}");
    let herd = runtime.block_on(herd::run(&site, &subject, devices))?;
    println!("{herd:#?}");
    runtime.shutdown_background();
    site.close()?;
    let file = folder.join("summary.json");
    let summary = json!({ "resumption": resumption, "drain": drain, "herd": herd });
    std::fs::write(&file, serde_json::to_string_pretty(&summary)? + "\n")
        .with_context(|| format!("writing {}", file.display()))?;
    println!("see {}", file.display());
    Ok(())
}
