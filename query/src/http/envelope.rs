//! Prometheus' response envelope, and the only place where an error becomes a status.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::error::{Error, ErrorKind};

/// An answer: `data` is JSON already.
#[derive(Debug)]
pub(super) struct Success {
    pub(super) data: String,
    pub(super) warnings: Vec<String>,
    pub(super) infos: Vec<String>,
    /// Tables of flows that answered.
    pub(super) tiers: Vec<&'static str>,
}

/// Response header: the tiers that answered, coarsest first, separated by commas.
const TIER: HeaderName = HeaderName::from_static("weir-tier");

impl Success {
    pub(super) fn new(data: String) -> Self {
        Self { data, warnings: Vec::new(), infos: Vec::new(), tiers: Vec::new() }
    }

    /// # Errors
    /// [`ErrorKind::Internal`] when `data` cannot be written as JSON.
    pub(super) fn of(data: &impl Serialize) -> Result<Self, Failure> {
        serde_json::to_string(data).map(Self::new).map_err(|e| {
            Failure(Error::new(ErrorKind::Internal, format!("answer cannot be written: {e}")))
        })
    }
}

/// A refusal.
#[derive(Debug)]
pub(super) struct Failure(pub(super) Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<crate::promql::error::Error> for Failure {
    fn from(error: crate::promql::error::Error) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Success {
    fn into_response(self) -> Response {
        // Answers can be large: they are not copied.
        let mut body = self.data;
        body.insert_str(0, "{\"status\":\"success\",\"data\":");
        for (name, notes) in [("warnings", &self.warnings), ("infos", &self.infos)] {
            if !notes.is_empty() {
                body.push_str(&format!(",\"{name}\":{}", serde_json::json!(notes)));
            }
        }
        body.push('}');
        let mut response = json(StatusCode::OK, body);
        if !self.tiers.is_empty()
            && let Ok(tiers) = HeaderValue::from_str(&self.tiers.join(","))
        {
            response.headers_mut().insert(TIER, tiers);
        }
        response
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let (status, name) = match error.kind() {
            ErrorKind::BadData => (StatusCode::BAD_REQUEST, "bad_data"),
            ErrorKind::Execution => (StatusCode::UNPROCESSABLE_ENTITY, "execution"),
            ErrorKind::Timeout | ErrorKind::Busy => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
            ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            ErrorKind::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, "not_acceptable"),
            ErrorKind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "bad_data"),
            ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        if matches!(error.kind(), ErrorKind::Internal | ErrorKind::Unavailable) {
            tracing::error!(error = %error, "request failed");
        }
        let body = serde_json::json!({
            "status": "error", "errorType": name, "error": error.to_string(),
        });
        json(status, body.to_string())
    }
}

fn json(status: StatusCode, body: String) -> Response {
    let json = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, json)], body).into_response()
}
