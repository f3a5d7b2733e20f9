//! The HTTP face of the receiver.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;
use weir_storage::{Appended, ErrorKind};
use weir_wire::DecodeError;

use crate::receive::{Receiver, RefusedBatch};

/// Largest body of a batch. An agent at its limit of flows sends a few MiB.
const MAX_BODY: usize = 32 << 20;
/// A body that takes longer than this to arrive is given up.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Routes of the receiver: `POST /v1/flows`.
pub fn router(receiver: Receiver) -> Router {
    Router::new()
        .route("/v1/flows", post(flows))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(receiver)
}

async fn flows(State(receiver): State<Receiver>, request: Request) -> Response {
    let mut response = answer(receiver, request).await;
    if response.status().is_client_error() {
        // RFC 9110, section 12.5.3. A sender that meets a server without this line knows that its
        // body may have been refused for its coding, and sends it without.
        let coding = HeaderValue::from_static(weir_wire::CONTENT_ENCODING);
        response.headers_mut().insert(header::ACCEPT_ENCODING, coding);
    }
    response
}

async fn answer(receiver: Receiver, request: Request) -> Response {
    if let Some(coding) = unknown_coding(request.headers()) {
        let text = format!("content coding `{coding}` is not supported; send zstd or none");
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text);
    }
    // A connection must not be held by a body that trickles in. What follows takes as long as the
    // disk takes: the sender waits for it.
    let body = match tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await {
        Ok(body) => body,
        Err(_) => {
            return refuse(StatusCode::REQUEST_TIMEOUT, "body took longer than 30 s to arrive");
        }
    };
    let body = match body {
        Ok(body) => body,
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let text = format!("body is larger than {MAX_BODY} bytes; send smaller batches");
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, &text);
        }
        Err(rejection) => return refuse(rejection.status(), &rejection.body_text()),
    };
    match receiver.receive(body).await {
        Ok(received) => {
            let status = match received.appended {
                Appended::Stored => "stored",
                Appended::Repeated => "repeated",
            };
            Json(json!({
                "status": status,
                "sequence": received.sequence,
                "rows": received.rows,
            }))
            .into_response()
        }
        Err(error) => {
            let status = status_of(&error);
            if status.is_server_error() {
                tracing::error!(%error, "batch not stored");
            }
            let mut response = refuse(status, &error.to_string());
            if let Some(seconds) = retry_after(&error, status) {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            response
        }
    }
}

/// A content coding that is neither zstd nor none. Between those two the body itself decides.
fn unknown_coding(headers: &HeaderMap) -> Option<String> {
    let coding = headers.get(header::CONTENT_ENCODING)?;
    let known = ["", "identity", weir_wire::CONTENT_ENCODING]
        .iter()
        .any(|known| coding.as_bytes().eq_ignore_ascii_case(known.as_bytes()));
    (!known).then(|| String::from_utf8_lossy(coding.as_bytes()).into_owned())
}

fn status_of(error: &RefusedBatch) -> StatusCode {
    match error {
        RefusedBatch::Decode(DecodeError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
        RefusedBatch::Values(error) if error.good_in().is_some() => StatusCode::TOO_EARLY,
        RefusedBatch::Decode(_) | RefusedBatch::Columns(_) | RefusedBatch::Values(_) => {
            StatusCode::BAD_REQUEST
        }
        RefusedBatch::Store(error) => match error.kind() {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::Busy => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        },
        RefusedBatch::Busy => StatusCode::TOO_MANY_REQUESTS,
        RefusedBatch::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Seconds.
fn retry_after(error: &RefusedBatch, status: StatusCode) -> Option<u64> {
    match (error, status) {
        (RefusedBatch::Values(error), _) => error.good_in(),
        (_, StatusCode::TOO_MANY_REQUESTS) => Some(1),
        (_, StatusCode::SERVICE_UNAVAILABLE) => Some(5),
        _ => None,
    }
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}
