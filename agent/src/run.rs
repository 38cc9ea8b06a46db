//! The one loop: facts in, the machine's orders out to the edges.
//!
//! **Here:** [`Agent::run`]; sealing what the machine sends, keeping what it records, draining the outbox. **Not here:**
//! decisions (the machine's), waiting for a model or the network (threads and tasks of their own).
//!
//! An edge's error is logged once, here, and becomes a fault that the machine is told.

mod records;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use didar_protocol::id::{DeviceId, Hash, RequestId};
use didar_protocol::light_code::Light;
use didar_protocol::message::{AuditEntry, MatcherKeys};
use didar_protocol::reason::Reason;
use didar_protocol::seal::{SealKey, Signer};
use tokio::sync::{mpsc, oneshot};

use crate::ask::{self, AskError, Draft};
use crate::attempt::event::{Closing, Command, Ending, Event, Language, Outcome, Record, Request, View};
use crate::attempt::{Limits, Machine};
use crate::buzzer::Buzzer;
use crate::display::Display;
use crate::edge::{Clock, Health, Lamps, Letter, Outbox, Uplink};
use crate::journal::{Ended, Journal, Standing};
use crate::perception::{Eyes, Order};
use crate::time::Moment;

/// What the local API asks of the loop.
pub enum Call {
    /// Begin an authentication.
    Begin {
        /// What is asked for.
        draft: Draft,
        /// The request's id, or why not.
        answer: oneshot::Sender<Result<RequestId, Refusal>>,
    },
    /// End an authentication; one that is over stays as it ended.
    Cancel(RequestId),
    /// Say how often the camera's thread has come round: whoever answers turns too.
    Turns(oneshot::Sender<u64>),
}

/// Why an authentication was not begun.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Somebody is being served.
    #[error("the kiosk is serving another request; wait for its outcome or cancel it")]
    Busy,
    /// The agent is stopping.
    #[error("the kiosk is stopping")]
    Stopping,
    /// The store is broken.
    #[error("the kiosk is out of service: its store cannot keep a record, and what cannot be recorded is not begun")]
    Unrecorded,
    /// A field is out of the protocol's bounds.
    #[error(transparent)]
    Field(#[from] AskError),
}

/// Everything that the loop acts on.
pub struct Agent {
    /// This device.
    pub device: DeviceId,
    /// The attempt machine.
    pub machine: Machine,
    /// How long each stage may take.
    pub limits: Limits,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Signs what leaves the device.
    pub signer: Arc<dyn Signer + Send + Sync>,
    /// The lamps.
    pub lamps: Box<dyn Lamps>,
    /// The camera's threads.
    pub perception: Box<dyn Eyes>,
    /// The screen's thread; none where there is no screen.
    pub display: Option<Display>,
    /// The buzzer's thread; none where there is no buzzer.
    pub buzzer: Option<Buzzer>,
    /// The way to the matcher.
    pub uplink: Box<dyn Uplink>,
    /// The audit records.
    pub outbox: Box<dyn Outbox>,
    /// What the local API reads.
    pub journal: Arc<Journal>,
    /// The screen's language between two persons.
    pub language: Language,
    /// The loop's own state.
    pub state: LoopState,
}

/// What the loop remembers between two events.
#[derive(Default)]
pub struct LoopState {
    seal_key: Option<SealKey>,
    /// Highest audit number sent on this connection.
    sent: u64,
    /// Numbers that were sent and that no receipt answers yet, ascending.
    under_way: VecDeque<u64>,
    /// The missing number that was gone back to last: every receipt behind it names it again. Zero is none.
    gone_back: u64,
    /// The missing number that was told as gone last, and the record that tells it.
    told_gone: Option<(u64, u64)>,
    /// When letters without receipt are sent again.
    resend: Option<Moment>,
    connected: bool,
    stopping: bool,
    /// The store did not give the records that wait.
    unreadable: bool,
    /// Nor did it once it was mended.
    damaged: bool,
    /// The store's fault is that it is full: receipts mend it, and nothing else.
    full: bool,
    /// Records that the store did not take, oldest first.
    unkept: VecDeque<AuditEntry>,
    /// What is recorded of the request in hand should the agent die, with the request's hash.
    intent: Option<(Hash, AuditEntry)>,
    /// When the time was kept for the next start.
    time_kept: Option<Moment>,
    /// When broken lamps or a broken store are tried again.
    mend: Option<Moment>,
    /// Whose authentication the screen belongs to.
    serving: Option<(RequestId, Language)>,
    standing: Standing,
}

/// Longest sleep of the loop: the clock is looked at again, whatever the timers say.
const NAP_MAX: Duration = Duration::from_secs(3600);

impl Agent {
    /// Runs until `stop` is done: then the attempt in hand is ended, the lamps are dark and the outbox is on the disk. Ends
    /// by itself where the store stays damaged though it was mended: a start is the last that is left to try.
    pub async fn run(
        &mut self,
        mut events: mpsc::Receiver<Event>,
        mut calls: mpsc::Receiver<Call>,
        stop: impl Future<Output = ()>,
    ) {
        let mut stop = pin!(stop);
        self.show(self.machine.rest_view());
        self.watch_room();
        self.tell_standing();
        while !self.state.damaged {
            let wait = self.next_deadline().map_or(NAP_MAX, |until| until.since(self.clock.now())).min(NAP_MAX);
            tokio::select! {
                biased;
                () = &mut stop, if !self.state.stopping => {
                    self.state.stopping = true;
                    self.take(Event::Stopping);
                    break;
                }
                () = nap(wait) => self.wake(),
                Some(event) = events.recv() => self.take(event),
                Some(call) = calls.recv() => self.answer(call),
            }
        }
        self.darken();
        self.show(View::OutOfService { reason: Reason::Stopping });
        if let Err(error) = self.outbox.flush() {
            tracing::error!("{error}");
        }
    }

    /// Whether [`Self::run`] ended because the store stays damaged.
    pub fn is_damaged(&self) -> bool {
        self.state.damaged
    }

    /// When to call [`Self::wake`] at the latest.
    pub fn next_deadline(&self) -> Option<Moment> {
        [self.machine.deadline(), self.state.resend, self.state.mend].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn wake(&mut self) {
        self.mend();
        self.take(Event::Tick);
    }

    /// One event, and everything that follows from it.
    pub fn take(&mut self, event: Event) {
        let first = self.note(&event);
        let mut waiting: VecDeque<Event> = first.into_iter().chain([event]).collect();
        while let Some(event) = waiting.pop_front() {
            // Room alone does not mend a store that failed.
            self.state.full &= !matches!(event, Event::Fault(Reason::StorageFault));
            let faults = self.machine.faults();
            for command in self.machine.step(self.clock.now(), event) {
                let Err(event) = self.obey(command) else { continue };
                let unrecorded = matches!(event, Event::Fault(Reason::StorageFault));
                waiting.push_back(event);
                if unrecorded {
                    // No answer without its record: what the machine would show next is not shown.
                    self.show(View::OutOfService { reason: Reason::StorageFault });
                    break;
                }
            }
            if faults != self.machine.faults() {
                self.tell_health();
            }
        }
        let now = self.clock.now();
        if self.state.resend.is_some_and(|at| now >= at) {
            self.state.resend = None;
            self.send_all();
        }
        if std::mem::take(&mut self.state.unreadable) && !self.is_broken() {
            self.take(Event::Fault(Reason::StorageFault));
        }
        self.watch_room();
        self.tell_standing();
        self.plan_mending(now);
    }

    /// What concerns the loop itself rather than the attempt; what the attempt must hear first.
    fn note(&mut self, event: &Event) -> Option<Event> {
        match event {
            Event::Keys(keys) => self.learn_keys(keys),
            Event::Challenged(challenge) => {
                self.state.seal_key = Some(challenge.seal_key.clone());
                return self.intend_attempt(challenge).err().map(Event::Fault);
            }
            Event::UplinkUp => {
                self.state.connected = true;
                self.send_all();
            }
            Event::UplinkDown => {
                self.state.connected = false;
                self.state.resend = None;
            }
            Event::Receipt(receipt) => return self.confirm(receipt).err().map(Event::Fault),
            Event::Requested(_) | Event::Cancelled(_) | Event::Stopping | Event::Unsent(_) | Event::Guided(..) => {}
            Event::FaceSteady(_) | Event::FaceLost(_) | Event::Proven(_) | Event::Refuted(_) => {}
            Event::Replied(_) | Event::Fault(_) | Event::Mended(_) | Event::Tick => {}
        }
        None
    }

    /// Carries an order out; what went wrong comes back as the event to tell, logged.
    fn obey(&mut self, command: Command) -> Result<(), Event> {
        match command {
            Command::Lamps(light) => {
                let at = self.lamps.set(light).map_err(|error| Event::Fault(logged(Reason::LampFault, &error)))?;
                self.perception.order(Order::Switched { at, light });
            }
            Command::Show(view) => self.show(view),
            Command::Watch(id) => self.perception.order(Order::Watch(id)),
            Command::Ask(request) => self.ask(&request)?,
            Command::Forget(question) => self.uplink.forget(question),
            Command::Prove(order) => self.perception.order(Order::Prove(order)),
            Command::Judge(attempt) => self.perception.order(Order::Judge(attempt)),
            Command::Rest => self.perception.order(Order::Rest),
            Command::Send(closing) => self.send(*closing)?,
            Command::Record(record) => self.record(&record).map_err(Event::Fault)?,
        }
        Ok(())
    }

    fn ask(&mut self, request: &Request) -> Result<(), Event> {
        // The machine asks only after it was told of keys.
        let Some(key) = &self.state.seal_key else { return Ok(()) };
        let bytes = ask::request(request, &self.device, key, self.signer.as_ref())
            .map_err(|error| unsent(Some(request.id), &error))?;
        let expires = self.clock.now().after(self.limits.challenge);
        self.post(Letter::RequestChallenge { request: request.id, hash: request.hash, bytes, expires });
        Ok(())
    }

    fn send(&mut self, closing: Closing) -> Result<(), Event> {
        let now = self.clock.now();
        let (request, attempt) = (closing.request, closing.challenge.attempt);
        let expires = match closing.ending {
            // Nobody waits longer for the verdict, and a live attempt is never kept for later.
            Ending::Proved { .. } => closing.expires.min(now.after(self.limits.reply)),
            Ending::Stopped { .. } => closing.expires,
        };
        let sent_at_ms = self.clock.unix_ms(now);
        let bytes = ask::attempt(closing, self.perception.models(), sent_at_ms, self.signer.as_ref())
            .map_err(|error| unsent(self.machine.serving(), &error))?;
        self.post(Letter::Attempt { request, attempt, bytes, expires });
        Ok(())
    }

    fn record(&mut self, record: &Record) -> Result<(), Reason> {
        let took = record.ended.since(record.started);
        let mut record = record.clone();
        let kept = self.keep(&ask::entry(&record, self.clock.as_ref()));
        if let Err(reason) = kept {
            // No answer without its record: whoever was recognised is not told so, now or by the record that follows.
            (record.outcome, record.reason) = (Outcome::Fault, reason);
            self.keep_later(ask::entry(&record, self.clock.as_ref()));
        }
        let ended = Ended { outcome: record.outcome, reason: record.reason, took, stages: record.stages };
        self.journal.ended(record.request, ended);
        tracing::info!(
            request = %record.request, outcome = ?record.outcome, reason = record.reason.name(),
            took_ms = took.as_millis() as u64, "attempt ended"
        );
        kept
    }

    fn learn_keys(&mut self, keys: &MatcherKeys) {
        self.state.seal_key = keys.seal_keys.first().cloned();
    }

    fn post(&mut self, letter: Letter) {
        // A letter that is not taken is one whose attempt ends by its own deadline; audit records are sent again.
        if let Err(error) = self.uplink.send(letter) {
            tracing::warn!("{error}");
        }
    }

    fn answer(&mut self, call: Call) {
        match call {
            Call::Begin { draft, answer } => {
                let begun = self.begin(draft);
                // The caller may have gone; the attempt then goes on and ends by itself.
                let _ = answer.send(begun);
            }
            Call::Cancel(id) => self.take(Event::Cancelled(id)),
            // Whoever asked may have gone.
            Call::Turns(answer) => drop(answer.send(self.perception.turns())),
        }
    }

    /// Begins an authentication.
    ///
    /// # Errors
    /// The kiosk is busy or stopping, it cannot keep a record, or a field is out of the protocol's bounds.
    pub fn begin(&mut self, draft: Draft) -> Result<RequestId, Refusal> {
        if self.state.stopping {
            return Err(Refusal::Stopping);
        }
        self.watch_room();
        if self.machine.faults().contains(&Reason::StorageFault) {
            return Err(Refusal::Unrecorded);
        }
        if self.machine.serving().is_some() {
            return Err(Refusal::Busy);
        }
        let id = RequestId::from_bytes(*uuid::Uuid::new_v4().as_bytes());
        let made_at_ms = self.clock.unix_ms(self.clock.now());
        let connection =
            self.uplink.connection().map_err(|error| self.unrecorded(logged(Reason::StorageFault, &error)))?;
        let request = ask::prepare(draft, &self.device, id, (made_at_ms, connection))?;
        self.intend_request(&request).map_err(|reason| self.unrecorded(reason))?;
        self.state.serving = Some((id, request.language));
        self.journal.open(id);
        self.take(Event::Requested(Box::new(request)));
        Ok(id)
    }

    fn unrecorded(&mut self, reason: Reason) -> Refusal {
        self.take(Event::Fault(reason));
        Refusal::Unrecorded
    }

    fn show(&mut self, view: View) {
        if let Some((id, _)) = self.state.serving {
            self.journal.shown(id, &view);
        }
        if let (Some(buzzer), View::Result { outcome, .. }) = (&self.buzzer, &view) {
            buzzer.play(*outcome);
        }
        let language = match (&view, self.state.serving) {
            (View::Idle { .. } | View::OutOfService { .. }, _) | (_, None) => self.language,
            (_, Some((_, language))) => language,
        };
        if let Some(display) = &self.display {
            display.show(view, language);
        }
    }

    fn tell_health(&mut self) {
        let (audit_next, audit_head) = self.outbox.head();
        let mut faults = self.machine.faults();
        faults.retain(|reason| *reason != Reason::NoConnection);
        self.post(Letter::Health(Health { audit_next, audit_head, faults }));
    }

    fn tell_standing(&mut self) {
        let unconfirmed = self.unconfirmed();
        let standing = Standing { serving: self.machine.serving(), faults: self.machine.faults(), unconfirmed };
        if self.state.standing != standing {
            self.journal.stand(standing.clone());
            self.state.standing = standing;
        }
    }

    fn darken(&mut self) {
        if let Err(error) = self.lamps.set(Light::Off) {
            tracing::warn!("{error}");
        }
    }
}

/// A local ending that cannot be sent has been recorded all the same: there is nobody left to tell.
fn unsent(serving: Option<RequestId>, error: &AskError) -> Event {
    tracing::error!("{error}");
    serving.map_or(Event::Tick, Event::Unsent)
}

fn logged(reason: Reason, error: &dyn std::error::Error) -> Reason {
    tracing::error!("{error}");
    reason
}

#[expect(clippy::disallowed_methods, reason = "the loop is the one place that waits for a deadline")]
pub(crate) async fn nap(wait: Duration) {
    tokio::time::sleep(wait).await;
}
