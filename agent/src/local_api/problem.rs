//! Problem documents (RFC 9457).

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use didar_protocol::id::RequestId;
use didar_protocol::reason::Reason;
use serde_json::json;

use super::told;

/// What was wrong with a request, for whoever wrote the program that sent it.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    reason: Reason,
    field: Option<&'static str>,
    detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, reason: Reason, detail: impl Into<String>) -> Self {
        Self { status, reason, field: None, detail: detail.into() }
    }

    /// A field of the body that cannot be taken; `detail` says why and what can.
    pub(super) fn field(field: &'static str, reason: Reason, detail: impl Into<String>) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, reason, field: Some(field), detail: detail.into() }
    }

    pub(super) fn unknown(id: RequestId) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            Reason::None,
            format!("no authentication {id} is known; old ones are forgotten"),
        )
    }

    pub(super) fn unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Reason::None, "the kiosk is overloaded or stopping; try again")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = match self.reason {
            Reason::None => "about:blank".to_owned(),
            reason => format!("urn:didar:reason:{}", reason.name()),
        };
        let mut body = json!({
            "type": kind,
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if self.reason != Reason::None {
            body["reason"] = told::reason(self.reason);
        }
        if let Some(field) = self.field {
            body["field"] = field.into();
        }
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        (self.status, kind, body.to_string()).into_response()
    }
}
