//! `POST /api/v1/sql`.
//!
//! The statement is the body (`application/sql` or plain text), the field `query` of a JSON object, or
//! the field `query` of a form; `format` and `timeout` come beside it or in the query string. Rows are
//! sent as they are found. An error before the first rows has a status of its own; one after them breaks
//! the body off, which every client notices. A thread makes the rows until the deadline, whether or not
//! the client reads them: one that stalls keeps no place, snapshot or file beyond it.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::timeout_at;
use utoipa::ToSchema;

use super::envelope::Failure;
use super::parameter::{Name, Parameter, Parameters, TIMEOUT, Text};
use super::params::{Params, body, invalid};
use super::threads::Threads;
use super::{Api, Waiting, timed_out, waiting};
use crate::database::Database;
use crate::error::Error;
use crate::promql::Stop;
use crate::sql::encode::{Encoder, Format};
use crate::sql::run;

/// Runs of bytes that are made before the client takes them.
const AHEAD: usize = 2;

/// Names of formats, which [`Format::choose`] knows.
pub(super) fn formats() -> Vec<&'static str> {
    vec!["json", "ndjson", "csv", "arrow", "parquet"]
}

const QUERY: Parameter<Text> = Parameter::new("query", Text, "The statement.");
const FORMAT: Parameter<Name> = Parameter::new(
    "format",
    Name(formats),
    "The format of the rows; what `Accept` says, or `json`, without it.",
);

/// What [`query`] takes beside its body.
pub(super) const TAKES: Parameters = &[&FORMAT, &TIMEOUT];
/// What may be in its body beside these.
pub(super) const FIELDS: Parameters = &[&QUERY];

/// The media types of its answers.
pub(super) fn media() -> impl Iterator<Item = &'static str> {
    let formats = formats().into_iter();
    formats.filter_map(|name| Some(Format::choose(Some(name), None).ok()?.media_type()))
}

/// Runs a statement and streams its rows.
pub(super) async fn query(State(api): State<Api>, request: Request) -> Result<Response, Failure> {
    let mut params = Params::of_query(&request);
    let headers = request.headers().clone();
    let body = body(request, &()).await?;
    let text = statement(&headers, &body, &mut params)?;
    let accept = headers.get(ACCEPT).and_then(|v| v.to_str().ok());
    let format = Format::choose(params.name(&FORMAT), accept)?;
    let deadline = api.deadline(params.timeout()?);
    let place = api.place(deadline).await?;
    let (stop, waiting, gone) = waiting(deadline);
    let (sender, mut pieces) = mpsc::channel::<Piece>(AHEAD);
    let answer = Answer { database: api.database.clone(), text, format, stop, sender };
    api.threads.run(async move {
        let _place = place;
        tokio::select! {
            made = timeout_at(deadline, answer.make()) => if made.is_err() {
                tracing::warn!("sql answer broken off: it was not made and read in time");
            },
            _ = gone => {}
        }
    });
    let first = timeout_at(deadline, pieces.recv()).await.map_err(|_| timed_out())?;
    let start = first.unwrap_or_else(|| Err(timed_out()))?;
    let rest = Rest { start, pieces, _waiting: waiting, _threads: api.threads };
    let mut response = Body::from_stream(rest.stream().fuse().boxed()).into_response();
    let media = HeaderValue::from_static(format.media_type());
    response.headers_mut().insert(CONTENT_TYPE, media);
    Ok(response)
}

/// A piece of a body; `None` says that it is complete.
type Piece = Result<Option<Bytes>, Error>;

/// An answer to be made.
struct Answer {
    database: Database,
    text: String,
    format: Format,
    stop: Stop,
    sender: mpsc::Sender<Piece>,
}

impl Answer {
    /// Makes it, piece by piece, as fast as they are taken. The first has rows, where there are any.
    async fn make(self) {
        let last = match self.pieces().await {
            Ok(()) => Ok(None),
            Err(error) => Err(error),
        };
        // Whoever does not listen any more needs no last word.
        let _ = self.sender.send(last).await;
    }

    async fn pieces(&self) -> Result<(), Error> {
        let mut rows = run(&self.database.session(&self.stop)?, &self.text).await?;
        let (mut encoder, mut bytes) = Encoder::new(self.format, &rows.schema())?;
        while let Some(batch) = rows.next().await {
            bytes.extend(encoder.batch(&batch?)?);
            if self.sender.send(Ok(Some(std::mem::take(&mut bytes).into()))).await.is_err() {
                return Ok(());
            }
        }
        bytes.extend(encoder.finish()?);
        // A client that is gone has had what it wanted.
        let _ = self.sender.send(Ok(Some(bytes.into()))).await;
        Ok(())
    }
}

/// An answer under way, as its client takes it. The query ends when it is dropped.
struct Rest {
    start: Option<Bytes>,
    pieces: mpsc::Receiver<Piece>,
    _waiting: Waiting,
    /// Those that make it.
    _threads: Threads,
}

impl Rest {
    fn stream(self) -> impl Stream<Item = Result<Bytes, Error>> {
        stream::unfold(Some(self), |rest| async move {
            let mut rest = rest?;
            if let Some(start) = rest.start.take() {
                return Some((Ok(start), Some(rest)));
            }
            match rest.pieces.recv().await {
                Some(Ok(Some(bytes))) => Some((Ok(bytes), Some(rest))),
                Some(Ok(None)) => None,
                Some(Err(error)) => {
                    tracing::warn!(error = %error, "sql answer broken off");
                    Some((Err(error), None))
                }
                // What ended without a last word was ended by the deadline.
                None => Some((Err(timed_out()), None)),
            }
        })
    }
}

/// A statement as JSON.
#[derive(Deserialize, ToSchema)]
#[schema(as = SqlStatement)]
pub(super) struct Json {
    /// The statement.
    query: String,
    /// `json`, `ndjson`, `csv`, `arrow` or `parquet`.
    format: Option<String>,
    /// How long the answer may take, such as `30s`.
    timeout: Option<String>,
}

/// The statement in a body; parameters beside it are added to `params`.
fn statement(headers: &HeaderMap, body: &[u8], params: &mut Params) -> Result<String, Error> {
    let media = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    let text = match media {
        "application/x-www-form-urlencoded" => {
            params.read(body);
            let text = params.text(&QUERY);
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
