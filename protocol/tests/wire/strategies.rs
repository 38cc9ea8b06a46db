//! Random lawful messages.

use didar_protocol::id::{AttemptId, DeviceId, InitiatorId, RequestId};
use didar_protocol::light_code::{CodeShape, Light};
use didar_protocol::message::*;
use didar_protocol::reason::Reason;
use didar_protocol::seal::{Entropy, SealKey, SealKeyPair};
use didar_protocol::transcript::*;
use proptest::array::{uniform2, uniform3, uniform8, uniform16, uniform32};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use crate::samples as s;

fn device() -> impl Strategy<Value = DeviceId> {
    "[a-z0-9-]{1,40}".prop_map(|name| name.parse().unwrap())
}

fn initiator() -> impl Strategy<Value = InitiatorId> {
    "[a-z0-9-]{1,40}".prop_map(|name| name.parse().unwrap())
}

fn attempt_id() -> impl Strategy<Value = AttemptId> {
    uniform16(any::<u8>()).prop_map(AttemptId::from_bytes)
}

fn request_id() -> impl Strategy<Value = RequestId> {
    uniform16(any::<u8>()).prop_map(RequestId::from_bytes)
}

fn hash() -> impl Strategy<Value = [u8; 32]> {
    uniform32(any::<u8>())
}

/// Two times of which the second is later.
fn span() -> impl Strategy<Value = (u64, u64)> {
    (0..u64::MAX - 1).prop_flat_map(|start| (Just(start), start + 1..=u64::MAX))
}

fn seal_key() -> impl Strategy<Value = SealKey> {
    any::<[u8; 32]>().prop_map(|seed| SealKeyPair::generate(Entropy::new(seed)).public().clone())
}

fn reason() -> impl Strategy<Value = Reason> {
    select(Reason::ALL)
}

pub(crate) fn challenge_request() -> impl Strategy<Value = ChallengeRequest> {
    let consent = (span(), "[^\\p{C}]{1,16}", select(ConsentMethod::ALL), "[a-z0-9.]{1,32}");
    let consent = consent.prop_map(|((given_at_s, expires_at_s), purpose, method, text_version)| Consent {
        given_at_s,
        expires_at_s,
        purpose,
        method,
        text_version,
    });
    let connection = (uniform16(any::<u8>()), 1..=u64::MAX).prop_map(|(boot, connects)| Connection { boot, connects });
    (device(), request_id(), initiator(), "[^\\p{C}]{0,16}", consent, any::<u64>(), connection).prop_map(
        |(device, request, initiator, reference, consent, made_at_ms, connection)| ChallengeRequest {
            device,
            request,
            initiator,
            reference,
            purpose: consent.purpose.clone(),
            consent,
            made_at_ms,
            connection,
            ..s::challenge_request()
        },
    )
}

pub(crate) fn challenge() -> impl Strategy<Value = Challenge> {
    let ids = (attempt_id(), device(), hash(), hash());
    (ids, select(Stage::ALL), any::<(bool, u32)>(), span(), seal_key()).prop_map(
        |((attempt, device, request_hash, nonce), stage, (picture, policy_version), span, seal_key)| Challenge {
            attempt,
            device,
            request_hash,
            nonce,
            stage,
            picture,
            policy_version,
            server_time_ms: span.0,
            expires_ms: span.1,
            seal_key,
        },
    )
}

fn frame(slots: u8) -> impl Strategy<Value = FrameSample> {
    let place = (0..slots, uniform3(any::<i16>()), any::<u16>(), uniform2(any::<i32>()));
    let more = (any::<[u16; 2]>(), any::<[i16; 2 * POINTS]>(), any::<[u16; NOISE_BANDS]>(), 0..=100u8, any::<u8>());
    (place, any::<(u16, u8)>(), vec(any::<u16>(), 0..=BACKGROUND_MAX), uniform8(any::<u8>()), more).prop_map(
        |((slot, pose_cdeg, eyes_px10, centre_px10), (mean, clipped), background, print, more)| FrameSample {
            at_us: 0,
            slot,
            pose_cdeg,
            eyes_px10,
            centre_px10,
            means: std::array::from_fn(|cell| mean.wrapping_mul(cell as u16)),
            clipped: std::array::from_fn(|cell| clipped.wrapping_mul(cell as u8)),
            background,
            print,
            rows_milli: more.0,
            points_px10: more.1,
            noise_x256: more.2,
            eyes_open: more.3,
            track: more.4,
        },
    )
}

fn transcript() -> impl Strategy<Value = LightTranscript> {
    let shape = select([CodeShape::AT_30, CodeShape::AT_30_IN_STEP, CodeShape::AT_60].as_slice());
    shape.prop_flat_map(|shape| {
        let code = vec(select(Light::ALL), usize::from(shape.slots));
        let switch = (any::<u32>(), select(Light::ALL)).prop_map(|(at_us, light)| Switch { at_us, light });
        let facts = (1..=4000u16, any::<[u32; 4]>(), 1..=1_000_000u32, any::<[u16; 2]>(), select(Spectrum::ALL));
        let frames = (vec(frame(shape.slots), 0..4), any::<(u16, bool)>());
        (Just(shape), code, facts, vec(switch, 0..=SWITCHES_MAX), frames).prop_map(
            |(shape, code, (gamma_milli, us, focal_px10, numbers, spectrum), mut switches, (mut frames, more))| {
                switches.sort_by_key(|switch| switch.at_us);
                (0..).zip(&mut frames).for_each(|(at, frame)| frame.at_us = at);
                let [frame_us, exposure_us, delay_us, readout_us] = us;
                let [baseline_mm, noise_milli] = numbers;
                let camera = CameraFacts {
                    gamma_milli,
                    frame_us,
                    exposure_us,
                    readout_us,
                    delay_us,
                    baseline_mm,
                    focal_px10,
                    noise_milli,
                    spectrum,
                };
                let (mixed, embedded) = more;
                let embedded_at_us = frames.last().filter(|_| embedded).map(|frame| frame.at_us);
                LightTranscript { shape, code, camera, switches, frames, mixed, embedded_at_us }
            },
        )
    })
}

fn ending() -> impl Strategy<Value = Ending> {
    let template = (1..0x7f80_0000u32, vec(any::<i8>(), 1..=1024));
    let template = template.prop_map(|(bits, values)| Template::new(f32::from_bits(bits), values));
    let jpeg = vec(any::<u8>(), 0..200).prop_map(|tail| Picture::from_jpeg([&[0xff, 0xd8, 0xff], &tail[..]].concat()));
    prop_oneof![
        (template, of(jpeg)).prop_map(|(template, picture)| Ending::Proved { template, picture }),
        (select(&Outcome::ALL[1..]), reason()).prop_map(|(outcome, reason)| Ending::Stopped { outcome, reason }),
    ]
}

pub(crate) fn attempt() -> impl Strategy<Value = Attempt> {
    (transcript(), any::<(u16, i32, i32, u32, bool, u64)>(), -1000..=1000i16, ending(), 0..=100u8).prop_map(
        |(transcript, (number, mean, worst, path_px10, blink, sent_at_ms), continuity_milli, ending, percent)| {
            Attempt {
                passive: PassiveSummary {
                    frames: number,
                    mean_llr_milli: mean,
                    worst_llr_milli: worst,
                    context_missing: number,
                },
                motion: Motion { frames: number, still_pairs: number, path_px10, blink },
                quality: Quality {
                    sharpness: percent,
                    exposure: 100 - percent,
                    occlusion: percent,
                    ..Quality::default()
                },
                continuity_milli,
                sent_at_ms,
                ..s::attempt(Some(transcript), ending)
            }
        },
    )
}

pub(crate) fn verdict() -> impl Strategy<Value = Verdict> {
    (of(attempt_id()), device(), hash(), select(VerdictOutcome::ALL), reason(), any::<(u8, u8)>(), span()).prop_map(
        |(attempt, device, reply_to, outcome, reason, (threshold_class, attempts_left), span)| Verdict {
            attempt,
            device,
            reply_to,
            outcome: if attempt.is_none() { VerdictOutcome::Refuse } else { outcome },
            reason,
            threshold_class,
            attempts_left,
            server_time_ms: span.0,
            expires_ms: span.1,
        },
    )
}

pub(crate) fn audit_record() -> impl Strategy<Value = AuditRecord> {
    let attempt =
        (of(attempt_id()), request_id(), initiator(), select(Outcome::ALL), reason(), any::<(u64, u64, u32)>());
    let entry = prop_oneof![
        attempt.prop_map(|(attempt, request, initiator, outcome, reason, (started_ms, ended_ms, policy_version))| {
            AuditEntry::Attempt { attempt, request, initiator, outcome, reason, started_ms, ended_ms, policy_version }
        }),
        any::<u64>().prop_map(|count| AuditEntry::Lost { count }),
        (1..3u64).prop_map(|first| AuditEntry::Gone { first, last: 2 }),
        ("[0-9.]{1,40}", uniform16(any::<u8>())).prop_map(|(version, boot)| AuditEntry::Started { version, boot }),
    ];
    (device(), 1..4u64, entry).prop_map(|(device, number, entry)| {
        let number = if matches!(entry, AuditEntry::Gone { .. }) { 3 } else { number };
        AuditRecord { device, ..s::audit(number, entry) }
    })
}

pub(crate) fn state() -> impl Strategy<Value = State> {
    (device(), any::<(bool, u64, u64, u64)>(), hash(), vec(reason(), 0..=16)).prop_map(
        |(device, (online, connects, audit_next, at_ms), audit_head, faults)| State {
            device,
            online,
            connects,
            audit_next,
            at_ms,
            audit_head,
            faults,
            ..s::state()
        },
    )
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    let verdict = of(select(VerdictOutcome::ALL));
    let names = (of(device()), of(attempt_id()), verdict, of(select(Outcome::ALL)));
    (any::<u64>(), select(EventKind::ALL), names, reason(), "[^\\p{C}]{0,30}").prop_map(
        |(at_ms, kind, (device, attempt, verdict, outcome), reason, note)| Event {
            at_ms,
            kind,
            device,
            attempt,
            verdict,
            outcome,
            reason,
            note,
        },
    )
}

pub(crate) fn receipt() -> impl Strategy<Value = Receipt> {
    let numbers = (0..1000u64, 1..1000u64, proptest::collection::btree_set(1001..u64::MAX, 0..=64));
    (device(), numbers, hash(), any::<u64>()).prop_map(|(device, (highest, answers, missing), hash, server_time_ms)| {
        Receipt {
            device,
            highest,
            hash: if highest == 0 { [0; 32] } else { hash },
            answers,
            missing: missing.into_iter().collect(),
            server_time_ms,
        }
    })
}

pub(crate) fn matcher_keys() -> impl Strategy<Value = MatcherKeys> {
    (vec(seal_key(), 1..=4), any::<(u32, u64)>()).prop_map(|(seal_keys, (policy_version, server_time_ms))| {
        MatcherKeys { seal_keys, policy_version, server_time_ms }
    })
}
