//! The body of a request to the local API, as the agent reads it.

#[path = "../../agent/src/local_api/body.rs"]
mod body;
#[path = "../../agent/src/local_api/problem.rs"]
mod problem;

/// As much of `agent/src/local_api/told.rs` as a problem tells: the words need the screen.
mod told {
    use didar_protocol::reason::Reason;

    pub(super) fn reason(reason: Reason) -> serde_json::Value {
        serde_json::json!({ "name": reason.name(), "number": reason.number() })
    }
}

use axum::response::IntoResponse as _;

use crate::ask::Draft;
use crate::attempt::Language;

/// What was asked for, or the status and the words of the problem.
pub fn read(bytes: &[u8]) -> Result<Draft, (u16, String)> {
    body::read(bytes, Language::Kk).map_err(|problem| {
        let words = format!("{problem:?}");
        (problem.into_response().status().as_u16(), words)
    })
}
