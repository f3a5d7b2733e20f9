//! Prometheus' response envelope, and the only place where an error becomes a status.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

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
        Ok(Self::written(data)?)
    }

    /// [`Self::of`], for what goes on.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when `data` cannot be written as JSON.
    pub(super) fn written(data: &impl Serialize) -> Result<Self, Error> {
        serde_json::to_string(data)
            .map(Self::new)
            .map_err(|e| Error::new(ErrorKind::Internal, format!("answer cannot be written: {e}")))
    }
}

/// What kind of refusal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// A parameter, expression or body is not well formed, or too large.
    BadData,
    /// The query cannot be answered.
    Execution,
    /// It took too long, or waited too long for others.
    Timeout,
    /// The store cannot be used at the moment.
    Unavailable,
    /// There is no such thing.
    NotFound,
    /// There is no format that the client takes.
    NotAcceptable,
    /// The store failed.
    Internal,
    /// A token is needed that admits to this.
    Unauthorized,
    /// A page in a browser may not write.
    Forbidden,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Status {
    Error,
}

/// A refusal as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Error)]
pub struct Refusal {
    status: Status,
    #[serde(rename = "errorType")]
    kind: Refused,
    /// What is wrong, and the way out.
    error: String,
}

impl Refusal {
    /// `error` says what is wrong, and the way out.
    pub fn new(kind: Refused, error: impl Into<String>) -> Self {
        Self { status: Status::Error, kind, error: error.into() }
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
        let (status, kind) = match error.kind() {
            ErrorKind::BadData => (StatusCode::BAD_REQUEST, Refused::BadData),
            ErrorKind::Execution => (StatusCode::UNPROCESSABLE_ENTITY, Refused::Execution),
            ErrorKind::Timeout | ErrorKind::Busy => {
                (StatusCode::SERVICE_UNAVAILABLE, Refused::Timeout)
            }
            ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, Refused::Unavailable),
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, Refused::NotFound),
            ErrorKind::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, Refused::NotAcceptable),
            ErrorKind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, Refused::BadData),
            ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, Refused::Internal),
        };
        if matches!(error.kind(), ErrorKind::Internal | ErrorKind::Unavailable) {
            tracing::error!(error = %error, "request failed");
        }
        let refusal = Refusal::new(kind, error.to_string());
        json(status, Body::from(serde_json::to_vec(&refusal).unwrap_or_default()))
    }
}

fn json(status: StatusCode, body: Body) -> Response {
    let json = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, json)], body).into_response()
}
