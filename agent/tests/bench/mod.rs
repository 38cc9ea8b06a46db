//! The loop over simulated edges and without its timers: each step is a call, the disk does as it is told.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use didar_agent::attempt::event::Language;
use didar_agent::attempt::{Limits, Machine};
use didar_agent::edge::{
    Clock, LampError, Lamps, Letter, Outbox, OutboxError, Question, Switching, Uplink, UplinkError,
};
use didar_agent::journal::Journal;
use didar_agent::outbox::{Change, Disk, DiskError, DiskOutbox, Pair};
use didar_agent::perception::{Eyes, Order};
use didar_agent::run::{Agent, LoopState};
use didar_agent::time::{Calendar, Heard, Moment};
use didar_protocol::id::sha256;
use didar_protocol::light_code::{CodeShape, Light};
use didar_protocol::message::{AuditEntry, AuditRecord, Connection, Kind, Message, ModelRef, Receipt};
use didar_protocol::reason::Reason;
use didar_protocol::seal::{Signed, SoftwareSigner};
use rcgen::{CertificateParams, KeyPair};

/// The loop without its timers, offline until told otherwise. What it sends is kept.
pub(crate) struct Bench {
    pub(crate) agent: Agent,
    pub(crate) plate: Plate,
    pub(crate) clock: Arc<StoppedClock>,
    pub(crate) letters: Arc<Mutex<Vec<Letter>>>,
    signer: Arc<SoftwareSigner>,
}

pub(crate) fn device() -> didar_protocol::id::DeviceId {
    "kiosk-7".parse().unwrap()
}

pub(crate) fn signer() -> Arc<SoftwareSigner> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    Arc::new(SoftwareSigner::from_pkcs8_pem(&key.serialize_pem(), certificate.der()).unwrap())
}

pub(crate) fn append(outbox: &mut dyn Outbox, records: u64) {
    for _ in 0..records {
        outbox.append(&AuditEntry::Started { version: "0.1.0".to_owned(), boot: [7; 16] }).unwrap();
    }
}

impl Bench {
    /// With an outbox of so many records on a disk that does as it is told.
    pub(crate) fn over_a_plate(records: u64, capacity: u64) -> Self {
        let (plate, signer) = (Plate::default(), signer());
        let mut outbox = DiskOutbox::open_on(Box::new(plate.clone()), device(), signer.clone(), capacity).unwrap();
        append(&mut outbox, records);
        Self { plate, ..Self::over(outbox, signer) }
    }

    pub(crate) fn over(outbox: DiskOutbox, signer: Arc<SoftwareSigner>) -> Self {
        let second = Duration::from_secs(1);
        let limits = Limits {
            position: second * 20,
            challenge: second * 5,
            judge: second * 3,
            reply: second * 8,
            show: second * 4,
            reconnect: second * 2,
        };
        let (clock, letters) = (Arc::new(StoppedClock::new()), Arc::default());
        let agent = Agent {
            device: device(),
            machine: Machine::new(limits, device(), CodeShape::AT_30, Duration::from_micros(66_667), clock.now()),
            limits,
            clock: clock.clone(),
            signer: signer.clone(),
            lamps: Box::new(Dark(clock.clone())),
            perception: Box::new(Blind),
            display: None,
            buzzer: None,
            uplink: Box::new(Tray(Arc::clone(&letters))),
            outbox: Box::new(outbox),
            journal: Arc::new(Journal::default()),
            language: Language::Kk,
            state: LoopState::default(),
        };
        Self { agent, plate: Plate::default(), clock, letters, signer }
    }

    /// Time passes; the loop is woken at its end.
    pub(crate) fn pass(&mut self, time: Duration) {
        let mut now = self.clock.now.lock().unwrap();
        *now = now.after(time);
        drop(now);
        self.agent.wake();
    }

    /// A receipt for everything up to this record.
    pub(crate) fn receipt(&self, highest: u64) -> Receipt {
        let (_, bytes) = self.agent.outbox.unacknowledged(highest, 1).unwrap().swap_remove(0);
        let hash = sha256(&bytes);
        Receipt { device: device(), highest, hash, answers: highest, missing: Vec::new(), server_time_ms: NOW_MS }
    }

    pub(crate) fn unconfirmed(&self) -> u64 {
        self.agent.journal.standing().unconfirmed
    }

    /// The records that were sent since this was asked last.
    pub(crate) fn sent(&self) -> Vec<AuditRecord> {
        let read = |letter: &Letter| match letter {
            Letter::Audit { bytes, .. } => {
                let signed = Signed::parse(Kind::AuditRecord, bytes).unwrap();
                Some(AuditRecord::decode(signed.verify(&self.signer.verifying_key()).unwrap()).unwrap())
            }
            Letter::Health(_) | Letter::RequestChallenge { .. } | Letter::Attempt { .. } => None,
        };
        let mut letters = self.letters.lock().unwrap();
        let sent = letters.iter().filter_map(read).collect();
        letters.retain(|letter| matches!(letter, Letter::Health(_)));
        sent
    }

    /// The faults that the centre was told of, each set once for as long as it stood.
    pub(crate) fn told(&self) -> Vec<Vec<Reason>> {
        let faults = |letter: &Letter| match letter {
            Letter::Health(health) => Some(health.faults.clone()),
            Letter::Audit { .. } | Letter::RequestChallenge { .. } | Letter::Attempt { .. } => None,
        };
        let mut told: Vec<_> = self.letters.lock().unwrap().iter().filter_map(faults).collect();
        told.dedup();
        let healthy_at_first = told.first().is_some_and(Vec::is_empty);
        told.drain(..usize::from(healthy_at_first));
        told
    }
}

pub(crate) const NOW_MS: u64 = 1_795_000_000_000;

/// Moves only when told, and shows the matcher's time.
pub(crate) struct StoppedClock {
    now: Mutex<Moment>,
    calendar: Calendar,
}

impl StoppedClock {
    fn new() -> Self {
        let calendar = Calendar::new(0, Moment::ZERO);
        calendar.learn(Heard::Now(NOW_MS), Moment::ZERO);
        Self { now: Mutex::new(Moment::ZERO), calendar }
    }
}

impl Clock for StoppedClock {
    fn now(&self) -> Moment {
        *self.now.lock().unwrap()
    }

    fn calendar(&self) -> &Calendar {
        &self.calendar
    }
}

struct Dark(Arc<StoppedClock>);

impl Lamps for Dark {
    fn set(&mut self, _: Light) -> Result<Switching, LampError> {
        Ok(Switching { ordered: self.0.now(), done: self.0.now() })
    }
}

struct Blind;

impl Eyes for Blind {
    fn order(&self, _: Order) {}

    fn turns(&self) -> u64 {
        0
    }

    fn models(&self) -> &[ModelRef] {
        &[]
    }
}

struct Tray(Arc<Mutex<Vec<Letter>>>);

impl Uplink for Tray {
    fn send(&mut self, letter: Letter) -> Result<(), UplinkError> {
        self.0.lock().unwrap().push(letter);
        Ok(())
    }

    fn forget(&mut self, _: Question) {}

    fn connection(&self) -> Result<Connection, OutboxError> {
        Ok(Connection { boot: [7; 16], connects: 1 })
    }
}

/// A disk that fails, loses and damages what it is told to.
#[derive(Clone, Default)]
pub(crate) struct Plate(Arc<Mutex<Platter>>);

#[derive(Default)]
struct Platter {
    pairs: BTreeMap<Vec<u8>, Vec<u8>>,
    beside: Option<Vec<u8>>,
    fails: Fails,
    /// It failed, and does so until it is opened anew.
    closed: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Fails {
    #[default]
    Never,
    Always,
    /// What is written is there all the same.
    AfterWriting,
}

impl Plate {
    fn state(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap()
    }

    fn unless(&self, fails: Fails) -> Result<MutexGuard<'_, Platter>, DiskError> {
        let mut state = self.state();
        state.closed |= state.fails == fails;
        let cause = io::ErrorKind::StorageFull.into();
        if state.closed { Err(DiskError::File { file: "plate".into(), cause }) } else { Ok(state) }
    }

    fn working(&self) -> Result<MutexGuard<'_, Platter>, DiskError> {
        self.unless(Fails::Always)
    }

    pub(crate) fn fail(&self, fails: Fails) {
        self.state().fails = fails;
    }

    pub(crate) fn damage(&self, number: u64) {
        self.state().pairs.get_mut(&key(number)).unwrap()[60] ^= 1;
    }

    pub(crate) fn lose(&self, number: u64) {
        assert!(self.state().pairs.remove(&key(number)).is_some());
    }
}

pub(crate) fn key(number: u64) -> Vec<u8> {
    [b"L".as_slice(), &number.to_be_bytes()].concat()
}

impl Disk for Plate {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        Ok(self.working()?.pairs.get(key).cloned())
    }

    fn range(&self, first: &[u8], last: &[u8], limit: usize) -> Result<Vec<Pair>, DiskError> {
        let state = self.working()?;
        let found = state.pairs.range(first.to_vec()..=last.to_vec()).take(limit);
        Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn keys(&self, first: &[u8], last: &[u8]) -> Result<Vec<Vec<u8>>, DiskError> {
        Ok(self.working()?.pairs.range(first.to_vec()..=last.to_vec()).map(|(key, _)| key.clone()).collect())
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), DiskError> {
        let mut state = self.working()?;
        for change in changes {
            match change {
                Change::Put(key, value) => drop(state.pairs.insert(key, value)),
                Change::Remove(key) => drop(state.pairs.remove(&key)),
            }
        }
        drop(state);
        self.unless(Fails::AfterWriting).map(drop)
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.working().map(drop)
    }

    fn reopen(&mut self) -> Result<(), DiskError> {
        self.state().closed = false;
        self.working().map(drop)
    }

    fn write_beside(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.working()?.beside = Some(bytes.to_vec());
        Ok(())
    }

    fn read_beside(&self) -> Option<Vec<u8>> {
        self.state().beside.clone()
    }

    fn place(&self) -> &Path {
        Path::new("plate")
    }
}
