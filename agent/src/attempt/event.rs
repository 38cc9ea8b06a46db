//! The words of the attempt: what happens ([`Event`]), what is ordered ([`Command`]), what a person sees ([`View`]).
//!
//! Plain values without behaviour. Nothing here shows a person, a template or a picture in its `Debug`.

use std::time::Duration;

use didar_liveness::{Evidence, Policy, judge};
use didar_protocol::id::{AttemptId, Hash, Iin, InitiatorId, RequestId};
use didar_protocol::light_code::Light;
use didar_protocol::message::{
    Challenge, Connection, Consent, MatcherKeys, Motion, PassiveSummary, Picture, Quality, Receipt, Template, Verdict,
};
use didar_protocol::reason::Reason;
use didar_protocol::transcript::LightTranscript;

pub use didar_protocol::message::Outcome;

use crate::edge::Question;
use crate::time::Moment;

/// A language of the kiosk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Kazakh.
    Kk,
    /// Russian.
    Ru,
    /// English.
    En,
}

impl Language {
    /// Every language, the state language first.
    pub const ALL: [Self; 3] = [Self::Kk, Self::Ru, Self::En];
}

/// What the kiosk's application asks for. Made by [`crate::ask::prepare`], so that the hash is the message's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The request's own name.
    pub id: RequestId,
    /// SHA-256 of the encoded `ChallengeRequest`: what a challenge or a refusal must name.
    pub hash: Hash,
    /// Who the person claims to be.
    pub subject: Iin,
    /// On whose behalf.
    pub initiator: InitiatorId,
    /// The initiator's own reference.
    pub reference: String,
    /// What for.
    pub purpose: String,
    /// The person's consent: no request exists without one.
    pub consent: Consent,
    /// When it was made, Unix milliseconds.
    pub made_at_ms: u64,
    /// The device's newest connection then.
    pub connection: Connection,
    /// In which language the person is served.
    pub language: Language,
}

/// Something that happened. Events that belong to one request or attempt carry its id: late ones are then harmless.
#[derive(Debug)]
pub enum Event {
    /// The kiosk's application asks for an authentication.
    Requested(Box<Request>),
    /// The kiosk's application takes its request back.
    Cancelled(RequestId),
    /// The agent was told to stop.
    Stopping,

    /// Perception: the person should change something first.
    Guided(RequestId, Hint),
    /// Perception: one face, well placed, for long enough.
    FaceSteady(RequestId),
    /// Perception: the face went away; during the code this ends the proof.
    FaceLost(RequestId),
    /// Perception: the face is alive and reduced to a template.
    Proven(Box<Proof>),
    /// Perception: not live, or not enough evidence.
    Refuted(Box<Refutation>),

    /// Uplink: the matcher allows one attempt. Verified, for this device, not expired.
    Challenged(Box<Challenge>),
    /// Uplink: the matcher's answer. Verified, for this device.
    Replied(Box<Verdict>),
    /// Uplink: the matcher holds these audit records.
    Receipt(Receipt),
    /// Uplink: the matcher's sealing keys. Verified.
    Keys(Box<MatcherKeys>),
    /// Uplink: connected and subscribed.
    UplinkUp,
    /// Uplink: the connection is gone; the uplink goes on trying.
    UplinkDown,

    /// The request or its attempt could not be signed, sealed or encoded. Logged by the loop already.
    Unsent(RequestId),

    /// An edge broke. Logged by the loop already; the reason is one of 520 to 526.
    Fault(Reason),
    /// The same edge works again.
    Mended(Reason),
    /// Nothing but time passed.
    Tick,
}

/// An order to an edge.
#[derive(Debug)]
pub enum Command {
    /// Switch the lamps.
    Lamps(Light),
    /// Show this on the screen, and tell the kiosk's application.
    Show(View),
    /// Perception: look for a face and guide it into place.
    Watch(RequestId),
    /// Seal and send the request for a challenge.
    Ask(Box<Request>),
    /// Nobody waits for this answer any more: stop asking.
    Forget(Question),
    /// Perception: the code begins now; sample every frame.
    Prove(Box<ProofOrder>),
    /// Perception: the code is over; judge.
    Judge(AttemptId),
    /// Perception: stop looking; wipe what was kept.
    Rest,
    /// Sign, seal and send the attempt.
    Send(Box<Closing>),
    /// Keep the audit record: exactly one per request.
    Record(Box<Record>),
}

/// What perception needs for one proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofOrder {
    /// Whose proof.
    pub attempt: AttemptId,
    /// The lamp states in order; one per slot.
    pub code: Vec<Light>,
    /// When the first slot begins.
    pub start: Moment,
    /// Whether a picture of the face is asked for.
    pub picture: bool,
}

/// What the camera and the models found over the code: numbers, no pixels, no template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What the light code showed; absent where the attempt ended before.
    pub transcript: Option<LightTranscript>,
    /// What the passive network said.
    pub passive: PassiveSummary,
    /// How the face moved.
    pub motion: Motion,
    /// Quality of the frame that was embedded, or of the last one.
    pub quality: Quality,
    /// Cosine x 1000 between the sequence's faces and the embedded one, the worst.
    pub continuity_milli: i16,
}

impl Findings {
    /// The judge's evidence on these findings, `code` being the one that was ordered; `None` without a transcript.
    pub fn judge(&self, code: &[Light], policy: &Policy) -> Option<Evidence> {
        let transcript = self.transcript.as_ref()?;
        Some(judge(transcript, code, &self.passive, &self.motion, self.continuity_milli, policy))
    }
}

/// A live face, reduced.
#[derive(Debug)]
pub struct Proof {
    /// Whose proof.
    pub attempt: AttemptId,
    /// The evidence.
    pub findings: Findings,
    /// The template; wiped on drop.
    pub template: Template,
    /// The face's picture, where the challenge asked for one; wiped on drop.
    pub picture: Option<Picture>,
}

/// A proof that failed.
#[derive(Debug)]
pub struct Refutation {
    /// Whose proof.
    pub attempt: AttemptId,
    /// Spoof or inconclusive: nothing else can be found on the device.
    pub finding: Finding,
    /// Why.
    pub reason: Reason,
    /// The evidence.
    pub findings: Findings,
}

/// What the device can find by itself, short of a live face.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A fake.
    Spoof,
    /// Not enough evidence.
    Inconclusive,
}

/// Everything that the attempt message says. Becomes bytes in [`crate::ask::attempt`].
#[derive(Debug)]
pub struct Closing {
    /// The request that the attempt was about.
    pub request: RequestId,
    /// The challenge that this answers.
    pub challenge: Box<Challenge>,
    /// The evidence.
    pub findings: Findings,
    /// What came out.
    pub ending: Ending,
    /// When the challenge ends: no sending after it.
    pub expires: Moment,
}

/// What came out on the device.
#[derive(Debug)]
pub enum Ending {
    /// A live face.
    Proved {
        /// The template.
        template: Template,
        /// The picture, where asked for.
        picture: Option<Picture>,
    },
    /// It ended here: no template, no picture.
    Stopped {
        /// How.
        outcome: Outcome,
        /// Why.
        reason: Reason,
    },
}

/// How one request ended. Becomes an audit record; names no person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The attempt, if a challenge had named it.
    pub attempt: Option<AttemptId>,
    /// The request.
    pub request: RequestId,
    /// On whose behalf.
    pub initiator: InitiatorId,
    /// How it ended.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// When it was asked for.
    pub started: Moment,
    /// When it ended.
    pub ended: Moment,
    /// How long each stage took.
    pub stages: Stages,
}

/// How long the stages of one request took; zero where it never got there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// From the request to the first lamp order.
    pub positioning: Duration,
    /// The code, to its last slot's end.
    pub proving: Duration,
    /// From there to the template or the refutation.
    pub judging: Duration,
    /// From the sending to the verdict.
    pub awaiting: Duration,
}

/// What the person sees. The whole screen is a function of this, the language and the help desk's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// Nobody is being served. Small faults (no connection) may be shown in a corner.
    Idle {
        /// What is broken now, without stopping service for good.
        faults: Vec<Reason>,
    },
    /// The person finds the place.
    Positioning {
        /// The one thing to change.
        hint: Hint,
    },
    /// The lamps play.
    HoldStill {
        /// 0 to 100.
        progress: u8,
    },
    /// The proof is judged here or at the centre.
    Checking,
    /// How it ended, and what the person can do next.
    Result {
        /// How.
        outcome: Outcome,
        /// Why.
        reason: Reason,
    },
    /// The kiosk can serve nobody; the help desk can.
    OutOfService {
        /// Why.
        reason: Reason,
    },
}

/// The one thing that the person should change now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hint {
    /// No face is seen.
    LookForFace,
    /// The face is small.
    Closer,
    /// The face is large.
    Farther,
    /// The face is at the edge.
    ToTheMiddle,
    /// The face is turned.
    LookStraight,
    /// Mouth or nose are covered.
    TakeOffMask,
    /// Too little light on the face.
    TooDark,
    /// Too much light on the face.
    TooBright,
    /// Several faces are seen.
    OnePersonOnly,
    /// Well placed: stay so.
    HoldStill,
    /// The picture ends too close around the face.
    StepBack,
}

impl Hint {
    /// Every hint.
    pub const ALL: [Self; 11] = [
        Self::LookForFace,
        Self::Closer,
        Self::Farther,
        Self::ToTheMiddle,
        Self::LookStraight,
        Self::TakeOffMask,
        Self::TooDark,
        Self::TooBright,
        Self::OnePersonOnly,
        Self::HoldStill,
        Self::StepBack,
    ];

    /// The hint's stable name in the local API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LookForFace => "look-for-face",
            Self::Closer => "closer",
            Self::Farther => "farther",
            Self::ToTheMiddle => "to-the-middle",
            Self::LookStraight => "look-straight",
            Self::TakeOffMask => "take-off-mask",
            Self::TooDark => "too-dark",
            Self::TooBright => "too-bright",
            Self::OnePersonOnly => "one-person-only",
            Self::HoldStill => "hold-still",
            Self::StepBack => "step-back",
        }
    }
}

/// What the person can do after an ending; the texts are the screen's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guidance {
    /// Go on: recognised.
    Proceed,
    /// Try once more, here and now.
    TryAgain,
    /// Give consent first, or renew it.
    Consent,
    /// Wait before the next try.
    Wait,
    /// This kiosk cannot help now: turn to the help desk.
    HelpDesk,
}

impl Guidance {
    /// What to advise after `outcome` for `reason`.
    pub const fn after(outcome: Outcome, reason: Reason) -> Self {
        match (outcome, reason) {
            (Outcome::Grant, _) => Self::Proceed,
            (Outcome::Refused, Reason::ConsentMissing | Reason::ConsentExpired)
            | (Outcome::Refused, Reason::ConsentWithdrawn | Reason::ConsentPurpose) => Self::Consent,
            (_, Reason::TooManyFailures) => Self::Wait,
            (Outcome::Refused, Reason::ChallengeExpired | Reason::ChallengeSpent) => Self::TryAgain,
            (Outcome::Inconclusive, Reason::LeftLampDark | Reason::RightLampDark) => Self::HelpDesk,
            (Outcome::Refused | Outcome::Fault | Outcome::Offline, _) => Self::HelpDesk,
            (Outcome::Deny | Outcome::Spoof | Outcome::Inconclusive | Outcome::TimeOut | Outcome::Cancelled, _) => {
                Self::TryAgain
            }
        }
    }
}
