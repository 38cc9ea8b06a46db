//! Worlds in which everything breaks: the agent's real loop, machine, session and outbox against the matcher's real
//! service, store and ledger, over a disk that loses power, a network that loses, delays and repeats, and matchers that
//! die before or after a commit. One seed, one world.
//!
//! **Here:** [`run`], which plays a world until so many things broke, lets it come to rest and audits it. **Not here:**
//! processes, sockets, TLS (`make chaos` has them); damaged bytes on the disk (`agent/tests/outbox.rs`); the check of
//! the matcher's signatures by the kiosk (`agent/tests/uplink.rs`); state messages.
//! **Start** with [`run`].

mod centre;
mod disk;
mod kiosk;
mod network;
mod person;
mod tally;

use std::collections::BinaryHeap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use didar_agent::attempt::Event;
use didar_agent::attempt::event::ProofOrder;
use didar_agent::edge::Clock as _;
use didar_agent::run::Refusal;
use didar_agent::time::Moment;
use didar_agent::uplink::session::{Act, Happened};
use didar_matcher::service::Outgoing;
use didar_protocol::id::RequestId;
use didar_protocol::topic::Lane;

pub use centre::Site;
pub use tally::Tally;

use crate::audit::Witnessed;
use crate::people;
use crate::scene::Random;
use centre::{BEGIN_MS, Centre, INITIATOR, PERSONS};
pub(crate) use disk::Platter;
use kiosk::Kiosk;

/// Between two things that break, at most, in worlds of four tempers.
const TEMPERS: [Duration; 4] =
    [Duration::from_millis(300), Duration::from_millis(800), Duration::from_secs(2), Duration::from_secs(8)];
/// A world that has not come to rest after this (of its own time) never will.
const REST_MAX: Duration = Duration::from_secs(3600);
/// Between two sweeps of the matcher.
const SWEEP: Duration = Duration::from_secs(10);

/// Something that will happen.
struct Due {
    at: Moment,
    order: u64,
    what: What,
}

enum What {
    /// The broker accepts this connection, or confirms its subscriptions, or it fails.
    Accepted(u64),
    Subscribed(u64),
    Lost(u64),
    /// A message comes to the matchers; one that was under way when its connection broke may still arrive.
    ToCentre(Lane, Vec<u8>),
    /// A message comes to the kiosk, if it is subscribed then.
    ToKiosk(Outgoing),
    /// Something is seen by this life's camera.
    Seen(u64, Event),
    /// The matchers look for what has expired.
    Sweep,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    /// The earliest is the greatest: the heap gives it first.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

struct World<'a> {
    site: &'a Site,
    random: Random,
    now: Moment,
    due: BinaryHeap<Due>,
    orders: u64,
    centre: Centre,
    platter: Platter,
    kiosk: Kiosk,
    /// How often the agent was started.
    life: u64,
    /// Counts connections; the current one, if any, and whether it is subscribed.
    connection: u64,
    connected: bool,
    subscribed: bool,
    /// No connection can be made before.
    outage: Moment,
    /// The next request of the kiosk's application, and the person who stands there.
    asks: Moment,
    person: u8,
    proof: Option<ProofOrder>,
    seen: Witnessed,
    tally: Tally,
    temper: Duration,
    calm: bool,
}

/// Plays the world of `seed` until `points` things broke, then lets it rest, and audits it.
///
/// # Errors
/// The world could not be built, or did not come to rest.
pub fn run(site: &Site, seed: u64, points: u64) -> Result<Tally> {
    let mut random = Random::new(seed);
    let platter = Platter::default();
    let centre = site.centre(seed)?;
    let kiosk = Kiosk::start(site, &platter, Moment::ZERO, BEGIN_MS)?;
    let temper = TEMPERS[random.below(TEMPERS.len() as u64) as usize];
    let mut world = World {
        site,
        random,
        now: Moment::ZERO,
        due: BinaryHeap::new(),
        orders: 0,
        centre,
        platter,
        kiosk,
        life: 0,
        connection: 0,
        connected: false,
        subscribed: false,
        outage: Moment::ZERO,
        asks: Moment::ZERO,
        person: 0,
        proof: None,
        seen: Witnessed::default(),
        tally: Tally::default(),
        temper,
        calm: false,
    };
    let played = world.play(points).with_context(|| format!("seed {seed}"));
    site.clear(seed);
    played?;
    Ok(world.tally)
}

impl World<'_> {
    fn play(&mut self, points: u64) -> Result<()> {
        self.later(SWEEP, What::Sweep);
        let mut breaks = self.now;
        while self.tally.points < points {
            self.advance(Some(breaks))?;
            if self.now >= breaks {
                self.break_something()?;
                breaks = self.now.after(self.within(self.temper));
            }
        }
        self.calm = true;
        self.platter.fill(false);
        let end = self.now.after(REST_MAX);
        let mut quiet = None;
        // Every challenge has expired, and been found expired, a good minute after the last attempt.
        while quiet.is_none_or(|since: Moment| self.now.since(since) < Duration::from_secs(90)) {
            if self.now > end {
                bail!("no rest: {:?} is served, {:?}", self.kiosk.agent.machine.serving(), self.tally);
            }
            self.advance(None)?;
            quiet = if self.kiosk.is_at_rest() { quiet.or(Some(self.now)) } else { None };
        }
        let entries = self.centre.ledger()?;
        let mut findings = self.seen.audit(&entries);
        findings.troubles += self.centre.troubles();
        self.tally.findings = findings;
        Ok(())
    }

    /// The next thing that happens, but nothing after `until`.
    fn advance(&mut self, until: Option<Moment>) -> Result<()> {
        let asks = (!self.calm && self.kiosk.agent.machine.serving().is_none()).then_some(self.asks);
        let timer = self.kiosk.deadline();
        let due = self.due.peek().map(|due| due.at);
        let next = [asks, timer, due, until].into_iter().flatten().min().context("nothing will ever happen")?;
        self.now = self.now.max(next);
        self.kiosk.clock.advance(self.now);
        if due.is_some_and(|at| at <= self.now) {
            let Some(due) = self.due.pop() else { return Ok(()) };
            self.happen(due.what)?;
        } else if asks.is_some_and(|at| at <= self.now) {
            self.ask()?;
        } else if self.kiosk.agent.next_deadline().is_some_and(|at| at <= self.now) {
            self.kiosk.agent.wake();
            self.follow(None)?;
        } else if self.kiosk.session.deadline().is_some_and(|at| at <= self.now) {
            self.step(Happened::Tick)?;
        }
        Ok(())
    }

    fn happen(&mut self, what: What) -> Result<()> {
        match what {
            What::Accepted(connection) if connection == self.connection => {
                self.connected = true;
                self.step(Happened::Accepted)
            }
            What::Subscribed(connection) if connection == self.connection && self.connected => {
                self.subscribed = true;
                // What is retained comes with every subscription.
                let now_ms = self.now_ms();
                for keys in self.centre.greeting(now_ms) {
                    self.later(Duration::from_millis(1), What::ToKiosk(keys));
                }
                self.step(Happened::Subscribed)
            }
            What::Lost(connection) if connection == self.connection => {
                self.cut();
                self.step(Happened::Lost)
            }
            // Of a connection that is no more.
            What::Accepted(_) | What::Subscribed(_) | What::Lost(_) => Ok(()),
            What::ToCentre(lane, bytes) => {
                self.serve(lane, &bytes);
                Ok(())
            }
            What::ToKiosk(outgoing) => self.deliver(outgoing),
            What::Seen(life, event) if life == self.life => {
                self.kiosk.agent.take(event);
                self.follow(None)
            }
            What::Seen(..) => Ok(()),
            What::Sweep => {
                let now_ms = self.now_ms();
                self.centre.sweep(&mut self.random, now_ms);
                self.later(SWEEP, What::Sweep);
                Ok(())
            }
        }
    }

    /// The kiosk's application begins an authentication.
    fn ask(&mut self) -> Result<()> {
        self.person = self.random.below(u64::from(PERSONS)) as u8;
        let draft = people::draft(&self.site.persons[usize::from(self.person)], INITIATOR.parse()?, self.now_ms());
        let begun = self.kiosk.agent.begin(draft);
        let request = match begun {
            Ok(request) => request,
            // Nothing was begun; the power may have failed while it was tried.
            Err(Refusal::Unrecorded) => {
                self.seen.unanswered();
                self.asks = self.now.after(self.within(Duration::from_secs(2)));
                return self.follow(None);
            }
            Err(refusal) => bail!("a kiosk at rest refuses: {refusal}"),
        };
        self.seen.begun(request, self.platter.has_failed());
        self.asks = self.now.after(self.within(Duration::from_secs(2)));
        self.follow(Some(request))
    }

    /// Takes up everything that the agent put down in its last step; a power cut in it ends this life.
    fn follow(&mut self, fresh: Option<RequestId>) -> Result<()> {
        for order in self.kiosk.orders() {
            self.look(order);
        }
        let outgoing = self.kiosk.outgoing();
        if let Some(request) = fresh.or(self.seen.open())
            && let Some(ended) = self.kiosk.told(request)
            && !self.platter.has_failed()
        {
            self.seen.told(request, ended.outcome.name());
            self.asks = self.now.after(self.within(Duration::from_secs(2)));
        }
        for happened in outgoing {
            self.step(happened)?;
        }
        if self.platter.has_failed() { self.restart() } else { Ok(()) }
    }

    /// A step of the session, and what it says.
    fn step(&mut self, happened: Happened) -> Result<()> {
        let jitter = self.random.next();
        for act in self.kiosk.session.step(self.now, happened, jitter) {
            match act {
                Act::Connect(_) => self.connect(),
                Act::Drop => self.cut(),
                Act::Subscribe => {
                    let wait = self.within(Duration::from_millis(40));
                    self.later(wait, What::Subscribed(self.connection));
                }
                // Not followed here.
                Act::PublishState(_) => {}
                Act::Publish(parcel) => self.send(parcel.lane, &parcel.bytes),
                Act::Tell(event) => {
                    self.kiosk.agent.take(event);
                    self.follow(None)?;
                }
                Act::KeepKeys(signed) => {
                    // A disk without room or power refuses: the next keys are kept.
                    let _ = self.kiosk.memory.keep_matcher_keys(&signed);
                }
                Act::Heard(heard) => {
                    self.kiosk.clock.calendar().learn(heard, self.now);
                }
            }
        }
        Ok(())
    }

    fn break_something(&mut self) -> Result<()> {
        match self.random.below(20) {
            0 | 1 => {
                self.tally.point(|tally| &mut tally.power_cuts);
                if self.random.one_in(2) {
                    // Somewhere in the next few operations of the disk, wherever the agent is then.
                    self.platter.light_fuse(self.random.below(12) as u32);
                    return Ok(());
                }
                self.restart()
            }
            2 => {
                self.tally.point(|tally| &mut tally.broker_deaths);
                let random = &mut self.random;
                self.due.retain(|due| !matches!(due.what, What::ToKiosk(..) | What::ToCentre(..)) || random.one_in(4));
                self.lose(Duration::from_secs(1))
            }
            3..=14 => {
                self.tally.point(|tally| &mut tally.cuts);
                self.lose(Duration::from_millis(300))
            }
            15 => {
                self.tally.point(|tally| &mut tally.cuts);
                self.lose(Duration::from_secs(12))
            }
            16 if !self.platter.has_failed() => {
                self.tally.point(|tally| &mut tally.full_disks);
                self.full_disk()
            }
            _ => {
                // The connection breaks in the middle of being made.
                self.tally.point(|tally| &mut tally.cuts);
                self.lose(Duration::ZERO)
            }
        }
    }

    /// The disk has no room for a moment, in which the agent goes on. The power does not fail meanwhile: a record that
    /// no disk takes lives in memory alone.
    fn full_disk(&mut self) -> Result<()> {
        self.platter.fill(true);
        let end = self.now.after(self.within(Duration::from_secs(2)));
        while self.now < end {
            self.advance(Some(end))?;
        }
        self.platter.fill(false);
        let mended = self.now.after(Duration::from_millis(1100));
        while self.now < mended {
            self.advance(Some(mended))?;
        }
        Ok(())
    }

    /// The agent is gone and starts again, perhaps more than once.
    fn restart(&mut self) -> Result<()> {
        loop {
            self.cut();
            self.platter.restart(&mut self.random);
            self.seen.died();
            self.life += 1;
            self.proof = None;
            self.tally.restarts += 1;
            if !self.calm && self.random.one_in(6) {
                self.tally.point(|tally| &mut tally.power_cuts);
                self.platter.light_fuse(self.random.below(5) as u32);
            }
            // A board without a battery knows no time; one with a bad one knows a wrong time.
            let board_ms = [self.now_ms(), 0, self.now_ms() + 400 * 86_400_000][self.random.below(3) as usize];
            match Kiosk::start(self.site, &self.platter, self.now, board_ms) {
                Ok(kiosk) if !self.platter.has_failed() => {
                    self.kiosk = kiosk;
                    self.kiosk.clock.advance(self.now);
                    self.asks = self.now.after(self.within(Duration::from_secs(1)));
                    return self.step(Happened::Tick);
                }
                Ok(_) | Err(_) if self.platter.has_failed() => {}
                Ok(_) => {}
                Err(error) => return Err(error.context("starting again")),
            }
        }
    }

    fn later(&mut self, wait: Duration, what: What) {
        self.orders += 1;
        self.due.push(Due { at: self.now.after(wait), order: self.orders, what });
    }

    /// Up to `longest`.
    fn within(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.random.below(longest.as_micros() as u64 + 1))
    }

    fn now_ms(&self) -> u64 {
        BEGIN_MS + self.now.as_nanos() / 1_000_000
    }
}
