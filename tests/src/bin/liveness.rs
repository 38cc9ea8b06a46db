//! `make liveness`: who passes the judge of liveness, measured in the simulated world and on recorded pictures.
//!
//! `DIDAR_DATA` names the evaluation folder (default `../shared/data` beside the project); without one the faces are
//! variations of two portraits. `DIDAR_LIVENESS_N` scales the number of attempts (1 is the report's). `--tune` presents
//! the people and seeds that may set thresholds, prints what came of it, and writes nothing.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

#[path = "../eval/data.rs"]
#[allow(dead_code, reason = "the accuracy's evaluation uses the rest")]
mod data;
#[path = "../eval/det.rs"]
mod det;
#[path = "../pad/mod.rs"]
mod pad;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser;
use didar_liveness::Policy;
use didar_tests::physical::Physical;
use pad::measure::{Outcome, measure, plan};
use pad::people::{Half, people};
use pad::report::Report;

/// Measures the judge of liveness.
#[derive(Parser)]
struct Arguments {
    /// Present the people and seeds that may set thresholds; print and write nothing else.
    #[arg(long)]
    tune: bool,
    /// Only species whose name holds this; for --tune.
    #[arg(long, default_value = "")]
    only: String,
    /// One line per attempt, separated by commas; for --tune.
    #[arg(long)]
    rows: bool,
    /// The folder of `didar-agent trial`: the report's third table.
    #[arg(long, conflicts_with = "tune")]
    trial: Option<PathBuf>,
}

/// Seeds of the two halves.
const TUNING: u64 = 1_000_000_000;
const MEASURING: u64 = 2_000_000_000;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let scale = match std::env::var("DIDAR_LIVENESS_N") {
        Ok(text) => text.parse().with_context(|| format!("DIDAR_LIVENESS_N is {text}; a number is needed"))?,
        Err(_) => 1.0,
    };
    let folder = data::folder(&project);
    let policy = Policy::shipped();
    if arguments.tune {
        let people = people(&project, folder.as_deref(), Half::Tuning)?;
        let mut plan = plan(scale);
        plan.retain(|series| series.species.name().contains(&arguments.only));
        let outcomes = measure(&plan, &people.faces, &policy, TUNING);
        if arguments.rows {
            print_rows(&outcomes)
        } else {
            print_tally(&outcomes)
        }
        return Ok(());
    }
    // First, because a file that cannot be read is told at once and not after minutes.
    let physical = arguments.trial.map(|folder| Physical::read(&folder, &policy)).transpose()?;
    if let Some(physical) = &physical {
        println!("{}", physical.markdown());
    }
    let people = people(&project, folder.as_deref(), Half::Measuring)?;
    let outcomes = measure(&plan(scale), &people.faces, &policy, MEASURING);
    print_tally(&outcomes);
    let recorded = folder.as_deref().map(|folder| pad::recorded::recorded(&project, folder)).transpose()?.flatten();
    pad::pictures::write(&project, &project.join("docs/liveness/seen.png"))?;
    let report = Report {
        outcomes,
        people: people.source,
        recorded,
        alone_below: policy.fusion.total_llr_milli_min as f32 / 1000.0,
        policy_version: policy.version,
        scale,
        physical,
    };
    report.write(&project)?;
    println!("docs/liveness-report.md, target/liveness/summary.json");
    Ok(())
}

/// Answers and the relief's figure (least, quarter, middle, three quarters, most; thousandths), species by species.
fn print_tally(outcomes: &[Outcome]) {
    type Kind<'a> = (&'a str, String, String);
    let mut kinds: BTreeMap<Kind<'_>, (BTreeMap<String, usize>, Vec<i64>)> = BTreeMap::new();
    for o in outcomes {
        let light = if o.ambient <= 0.4 {
            ""
        } else if o.ambient <= 0.6 {
            " to 60 %"
        } else {
            " beyond 60 %"
        };
        let found = kinds.entry((o.profile.name(), o.species.name(), light.into())).or_default();
        *found.0.entry(format!("{:?} {}", o.verdict, o.reason)).or_default() += 1;
        found.1.push(o.beta);
    }
    for ((profile, species, light), (answers, mut betas)) in kinds {
        betas.sort_unstable();
        let at = |share: usize| betas[(betas.len() - 1) * share / 4];
        println!("{profile} {species}{light}: beta {:?} {answers:?}", [0, 1, 2, 3, 4].map(at));
    }
}

fn print_rows(outcomes: &[Outcome]) {
    println!(
        "profile,species,verdict,reason,beta,distance_mm,yaw,pitch,ambient,flicker,glasses,sway_px,tone,weaker,contrast"
    );
    for o in outcomes {
        let (profile, species, [yaw, pitch]) = (o.profile.name(), o.species.name(), o.turned_deg);
        println!(
            "{profile},{species},{:?},{},{},{:.0},{yaw:.1},{pitch:.1},{:.3},{},{},{:.2},{:.3},{},{}",
            o.verdict,
            o.reason,
            o.beta,
            o.distance_mm,
            o.ambient,
            o.flicker,
            o.glasses,
            o.sway_px,
            o.tone,
            o.response[0],
            o.response[1]
        );
    }
}
