//! Random worlds: stalls, losses, duplicates, stale and foreign facts. One seed replays one world exactly.

use std::collections::HashMap;

use super::*;
use crate::attempt::LIT_MAX;

/// xorshift64: enough for picking events, and the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// What an observer outside the machine knows.
#[derive(Default)]
struct Observer {
    seed: u64,
    log: Vec<String>,
    lit_since: Option<Moment>,
    sent: Vec<AttemptId>,
    proved: Vec<AttemptId>,
    matched: Vec<AttemptId>,
    recorded: HashMap<RequestId, u32>,
    watched: Vec<RequestId>,
    grants: u32,
}

impl Observer {
    fn see(&mut self, now: Moment, commands: &[Command]) {
        for command in commands {
            self.log.push(format!("{now:?} {}", say(command)));
            match command {
                Command::Lamps(light) if is_lit(*light) => {
                    self.lit_since.get_or_insert(now);
                }
                Command::Lamps(_) => self.lit_since = None,
                Command::Watch(id) => self.watched.push(*id),
                Command::Send(closing) => self.sending(now, closing),
                Command::Record(record) => self.recording(record),
                Command::Show(_) | Command::Ask(_) | Command::Forget(_) => {}
                Command::Prove(_) | Command::Judge(_) | Command::Rest => {}
            }
        }
    }

    fn sending(&mut self, now: Moment, closing: &crate::attempt::event::Closing) {
        let seed = self.seed;
        let id = closing.challenge.attempt;
        assert!(!self.sent.contains(&id), "seed {seed}: sent twice");
        assert!(now < closing.expires, "seed {seed}: sent after the challenge's expiry");
        self.sent.push(id);
        if matches!(closing.ending, Ending::Proved { .. }) {
            self.proved.push(id);
        }
    }

    fn recording(&mut self, record: &crate::attempt::event::Record) {
        let seed = self.seed;
        let count = self.recorded.entry(record.request).or_default();
        *count += 1;
        assert_eq!(*count, 1, "seed {seed}: recorded twice");
        assert!(self.lit_since.is_none(), "seed {seed}: an attempt ended with a lamp lit");
        if record.outcome == Outcome::Grant {
            self.grants += 1;
            let id = record.attempt.unwrap();
            assert!(self.matched.contains(&id), "seed {seed}: grant without match");
            assert!(self.proved.contains(&id), "seed {seed}: grant without proof");
        }
    }

    fn after_step(&self, now: Moment, machine: &Machine) {
        let seed = self.seed;
        if let Some(since) = self.lit_since {
            assert!(now.since(since) < LIT_MAX, "seed {seed}: lit too long");
        }
        let open = self.watched.iter().filter(|id| !self.recorded.contains_key(id)).count();
        let serving = usize::from(machine.serving().is_some());
        assert_eq!(open, serving, "seed {seed}: requests without record");
    }
}

/// The fact that comes next: mostly the one that leads on, often another.
fn pick(random: &mut Random, serving: Option<RequestId>, requests: u8, observer: &mut Observer) -> Event {
    let stale = 1 + random.below(u64::from(requests.max(1))) as u8;
    let number = serving.map_or(stale, |id| if random.below(6) == 0 { stale } else { id.as_bytes()[0] });
    let id = RequestId::from_bytes([number; 16]);
    let reasons = [Reason::CameraFault, Reason::LampFault, Reason::StorageFault, Reason::ScreenFault];
    match random.below(40) {
        0..=6 => Event::FaceSteady(id),
        7 if random.below(4) == 0 => Event::FaceLost(id),
        8 => Event::Guided(id, crate::attempt::Hint::Closer),
        9..=14 => challenge(number, if random.below(4) == 0 { 1_500 } else { 60_000 }),
        15..=20 => proven(number),
        21 if random.below(4) == 0 => refuted(number, Finding::Spoof, Reason::NoRelief),
        22..=27 => {
            let outcomes =
                [VerdictOutcome::Match, VerdictOutcome::Match, VerdictOutcome::NoMatch, VerdictOutcome::Refuse];
            let mut verdict = verdict(number, outcomes[random.below(4) as usize], Reason::None);
            match random.below(6) {
                0 => verdict.reply_to = [0; 32],
                1 => verdict.attempt = None,
                _ if verdict.outcome == VerdictOutcome::Match => observer.matched.extend(verdict.attempt),
                _ => {}
            }
            Event::Replied(Box::new(verdict))
        }
        28 if random.below(4) == 0 => Event::UplinkDown,
        29..=31 => Event::UplinkUp,
        32 if random.below(3) == 0 => Event::Cancelled(id),
        33 if random.below(6) == 0 => Event::Fault(reasons[random.below(4) as usize]),
        34..=35 => Event::Mended(reasons[random.below(4) as usize]),
        36 => keys(),
        _ => Event::Tick,
    }
}

fn run(seed: u64) -> Observer {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut machine = machine();
    let mut observer = Observer { seed, ..Observer::default() };
    let (mut now, mut requests) = (at(0), 0u8);
    machine.step(now, Event::UplinkUp);
    machine.step(now, keys());
    for _ in 0..400 {
        // The loop's contract: it wakes at the deadline, a scheduling slip of at most 20 ms later.
        let longest = if random.below(8) == 0 { 3_000 } else { 90 };
        let hop = now.after(Duration::from_millis(random.below(longest)));
        now = match machine.deadline() {
            Some(due) if due < hop => now.max(due.after(Duration::from_millis(random.below(20)))),
            Some(_) | None => hop,
        };
        let fresh = machine.serving().is_none() && requests < 140 && random.below(3) == 0;
        let event = if fresh || (requests < 140 && random.below(50) == 0) {
            requests += 1;
            let event = request(requests);
            if machine.serving().is_none() {
                let before = observer.watched.len();
                let commands = machine.step(now, event);
                observer.see(now, &commands);
                // Refused at once for a fault or the lost connection: recorded without being watched.
                if observer.watched.len() == before {
                    observer.watched.push(RequestId::from_bytes([requests; 16]));
                }
                observer.after_step(now, &machine);
                continue;
            }
            event
        } else {
            pick(&mut random, machine.serving(), requests, &mut observer)
        };
        let commands = machine.step(now, event);
        observer.see(now, &commands);
        observer.after_step(now, &machine);
    }
    observer
}

#[test]
fn invariants_hold_in_random_worlds() {
    let (mut grants, mut sent) = (0, 0);
    for seed in 1..=2_500 {
        let observer = run(seed);
        grants += observer.grants;
        sent += observer.sent.len();
    }
    // Worlds in which nothing ever happens would prove nothing.
    assert!(grants > 500 && sent > 5_000, "only {grants} grants and {sent} letters");
}

#[test]
fn same_seed_same_world() {
    assert_eq!(run(7).log, run(7).log);
    assert!(run(7).log.len() > 20);
}
