//! `POST /api/v1/sql`.
//!
//! The statement is the body (`application/sql` or plain text), the field `query` of a JSON object, or
//! the field `query` of a form; `format` and `timeout` come beside it or in the query string. Rows are
//! sent as they are found. An error before the first rows has a status of its own; one after them breaks
//! the body off, which every client notices. A task makes the rows until the deadline, whether or not
//! the client reads them: one that stalls keeps no place, snapshot or file beyond it.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use datafusion::execution::SendableRecordBatchStream;
use futures::{FutureExt, Stream, StreamExt, stream};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout_at};

use super::envelope::Failure;
use super::params::{Params, body, invalid};
use super::{Api, timed_out};
use crate::error::Error;
use crate::sql::encode::{Encoder, Format};
use crate::sql::run;

/// Runs of bytes that are made before the client takes them.
const AHEAD: usize = 2;

/// Runs a statement and streams its rows.
pub(super) async fn query(State(api): State<Api>, request: Request) -> Result<Response, Failure> {
    let mut params = Params::default();
    params.read(request.uri().query().unwrap_or_default().as_bytes());
    let headers = request.headers().clone();
    let body = body(request, &()).await?;
    let text = statement(&headers, &body, &mut params)?;
    let accept = headers.get(ACCEPT).and_then(|v| v.to_str().ok());
    let format = Format::choose(params.get("format"), accept)?;
    let deadline = api.deadline(params.timeout()?);
    let place = api.place(deadline).await?;
    let begin = async {
        let rows = run(&api.database.session()?, &text).await?;
        let (encoder, mut start) = Encoder::new(format, &rows.schema())?;
        let mut answer = Answer { rows, encoder: Some(encoder), deadline, _place: place };
        start.extend(answer.next().await?.unwrap_or_default());
        Ok::<_, Error>((start, answer))
    };
    let (start, answer) = timeout_at(deadline, begin.boxed()).await.map_err(|_| timed_out())??;
    let rest = produce(answer);
    let all = stream::once(async move { Ok::<_, Error>(Bytes::from(start)) }).chain(rest);
    // What compresses a body asks again after its end.
    let mut response = Body::from_stream(all.fuse().boxed()).into_response();
    let media = HeaderValue::from_static(format.media_type());
    response.headers_mut().insert(CONTENT_TYPE, media);
    Ok(response)
}

/// An answer under way. It keeps its place until the last row, the deadline, or until the client is gone.
struct Answer {
    rows: SendableRecordBatchStream,
    encoder: Option<Encoder>,
    deadline: Instant,
    _place: OwnedSemaphorePermit,
}

impl Answer {
    /// More bytes, perhaps an empty run of them; nothing after the end.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let Some(mut encoder) = self.encoder.take() else { return Ok(None) };
        match timeout_at(self.deadline, self.rows.next()).await.map_err(|_| timed_out())? {
            None => encoder.finish().map(Some),
            Some(batch) => {
                let bytes = encoder.batch(&batch?)?;
                self.encoder = Some(encoder);
                Ok(Some(bytes))
            }
        }
    }
}

/// A piece of a body; `None` says that it is complete.
type Piece = Result<Option<Bytes>, Error>;

/// The rest of an answer, made by a task of its own.
fn produce(answer: Answer) -> impl Stream<Item = Result<Bytes, Error>> {
    let (sender, receiver) = mpsc::channel::<Piece>(AHEAD);
    tokio::spawn(async move {
        let deadline = answer.deadline;
        tokio::select! {
            made = timeout_at(deadline, send_all(answer, &sender)) => if made.is_err() {
                tracing::warn!("sql answer broken off: it was not made and read in time");
            },
            () = sender.closed() => {}
        }
    });
    stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Ok(Some(bytes))) => Some((Ok(bytes), Some(receiver))),
            Some(Ok(None)) => None,
            Some(Err(error)) => {
                tracing::warn!(error = %error, "sql answer broken off");
                Some((Err(error), None))
            }
            // A task that ended without a last word was ended by the deadline.
            None => Some((Err(timed_out()), None)),
        }
    })
}

async fn send_all(mut answer: Answer, sender: &mpsc::Sender<Piece>) {
    loop {
        let piece = answer.next().await.map(|bytes| bytes.map(Bytes::from));
        let last = !matches!(piece, Ok(Some(_)));
        if sender.send(piece).await.is_err() || last {
            return;
        }
    }
}

/// A statement as JSON.
#[derive(Deserialize)]
struct Json {
    query: String,
    format: Option<String>,
    timeout: Option<String>,
}

/// The statement in a body; parameters beside it are added to `params`.
fn statement(headers: &HeaderMap, body: &[u8], params: &mut Params) -> Result<String, Error> {
    let media = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    let text = match media {
        "application/x-www-form-urlencoded" => {
            params.read(body);
            let text = params.get("query");
            text.ok_or_else(|| invalid("query", "it is missing"))?.to_owned()
        }
        "application/json" => {
            let json: Json = serde_json::from_slice(body).map_err(|e| {
                Error::bad(format!(
                    "body is not JSON of the form {{\"query\": \"SELECT ..\"}}: {e}"
                ))
            })?;
            for (name, value) in [("format", json.format), ("timeout", json.timeout)] {
                if let Some(value) = value {
                    params.push(name, value);
                }
            }
            json.query
        }
        _ => std::str::from_utf8(body)
            .map_err(|_| Error::bad("body is not UTF-8; send the statement as text"))?
            .to_owned(),
    };
    if text.trim().is_empty() {
        return Err(Error::bad(
            "there is no statement; send SQL as the body, or as the field `query` of a form or of JSON",
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
