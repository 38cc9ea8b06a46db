//! Chaos: agents, a Mosquitto and two matchers as real processes, each in a network namespace of its own, killed at
//! random (SIGKILL) while links are cut, slow, lossy, deaf on one side or reset, disks are full, agents start with a wrong
//! clock, and the clocks of all of them are set to other years while they run. Afterwards the ledger is compared with what every kiosk's application asked and was told.
//!
//! **Here:** [`run`]. **Not here:** power cuts at any byte, a million of them ([`crate::world`]); damaged bytes on a disk
//! (`agent/tests/outbox.rs`). It needs root, and a kernel with veth, `tbf` and network namespaces. A seed repeats what is
//! done and in which order; what real processes make of it is never the same twice.
//! **Start** with [`run`].

mod breaker;
mod centre;
mod kiosk;
mod net;
mod victim;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use didar_matcher::ledger::{Entry, What};
use didar_vision::{Models, Perceiver};
use tokio::sync::Semaphore;

use crate::audit::{Findings, Witnessed};
use crate::people::{self, ASTRONAUT, HOPPER};
use crate::scene::{Random, Subject};
use breaker::Breaker;
use centre::Installed;
use kiosk::{Kiosk, Place};
use net::Network;

/// How much chaos.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Attempts to be begun at least.
    pub attempts: u64,
    /// Processes to be killed at least.
    pub kills: u64,
    /// Kiosks at once.
    pub kiosks: usize,
    /// Of everything that is chosen.
    pub seed: u64,
    /// The project's folder.
    pub root: PathBuf,
    /// For everything that the run makes; emptied first.
    pub folder: PathBuf,
}

/// What came of it.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Tally {
    /// Processes killed: agents, matchers, brokers.
    pub kills: u64,
    /// Of these.
    pub killed: BTreeMap<&'static str, u64>,
    /// Ends of processes that nobody ordered: an agent that finds its disk full at its start says so and ends.
    pub falls: BTreeMap<&'static str, u64>,
    /// Links and disks that broke, by how.
    pub troubles_made: BTreeMap<String, u64>,
    /// Agents started with a wrong clock.
    pub wrong_clocks: u64,
    /// Alarms about clocks, of kiosks and of matchers.
    pub clock_alarms: u64,
    /// What the applications were told, by outcome.
    pub ends: Ends,
    /// Lines of the ledger, its chain verified.
    pub ledger_lines: u64,
    /// What the comparison found.
    #[serde(flatten)]
    pub findings: Findings,
}

/// How often each outcome was told.
type Ends = BTreeMap<String, u64>;

/// Who comes.
struct Crowd {
    right: Arc<Subject>,
    other: Arc<Subject>,
    /// The right person's number, and one that the centre does not know.
    person: String,
    stranger: String,
    /// Whoever needs the camera.
    turn: Semaphore,
}

/// How far the run is.
#[derive(Default)]
struct Progress {
    attempts: AtomicU64,
    over: AtomicBool,
}

/// Kiosks with people before their cameras: two cores cannot paint in time for more.
const CAMERAS: usize = 2;
/// Longest wait until all kiosks are connected, and until everything is told after the chaos.
const REST_MAX: Duration = Duration::from_secs(180);
/// Of so many wrong clocks one at least is told: a process may be killed before it tells.
const CLOCKS_TOLD: u64 = 8;
/// After that the last open challenges expire and are swept.
const SWEPT: Duration = Duration::from_secs(25);

impl Progress {
    fn attempted(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Makes a site, breaks it until the plan is fulfilled, lets it rest and audits it.
///
/// # Errors
/// The site cannot be made (root is needed), or does not come to rest; the folder then holds every log.
pub fn run(plan: &Plan) -> Result<Tally> {
    kiosk::unmount_leftovers(&plan.folder)?;
    let manifest = plan.root.join("models/manifest.toml");
    let [right, other] = [ASTRONAUT, HOPPER].map(|name| people::portrait(&plan.root, name));
    let person = people::iin("900101", 4, 17).context("no lawful number")?;
    let stranger = people::iin("850505", 3, 99).context("no lawful number")?;
    let mut perceiver = Perceiver::new(&Models::load(&manifest)?)?;
    let crowd = Crowd {
        right: Arc::new(Subject::load(&right, &mut perceiver)?),
        other: Arc::new(Subject::load(&other, &mut perceiver)?),
        person: person.as_str().to_owned(),
        stranger: stranger.as_str().to_owned(),
        turn: Semaphore::new(1),
    };
    drop(perceiver);
    let names = ["m1", "m2"].map(str::to_owned).into_iter().chain((1..=plan.kiosks).map(|number| format!("k{number}")));
    let network = Network::lay(&names.collect::<Vec<_>>())?;
    let sockets = tempfile::tempdir()?;
    let installed = Installed::make(&plan.folder, &manifest, sockets.path(), plan.kiosks, (&person, &right))?;
    let centre = installed.centre(&network)?;
    let kiosks = (0..)
        .zip(&installed.kiosks)
        .map(|(number, site)| {
            let place = if number < CAMERAS { Place::Camera } else { Place::Counter };
            Kiosk::open(site, network.link(number + 2), &crowd, place, plan.seed + number as u64)
        })
        .collect::<Result<Vec<_>>>()?;
    let breaker = Breaker::new(plan, &network, &centre, &kiosks);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let played = play(plan, &runtime, &breaker, &crowd, &kiosks);
    breaker.stop()?;
    let (witnessed, ends) = played?;
    let mut tally = Tally { ends, ..breaker.tally() };
    audit(&centre.ledger()?, &kiosks, &witnessed, &mut tally);
    Ok(tally)
}

/// Chaos, then rest.
fn play(
    plan: &Plan,
    runtime: &tokio::runtime::Runtime,
    breaker: &Breaker<'_>,
    crowd: &Crowd,
    kiosks: &[Kiosk],
) -> Result<(Vec<Witnessed>, Ends)> {
    let progress = Progress::default();
    breaker.start()?;
    runtime.block_on(rest(breaker, kiosks)).context("before anything broke")?;
    let (served, broken) = std::thread::scope(|scope| {
        let breaking = scope.spawn(|| {
            let broken = breaker.rage(plan, &progress);
            progress.over.store(true, Ordering::Relaxed);
            broken
        });
        let serving = (0..).zip(kiosks).map(|(place, kiosk): (u64, _)| {
            kiosk.serve(crowd, &progress, Random::new(plan.seed.wrapping_mul(1_000).wrapping_add(place)))
        });
        let served = runtime.block_on(join_all(serving.collect()));
        (served, breaking.join())
    });
    match broken {
        Ok(broken) => broken?,
        Err(_) => bail!("the thread that breaks things panicked; it is above"),
    }
    runtime.block_on(async {
        rest(breaker, kiosks).await.context("after everything was mended")?;
        pause(SWEPT).await;
        rest(breaker, kiosks).await
    })?;
    let mut ends = Ends::new();
    let mut witnessed = Vec::new();
    for (seen, told) in served {
        witnessed.push(seen);
        told.into_iter().for_each(|(outcome, times)| *ends.entry(outcome).or_default() += times);
    }
    Ok((witnessed, ends))
}

async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut ready = true;
        for (future, output) in &mut waiting {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => ready = false,
                }
            }
        }
        if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    waiting.into_iter().filter_map(|(_, output)| output).collect()
}

/// Until every kiosk is connected and has told everything.
async fn rest(breaker: &Breaker<'_>, kiosks: &[Kiosk]) -> Result<()> {
    let mut waited = Duration::ZERO;
    let look = Duration::from_millis(250);
    for kiosk in kiosks {
        while !kiosk.is_at_rest().await {
            if waited > REST_MAX {
                bail!("{} does not come to rest within {REST_MAX:?}", kiosk.id);
            }
            breaker.raise_the_fallen()?;
            pause(look).await;
            waited += look;
        }
    }
    Ok(())
}

fn audit(entries: &[Entry], kiosks: &[Kiosk], witnessed: &[Witnessed], tally: &mut Tally) {
    tally.ledger_lines = entries.len() as u64;
    for (kiosk, seen) in kiosks.iter().zip(witnessed) {
        let own = entries.iter().filter(|entry| entry.device.as_deref() == Some(kiosk.id.as_str()));
        tally.findings.add(&seen.audit(own));
    }
    let is_alarm = |entry: &&Entry| entry.what == What::Alarm;
    tally.clock_alarms = entries.iter().filter(is_alarm).filter(|entry| is_of_clocks(entry)).count() as u64;
    let of_nobody = entries.iter().filter(is_alarm).filter(|entry| entry.device.is_none() && !is_of_clocks(entry));
    tally.findings.troubles += of_nobody.count() as u64;
    // A wrong clock that nobody hears of is a trouble too.
    let wrong = tally.wrong_clocks + tally.troubles_made.get("matcher's clock set").unwrap_or(&0);
    tally.findings.troubles += u64::from(wrong >= CLOCKS_TOLD && tally.clock_alarms == 0);
}

/// A kiosk's, a matcher's while it served, or that of a matcher that did nothing for it.
fn is_of_clocks(entry: &Entry) -> bool {
    entry.reason.as_deref() == Some("clock-fault")
        || entry.note.as_ref().is_some_and(|note| note.starts_with("the clock of "))
}

#[expect(clippy::disallowed_methods, reason = "real processes live in real time")]
async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}
