//! One value of every message, for vectors and size checks. All keys and persons here are made for tests.

use didar_protocol::id::{AttemptId, DeviceId, RequestId, sha256};
use didar_protocol::light_code::{CodeShape, Light, light_code};
use didar_protocol::message::*;
use didar_protocol::reason::Reason;
use didar_protocol::seal::{Entropy, SealKeyPair, SoftwareSigner};
use didar_protocol::transcript::*;

/// 2026-01-01 00:00:00 UTC.
pub(crate) const NOW_MS: u64 = 1_767_225_600_000;
/// Stands for a certificate where only its hash matters.
pub(crate) const CERTIFICATE: &[u8] = b"TEST CERTIFICATE, NOT DER";

pub(crate) fn device() -> DeviceId {
    "kiosk-0001".parse().unwrap()
}

pub(crate) fn attempt_id() -> AttemptId {
    "019b7702-5c00-7000-8000-000000000001".parse().unwrap()
}

pub(crate) fn request_id() -> RequestId {
    "019b7702-5c00-7000-8000-000000000002".parse().unwrap()
}

/// TEST KEY of the matcher: everybody knows it.
pub(crate) fn seal_pair() -> SealKeyPair {
    SealKeyPair::generate(Entropy::new([0x5e; 32]))
}

/// TEST KEY of a signer: everybody knows it.
pub(crate) fn signer() -> SoftwareSigner {
    let pem = SealKeyPair::generate(Entropy::new([0x51; 32])).to_pkcs8_pem();
    SoftwareSigner::from_pkcs8_pem(&pem, CERTIFICATE).unwrap()
}

pub(crate) fn consent() -> Consent {
    Consent {
        given_at_s: NOW_MS / 1000 - 60,
        expires_at_s: NOW_MS / 1000 + 3600,
        purpose: "public-service".to_owned(),
        method: ConsentMethod::Screen,
        text_version: "2026-01".to_owned(),
    }
}

pub(crate) fn challenge_request() -> ChallengeRequest {
    ChallengeRequest {
        device: device(),
        request: request_id(),
        subject: "900101300017".parse().unwrap(),
        initiator: "egov-kiosk".parse().unwrap(),
        reference: "заявка 42".to_owned(),
        purpose: "public-service".to_owned(),
        consent: consent(),
        made_at_ms: NOW_MS,
        connection: Connection { boot: [0xb0; 16], connects: 7 },
    }
}

pub(crate) fn challenge() -> Challenge {
    Challenge {
        attempt: attempt_id(),
        device: device(),
        request_hash: sha256(&challenge_request().encode().unwrap()),
        nonce: [0xa5; 32],
        stage: Stage::Primary,
        picture: true,
        policy_version: 1,
        server_time_ms: NOW_MS + 20,
        expires_ms: NOW_MS + 60_020,
        seal_key: seal_pair().public().clone(),
    }
}

pub(crate) fn matcher_keys() -> MatcherKeys {
    let older = SealKeyPair::generate(Entropy::new([0x5d; 32]));
    MatcherKeys {
        seal_keys: vec![seal_pair().public().clone(), older.public().clone()],
        policy_version: 1,
        server_time_ms: NOW_MS,
    }
}

pub(crate) fn transcript(shape: CodeShape, frames: usize) -> LightTranscript {
    let code = light_code(&[0xa5; 32], &attempt_id(), &device(), shape);
    let slot_us = 66_667;
    let switches = (0u32..).zip(&code).map(|(slot, light)| Switch { at_us: slot * slot_us, light: *light });
    LightTranscript {
        shape,
        switches: switches.chain([Switch { at_us: code.len() as u32 * slot_us, light: Light::Off }]).collect(),
        frames: (0..frames).map(|at| frame(at as u32 * 33_333, (at / 2) as u8 % shape.slots)).collect(),
        code,
        mixed: 3,
        embedded_at_us: (frames > 0).then_some(0),
        camera: CameraFacts {
            gamma_milli: 2200,
            frame_us: 33_333,
            exposure_us: 10_000,
            delay_us: 1_500,
            baseline_mm: 90,
            readout_us: 8_000,
            focal_px10: 7_300,
            noise_milli: 1_500,
            spectrum: Spectrum::ColourNoFilter,
        },
    }
}

fn frame(at_us: u32, slot: u8) -> FrameSample {
    FrameSample {
        at_us,
        slot,
        pose_cdeg: [-150, 75, 0],
        eyes_px10: 904,
        centre_px10: [3201, -7],
        means: std::array::from_fn(|cell| 20_000 + 10 * cell as u16),
        clipped: std::array::from_fn(|cell| if cell == 66 { 12 } else { 0 }),
        background: vec![5_120, 5_130],
        print: [slot; 8],
        rows_milli: [310, 712],
        points_px10: [-690, -300, -310, -290, 310, -290, 690, -300, -360, 480, 360, 480, 0, 120, 10, 1010],
        noise_x256: [380, 390, 400, NO_NOISE],
        eyes_open: 88,
        track: 0,
    }
}

pub(crate) fn models() -> Vec<ModelRef> {
    let model = |role: ModelRole| ModelRef { role, sha256: sha256(role.name().as_bytes()) };
    ModelRole::ALL.iter().copied().map(model).collect()
}

pub(crate) fn attempt(transcript: Option<LightTranscript>, ending: Ending) -> Attempt {
    Attempt {
        attempt: attempt_id(),
        device: device(),
        request_hash: challenge().request_hash,
        nonce: challenge().nonce,
        transcript,
        passive: PassiveSummary { frames: 12, mean_llr_milli: 3_250, worst_llr_milli: -120, context_missing: 1 },
        motion: Motion { frames: 24, still_pairs: 0, path_px10: 318, blink: true },
        quality: Quality {
            sharpness: 71,
            exposure: 88,
            illumination_uniformity: 64,
            pose_deg: [-2, 1, 0],
            interocular_px: 90,
            occlusion: 97,
            faces: 1,
        },
        models: models(),
        continuity_milli: 912,
        ending,
        sent_at_ms: NOW_MS + 4_000,
    }
}

pub(crate) fn attempt_proved() -> Attempt {
    let template = Template::new(1.0 / 128.0, (0..16).map(|value| value * 8 - 64).collect());
    attempt(Some(transcript(CodeShape::AT_30, 2)), Ending::Proved { template, picture: Some(jpeg(24)) })
}

pub(crate) fn attempt_stopped() -> Attempt {
    attempt(None, Ending::Stopped { outcome: Outcome::Cancelled, reason: Reason::CancelledByApplication })
}

/// The largest attempt that the bounds allow: every list full, every number long.
pub(crate) fn attempt_largest() -> Attempt {
    let mut transcript = transcript(CodeShape::AT_60, FRAMES_MAX);
    for (at, frame) in (0u32..).zip(&mut transcript.frames) {
        frame.at_us = u32::MAX - FRAMES_MAX as u32 + at;
        frame.pose_cdeg = [i16::MIN; 3];
        frame.eyes_px10 = u16::MAX;
        frame.centre_px10 = [i32::MIN; 2];
        frame.background = vec![u16::MAX; BACKGROUND_MAX];
        frame.eyes_open = 100;
        frame.track = u8::MAX;
    }
    transcript.embedded_at_us = Some(u32::MAX - 1);
    transcript.mixed = u16::MAX;
    transcript.switches = vec![Switch { at_us: u32::MAX, light: Light::Both }; SWITCHES_MAX];
    let template = Template::new(f32::MAX, vec![-1; Template::VALUES_MAX]);
    let picture = Some(jpeg(Picture::BYTES_MAX));
    let mut attempt = attempt(Some(transcript), Ending::Proved { template, picture });
    attempt.device = "k".repeat(40).parse().unwrap();
    attempt.models = [models(), models()].concat();
    attempt.sent_at_ms = u64::MAX;
    attempt
}

fn jpeg(size: usize) -> Picture {
    let mut bytes = vec![0; size];
    bytes[..3].copy_from_slice(&[0xff, 0xd8, 0xff]);
    Picture::from_jpeg(bytes)
}

pub(crate) fn verdict_match() -> Verdict {
    Verdict {
        attempt: Some(attempt_id()),
        device: device(),
        reply_to: challenge().nonce,
        outcome: VerdictOutcome::Match,
        reason: Reason::None,
        threshold_class: 2,
        attempts_left: 5,
        server_time_ms: NOW_MS + 4_150,
        expires_ms: NOW_MS + 34_150,
    }
}

pub(crate) fn verdict_refused() -> Verdict {
    Verdict {
        attempt: None,
        reply_to: challenge().request_hash,
        outcome: VerdictOutcome::Refuse,
        reason: Reason::ConsentExpired,
        ..verdict_match()
    }
}

pub(crate) fn audit(number: u64, entry: AuditEntry) -> AuditRecord {
    let previous = if number == 1 { [0; 32] } else { sha256(b"the record before") };
    AuditRecord { device: device(), number, previous, entry }
}

pub(crate) fn audit_started() -> AuditRecord {
    audit(1, AuditEntry::Started { version: "0.1.0".to_owned(), boot: [0xb0; 16] })
}

pub(crate) fn audit_attempt() -> AuditRecord {
    audit(
        2,
        AuditEntry::Attempt {
            attempt: Some(attempt_id()),
            request: request_id(),
            initiator: "egov-kiosk".parse().unwrap(),
            outcome: Outcome::Grant,
            reason: Reason::None,
            started_ms: NOW_MS,
            ended_ms: NOW_MS + 4_200,
            policy_version: 1,
        },
    )
}

pub(crate) fn audit_lost() -> AuditRecord {
    audit(3, AuditEntry::Lost { count: 17 })
}

pub(crate) fn audit_gone() -> AuditRecord {
    audit(9, AuditEntry::Gone { first: 5, last: 7 })
}

pub(crate) fn receipt() -> Receipt {
    Receipt {
        device: device(),
        highest: 40,
        hash: sha256(b"record 40"),
        answers: 44,
        missing: vec![42, 43],
        server_time_ms: NOW_MS,
    }
}

pub(crate) fn state() -> State {
    State {
        device: device(),
        online: true,
        version: "0.1.0".to_owned(),
        boot: [0xb0; 16],
        connects: 7,
        audit_next: 4,
        audit_head: sha256(b"the last record"),
        models: models(),
        faults: vec![Reason::LeftLampDark],
        at_ms: NOW_MS,
    }
}

pub(crate) fn event() -> Event {
    Event {
        at_ms: NOW_MS + 4_160,
        kind: EventKind::Decided,
        device: Some(device()),
        attempt: Some(attempt_id()),
        verdict: Some(VerdictOutcome::Match),
        outcome: None,
        reason: Reason::None,
        note: String::new(),
    }
}
