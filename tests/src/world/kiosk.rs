//! The kiosk: the agent's real loop, machine, session and outbox; its camera, lamps, network and clock are scripts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use didar_agent::attempt::{Language, Limits, Machine};
use didar_agent::edge::{
    Clock, LampError, Lamps, Letter, Outbox, OutboxError, Question, Switching, Uplink, UplinkError,
};
use didar_agent::journal::{Ended, Entry, Journal};
use didar_agent::outbox::{DiskOutbox, Memory};
use didar_agent::perception::{Eyes, Order};
use didar_agent::run::{Agent, LoopState};
use didar_agent::time::{Calendar, Moment};
use didar_agent::uplink::session::{Happened, Session};
use didar_protocol::id::RequestId;
use didar_protocol::light_code::{CodeShape, Light};
use didar_protocol::message::{AuditEntry, Connection, ModelRef};

use super::centre::{BEGIN_MS, MODEL, Site};
use super::disk::Platter;

/// How long each stage may take: shorter than as shipped, so that a world holds more attempts.
const LIMITS: Limits = Limits {
    position: Duration::from_secs(8),
    challenge: Duration::from_secs(5),
    judge: Duration::from_secs(3),
    reply: Duration::from_secs(6),
    show: Duration::from_secs(1),
    reconnect: Duration::from_secs(2),
};
/// Records that the outbox holds.
const CAPACITY: u64 = 31_000;
/// No agent's clock starts before this: its build.
const BUILT_MS: u64 = BEGIN_MS - 30 * 86_400_000;

/// One life of the agent's process.
pub(super) struct Kiosk {
    pub(super) agent: Agent,
    pub(super) session: Session,
    pub(super) memory: Memory,
    pub(super) journal: Arc<Journal>,
    pub(super) clock: Arc<ScriptedClock>,
    outgoing: Queue<Happened>,
    orders: Queue<Order>,
}

/// What an edge has put down and the world takes up.
struct Queue<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kiosk {
    /// Starts the agent as its program does; the clock on the board says `board_ms`.
    pub(super) fn start(site: &Site, platter: &Platter, now: Moment, board_ms: u64) -> Result<Self> {
        let disk = Box::new(platter.clone());
        let mut outbox = DiskOutbox::open_on(disk, site.device.clone(), site.signer.clone(), CAPACITY)?;
        // Each start is another boot.
        let mut boot = [0; 16];
        boot[..8].copy_from_slice(&outbox.head().0.to_be_bytes());
        let clock = Arc::new(ScriptedClock::new(now, board_ms.max(BUILT_MS).max(outbox.signed_time())));
        outbox.append(&AuditEntry::Started { version: "1".to_owned(), boot })?;
        let (outgoing, orders, journal) = (Queue::default(), Queue::default(), Arc::new(Journal::default()));
        let memory = outbox.memory();
        let slot = Duration::from_micros(66_667);
        let agent = Agent {
            device: site.device.clone(),
            machine: Machine::new(LIMITS, site.device.clone(), CodeShape::AT_30, slot, now),
            limits: LIMITS,
            clock: clock.clone(),
            signer: site.signer.clone(),
            lamps: Box::new(NoLamps(clock.clone())),
            perception: Box::new(ScriptedEyes(orders.clone())),
            display: None,
            buzzer: None,
            uplink: Box::new(Wire {
                letters: outgoing.clone(),
                platter: platter.clone(),
                memory: memory.clone(),
                boot,
            }),
            outbox: Box::new(outbox),
            journal: journal.clone(),
            language: Language::Kk,
            state: LoopState::default(),
        };
        let session = Session::new(now, memory.health());
        Ok(Self { agent, session, memory, journal, clock, outgoing, orders })
    }

    /// What the agent wants of the uplink, oldest first.
    pub(super) fn outgoing(&self) -> Vec<Happened> {
        std::mem::take(&mut *self.outgoing.lock())
    }

    /// What the agent orders of its eyes, oldest first.
    pub(super) fn orders(&self) -> Vec<Order> {
        std::mem::take(&mut *self.orders.lock())
    }

    /// How the request ended, if the kiosk's application has been told.
    pub(super) fn told(&self, request: RequestId) -> Option<Ended> {
        let entries = self.journal.entries(request, 0)?;
        entries.into_iter().rev().find_map(|entry| match entry {
            Entry::Outcome(ended) => Some(ended),
            Entry::Positioning(_) | Entry::HoldStill(_) | Entry::Checking => None,
        })
    }

    /// Whether nobody is served and no record waits for its receipt.
    pub(super) fn is_at_rest(&self) -> bool {
        let held = self.agent.outbox.unacknowledged(0, 1);
        self.agent.machine.serving().is_none() && held.is_ok_and(|held| held.is_empty())
    }

    /// The next moment at which agent or session want to be woken.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.agent.next_deadline().into_iter().chain(self.session.deadline()).min()
    }
}

/// The board's clock: the world's time, and a calendar of its own.
pub(super) struct ScriptedClock {
    now: AtomicU64,
    calendar: Calendar,
}

impl ScriptedClock {
    fn new(now: Moment, calendar_ms: u64) -> Self {
        Self { now: AtomicU64::new(now.as_nanos()), calendar: Calendar::new(calendar_ms, now) }
    }

    pub(super) fn advance(&self, now: Moment) {
        self.now.store(now.as_nanos(), Ordering::Relaxed);
    }
}

impl Clock for ScriptedClock {
    fn now(&self) -> Moment {
        Moment::from_nanos(self.now.load(Ordering::Relaxed))
    }

    fn calendar(&self) -> &Calendar {
        &self.calendar
    }
}

struct NoLamps(Arc<ScriptedClock>);

impl Lamps for NoLamps {
    fn set(&mut self, _: Light) -> Result<Switching, LampError> {
        let now = self.0.now();
        Ok(Switching { ordered: now, done: now })
    }
}

struct ScriptedEyes(Queue<Order>);

impl Eyes for ScriptedEyes {
    fn order(&self, order: Order) {
        self.0.lock().push(order);
    }

    fn turns(&self) -> u64 {
        0
    }

    fn models(&self) -> &[ModelRef] {
        const { &[MODEL] }
    }
}

/// Hands letters to the world. After a power cut nothing leaves.
struct Wire {
    letters: Queue<Happened>,
    platter: Platter,
    memory: Memory,
    boot: [u8; 16],
}

impl Wire {
    fn put(&self, happened: Happened) {
        if !self.platter.has_failed() {
            self.letters.lock().push(happened);
        }
    }
}

impl Uplink for Wire {
    fn send(&mut self, letter: Letter) -> Result<(), UplinkError> {
        self.put(Happened::Send(letter));
        Ok(())
    }

    fn forget(&mut self, question: Question) {
        self.put(Happened::Forget(question));
    }

    fn connection(&self) -> Result<Connection, OutboxError> {
        Ok(Connection { boot: self.boot, connects: self.memory.connection()? })
    }
}
