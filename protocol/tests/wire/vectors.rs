//! One vector of every message at least: bytes that never change within version 1.

use std::fmt::Debug;

use didar_protocol::message::*;
use didar_protocol::reason::Reason;
use didar_protocol::seal::{self, Entropy, Sealed, Signed};

use crate::golden::{CDDL, cddl, diagnostic, golden};
use crate::samples as s;

/// The vector of one message: bytes, twin, CDDL, and back.
fn message<M: Message + Debug + PartialEq>(name: &str, value: &M) {
    let bytes = value.encode().unwrap();
    golden(&format!("{name}.cbor"), &bytes);
    // A slash would end the comment.
    let shown = format!("{value:?}").replace('/', "_");
    let head = format!("/ {} of {} bytes; the program shows it as\n{shown} /", M::KIND, bytes.len());
    golden(&format!("{name}.diag"), format!("{head}\n{}", diagnostic(&bytes)).as_bytes());
    assert_eq!(&M::decode(&bytes).unwrap(), value, "{name}");
    cddl(M::KIND.name(), &bytes).unwrap_or_else(|cause| panic!("{name}: {cause}"));
}

/// The vector of a signed or sealed message.
fn wrapped(name: &str, rule: &str, bytes: &[u8]) {
    golden(&format!("{name}.cbor"), bytes);
    golden(&format!("{name}.diag"), diagnostic(bytes).as_bytes());
    cddl(rule, bytes).unwrap_or_else(|cause| panic!("{name}: {cause}"));
}

#[test]
fn every_message_has_its_bytes() {
    message("challenge-request", &s::challenge_request());
    message("challenge", &s::challenge());
    message("matcher-keys", &s::matcher_keys());
    message("attempt-proved", &s::attempt_proved());
    message("attempt-stopped", &s::attempt_stopped());
    message("verdict-match", &s::verdict_match());
    message("verdict-refused", &s::verdict_refused());
    message("audit-record-started", &s::audit_started());
    message("audit-record-attempt", &s::audit_attempt());
    message("audit-record-lost", &s::audit_lost());
    message("audit-record-gone", &s::audit_gone());
    message("receipt", &s::receipt());
    message("state", &s::state());
    message("event", &s::event());
}

#[test]
fn no_vector_s_debug_shows_a_person() {
    let request = s::challenge_request();
    assert!(!format!("{request:?}").contains("900101"));
    let attempt = format!("{:?}", s::attempt_proved());
    assert!(attempt.contains("Template(… 16 values)") && attempt.contains("Picture(… 24 bytes)"), "{attempt}");
    assert!(!attempt.contains("means"), "cells of the light transcript are a coarse picture of a face");
}

#[test]
fn signed_messages_have_their_bytes() {
    let signer = s::signer();
    let state = seal::sign(Kind::State, &s::state().encode().unwrap(), &signer).unwrap();
    let verdict = s::verdict_match().encode().unwrap();
    let verdict = seal::sign_with_certificate(Kind::Verdict, &verdict, &signer, s::CERTIFICATE).unwrap();
    for (name, kind, bytes) in [("signed-state", Kind::State, state), ("signed-verdict", Kind::Verdict, verdict)] {
        wrapped(name, "signed-message", &bytes);
        assert!(Signed::parse(kind, &bytes).unwrap().verify(&signer.verifying_key()).is_ok());
    }
}

#[test]
fn sealed_messages_open() {
    let signer = s::signer();
    let seal = |kind, attempt: Option<_>, payload: &[u8]| {
        let signed = seal::sign(kind, payload, &signer).unwrap();
        let entropy = Entropy::new([0xe7; 32]);
        seal::seal(s::seal_pair().public(), kind, &s::device(), attempt.as_ref(), &signed, entropy).unwrap()
    };
    let request = s::challenge_request().encode().unwrap();
    let attempt = s::attempt_stopped().encode().unwrap();
    for (name, kind, bytes, payload) in [
        ("sealed-challenge-request", Kind::ChallengeRequest, seal(Kind::ChallengeRequest, None, &request), request),
        ("sealed-attempt", Kind::Attempt, seal(Kind::Attempt, Some(s::attempt_id()), &attempt), attempt),
    ] {
        wrapped(name, "sealed-message", &bytes);
        let opened = Sealed::parse(kind, &bytes).unwrap().open(&s::seal_pair()).unwrap();
        let signed = Signed::parse(kind, &opened).unwrap();
        assert_eq!(signed.verify(&signer.verifying_key()).unwrap(), payload.as_slice());
    }
}

#[test]
fn the_largest_attempt_fits_signed_and_sealed() {
    let payload = s::attempt_largest().encode().unwrap();
    let signed = seal::sign(Kind::Attempt, &payload, &s::signer()).unwrap();
    let device = "k".repeat(40).parse().unwrap();
    let pair = s::seal_pair();
    let sealed =
        seal::seal(pair.public(), Kind::Attempt, &device, Some(&s::attempt_id()), &signed, Entropy::new([1; 32]));
    let size = sealed.unwrap().len();
    assert!((90_000..=Kind::Attempt.max_size()).contains(&size), "{size} bytes");
    cddl("attempt", &payload).unwrap();
}

#[test]
fn the_kiosk_s_bounds_are_refused_before_they_are_sent() {
    let mut largest = s::attempt_largest();
    let transcript = largest.transcript.as_mut().unwrap();
    transcript.frames.push(transcript.frames[0].clone());
    let error = largest.encode().unwrap_err().to_string();
    assert!(error.contains("transcript.frames: needs 0 to 48 entries, found 49"), "{error}");
}

#[test]
fn the_cddl_names_every_reason() {
    let line = CDDL.split("reason = 0").nth(1).unwrap();
    let numbers: Vec<&str> =
        line.split(|letter: char| !letter.is_ascii_digit()).filter(|word| !word.is_empty()).collect();
    let ours: Vec<String> = Reason::ALL[1..].iter().map(|r| r.number().to_string()).collect();
    assert_eq!(numbers, ours);
}
