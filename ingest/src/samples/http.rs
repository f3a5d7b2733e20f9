//! The HTTP face of the receiver of samples.
//!
//! ```text
//! POST /api/v1/write               remote write 1.0 and 2.0
//!   204  everything is durable
//!   400  some of it was refused (the body says what, and that the rest is durable), or all of it
//!   415  a content type or coding that is none of these
//! POST /api/v1/otlp/v1/metrics     OTLP, protobuf
//!   200  ExportMetricsServiceResponse, with `partial_success` if some of it was refused
//!   400, 415  google.rpc.Status
//! both
//!   408  the body did not arrive in time
//!   413  larger than a request may be
//!   503  memory or disk; `Retry-After` says when to send it again
//! ```
//!
//! Memory that is full for a moment is 503 and not 429: Prometheus drops what is answered by 429
//! unless it is told otherwise (`retry_on_http_429`).

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use weir_storage::ErrorKind;

use super::decode::Message;
use super::expand::{Coding, ExpandError};
use super::labels::write_text;
use super::receive::{RefusedRequest, SamplesReceiver, Written};
use crate::body::{BodyError, Held};

const PROTOBUF: &str = "application/x-protobuf";

/// Routes of the receiver: `POST /api/v1/write` and `POST /api/v1/otlp/v1/metrics`.
pub fn samples_router(receiver: SamplesReceiver) -> Router {
    Router::new()
        .route("/api/v1/write", post(write))
        .route("/api/v1/otlp/v1/metrics", post(otlp))
        .with_state(receiver)
}

async fn write(State(receiver): State<SamplesReceiver>, request: Request) -> Response {
    let (message, coding) = match negotiate(request.headers()) {
        Ok(known) => known,
        Err(text) => return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response(),
    };
    let body = match receiver.bodies().read(request.into_body()).await {
        Ok(body) => body,
        Err(error) => {
            let (status, retry) = status_of_body(&error);
            let mut response = (status, written(0), format!("{error}\n")).into_response();
            response.headers_mut().extend(retry);
            return response;
        }
    };
    let work =
        carried_on(body, move |bytes| async move { receiver.write(message, coding, bytes).await });
    match work.await {
        Ok(Written { samples, refusals }) => {
            let written = written(samples);
            if refusals.is_empty() {
                return (StatusCode::NO_CONTENT, written).into_response();
            }
            (StatusCode::BAD_REQUEST, written, format!("{refusals}\n")).into_response()
        }
        Err(error) => {
            let (status, retry) = status_of(&error);
            let mut response = (status, written(0), format!("{error}\n")).into_response();
            response.headers_mut().extend(retry);
            response
        }
    }
}

/// What remote write 2.0 wants to know, and 1.0 does not mind.
fn written(samples: u64) -> [(HeaderName, HeaderValue); 3] {
    let name = HeaderName::from_static;
    [
        (name("x-prometheus-remote-write-samples-written"), samples.into()),
        (name("x-prometheus-remote-write-histograms-written"), HeaderValue::from_static("0")),
        (name("x-prometheus-remote-write-exemplars-written"), HeaderValue::from_static("0")),
    ]
}

/// The message and its coding; what is not supported otherwise.
fn negotiate(headers: &HeaderMap) -> Result<(Message, Coding), String> {
    let message = match text_of(headers, &header::CONTENT_TYPE) {
        // Senders of the first days said nothing.
        None => Message::Write1,
        Some(given) => message_of(&given).ok_or_else(|| {
            format!(
                "content type `{given}` is not supported; send `{PROTOBUF}` \
                 (prometheus.WriteRequest) or \
                 `{PROTOBUF};proto=io.prometheus.write.v2.Request`, both with snappy\n"
            )
        })?,
    };
    let coding = match text_of(headers, &header::CONTENT_ENCODING) {
        None => Coding::Snappy,
        Some(given) => match given.to_ascii_lowercase().as_str() {
            "snappy" => Coding::Snappy,
            "zstd" => Coding::Zstd,
            _ => {
                return Err(format!(
                    "content coding `{given}` is not supported; send snappy (block format) or zstd\n"
                ));
            }
        },
    };
    Ok((message, coding))
}

fn message_of(content_type: &str) -> Option<Message> {
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(PROTOBUF) {
        return None;
    }
    let mut proto = None;
    for part in parts {
        if let Some((name, value)) = part.split_once('=')
            && name.trim().eq_ignore_ascii_case("proto")
        {
            proto = Some(value.trim().trim_matches('"'));
        }
    }
    match proto {
        None | Some("prometheus.WriteRequest") => Some(Message::Write1),
        Some("io.prometheus.write.v2.Request") => Some(Message::Write2),
        Some(_) => None,
    }
}

/// A header as text; `None` if it is missing or empty.
fn text_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?;
    let text = String::from_utf8_lossy(value.as_bytes()).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// Does what takes as long as the disk takes. When the sender hangs up, the work goes on, and the body
/// keeps its room until it ends.
async fn carried_on<F>(body: Held, work: impl FnOnce(Bytes) -> F) -> Result<Written, RefusedRequest>
where
    F: Future<Output = Result<Written, RefusedRequest>> + Send + 'static,
{
    let work = work(body.bytes.clone());
    let work = tokio::spawn(async move {
        let written = work.await;
        drop(body);
        written
    });
    work.await.unwrap_or_else(|e| Err(RefusedRequest::Internal(e.to_string())))
}

/// A status, and `Retry-After` where sending the request again can help.
type Status = (StatusCode, Option<(HeaderName, HeaderValue)>);

fn later(seconds: u64) -> Status {
    (StatusCode::SERVICE_UNAVAILABLE, Some((header::RETRY_AFTER, HeaderValue::from(seconds))))
}

fn status_of_body(error: &BodyError) -> Status {
    match error {
        BodyError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, None),
        BodyError::Slow => (StatusCode::REQUEST_TIMEOUT, None),
        BodyError::Busy => later(1),
        BodyError::Broken(_) => (StatusCode::BAD_REQUEST, None),
    }
}

fn status_of(error: &RefusedRequest) -> Status {
    match error {
        RefusedRequest::Expand(ExpandError::TooLarge(_)) => (StatusCode::PAYLOAD_TOO_LARGE, None),
        RefusedRequest::Expand(_) => (StatusCode::BAD_REQUEST, None),
        RefusedRequest::Body(body) if body.is_too_large() => (StatusCode::PAYLOAD_TOO_LARGE, None),
        RefusedRequest::Body(_) => (StatusCode::BAD_REQUEST, None),
        RefusedRequest::Busy => later(1),
        RefusedRequest::Store(store) => match store.kind() {
            ErrorKind::Invalid => (StatusCode::BAD_REQUEST, None),
            ErrorKind::Busy => later(1),
            _ => {
                tracing::error!(error = %store, "samples not stored");
                later(5)
            }
        },
        RefusedRequest::Internal(why) => {
            tracing::error!(error = %why, "samples not stored");
            (StatusCode::INTERNAL_SERVER_ERROR, None)
        }
    }
}

async fn otlp(State(receiver): State<SamplesReceiver>, request: Request) -> Response {
    let coding = match negotiate_otlp(request.headers()) {
        Ok(coding) => coding,
        Err(text) => return status(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text),
    };
    let body = match receiver.bodies().read(request.into_body()).await {
        Ok(body) => body,
        Err(error) => {
            let (code, retry) = status_of_body(&error);
            let mut response = status(code, &error.to_string());
            response.headers_mut().extend(retry);
            return response;
        }
    };
    match carried_on(body, move |bytes| async move { receiver.otlp(coding, bytes).await }).await {
        Ok(Written { refusals, .. }) => {
            let mut reply = Vec::new();
            if !refusals.is_empty() {
                partial_success(&mut reply, refusals.count(), &refusals.to_string());
            }
            ([(header::CONTENT_TYPE, PROTOBUF)], Bytes::from(reply)).into_response()
        }
        Err(error) => {
            let (code, retry) = status_of(&error);
            let mut response = status(code, &error.to_string());
            response.headers_mut().extend(retry);
            response
        }
    }
}

fn negotiate_otlp(headers: &HeaderMap) -> Result<Coding, String> {
    let given = text_of(headers, &header::CONTENT_TYPE).unwrap_or_default();
    let media_type = given.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case(PROTOBUF) {
        return Err(format!(
            "content type `{given}` is not supported; send OTLP as `{PROTOBUF}` (exporters: \
             `http/protobuf`, not `http/json`)"
        ));
    }
    let coding = text_of(headers, &header::CONTENT_ENCODING).unwrap_or_default();
    match coding.to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(Coding::None),
        "gzip" => Ok(Coding::Gzip),
        "zstd" => Ok(Coding::Zstd),
        "snappy" => Ok(Coding::Snappy),
        _ => Err(format!("content coding `{coding}` is not supported; send gzip, zstd or none")),
    }
}

/// `google.rpc.Status { string message = 2; }`, as OTLP wants errors.
fn status(code: StatusCode, message: &str) -> Response {
    let mut body = vec![2 << 3 | 2];
    write_text(&mut body, message.trim_end().as_bytes());
    (code, [(header::CONTENT_TYPE, PROTOBUF)], Bytes::from(body)).into_response()
}

/// `ExportMetricsServiceResponse { ExportMetricsPartialSuccess partial_success = 1; }` with
/// `{ int64 rejected_data_points = 1; string error_message = 2; }`.
fn partial_success(out: &mut Vec<u8>, rejected: u64, message: &str) {
    let mut partial = vec![1 << 3];
    write_number(&mut partial, rejected);
    partial.push(2 << 3 | 2);
    write_text(&mut partial, message.as_bytes());
    out.push(1 << 3 | 2);
    write_text(out, &partial);
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}
