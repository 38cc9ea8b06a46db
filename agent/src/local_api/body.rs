//! The body of a request: JSON in, a draft out, or a problem that names the field.

use didar_protocol::message::{Consent, ConsentMethod};
use didar_protocol::reason::Reason;
use serde::Deserialize;

use super::problem::Problem;
use crate::ask::Draft;
use crate::attempt::Language;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    subject: Option<String>,
    initiator: Option<String>,
    reference: Option<String>,
    purpose: Option<String>,
    language: Option<Language>,
    consent: Option<ConsentBody>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsentBody {
    given_at: Option<String>,
    expires_at: Option<String>,
    purpose: Option<String>,
    method: Option<String>,
    text_version: Option<String>,
}

/// Longest reference and purpose, bytes.
const TEXT_MAX: usize = 64;
/// Longest name of a consent's text, bytes.
const VERSION_MAX: usize = 32;

/// Reads a request. Whether the consent still holds is the centre's to say, by its clock: a wrong one here would keep
/// everybody from asking, and so from being told the time.
pub(super) fn read(bytes: &[u8], default: Language) -> Result<Draft, Problem> {
    // The parser's words name places and types, never values of fields that it accepted; a subject is a string to it.
    let body: Body = serde_json::from_slice(bytes).map_err(|error| {
        let detail = format!("the body is not the JSON object that is wanted: {}", without_values(&error));
        Problem::new(axum::http::StatusCode::BAD_REQUEST, Reason::RequestMalformed, detail)
    })?;
    let subject = needed("subject", body.subject)?
        .parse()
        .map_err(|error| Problem::field("subject", Reason::RequestMalformed, format!("{error}")))?;
    let initiator = needed("initiator", body.initiator)?
        .parse()
        .map_err(|error| Problem::field("initiator", Reason::RequestMalformed, format!("{error}")))?;
    let reference = bounded("reference", body.reference.unwrap_or_default(), 0, TEXT_MAX)?;
    let purpose = bounded("purpose", needed("purpose", body.purpose)?, 1, TEXT_MAX)?;
    let consent = consent(body.consent, &purpose)?;
    Ok(Draft { subject, initiator, reference, purpose, consent, language: body.language.unwrap_or(default) })
}

fn consent(given: Option<ConsentBody>, purpose: &str) -> Result<Consent, Problem> {
    let given = given.ok_or_else(|| {
        let detail = "no consent, no capture: ask the person first and send what was agreed to";
        Problem::field("consent", Reason::ConsentMissing, detail)
    })?;
    let given_at_s = moment("consent.given_at", given.given_at)?;
    let expires_at_s = moment("consent.expires_at", given.expires_at)?;
    let covered = bounded("consent.purpose", needed("consent.purpose", given.purpose)?, 1, TEXT_MAX)?;
    let method = needed("consent.method", given.method)?;
    let method = ConsentMethod::ALL.iter().copied().find(|known| known.name() == method).ok_or_else(|| {
        let names: Vec<_> = ConsentMethod::ALL.iter().map(|known| known.name()).collect();
        Problem::field("consent.method", Reason::RequestMalformed, format!("one of {}", names.join(", ")))
    })?;
    let text_version =
        bounded("consent.text_version", needed("consent.text_version", given.text_version)?, 1, VERSION_MAX)?;
    if expires_at_s <= given_at_s {
        return Err(Problem::field(
            "consent.expires_at",
            Reason::RequestMalformed,
            "must be later than consent.given_at",
        ));
    }
    if covered != purpose {
        let detail = "the consent is for another purpose than the request: ask the person for this one";
        return Err(Problem::field("consent.purpose", Reason::ConsentPurpose, detail));
    }
    Ok(Consent { given_at_s, expires_at_s, purpose: covered, method, text_version })
}

fn needed(field: &'static str, value: Option<String>) -> Result<String, Problem> {
    value.ok_or_else(|| Problem::field(field, Reason::RequestMalformed, "is missing"))
}

fn bounded(field: &'static str, value: String, least: usize, most: usize) -> Result<String, Problem> {
    if (least..=most).contains(&value.len()) && !value.chars().any(char::is_control) {
        return Ok(value);
    }
    let detail = format!("{} bytes; {least} to {most} are lawful, without control characters", value.len());
    Err(Problem::field(field, Reason::RequestMalformed, detail))
}

fn moment(field: &'static str, value: Option<String>) -> Result<u64, Problem> {
    let text = needed(field, value)?;
    let wrong =
        || Problem::field(field, Reason::RequestMalformed, "must be a time as in 2026-07-12T09:00:00Z (RFC 3339)");
    let time: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
    u64::try_from(time.as_second()).map_err(|_| wrong())
}

/// Where and what kind of error, without the value that caused it: that may be a person's number in the wrong place.
fn without_values(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Io | serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax => "its syntax is wrong",
        serde_json::error::Category::Data => "a field is unknown or of the wrong type",
    };
    format!("{kind}, line {} column {}", error.line(), error.column())
}
