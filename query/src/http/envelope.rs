//! Prometheus' response envelope, and the only place where an error becomes a status.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::parts::Parts;
use crate::error::{Error, ErrorKind};

/// What was asked for.
pub(super) enum Data {
    /// JSON.
    Text(String),
    /// JSON that is written while it is sent.
    Parts(Parts),
}

/// An answer.
pub(super) struct Success {
    pub(super) data: Data,
    pub(super) warnings: Vec<String>,
    pub(super) infos: Vec<String>,
    /// Tables of flows that answered.
    pub(super) tiers: Vec<&'static str>,
}

/// Response header: the tiers that answered, coarsest first, separated by commas.
const TIER: HeaderName = HeaderName::from_static("weir-tier");

impl Success {
    /// `data` is JSON.
    pub(super) fn new(data: String) -> Self {
        Self::from(Data::Text(data))
    }

    /// [`Success`] of data without remarks.
    pub(super) fn from(data: Data) -> Self {
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
        let head = "{\"status\":\"success\",\"data\":";
        let mut tail = String::new();
        for (name, notes) in [("warnings", &self.warnings), ("infos", &self.infos)] {
            if !notes.is_empty() {
                tail.push_str(&format!(",\"{name}\":{}", serde_json::json!(notes)));
            }
        }
        tail.push('}');
        let body = match self.data {
            Data::Text(data) => Body::from([head, &data, &tail].concat()),
            Data::Parts(parts) => parts.between(head, &tail).into_body(),
        };
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
        json(status, Body::from(body.to_string()))
    }
}

fn json(status: StatusCode, body: Body) -> Response {
    let json = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, json)], body).into_response()
}
