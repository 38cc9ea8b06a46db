//! Presents species after species, judges each attempt, and keeps what the tables need.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use didar_liveness::{Answer, Policy};
use didar_tests::crowd::{Person, Profile, Species, present};

/// One attempt, judged.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub species: Species,
    pub profile: Profile,
    pub verdict: Verdict,
    pub reason: &'static str,
    /// The relief's figure, thousandths; none where the judge did not come so far.
    pub beta: i64,
    /// Responses of the face to the weaker lamp, and of the face against the background's; thousandths.
    pub response: [i64; 2],
    pub distance_mm: f32,
    /// Yaw and pitch.
    pub turned_deg: [f32; 2],
    pub ambient: f32,
    pub flicker: bool,
    pub glasses: bool,
    pub sway_px: f32,
    pub tone: f32,
}

/// The judge's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Live,
    Spoof,
    Inconclusive,
}

/// Some attempts of one species.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Series {
    pub species: Species,
    pub profile: Profile,
    pub ambient: [f32; 2],
    pub attempts: usize,
}

/// Attempts of each kind at a scale of 1: enough for the bounds that the report states.
pub(crate) fn plan(scale: f64) -> Vec<Series> {
    let scaled = |n: usize| ((n as f64 * scale).ceil() as usize).max(4);
    let dim = [0.0, 0.4];
    let mut plan = Vec::new();
    let mut add = |species, profile, ambient, n| {
        plan.push(Series { species, profile, ambient, attempts: scaled(n) });
    };
    for profile in Profile::ALL {
        // 60 frames a second is what the bounds are stated for; the others show the frontier.
        let share = if profile == Profile::Fps60 { 1 } else { 10 };
        add(Species::Live, profile, [0.0, 0.2], 1500 / share.min(4));
        add(Species::Live, profile, [0.2, 0.4], 1500 / share.min(4));
        add(Species::Live, profile, [0.4, 0.6], 1000 / share.min(4));
        add(Species::Live, profile, [0.6, 0.8], 400 / share);
        Species::PRINTS.iter().for_each(|&species| add(species, profile, dim, 1000 / share));
        Species::VIDEOS.iter().for_each(|&species| add(species, profile, dim, 840 / share));
        Species::OTHERS.iter().for_each(|&species| add(species, profile, dim, 300 / share));
        Species::SOLIDS.iter().for_each(|&species| add(species, profile, dim, 300 / share));
    }
    plan
}

/// Plays and judges a plan on every processor. Seeds begin at `first_seed`.
pub(crate) fn measure(plan: &[Series], people: &[Arc<Person>], policy: &Policy, first_seed: u64) -> Vec<Outcome> {
    let tasks: Vec<(Series, u64)> = plan
        .iter()
        .enumerate()
        .flat_map(|(n, series)| {
            let first = first_seed + n as u64 * 100_000;
            (0..series.attempts as u64).map(move |k| (*series, first + k))
        })
        .collect();
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let work = || {
            let mut done = Vec::new();
            while let Some((series, seed)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.push(one(series, people, policy, *seed));
            }
            done
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a worker does not panic")).collect()
    })
}

fn one(series: &Series, people: &[Arc<Person>], policy: &Policy, seed: u64) -> Outcome {
    let (capture, code) = present(series.species, people, series.profile, series.ambient, seed);
    let evidence = capture.play(&code).judge(policy);
    let conditions = capture.conditions();
    let figure = |name| evidence.figure(name).unwrap_or(0);
    Outcome {
        species: series.species,
        profile: series.profile,
        verdict: match evidence.answer() {
            Answer::Live(_) => Verdict::Live,
            Answer::Spoof(_) => Verdict::Spoof,
            Answer::Inconclusive(_) => Verdict::Inconclusive,
        },
        reason: evidence.answer().reason().name(),
        beta: figure("beta"),
        response: [figure("response-left").min(figure("response-right")), figure("contrast")],
        distance_mm: conditions.distance_mm,
        turned_deg: [conditions.pose_deg[0], conditions.pose_deg[1]],
        ambient: conditions.ambient,
        flicker: conditions.flicker > 0.0,
        glasses: conditions.glasses,
        sway_px: conditions.sway_px,
        tone: capture.tone(),
    }
}
