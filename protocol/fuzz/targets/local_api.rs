//! Any bytes as the body of a request to the local API. What is taken says the same when it is said again; a refusal
//! repeats nobody's number.

#![no_main]

use didar_fuzz::ask::Draft;
use didar_fuzz::local_api::read;
use serde_json::json;

/// Largest body that the door lets through to the parser, bytes.
const BODY_MAX: usize = 8 * 1024;
/// Digits of a person's number.
const IIN_DIGITS: usize = 12;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.len() > BODY_MAX {
        return;
    }
    match read(bytes) {
        Ok(draft) => {
            let Draft { reference, purpose, consent, .. } = &draft;
            assert!(reference.len() <= 64 && (1..=64).contains(&purpose.len()));
            assert!((1..=32).contains(&consent.text_version.len()));
            assert!(consent.expires_at_s > consent.given_at_s && &consent.purpose == purpose);
            assert_eq!(read(&said_again(&draft)), Ok(draft));
        }
        Err((status, words)) => {
            assert!((400..500).contains(&status), "{status}");
            let mut runs = words.split(|letter: char| !letter.is_ascii_digit());
            assert!(runs.all(|digits| digits.len() < IIN_DIGITS), "{words}");
        }
    }
});

fn said_again(draft: &Draft) -> Vec<u8> {
    let Draft { subject, initiator, reference, purpose, consent, language } = draft;
    let time = |at_s: u64| {
        let at_s = i64::try_from(at_s).expect("read from a time");
        jiff::Timestamp::from_second(at_s).expect("read from a time").to_string()
    };
    let body = json!({
        "subject": subject.as_str(),
        "initiator": initiator.as_str(),
        "reference": reference,
        "purpose": purpose,
        "language": language,
        "consent": {
            "given_at": time(consent.given_at_s),
            "expires_at": time(consent.expires_at_s),
            "purpose": consent.purpose,
            "method": consent.method.name(),
            "text_version": consent.text_version,
        },
    });
    body.to_string().into_bytes()
}
