//! `make eval`: the accuracy of the shipped code and models on a folder of evaluation data.
//!
//! `DIDAR_DATA` names the folder (default `../shared/data` beside the project). Without one, nothing is measured and the
//! program says so and succeeds.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

#[path = "../eval/mod.rs"]
mod eval;

use std::path::Path;

use didar_vision::{Models, Perceiver};
use eval::data::{self, Data};
use eval::report::Report;
use eval::{people, presentation};

fn main() -> anyhow::Result<()> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let Some(folder) = data::folder(&project) else {
        println!("skipped: no evaluation data (set DIDAR_DATA to a folder with pairs.csv)");
        return Ok(());
    };
    let data = Data::read(&folder)?;
    let manifest = project.join("models/manifest.toml");
    let figures = people::measure(&manifest, &data)?;
    let mut perceiver = Perceiver::new(&Models::load(&manifest)?)?;
    let report = Report {
        figures,
        passive: presentation::passive(&mut perceiver, &folder)?,
        qualities: presentation::qualities(&mut perceiver, &folder, &data.pictures)?,
    };
    report.write(&project, &data)?;
    print!("{}", report.markdown(&data));
    Ok(())
}
