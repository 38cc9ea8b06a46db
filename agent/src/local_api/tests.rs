//! The door's words: what is taken, what is refused, and how refusals read.

use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::*;
use crate::screen::text::Desk;

fn good() -> Value {
    json!({
        "subject": subject(),
        "initiator": "egov",
        "reference": "42",
        "purpose": "sign",
        "consent": {
            "given_at": "2027-01-15T07:00:00Z",
            "expires_at": "2027-01-15T10:00:00Z",
            "purpose": "sign",
            "method": "screen",
            "text_version": "2026-07",
        },
    })
}

/// A number with a lawful check digit that belongs to nobody.
fn subject() -> String {
    (0..10)
        .map(|digit| format!("90010140001{digit}"))
        .find(|text| text.parse::<didar_protocol::id::Iin>().is_ok())
        .unwrap()
}

/// Status, field and reason of the refusal after an edit of the lawful body.
async fn refusal(edit: impl FnOnce(&mut Value)) -> (u16, Value) {
    let mut body = good();
    edit(&mut body);
    let problem = body::read(body.to_string().as_bytes(), Language::Kk).expect_err("a refusal");
    let response = problem.into_response();
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), BODY_MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

#[test]
fn a_lawful_body_becomes_a_draft() {
    let draft = body::read(good().to_string().as_bytes(), Language::Ru).ok().unwrap();
    assert_eq!(
        (draft.purpose.as_str(), draft.language, draft.consent.expires_at_s),
        ("sign", Language::Ru, 1_800_007_200)
    );
}

#[tokio::test]
async fn refusals_name_field_and_reason() {
    type Edit = fn(&mut Value);
    let cases: [(Edit, &str, &str); 7] = [
        (|body| drop(body.as_object_mut().unwrap().remove("consent")), "consent", "consent-missing"),
        (|body| body["consent"]["purpose"] = "sell".into(), "consent.purpose", "consent-purpose"),
        (|body| body["consent"]["method"] = "nod".into(), "consent.method", "request-malformed"),
        (|body| body["consent"]["given_at"] = "today".into(), "consent.given_at", "request-malformed"),
        (|body| body["subject"] = "123456789012".into(), "subject", "request-malformed"),
        (|body| body["purpose"] = "x".repeat(65).into(), "purpose", "request-malformed"),
        (|body| drop(body.as_object_mut().unwrap().remove("initiator")), "initiator", "request-malformed"),
    ];
    for (edit, field, reason) in cases {
        let (status, body) = refusal(edit).await;
        assert_eq!((status, &body["field"], &body["reason"]["name"]), (422, &json!(field), &json!(reason)), "{body}");
    }
}

#[tokio::test]
async fn an_unknown_field_is_refused_and_no_value_is_repeated() {
    let (status, body) = refusal(|body| body["subjekt"] = "900101400011".into()).await;
    assert_eq!(status, 400);
    assert!(!body.to_string().contains("900101400011"), "{body}");
    let (_, body) = refusal(|body| body["subject"] = "123456789012".into()).await;
    assert!(!body.to_string().contains("123456789012"), "{body}");
}

/// The answer to `GET /v1/state` on the socket at `path`, headers and all.
async fn state_of(path: &FilePath) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
    stream.write_all(b"GET /v1/state HTTP/1.1\r\nhost: kiosk\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn clients_that_say_nothing_keep_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.sock");
    let (calls, _called) = mpsc::channel(1);
    let desk = Desk { kk: "№ 1 терезе".into(), ru: "окно № 1".into(), en: "window 1".into() };
    let door = Door {
        device: "kiosk-1".parse().unwrap(),
        calls,
        journal: Arc::default(),
        help: Help::new(desk, None).unwrap(),
        language: Language::Kk,
        meter: Arc::default(),
    };
    tokio::spawn(serve(&path, door).unwrap());
    let mut silent = Vec::new();
    for _ in 0..2 * CONNECTIONS_MAX {
        silent.push(tokio::net::UnixStream::connect(&path).await.unwrap());
    }
    let answer = timeout(Duration::from_secs(120), state_of(&path)).await.expect("an answer all the same");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for header in ["cache-control: no-store", "x-content-type-options: nosniff"] {
        assert!(answer.contains(header), "{answer}");
    }
}
