//! Stories and random worlds for the attempt machine.
#![allow(clippy::unwrap_used)]

mod stories;
mod worlds;

use std::sync::LazyLock;
use std::time::Duration;

use didar_protocol::id::{AttemptId, RequestId};
use didar_protocol::light_code::{CodeShape, Light};
use didar_protocol::message::{
    Challenge, Connection, Consent, ConsentMethod, MatcherKeys, Stage, Template, Verdict, VerdictOutcome,
};
use didar_protocol::reason::Reason;
use didar_protocol::seal::{Entropy, SealKey, SealKeyPair};

use super::event::{Ending, Finding, Findings, Proof, Refutation};
use super::{Command, Event, Language, Limits, Machine, Outcome, Request, View};
use crate::time::Moment;

pub(super) const LIMITS: Limits = Limits {
    position: Duration::from_secs(20),
    challenge: Duration::from_secs(5),
    judge: Duration::from_secs(3),
    reply: Duration::from_secs(8),
    show: Duration::from_secs(4),
    reconnect: Duration::from_secs(2),
};

pub(super) const SLOT: Duration = Duration::from_micros(66_667);

pub(super) fn at(ms: u64) -> Moment {
    Moment::from_nanos(ms * 1_000_000)
}

pub(super) fn machine() -> Machine {
    Machine::new(LIMITS, "kiosk-7".parse().unwrap(), CodeShape::AT_30, SLOT, Moment::ZERO)
}

/// The request with this number; its hash is the number too.
pub(super) fn request(number: u8) -> Event {
    Event::Requested(Box::new(Request {
        id: RequestId::from_bytes([number; 16]),
        hash: [number; 32],
        subject: valid_iin(),
        initiator: "bank".parse().unwrap(),
        reference: String::new(),
        purpose: "login".into(),
        consent: Consent {
            given_at_s: 1,
            expires_at_s: 2,
            purpose: "login".into(),
            method: ConsentMethod::Screen,
            text_version: "1".into(),
        },
        made_at_ms: 0,
        connection: Connection { boot: [0xb0; 16], connects: 1 },
        language: Language::Kk,
    }))
}

/// The first number of the day that holds: so no checksum is written down here.
pub(super) fn valid_iin() -> didar_protocol::id::Iin {
    static IIN: LazyLock<didar_protocol::id::Iin> = LazyLock::new(first_valid_iin);
    IIN.clone()
}

fn first_valid_iin() -> didar_protocol::id::Iin {
    (0..10_000).find_map(|tail| format!("9901013{tail:05}").parse().ok()).unwrap()
}

/// Made once: a new key for each of a million events would be most of the tests' time.
pub(super) fn seal_key() -> SealKey {
    static KEY: LazyLock<SealKey> = LazyLock::new(|| SealKeyPair::generate(Entropy::new([7; 32])).public().clone());
    KEY.clone()
}

pub(super) fn keys() -> Event {
    Event::Keys(Box::new(MatcherKeys { seal_keys: vec![seal_key()], policy_version: 1, server_time_ms: 0 }))
}

/// The challenge for the request with this number: attempt id and nonce are the number plus 100.
pub(super) fn challenge(number: u8, valid_ms: u64) -> Event {
    Event::Challenged(Box::new(Challenge {
        attempt: AttemptId::from_bytes([number + 100; 16]),
        device: "kiosk-7".parse().unwrap(),
        request_hash: [number; 32],
        nonce: [number + 100; 32],
        stage: Stage::Subsequent,
        picture: false,
        policy_version: 3,
        server_time_ms: 1_000_000,
        expires_ms: 1_000_000 + valid_ms,
        seal_key: seal_key(),
    }))
}

pub(super) fn verdict(number: u8, outcome: VerdictOutcome, reason: Reason) -> Verdict {
    Verdict {
        attempt: Some(AttemptId::from_bytes([number + 100; 16])),
        device: "kiosk-7".parse().unwrap(),
        reply_to: [number + 100; 32],
        outcome,
        reason,
        threshold_class: 1,
        attempts_left: 4,
        server_time_ms: 1_000_000,
        expires_ms: 1_060_000,
    }
}

pub(super) fn proven(number: u8) -> Event {
    Event::Proven(Box::new(Proof {
        attempt: AttemptId::from_bytes([number + 100; 16]),
        findings: Findings::default(),
        template: Template::new(0.01, vec![1, 2, 3]),
        picture: None,
    }))
}

pub(super) fn refuted(number: u8, finding: Finding, reason: Reason) -> Event {
    Event::Refuted(Box::new(Refutation {
        attempt: AttemptId::from_bytes([number + 100; 16]),
        finding,
        reason,
        findings: Findings::default(),
    }))
}

pub(super) fn say(command: &Command) -> String {
    match command {
        Command::Lamps(light) => format!("lamps({light:?})").to_lowercase(),
        Command::Show(View::Result { outcome, reason }) => format!("show({})", name(*outcome, *reason)),
        Command::Show(View::Idle { faults }) if faults.is_empty() => "idle".into(),
        Command::Show(View::Idle { .. }) => "idle(offline)".into(),
        Command::Show(View::Positioning { hint }) => hint.name().into(),
        Command::Show(View::HoldStill { .. }) => "progress".into(),
        Command::Show(View::Checking) => "checking".into(),
        Command::Show(View::OutOfService { reason }) => format!("out-of-service({})", reason.name()),
        Command::Watch(_) => "watch".into(),
        Command::Ask(_) => "ask".into(),
        Command::Forget(_) => "forget".into(),
        Command::Prove(_) => "prove".into(),
        Command::Judge(_) => "judge".into(),
        Command::Rest => "rest".into(),
        Command::Send(closing) => match &closing.ending {
            Ending::Proved { .. } => "send(proved)".into(),
            Ending::Stopped { outcome, reason } => format!("send({})", name(*outcome, *reason)),
        },
        Command::Record(record) => format!("record({})", name(record.outcome, record.reason)),
    }
}

fn name(outcome: Outcome, reason: Reason) -> String {
    match reason {
        Reason::None => format!("{outcome:?}").to_lowercase(),
        reason => format!("{outcome:?}:{}", reason.name()).to_lowercase(),
    }
}

pub(super) fn is_lit(light: Light) -> bool {
    light != Light::Off
}

/// What the agent's player needs for a code, from the first lamp order to the last, on each kind of camera: the loop
/// comes to every order as late as it was seen to on a machine that has nothing else to do.
#[test]
fn the_code_takes_at_most_900_ms_on_every_camera() {
    const LATE: Duration = Duration::from_micros(2_500);
    let cameras = [
        ("30 frames a second", CodeShape::AT_30, 33_333, 800),
        ("30 frames a second, in step", CodeShape::AT_30_IN_STEP, 33_333, 533),
        ("60 frames a second", CodeShape::AT_60, 16_667, 533),
    ];
    for (camera, shape, frame_us, least_ms) in cameras {
        let slot = Duration::from_micros(frame_us) * u32::from(shape.frames_per_slot);
        let mut machine = Machine::new(LIMITS, "kiosk-7".parse().unwrap(), shape, slot, Moment::ZERO);
        let mut now = at(1_000);
        let mut orders = Vec::new();
        let mut hear = |now: Moment, machine: &mut Machine, event: Event| {
            let lamps = machine.step(now, event).into_iter().filter(|command| matches!(command, Command::Lamps(_)));
            orders.extend(lamps.map(|_| now));
            orders.len()
        };
        for event in [keys(), Event::UplinkUp, request(1), challenge(1, 60_000)] {
            hear(now, &mut machine, event);
        }
        let id = RequestId::from_bytes([1; 16]);
        let mut given = hear(now, &mut machine, Event::FaceSteady(id));
        while given <= usize::from(shape.slots) {
            now = machine.deadline().unwrap().after(LATE);
            given = hear(now, &mut machine, Event::Tick);
        }
        let took = orders[orders.len() - 1].since(orders[0]).as_millis();
        assert!((least_ms..=900).contains(&took), "{camera}: {took} ms");
        assert_eq!(orders.len(), usize::from(shape.slots) + 1, "{camera}");
    }
}
