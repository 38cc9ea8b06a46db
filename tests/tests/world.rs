//! A share of what `make world` plays.
#![allow(clippy::unwrap_used, missing_docs)]

use didar_tests::world::{Site, Tally, run};

/// Things that break in one world, and worlds.
const POINTS: u64 = 400;
const WORLDS: u64 = 25;

#[test]
fn nothing_is_lost_doubled_reordered_or_wrong() {
    let site = Site::new().unwrap();
    let total = std::sync::Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for half in 0..2 {
            let (site, total) = (&site, &total);
            scope.spawn(move || {
                for seed in (1..=WORLDS).filter(|seed| seed % 2 == half) {
                    let tally = run(site, seed, POINTS).unwrap();
                    assert!(tally.findings.is_clean(), "seed {seed}: {tally:?}");
                    total.lock().unwrap().add(&tally);
                }
            });
        }
    });
    let total = total.into_inner().unwrap();
    // Worlds in which nobody is recognised and no verdict goes astray would prove little.
    assert!(total.points >= 10_000 && total.findings.grants > 20 && total.findings.undelivered > 10, "{total:?}");
}

#[test]
fn the_same_seed_plays_the_same_world() {
    let site = Site::new().unwrap();
    let play = || run(&site, 7, 100).unwrap().points;
    assert_eq!(play(), play());
}
