//! The HTTP face of the receiver.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;
use weir_storage::{Appended, ErrorKind};
use weir_wire::DecodeError;

use crate::body::{Bodies, BodyError};
use crate::receive::{Receiver, RefusedBatch};

/// Routes of the receiver: `POST /v1/flows`.
pub fn router(receiver: Receiver) -> Router {
    let bodies = receiver.admission().bodies().clone();
    routes(receiver, bodies)
}

/// [`router`], with the room that all bodies have.
pub(crate) fn routes(receiver: Receiver, bodies: Bodies) -> Router {
    Router::new().route("/v1/flows", post(flows)).with_state((receiver, bodies))
}

async fn flows(State((receiver, bodies)): State<(Receiver, Bodies)>, request: Request) -> Response {
    let mut response = answer(receiver, &bodies, request).await;
    if response.status().is_client_error() {
        // RFC 9110, section 12.5.3. A sender that meets a server without this line knows that its
        // body may have been refused for its coding, and sends it without.
        let coding = HeaderValue::from_static(weir_wire::CONTENT_ENCODING);
        response.headers_mut().insert(header::ACCEPT_ENCODING, coding);
    }
    response
}

async fn answer(receiver: Receiver, bodies: &Bodies, request: Request) -> Response {
    if let Some(coding) = unknown_coding(request.headers()) {
        let text = format!("content coding `{coding}` is not supported; send zstd or none");
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text, None);
    }
    let body = match bodies.read(request.into_body()).await {
        Ok(body) => body,
        Err(error) => return refuse_body(&error),
    };
    // What follows takes as long as the disk takes: the sender waits for it. When it hangs up, the
    // work goes on, and the body keeps its room until it ends.
    let work = tokio::spawn(async move {
        let received = receiver.receive(body.bytes.clone()).await;
        drop(body);
        received
    });
    let received = work.await.unwrap_or_else(|e| Err(RefusedBatch::Internal(e.to_string())));
    match received {
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
            refuse(status, &error.to_string(), retry_after(&error, status))
        }
    }
}

fn refuse_body(error: &BodyError) -> Response {
    let (status, seconds) = match error {
        BodyError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, None),
        BodyError::Slow => (StatusCode::REQUEST_TIMEOUT, None),
        BodyError::Busy => (StatusCode::TOO_MANY_REQUESTS, Some(1)),
        BodyError::Broken(_) => (StatusCode::BAD_REQUEST, None),
    };
    refuse(status, &error.to_string(), seconds)
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

/// A refusal; after so many seconds the sender may come again.
fn refuse(status: StatusCode, message: &str, seconds: Option<u64>) -> Response {
    let mut response = (status, Json(json!({ "error": message }))).into_response();
    if let Some(seconds) = seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
