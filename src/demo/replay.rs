//! `weir demo --replay`: a recorded day, as if it ended now.
//!
//! Each body goes the way that it went when it was measured: over HTTP, to a server that follows the same
//! cluster. Only times are other ones, and the run of the agent (`weir.boot`), so that a day may be played again.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use arrow::array::{Array, ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use weir_wire::{CONTENT_ENCODING, CONTENT_TYPE, Header, Limits};

use super::leftovers::Leftovers;
use super::options::Demo;
use super::recording::{Recording, Sent, Story};
use super::rhythm::now_us;
use super::{cluster_api, greeting, samples, server_settings, shop};
use crate::serve::Server;

/// The day that is shipped, made by `weir demo --record`.
static SHIPPED: &[u8] = include_bytes!("day.weir");
/// Columns that are times.
const TIMES: [&str; 2] = ["start", "end"];
/// Time for the server to follow the cluster.
const PATIENCE: Duration = Duration::from_secs(30);

/// Plays a day and serves it until a signal.
///
/// # Errors
/// When the recording cannot be used, or the server does not start or take it.
pub(super) async fn replay(options: &Demo, file: Option<&Path>) -> anyhow::Result<()> {
    let day = read(file)?;
    let leftovers = Leftovers::new(None, options.data.as_ref())?;
    let pods = shop::pods();
    let kubeconfig = leftovers.data.join("kubeconfig");
    let _cluster = cluster_api::serve(&pods, &kubeconfig).await?;
    let settings = server_settings(options, &kubeconfig)?;
    let mut server = Server::start(&leftovers.data.join("history"), &settings).await?;
    let url = format!("http://{}", server.address());
    let to = url.clone();
    let played = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        until_names_are_known(&to)?;
        play(day, &to)
    })
    .await?;
    let ended = match played {
        Ok(played) => {
            greeting::replayed(&url, &played);
            server.until_signal().await
        }
        Err(error) => Err(error),
    };
    server.stop().await?;
    drop(leftovers);
    ended
}

fn read(file: Option<&Path>) -> anyhow::Result<Recording> {
    let Some(file) = file else {
        return Recording::read(SHIPPED).context("the recording in this program");
    };
    let name = || format!("recording {}", file.display());
    let bytes = std::fs::read(file).with_context(name)?;
    Recording::read(&bytes).with_context(name)
}

/// What was played.
#[derive(Debug)]
pub(super) struct Played {
    /// With the times that it has now.
    pub(super) story: Story,
    pub(super) rows: usize,
    /// When it was measured, in microseconds since the Unix epoch.
    pub(super) recorded: i64,
}

/// Rows that would come before their names would be named a moment later.
fn until_names_are_known(url: &str) -> anyhow::Result<()> {
    let begin = Instant::now();
    loop {
        let metrics = ureq::get(format!("{url}/metrics")).call()?.body_mut().read_to_string()?;
        let listed = metrics.lines().find_map(|line| line.strip_prefix("weir_names_listed "));
        match listed {
            Some("6") => return Ok(()),
            _ if begin.elapsed() > PATIENCE => {
                bail!("the server does not follow the demo's cluster within {PATIENCE:?}")
            }
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// A body, as far as it is read.
enum Body {
    Flows(Header, RecordBatch),
    Samples(Vec<u8>),
}

fn play(day: Recording, url: &str) -> anyhow::Result<Played> {
    let read = |(sent, body): (Sent, Vec<u8>)| -> anyhow::Result<Body> {
        Ok(match sent {
            Sent::Flows => decode(&body).map(|(header, rows)| Body::Flows(header, rows))?,
            Sent::Samples => Body::Samples(body),
        })
    };
    let bodies = day.bodies.into_iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    let ends = bodies.iter().filter_map(|body| match body {
        Body::Flows(_, rows) => last_end(rows),
        Body::Samples(_) => None,
    });
    let last = ends.max().context("the recording has no rows")?;
    let now = now_us();
    // Ends stay multiples of the interval, as agents make them.
    let step = (day.story.interval * 1e6) as i64;
    let offset = (now - last) - (now - last).rem_euclid(step.max(1));
    let mut story = day.story;
    let recorded = story.day.began_us;
    story.day.began_us += offset;
    story.incident = (story.incident.0 + offset, story.incident.1 + offset);
    let agent = ureq::agent();
    let mut played = Played { story, rows: 0, recorded };
    for body in bodies {
        let (sent, kind, coding, body) = match body {
            Body::Flows(mut header, rows) => {
                header.boot = format!("replay-{now}");
                played.rows += rows.num_rows();
                let body = weir_wire::encode(&header, &shifted(&rows, offset)?)?;
                (Sent::Flows, CONTENT_TYPE, CONTENT_ENCODING, body)
            }
            Body::Samples(request) => {
                let body = samples::later(&request, offset)?;
                (Sent::Samples, "application/x-protobuf", "snappy", body)
            }
        };
        agent
            .post(format!("{url}{}", sent.path()))
            .header("content-type", kind)
            .header("content-encoding", coding)
            .send(&body)
            .context("the server does not take the recorded day")?;
    }
    Ok(played)
}

fn decode(body: &[u8]) -> anyhow::Result<(Header, RecordBatch)> {
    let message = weir_wire::decode(body, &Limits::default()).context("a recorded batch")?;
    let rows = concat_batches(&message.schema, &message.batches)?;
    Ok((message.header, rows))
}

fn times<'a>(rows: &'a RecordBatch, name: &str) -> Option<&'a TimestampMicrosecondArray> {
    rows.column_by_name(name)?.as_any().downcast_ref()
}

fn last_end(rows: &RecordBatch) -> Option<i64> {
    times(rows, "end")?.iter().flatten().max()
}

/// The same rows so many microseconds later.
fn shifted(rows: &RecordBatch, offset: i64) -> anyhow::Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    for name in TIMES {
        let (Some(times), Ok(at)) = (times(rows, name), rows.schema_ref().index_of(name)) else {
            continue;
        };
        let later: TimestampMicrosecondArray = times.unary(|time| time.saturating_add(offset));
        let later = later.with_timezone_opt(times.timezone().map(Arc::from));
        if let Some(column) = columns.get_mut(at) {
            *column = Arc::new(later) as ArrayRef;
        }
    }
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}
