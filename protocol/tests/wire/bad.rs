//! Bytes that must be refused, each with the words that it is refused with: `vectors/bad/*.cbor` and `*.txt`.
//!
//! Each is a lawful vector with one thing bent. The CDDL must refuse it too, unless only words can say the rule.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use didar_protocol::codec::DecodeError;
use didar_protocol::message::*;
use serde_cbor::Value;

use crate::golden::{cddl, folder, golden};
use crate::samples as s;

/// Whether the CDDL can see what is wrong.
#[derive(Clone, Copy, PartialEq)]
enum Cddl {
    Refuses,
    /// Encodings, sizes and rules between fields are beyond CDDL.
    Cannot,
}
use Cddl::{Cannot, Refuses};

fn decode(kind: Kind, bytes: &[u8]) -> Result<(), DecodeError> {
    match kind {
        Kind::ChallengeRequest => ChallengeRequest::decode(bytes).map(drop),
        Kind::Challenge => Challenge::decode(bytes).map(drop),
        Kind::Attempt => Attempt::decode(bytes).map(drop),
        Kind::Verdict => Verdict::decode(bytes).map(drop),
        Kind::AuditRecord => AuditRecord::decode(bytes).map(drop),
        Kind::Receipt => Receipt::decode(bytes).map(drop),
        Kind::State => State::decode(bytes).map(drop),
        Kind::Event => Event::decode(bytes).map(drop),
        Kind::MatcherKeys => MatcherKeys::decode(bytes).map(drop),
    }
}

/// Refused with exactly these words, now and in the golden file.
fn bad(name: &str, kind: Kind, by_cddl: Cddl, bytes: &[u8], words: &str) {
    let said = decode(kind, bytes).expect_err(name).to_string();
    assert_eq!(said, format!("{kind}: {words}"), "{name}");
    golden(&format!("bad/{name}.cbor"), bytes);
    golden(&format!("bad/{name}.txt"), format!("{said}\n").as_bytes());
    if by_cddl == Refuses {
        assert!(cddl(kind.name(), bytes).is_err(), "the CDDL takes {name}");
    }
}

type Fields = BTreeMap<Value, Value>;

/// The message's bytes with its tree changed.
fn bent<M: Message>(message: &M, bend: impl FnOnce(&mut Fields)) -> Vec<u8> {
    let Value::Map(mut fields) = serde_cbor::from_slice(&message.encode().unwrap()).unwrap() else { unreachable!() };
    bend(&mut fields);
    serde_cbor::to_vec(&fields).unwrap()
}

/// The fields inside one field, a map or the map of a numbered choice.
fn inner(fields: &mut Fields, key: i128) -> &mut Fields {
    match fields.get_mut(&Value::Integer(key)).unwrap() {
        Value::Map(fields) => fields,
        Value::Array(parts) => match &mut parts[1] {
            Value::Map(fields) => fields,
            other => panic!("{other:?} is no map"),
        },
        other => panic!("{other:?} is no map"),
    }
}

fn set(fields: &mut Fields, key: i128, value: impl Into<Value>) {
    fields.insert(Value::Integer(key), value.into());
}

fn remove(fields: &mut Fields, key: i128) {
    fields.remove(&Value::Integer(key)).unwrap();
}

#[test]
fn encodings_other_than_the_one_are_refused() {
    let verdict = s::verdict_match().encode().unwrap();
    let kind = Kind::Verdict;
    assert_eq!(verdict[..3], [0xaa, 0x00, 0x01], "ten fields, key 0, version 1");
    let with_start = |start: &[u8], skipped: usize| [start, &verdict[skipped..]].concat();
    let mut trailing = verdict.to_vec();
    trailing.push(0);
    let indefinite = [&[0xbf], &verdict[1..], &[0xff]].concat();
    let cases: [(&str, Vec<u8>, &str); 8] = [
        ("empty", vec![], "not the CBOR of this protocol: EOF while parsing a value"),
        ("truncated", verdict[..40].to_vec(), "not the CBOR of this protocol: EOF while parsing a value at offset 40"),
        ("trailing-byte", trailing, "not the CBOR of this protocol: trailing data at offset 97"),
        ("longer-integer", with_start(&[0xaa, 0x00, 0x18, 0x01], 3), DIFFERS_AT_2),
        ("indefinite-map", indefinite, DIFFERS_AT_0),
        ("tagged", with_start(&[0xc1, 0xaa], 1), DIFFERS_AT_0),
        ("repeated-key", with_start(&[0xab, 0x00, 0x01, 0x00, 0x01], 3), KEY_AGAIN),
        ("nested", vec![0x81; 8192], "not the CBOR of this protocol: nested deeper than 6 levels"),
    ];
    for (name, bytes, words) in cases {
        bad(name, kind, Cannot, &bytes, words);
    }
    let over = vec![0; 8193];
    bad("too-large", kind, Cannot, &over, "8193 bytes, at most 8192 are allowed");
    let over = decode(Kind::Attempt, &vec![0; 98_305]).unwrap_err();
    assert_eq!(over.to_string(), "attempt: 98305 bytes, at most 98304 are allowed");
}

const DIFFERS_AT_0: &str = "byte 0 differs from the only encoding of this value (RFC 8949, 4.2.1)";
const DIFFERS_AT_2: &str = "byte 2 differs from the only encoding of this value (RFC 8949, 4.2.1)";
const KEY_AGAIN: &str = "not the CBOR of this protocol: map key 0 after 0: keys ascend and never repeat";

#[test]
fn versions_and_keys_are_checked() {
    let verdict = s::verdict_match();
    let kind = Kind::Verdict;
    let future = bent(&verdict, |v| set(v, 0, 2));
    let words = "version 2, this program speaks version 1; bring the older side up to date";
    bad("version-2", kind, Refuses, &future, words);
    // Even where nothing else is understood, the version is named.
    let foreign = bent(&verdict, |v| {
        v.clear();
        set(v, 0, 2);
        set(v, 99, 1);
    });
    bad("version-2-only", kind, Refuses, &foreign, words);
    bad("no-version", kind, Refuses, &bent(&verdict, |v| remove(v, 0)), "version: missing");
    bad("missing-key", kind, Refuses, &bent(&verdict, |v| remove(v, 4)), "outcome: missing");
    bad("unknown-key", kind, Refuses, &bent(&verdict, |v| set(v, 10, 1)), "message: key 10 is unknown");
    let text_key = bent(&verdict, |v| {
        v.insert(Value::Text("a".to_owned()), Value::Integer(1));
    });
    let words = "not the CBOR of this protocol: a text as map key, keys are unsigned integers";
    bad("text-key", kind, Refuses, &text_key, words);
    bad("no-map", kind, Refuses, &[0x80], "message: needs a map, found an array");
}

#[test]
fn types_and_bounds_are_checked() {
    let verdict = s::verdict_match();
    let kind = Kind::Verdict;
    let float = bent(&verdict, |v| set(v, 6, 0.5));
    let words = "not the CBOR of this protocol: invalid type: floating point `0.5`, expected an integer, a boolean, a string, an array or a map";
    bad("float", kind, Refuses, &float, words);
    bad("wrong-type", kind, Refuses, &bent(&verdict, |v| set(v, 2, 7)), "device: needs a text, found an integer");
    let words = "device: device id is made of a-z, 0-9 and '-', byte 6 is none of them";
    // RFC 8610 anchors .regexp at both ends, the tool does not.
    bad("device-wildcard", kind, Cannot, &bent(&verdict, |v| set(v, 2, "kiosk/+".to_owned())), words);
    bad(
        "number-range",
        kind,
        Refuses,
        &bent(&verdict, |v| set(v, 6, 256)),
        "threshold_class: needs 0 to 255, found 256",
    );
    bad("number-negative", kind, Refuses, &bent(&verdict, |v| set(v, 8, -1)), NEGATIVE_TIME);
    bad("outcome-unknown", kind, Refuses, &bent(&verdict, |v| set(v, 4, 5)), "outcome: 5 is no VerdictOutcome");
    bad("reason-unknown", kind, Refuses, &bent(&verdict, |v| set(v, 5, 999)), "reason: 999 is no Reason");
    let words = "reply_to: needs 32 bytes, found 31";
    bad("hash-short", kind, Refuses, &bent(&verdict, |v| set(v, 3, vec![0; 31])), words);
    let long = bent(&s::event(), |v| set(v, 8, "x".repeat(121)));
    bad("text-long", Kind::Event, Refuses, &long, "note: needs 0 to 120 bytes of UTF-8, found 121");
    let control = bent(&s::event(), |v| set(v, 8, "a\nb".to_owned()));
    bad("text-control", Kind::Event, Cannot, &control, "note: a text has no control characters");
    let point = bent(&s::challenge(), |v| set(v, 10, vec![4; 65]));
    bad("seal-key-off-curve", Kind::Challenge, Cannot, &point, "seal_key: a sealing key is a point of P-256");
    let none = bent(&s::matcher_keys(), |v| set(v, 1, Vec::<Value>::new()));
    bad("no-seal-key", Kind::MatcherKeys, Refuses, &none, "seal_keys: needs 1 to 4 entries, found 0");
}

const NEGATIVE_TIME: &str = "server_time_ms: needs 0 to 18446744073709551615, found -1";

#[test]
fn rules_between_fields_are_checked() {
    let ends_before = bent(&s::verdict_match(), |v| set(v, 9, 1));
    bad("verdict-ends-early", Kind::Verdict, Cannot, &ends_before, "message: a verdict ends after it was made");
    let nameless = bent(&s::verdict_match(), |v| remove(v, 1));
    bad("verdict-nameless", Kind::Verdict, Cannot, &nameless, "message: only a refusal has no attempt");
    let early = bent(&s::challenge(), |v| set(v, 9, 1));
    bad("challenge-ends-early", Kind::Challenge, Cannot, &early, "message: a challenge ends after it was made");
    let unchained = bent(&s::audit_attempt(), |v| set(v, 3, vec![0; 32]));
    bad("audit-unchained", Kind::AuditRecord, Cannot, &unchained, "message: only the first record follows none");
    let unknown = bent(&s::audit_lost(), |v| set(v, 4, vec![Value::Integer(4), Value::Map(BTreeMap::new())]));
    bad("audit-unknown-entry", Kind::AuditRecord, Refuses, &unknown, "entry: 4 is no AuditEntry");
    let unsorted = bent(&s::receipt(), |v| set(v, 5, vec![Value::Integer(43), Value::Integer(42)]));
    let words = "message: missing numbers ascend and lie above the highest";
    bad("receipt-unsorted", Kind::Receipt, Cannot, &unsorted, words);
    let hashless = bent(&s::receipt(), |v| set(v, 3, vec![0; 32]));
    bad("receipt-without-hash", Kind::Receipt, Cannot, &hashless, "message: only a receipt for nothing has no hash");
    let ahead = bent(&s::audit_gone(), |v| set(v, 2, 7));
    let words = "message: what is gone comes in order, before the record that tells it";
    bad("audit-gone-ahead", Kind::AuditRecord, Cannot, &ahead, words);
    let consent = bent(&s::challenge_request(), |v| set(inner(v, 7), 2, 1));
    bad("consent-ends-early", Kind::ChallengeRequest, Cannot, &consent, "consent: a consent ends after it was given");
}

#[test]
fn persons_and_biometrics_are_checked_and_never_quoted() {
    let subject = |iin: &str| bent(&s::challenge_request(), |v| set(v, 3, iin.to_owned()));
    let words = "subject: the last digit of the IIN does not fit the others: a digit is wrong or two are swapped; read it again";
    bad("iin-checksum", Kind::ChallengeRequest, Cannot, &subject("900101300018"), words);
    let words = "subject: the first six digits of an IIN are the birth date as YYMMDD, these are no date; check them on the document";
    bad("iin-date", Kind::ChallengeRequest, Cannot, &subject("901301300017"), words);
    bad(
        "iin-short",
        Kind::ChallengeRequest,
        Refuses,
        &subject("9001"),
        "subject: IIN has 12 digits, found 4 characters; write it without spaces",
    );

    let attempt = |bend: fn(&mut Fields)| bent(&s::attempt_proved(), bend);
    let no_jpeg = attempt(|v| set(inner(v, 11), 2, b"\x89PNG".to_vec()));
    bad("picture-no-jpeg", Kind::Attempt, Cannot, &no_jpeg, "ending.picture: a picture is a JPEG");
    let template = attempt(|v| set(inner(inner(v, 11), 1), 2, vec![0; 1025]));
    bad(
        "template-long",
        Kind::Attempt,
        Refuses,
        &template,
        "ending.template.values: needs 1 to 1024 bytes, found 1025",
    );
    let scale = attempt(|v| set(inner(inner(v, 11), 1), 1, f32::NAN.to_bits()));
    bad("template-scale", Kind::Attempt, Cannot, &scale, "ending.template: a template's scale is positive and finite");
    let unproved = attempt(|v| remove(v, 5));
    bad(
        "proved-without-transcript",
        Kind::Attempt,
        Cannot,
        &unproved,
        "message: a proved attempt carries its transcript",
    );
    let granted = bent(&s::attempt_stopped(), |v| set(inner(v, 11), 1, 0));
    bad(
        "stopped-as-grant",
        Kind::Attempt,
        Cannot,
        &granted,
        "message: an attempt that stopped on the device is no grant",
    );
    let weak = attempt(|v| set(inner(inner(v, 5), 1), 3, 1));
    let words = "transcript.shape: a blind guess passes with at most 2^-20";
    bad("code-too-weak", Kind::Attempt, Cannot, &weak, words);
    let cut = attempt(|v| set(inner(v, 5), 2, vec![Value::Integer(1); 11]));
    let words = "transcript: the code has as many states as the shape has slots";
    bad("code-too-short", Kind::Attempt, Refuses, &cut, words);
    let quality = attempt(|v| set(inner(v, 8), 1, 101));
    bad("quality-range", Kind::Attempt, Refuses, &quality, "quality.sharpness: needs 0 to 100, found 101");
    let frame = attempt(|v| match inner(v, 5).get_mut(&Value::Integer(5)).unwrap() {
        Value::Array(frames) => match &mut frames[1] {
            Value::Map(frame) => set(frame, 6, vec![0; 287]),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    });
    let words = "transcript.frames[1].means: 16-bit numbers need an even number of bytes";
    bad("frame-grid", Kind::Attempt, Refuses, &frame, words);
}

#[test]
fn no_bad_vector_is_left_over() {
    let stems = |extension: &str| -> BTreeSet<String> {
        let files = fs::read_dir(folder().join("bad")).unwrap().map(|entry| entry.unwrap().path());
        let ours = files.filter(|path| path.extension().is_some_and(|found| found == extension));
        ours.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(stems("cbor"), stems("txt"));
    let source = include_str!("bad.rs");
    for name in stems("cbor") {
        assert!(source.contains(&format!("\"{name}\"")), "vectors/bad/{name} belongs to no test");
    }
}
