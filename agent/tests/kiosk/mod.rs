//! A kiosk whose edges are scripts, and a matcher that opens, verifies and answers what they send.

// Each test program uses the part that it needs.
#![allow(dead_code)]

mod matcher;

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use didar_agent::ask::Draft;
use didar_agent::attempt::event::{Event, Finding, Findings, Language, Proof, ProofOrder, Refutation};
use didar_agent::attempt::{Limits, Machine};
use didar_agent::edge::{Clock, LampError, Lamps, Missed, Outbox, OutboxError, Switching};
use didar_agent::journal::{Ended, Entry, Journal, Standing};
use didar_agent::outbox::DiskOutbox;
use didar_agent::perception::{Eyes, Order};
use didar_agent::run::{Agent, Call, LoopState, Refusal};
use didar_agent::time::{Calendar, Heard, Moment};
use didar_liveness::TranscriptBuilder;
use didar_protocol::id::{DeviceId, Hash, Iin, RequestId};
use didar_protocol::light_code::{CodeShape, Light};
use didar_protocol::message::{
    Attempt, AuditEntry, AuditRecord, Consent, ConsentMethod, Kind, Message, ModelRef, ModelRole, Template,
    VerdictOutcome,
};
use didar_protocol::reason::Reason;
use didar_protocol::seal::{Signed, SoftwareSigner};
use didar_protocol::transcript::{CameraFacts, Spectrum};
use rcgen::{CertificateParams, KeyPair};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use matcher::{Matcher, keys};

/// What the world does.
#[derive(Clone, Copy)]
pub(crate) struct Script {
    /// Somebody stands well in front of the camera.
    pub(crate) face: bool,
    /// The face is alive.
    pub(crate) live: bool,
    /// What the matcher answers to a proof; `None`: nothing.
    pub(crate) verdict: Option<(VerdictOutcome, Reason)>,
    /// Audit records that the matcher does not get.
    pub(crate) deaf_to_audits: u32,
    /// Lamp orders that fail.
    pub(crate) lamp_failures: u32,
    /// Records that the store does not take.
    pub(crate) store_failures: u32,
    /// Records that wait since earlier.
    pub(crate) backlog: u32,
    /// Records that the store has room for.
    pub(crate) capacity: u64,
    /// Readings of the records that wait, that fail.
    pub(crate) unreadable: u32,
    /// Of those, the numbers that damage took out of the store.
    pub(crate) holes: &'static [u64],
    /// Each receipt comes once more, after the next three.
    pub(crate) late_receipts: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            face: true,
            live: true,
            verdict: Some((VerdictOutcome::Match, Reason::None)),
            deaf_to_audits: 0,
            lamp_failures: 0,
            store_failures: 0,
            backlog: 0,
            capacity: 1000,
            unreadable: 0,
            holes: &[],
            late_receipts: false,
        }
    }
}

/// What happened, as the world saw it.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) records: Vec<AuditEntry>,
    /// Audit records that were sent, repeats too.
    pub(crate) audits_sent: u32,
    pub(crate) lamps: Vec<Light>,
    pub(crate) lit_slots: usize,
    /// The outbox's records after the stop, read from the disk.
    pub(crate) stored: Vec<AuditEntry>,
}

pub(crate) struct Kiosk {
    calls: mpsc::Sender<Call>,
    events: mpsc::Sender<Event>,
    journal: Arc<Journal>,
    seen: Arc<Mutex<Seen>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    signer: Arc<SoftwareSigner>,
    folder: tempfile::TempDir,
    script: Arc<Mutex<Script>>,
}

const NOW_MS: u64 = 1_795_000_000_000;

fn device() -> DeviceId {
    "kiosk-7".parse().unwrap()
}

/// Some lawful number; found, so that none is written down.
pub(crate) fn subject() -> Iin {
    (0..10_000).find_map(|tail| format!("9901013{tail:05}").parse().ok()).unwrap()
}

pub(crate) fn draft() -> Draft {
    Draft {
        subject: subject(),
        initiator: "bank".parse().unwrap(),
        reference: "r-1".into(),
        purpose: "login".into(),
        consent: Consent {
            given_at_s: NOW_MS / 1000,
            expires_at_s: NOW_MS / 1000 + 3600,
            purpose: "login".into(),
            method: ConsentMethod::Screen,
            text_version: "1".into(),
        },
        language: Language::En,
    }
}

impl Kiosk {
    pub(crate) fn start(script: Script) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        let signer = Arc::new(SoftwareSigner::from_pkcs8_pem(&key.serialize_pem(), certificate.der()).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let mut outbox = DiskOutbox::open(folder.path(), device(), signer.clone(), script.capacity).unwrap();
        for _ in 0..script.backlog {
            outbox.append(&AuditEntry::Started { version: "0.1.0".to_owned(), boot: [7; 16] }).unwrap();
        }
        if !script.holes.is_empty() {
            drop(outbox);
            take_out(folder.path(), script.holes);
            outbox = DiskOutbox::open(folder.path(), device(), signer.clone(), 1000).unwrap();
        }
        let (events, heard) = mpsc::channel(256);
        let (calls, called) = mpsc::channel(16);
        let (stop, stopped) = oneshot::channel();
        let (clock, seen) =
            (Arc::new(PausedClock(Instant::now(), told_calendar())), Arc::new(Mutex::new(Seen::default())));
        let journal = Arc::new(Journal::default());
        let shared = Arc::new(Mutex::new(script));
        let limits = Limits {
            position: Duration::from_secs(20),
            challenge: Duration::from_secs(5),
            judge: Duration::from_secs(3),
            reply: Duration::from_secs(8),
            show: Duration::from_secs(4),
            reconnect: Duration::from_secs(2),
        };
        let slot = Duration::from_micros(66_667);
        let mut agent = Agent {
            device: device(),
            machine: Machine::new(limits, device(), CodeShape::AT_30, slot, clock.now()),
            limits,
            clock: clock.clone(),
            signer: signer.clone(),
            lamps: Box::new(ScriptedLamps { failures: script.lamp_failures, clock, seen: seen.clone() }),
            perception: Box::new(ScriptedEyes {
                script: shared.clone(),
                events: events.clone(),
                seen: seen.clone(),
                orders: Mutex::default(),
            }),
            display: None,
            buzzer: None,
            uplink: Box::new(Matcher::new(shared.clone(), events.clone(), signer.verifying_key(), seen.clone())),
            outbox: Box::new(FailingOutbox {
                real: outbox,
                failures: script.store_failures,
                unreadable: AtomicU32::new(script.unreadable),
            }),
            journal: journal.clone(),
            language: Language::Kk,
            state: LoopState::default(),
        };
        events.try_send(Event::Keys(Box::new(keys()))).unwrap();
        events.try_send(Event::UplinkUp).unwrap();
        let task = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            agent.run(heard, called, stopped).await;
        });
        Self { calls, events, journal, seen, stop, task, signer, folder, script: shared }
    }

    pub(crate) async fn begin(&self) -> Result<RequestId, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.calls.send(Call::Begin { draft: draft(), answer }).await.unwrap();
        answered.await.unwrap()
    }

    pub(crate) async fn cancel(&self, id: RequestId) {
        self.calls.send(Call::Cancel(id)).await.unwrap();
    }

    /// The camera is out, as its thread tells it.
    pub(crate) async fn unplug_camera(&self) {
        self.events.send(Event::Fault(Reason::CameraFault)).await.unwrap();
        self.until(|kiosk| kiosk.standing().faults == [Reason::CameraFault]).await;
    }

    /// It is in again.
    pub(crate) async fn plug_camera(&self) {
        self.events.send(Event::Mended(Reason::CameraFault)).await.unwrap();
        self.until(|kiosk| kiosk.standing().faults.is_empty()).await;
    }

    /// The world does something else from now on.
    pub(crate) fn change(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    /// Letters with an attempt that the matcher has.
    pub(crate) fn letters(&self) -> usize {
        self.seen.lock().unwrap().attempts.len()
    }

    /// Whether the attempt has come so far.
    pub(crate) fn has_told(&self, id: RequestId, wanted: impl Fn(&Entry) -> bool) -> bool {
        self.journal.entries(id, 0).is_some_and(|entries| entries.iter().any(wanted))
    }

    pub(crate) async fn unplug(&self) {
        self.events.send(Event::UplinkDown).await.unwrap();
    }

    pub(crate) async fn plug(&self) {
        self.events.send(Event::UplinkUp).await.unwrap();
    }

    #[expect(clippy::disallowed_methods, reason = "tokio's clock is paused: this moves it, and waits for nothing")]
    pub(crate) async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Waits until `holds`; a minute of the paused clock at most.
    #[track_caller]
    pub(crate) fn until(&self, holds: impl Fn(&Self) -> bool) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            for _ in 0..12_000 {
                if holds(self) {
                    return;
                }
                self.pass(Duration::from_millis(5)).await;
            }
            panic!("{place}: it never came");
        }
    }

    pub(crate) async fn outcome(&self, id: RequestId) -> Ended {
        self.until(|kiosk| ending(&kiosk.journal, id).is_some()).await;
        ending(&self.journal, id).unwrap()
    }

    pub(crate) fn standing(&self) -> Standing {
        self.journal.standing()
    }

    pub(crate) fn journal(&self) -> Arc<Journal> {
        self.journal.clone()
    }

    pub(crate) fn is_lit(&self) -> bool {
        self.seen.lock().unwrap().lamps.last().is_some_and(|light| *light != Light::Off)
    }

    /// Whether the loop has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Stops the loop; returns what the world saw, and what is on the disk.
    pub(crate) async fn stop(self) -> Seen {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
        let outbox = DiskOutbox::open(self.folder.path(), device(), self.signer.clone(), 1000).unwrap();
        let mut seen = std::mem::take(&mut *self.seen.lock().unwrap());
        for (_, bytes) in outbox.unacknowledged(0, 100).unwrap() {
            let signed = Signed::parse(Kind::AuditRecord, &bytes).unwrap();
            let record = AuditRecord::decode(signed.verify(&self.signer.verifying_key()).unwrap()).unwrap();
            seen.stored.push(record.entry);
        }
        seen
    }
}

pub(crate) fn ending(journal: &Journal, id: RequestId) -> Option<Ended> {
    journal.entries(id, 0)?.into_iter().find_map(|entry| match entry {
        Entry::Outcome(ended) => Some(ended),
        Entry::Positioning(_) | Entry::HoldStill(_) | Entry::Checking => None,
    })
}

/// A calendar that a matcher has told.
fn told_calendar() -> Calendar {
    let calendar = Calendar::new(0, Moment::ZERO);
    calendar.learn(Heard::Now(NOW_MS), Moment::ZERO);
    calendar
}

struct PausedClock(Instant, Calendar);

impl Clock for PausedClock {
    fn now(&self) -> Moment {
        Moment::ZERO.after(self.0.elapsed())
    }

    fn calendar(&self) -> &Calendar {
        &self.1
    }
}

struct ScriptedLamps {
    failures: u32,
    clock: Arc<PausedClock>,
    seen: Arc<Mutex<Seen>>,
}

impl Lamps for ScriptedLamps {
    fn set(&mut self, light: Light) -> Result<Switching, LampError> {
        if self.failures > 0 {
            self.failures -= 1;
            return Err(LampError::Switch { place: "script".into(), cause: std::io::ErrorKind::BrokenPipe.into() });
        }
        self.seen.lock().unwrap().lamps.push(light);
        let now = self.clock.now();
        Ok(Switching { ordered: now, done: now })
    }
}

struct ScriptedEyes {
    script: Arc<Mutex<Script>>,
    events: mpsc::Sender<Event>,
    seen: Arc<Mutex<Seen>>,
    orders: Mutex<Option<ProofOrder>>,
}

impl Eyes for ScriptedEyes {
    fn order(&self, order: Order) {
        let script = *self.script.lock().unwrap();
        let event = match order {
            Order::Watch(id) if script.face => Event::FaceSteady(id),
            Order::Prove(order) => {
                self.seen.lock().unwrap().lit_slots += order.code.iter().filter(|light| **light != Light::Off).count();
                *self.orders.lock().unwrap() = Some(*order);
                return;
            }
            Order::Judge(attempt) => {
                let order = self.orders.lock().unwrap().take().unwrap();
                assert_eq!(order.attempt, attempt);
                judged(order, script.live)
            }
            Order::Watch(_) | Order::Switched { .. } | Order::Rest => return,
        };
        self.events.try_send(event).unwrap();
    }

    fn turns(&self) -> u64 {
        0
    }

    fn models(&self) -> &[ModelRef] {
        const MODELS: &[ModelRef] = &[ModelRef { role: ModelRole::Embedding, sha256: [9; 32] }];
        MODELS
    }
}

fn judged(order: ProofOrder, live: bool) -> Event {
    let attempt = order.attempt;
    if !live {
        let (finding, reason) = (Finding::Spoof, Reason::NoRelief);
        return Event::Refuted(Box::new(Refutation { attempt, finding, reason, findings: Findings::default() }));
    }
    let template = Template::new(0.01, vec![1, 2, 3]);
    let camera = CameraFacts {
        gamma_milli: 2200,
        frame_us: 33_333,
        exposure_us: 12_000,
        delay_us: 400,
        baseline_mm: 90,
        readout_us: 0,
        focal_px10: 7_300,
        noise_milli: 0,
        spectrum: Spectrum::ColourNoFilter,
    };
    let transcript = TranscriptBuilder::new(CodeShape::AT_30, &order.code, camera).finish();
    let findings = Findings { transcript: Some(transcript), ..Findings::default() };
    Event::Proven(Box::new(Proof { attempt, findings, template, picture: None }))
}

/// Takes letters out of the outbox in this folder, as damage does.
fn take_out(folder: &Path, numbers: &[u64]) {
    let letters = folder.join("letters");
    // The store's own threads may hold its lock a little longer than its handle.
    File::open(letters.join("db")).unwrap().lock().unwrap();
    let store = sled::open(letters).unwrap();
    for number in numbers {
        let key = [b"L".as_slice(), &number.to_be_bytes()].concat();
        assert!(store.remove(key).unwrap().is_some());
    }
    store.flush().unwrap();
}

struct FailingOutbox {
    real: DiskOutbox,
    failures: u32,
    unreadable: AtomicU32,
}

impl Outbox for FailingOutbox {
    fn append(&mut self, entry: &AuditEntry) -> Result<u64, OutboxError> {
        if self.failures > 0 {
            self.failures -= 1;
            return Err(OutboxError::Store { path: "script".into(), cause: "no space".into() });
        }
        self.real.append(entry)
    }

    fn intend(&mut self, entry: &AuditEntry) -> Result<(), OutboxError> {
        self.real.intend(entry)
    }

    fn unacknowledged(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, OutboxError> {
        // One letter is what a look at the backlog's length reads.
        if limit > 1
            && self.unreadable.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
        {
            return Err(OutboxError::Damaged { path: "script".into(), number: from, why: "a bit turned".to_owned() });
        }
        self.real.unacknowledged(from, limit)
    }

    fn acknowledge(&mut self, up_to: u64, hash: &Hash) -> Result<bool, OutboxError> {
        self.real.acknowledge(up_to, hash)
    }

    fn tell_gone(&mut self, number: u64) -> Result<Missed, OutboxError> {
        self.real.tell_gone(number)
    }

    fn has_room(&self) -> bool {
        self.real.has_room()
    }

    fn head(&self) -> (u64, Hash) {
        self.real.head()
    }

    fn signed_time(&self) -> u64 {
        self.real.signed_time()
    }

    fn keep_signed_time(&mut self, unix_ms: u64) -> Result<(), OutboxError> {
        self.real.keep_signed_time(unix_ms)
    }

    fn flush(&mut self) -> Result<(), OutboxError> {
        self.real.flush()
    }

    fn mend(&mut self) -> Result<(), OutboxError> {
        self.real.mend()
    }
}
