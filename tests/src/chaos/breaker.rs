//! Whoever breaks things: one thread that decides, and a short-lived one for each thing that is broken for a while.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

use super::centre::Centre;
use super::kiosk::{Disk, Kiosk};
use super::net::{Network, Trouble};
use super::victim::{RIGHT, Victim};
use super::{Plan, Progress, Tally};
use crate::scene::Random;

/// What can be broken.
pub(super) struct Breaker<'a> {
    network: &'a Network,
    broker: Arc<Victim>,
    matchers: Vec<Arc<Victim>>,
    agents: Vec<Arc<Victim>>,
    disks: Vec<Arc<Disk>>,
    /// One for each link: two matchers', then the kiosks'; and one for each disk.
    links_busy: Vec<AtomicBool>,
    disks_busy: Vec<AtomicBool>,
    /// The broker's, the matchers', then the kiosks'.
    clocks_busy: Vec<AtomicBool>,
    made: Mutex<BTreeMap<String, u64>>,
    wrong_clocks: AtomicU64,
    clocks: Mutex<Random>,
}

/// Of each kind of process: where it stands in [`Tally::killed`].
const KINDS: [&str; 3] = ["agents", "matchers", "brokers"];
/// Between two looks, and the shortest time between two things that are broken.
const LOOK: Duration = Duration::from_millis(100);
/// Where a clock that runs is set to: before every certificate, and after.
const LEAPS: [&str; 2] = ["@1970-01-01 00:10:00", "+12y"];

impl<'a> Breaker<'a> {
    pub(super) fn new(plan: &Plan, network: &'a Network, centre: &Centre, kiosks: &[Kiosk]) -> Self {
        let free = |count: usize| (0..count).map(|_| AtomicBool::new(false)).collect();
        Self {
            network,
            broker: Arc::clone(&centre.broker),
            matchers: centre.matchers.iter().map(Arc::clone).collect(),
            agents: kiosks.iter().map(|kiosk| Arc::clone(&kiosk.agent)).collect(),
            disks: kiosks.iter().map(Kiosk::disk).collect(),
            links_busy: free(kiosks.len() + 2),
            disks_busy: free(kiosks.len()),
            clocks_busy: free(kiosks.len() + 3),
            made: Mutex::default(),
            wrong_clocks: AtomicU64::new(0),
            clocks: Mutex::new(Random::new(plan.seed ^ 0x0c10_c405)),
        }
    }

    /// Starts everything.
    pub(super) fn start(&self) -> Result<()> {
        self.victims().try_for_each(|victim| victim.rise())
    }

    /// Ends everything, politely.
    pub(super) fn stop(&self) -> Result<()> {
        self.agents.iter().chain(&self.matchers).chain([&self.broker]).try_for_each(|victim| victim.stop())
    }

    fn victims(&self) -> impl Iterator<Item = &Arc<Victim>> {
        [&self.broker].into_iter().chain(&self.matchers).chain(&self.agents)
    }

    /// Breaks things, as many as belong to the attempts so far, until there were enough of both; then mends them.
    pub(super) fn rage(&self, plan: &Plan, progress: &Progress) -> Result<()> {
        let mut random = Random::new(plan.seed);
        std::thread::scope(|scope| {
            loop {
                let (attempts, kills) = (progress.attempts.load(Ordering::Relaxed), self.kills());
                if attempts >= plan.attempts && kills >= plan.kills {
                    return Ok(());
                }
                if kills * plan.attempts <= attempts * plan.kills {
                    let time = Duration::from_millis(300 + random.below(5_000));
                    match random.below(100) {
                        0..=34 => self.kill(scope, &self.agents, &mut random)?,
                        35..=49 => self.kill(scope, &self.matchers, &mut random)?,
                        50..=57 => self.kill(scope, std::slice::from_ref(&self.broker), &mut random)?,
                        58..=82 => self.trouble(scope, Trouble::any(&mut random), &mut random, time)?,
                        83..=89 => self.reset(&mut random)?,
                        90..=93 => self.leap(scope, &mut random, time)?,
                        _ => self.fill(scope, &mut random, time)?,
                    }
                }
                self.raise_the_fallen()?;
                wait(LOOK);
            }
        })
    }

    /// A process that is gone without an order is started again.
    pub(super) fn raise_the_fallen(&self) -> Result<()> {
        for victim in self.victims() {
            if victim.has_fallen()? {
                victim.rise()?;
            }
        }
        Ok(())
    }

    fn kill<'s>(
        &'s self,
        scope: &'s std::thread::Scope<'s, '_>,
        victims: &'s [Arc<Victim>],
        random: &mut Random,
    ) -> Result<()> {
        let victim = &victims[random.below(victims.len() as u64) as usize];
        if victim.kill()? {
            let time = Duration::from_millis(random.below(800));
            let agent = self.agents.iter().any(|agent| Arc::ptr_eq(agent, victim));
            let clock = if agent { self.first_clock() } else { None };
            scope.spawn(move || {
                wait(time);
                let rise = || {
                    clock.map_or(Ok(()), |clock| victim.clock().set(clock))?;
                    victim.rise()
                };
                self.report("rise", rise());
            });
        }
        Ok(())
    }

    /// Some boards have no battery and begin in 1970; some are a month ahead.
    fn first_clock(&self) -> Option<&'static str> {
        let choice = self.clocks.lock().unwrap_or_else(PoisonError::into_inner).below(6);
        let time = match choice {
            0 => LEAPS[0],
            1 => "+30d",
            _ => return Some(RIGHT),
        };
        self.wrong_clocks.fetch_add(1, Ordering::Relaxed);
        Some(time)
    }

    /// Sets the clock of a process while it runs, and right again after `time`.
    fn leap<'s>(&'s self, scope: &'s std::thread::Scope<'s, '_>, random: &mut Random, time: Duration) -> Result<()> {
        let victims: Vec<&Arc<Victim>> = self.victims().collect();
        // The centre's three as often as all kiosks: a kiosk looks at its calendar once.
        let places = if random.one_in(2) { 3 } else { victims.len() as u64 };
        let place = random.below(places) as usize;
        if self.clocks_busy[place].swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let clock = victims[place].clock().clone();
        clock.set(LEAPS[random.below(2) as usize])?;
        self.count(match place {
            0 => "broker's clock set",
            1 | 2 => "matcher's clock set",
            _ => "agent's clock set",
        });
        scope.spawn(move || {
            wait(time);
            self.report("set right", clock.set(RIGHT));
            self.clocks_busy[place].store(false, Ordering::Release);
        });
        Ok(())
    }

    fn trouble<'s>(
        &'s self,
        scope: &'s std::thread::Scope<'s, '_>,
        trouble: Trouble,
        random: &mut Random,
        time: Duration,
    ) -> Result<()> {
        let place = random.below(self.links_busy.len() as u64) as usize;
        if self.links_busy[place].swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let link = self.network.link(place);
        link.begin(trouble)?;
        self.count(&format!("{trouble:?}").to_lowercase());
        // A deaf link is to last until somebody notices.
        let time = if trouble == Trouble::Deaf { 5 * time } else { time };
        scope.spawn(move || {
            wait(time);
            self.report("mended", link.end(trouble));
            self.links_busy[place].store(false, Ordering::Release);
        });
        Ok(())
    }

    fn reset(&self, random: &mut Random) -> Result<()> {
        self.count("reset");
        self.network.link(random.below(self.links_busy.len() as u64) as usize).reset()
    }

    fn fill<'s>(&'s self, scope: &'s std::thread::Scope<'s, '_>, random: &mut Random, time: Duration) -> Result<()> {
        let place = random.below(self.disks.len() as u64) as usize;
        if self.disks_busy[place].swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.disks[place].fill()?;
        self.count("disk full");
        scope.spawn(move || {
            wait(time);
            self.report("cleared", self.disks[place].clear());
            self.disks_busy[place].store(false, Ordering::Release);
        });
        Ok(())
    }

    /// What cannot be mended must show in the summary: the run would prove less than it says.
    fn report(&self, what: &str, done: Result<()>) {
        if done.is_err() {
            self.count(&format!("not {what}"));
        }
    }

    fn count(&self, what: &str) {
        *self.made.lock().unwrap_or_else(PoisonError::into_inner).entry(what.to_owned()).or_default() += 1;
    }

    fn kills(&self) -> u64 {
        self.victims().map(|victim| victim.counts().0).sum()
    }

    /// What was done so far.
    pub(super) fn tally(&self) -> Tally {
        let groups = [self.agents.as_slice(), &self.matchers, std::slice::from_ref(&self.broker)];
        let sum = |which: fn((u64, u64)) -> u64| -> BTreeMap<&'static str, u64> {
            let total = |group: &[Arc<Victim>]| group.iter().map(|victim| which(victim.counts())).sum();
            KINDS.into_iter().zip(groups.map(total)).collect()
        };
        Tally {
            kills: self.kills(),
            killed: sum(|(kills, _)| kills),
            falls: sum(|(_, falls)| falls),
            troubles_made: self.made.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            wrong_clocks: self.wrong_clocks.load(Ordering::Relaxed),
            ..Tally::default()
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "real processes live in real time")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}
