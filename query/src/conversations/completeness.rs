//! What an answer stands on: which agents were heard, what they lost, and what the store has.
//!
//! Every batch of an agent has a number, one more than the one before, and says what is missing from it. So the numbers that
//! did not arrive are known, and so is an agent that has fallen silent: it has not been heard for three of its own
//! intervals when the period ends.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Short, seconds, text as label};
use crate::error::{Error, ErrorKind};
use crate::flows::catalog::Period;

/// Intervals of silence after which an agent counts as silent.
const SILENT_AFTER: i64 = 3;
/// Microseconds; an agent that was heard once has no interval that is known.
const USUAL_INTERVAL: i64 = 10_000_000;

/// One agent in a period.
#[derive(Debug, Default)]
struct Agent {
    node: String,
    first: i64,
    last: i64,
    /// Batches that arrived, and that were sent: the span of their numbers, each start of the agent by itself.
    arrived: i64,
    sent: i64,
    losses: BTreeMap<String, i64>,
}

/// An agent in a period.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Agent)]
pub(crate) struct AgentState {
    agent: String,
    /// The node that it measures.
    node: Option<String>,
    /// When it was heard first, seconds since 1970.
    first: f64,
    /// When it was heard last, seconds since 1970.
    last: f64,
    /// It had fallen silent by the end of the period: for three of its own intervals.
    silent: bool,
    /// Batches that arrived.
    intervals: i64,
    /// Batches that did not: by their numbers, and those that it would have sent since it fell silent.
    missing: i64,
    /// What it counted as lost, by reason, in units of their own.
    losses: BTreeMap<String, i64>,
    /// Always null: agents sample nothing.
    sampling_max: Option<i64>,
}

/// What a table has on disk and in memory.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoredTable {
    pub(crate) table: &'static str,
    /// `raw`, `5m` or `1h` for tables of flows.
    pub(crate) tier: Option<&'static str>,
    /// Rows in files.
    pub(crate) rows: u64,
    pub(crate) rows_in_memory: u64,
    /// Of files.
    pub(crate) bytes: u64,
    pub(crate) files: usize,
    /// Of rows in files, seconds since 1970.
    pub(crate) oldest: Option<f64>,
    /// Of rows in files, seconds since 1970.
    pub(crate) newest: Option<f64>,
    /// How long rows are kept.
    pub(crate) retention: String,
}

/// What the server was told in a period and what it has.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct State {
    /// Begin of the period, seconds since 1970; not included.
    start: f64,
    /// End of the period, seconds since 1970; included.
    end: f64,
    /// Share of the batches that agents sent, or would have, which arrived; null where no agent was heard.
    ratio: Option<f64>,
    agents: Vec<AgentState>,
    /// What agents counted as lost, by reason, in units of their own.
    losses: BTreeMap<String, i64>,
    storage: Vec<StoredTable>,
    /// What is to be known about the answer.
    notes: Vec<String>,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Completeness {
    period: Period,
    agents: BTreeMap<String, Agent>,
}

impl Agent {
    fn interval(&self) -> i64 {
        match self.arrived {
            0 | 1 => USUAL_INTERVAL,
            n => (self.last.saturating_sub(self.first) / (n - 1)).max(1),
        }
    }

    /// Batches that it would have sent since it was heard last.
    fn missed(&self, until: i64) -> i64 {
        let silence = until.saturating_sub(self.last) / self.interval();
        if silence > SILENT_AFTER { silence } else { 0 }
    }
}

fn text(batch: &RecordBatch, at: usize) -> Result<arrow::array::StringArray, Error> {
    let column = batch.columns().get(at).ok_or_else(misshapen)?;
    let column = cast(column, &DataType::Utf8).map_err(|_| misshapen())?;
    Ok(column.as_string::<i32>().clone())
}

fn number(batch: &RecordBatch, at: usize) -> Result<arrow::array::Int64Array, Error> {
    let column = batch.columns().get(at).ok_or_else(misshapen)?;
    let column = cast(column, &DataType::Int64).map_err(|_| misshapen())?;
    Ok(column.as_primitive::<Int64Type>().clone())
}

fn misshapen() -> Error {
    Error::new(ErrorKind::Internal, "agent_loss has not the columns that it was asked for")
}

async fn rows(session: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>, Error> {
    Ok(crate::sql::run(session, sql).await?.try_collect().await?)
}

impl Completeness {
    /// Asks what agents said in a period.
    ///
    /// # Errors
    /// The query fails.
    pub(crate) async fn ask(
        session: &SessionContext,
        period: Period,
        now: i64,
    ) -> Result<Self, Error> {
        let time = |micros: i64| {
            let micros = micros.clamp(0, 253_402_300_799_000_000);
            Timestamp::from_microsecond(micros).map(|time| format!("TIMESTAMP '{time}'"))
        };
        let time = |micros| time(micros).map_err(|e| Error::bad(e.to_string()));
        let within = format!(
            "FROM agent_loss WHERE \"end\" > {} AND \"end\" <= {}",
            time(period.after)?,
            time(period.until)?
        );
        let mut agents: BTreeMap<String, Agent> = BTreeMap::new();
        let heard = format!(
            "SELECT agent, boot, max(node), CAST(min(\"end\") AS BIGINT), CAST(max(\"end\") AS BIGINT), \
             count(DISTINCT sequence), max(sequence) - min(sequence) + 1 {within} GROUP BY agent, boot"
        );
        for batch in rows(session, &heard).await? {
            let (names, nodes) = (text(&batch, 0)?, text(&batch, 2)?);
            let (first, last) = (number(&batch, 3)?, number(&batch, 4)?);
            let (arrived, sent) = (number(&batch, 5)?, number(&batch, 6)?);
            for row in 0..batch.num_rows() {
                let agent = agents.entry(names.value(row).to_owned()).or_insert_with(|| Agent {
                    first: i64::MAX,
                    last: i64::MIN,
                    ..Agent::default()
                });
                if nodes.is_valid(row) {
                    nodes.value(row).clone_into(&mut agent.node);
                }
                agent.first = agent.first.min(first.value(row));
                agent.last = agent.last.max(last.value(row));
                agent.arrived += arrived.value(row);
                agent.sent += sent.value(row).max(arrived.value(row));
            }
        }
        let lost = format!(
            "SELECT agent, reason, sum(count) {within} AND reason IS NOT NULL GROUP BY agent, reason"
        );
        for batch in rows(session, &lost).await? {
            let (names, reasons, counts) = (text(&batch, 0)?, text(&batch, 1)?, number(&batch, 2)?);
            for row in 0..batch.num_rows() {
                if let Some(agent) = agents.get_mut(names.value(row)) {
                    agent.losses.insert(reasons.value(row).to_owned(), counts.value(row));
                }
            }
        }
        let period = Period { until: period.until.min(now), ..period };
        Ok(Self { period, agents })
    }

    fn missed(&self, agent: &Agent) -> i64 {
        agent.missed(self.period.until)
    }

    /// Share of the batches that agents sent, or would have, which arrived; nothing where no agent was heard.
    fn ratio(&self) -> Option<f64> {
        let arrived: i64 = self.agents.values().map(|agent| agent.arrived).sum();
        let sent = |agent: &Agent| agent.sent.saturating_add(self.missed(agent));
        let sent: i64 = self.agents.values().map(sent).sum();
        (sent > 0).then(|| arrived as f64 / sent as f64)
    }

    fn losses(&self) -> BTreeMap<String, i64> {
        let mut losses = BTreeMap::new();
        for (reason, count) in self.agents.values().flat_map(|agent| &agent.losses) {
            *losses.entry(reason.clone()).or_insert(0i64) += count;
        }
        losses
    }

    /// The short form that stands beside answers.
    pub(crate) fn short(&self) -> Short {
        let silent = self.agents.values().filter(|agent| self.missed(agent) > 0).count();
        let (ratio, agents) = (self.ratio(), self.agents.len());
        Short { ratio, agents, silent, losses: self.losses() }
    }

    /// All of it, for the period that was asked for.
    pub(crate) fn state(&self, asked: Period, storage: Vec<StoredTable>) -> State {
        let one = |(name, agent): (&String, &Agent)| AgentState {
            agent: name.clone(),
            node: label(&agent.node),
            first: seconds(agent.first),
            last: seconds(agent.last),
            silent: self.missed(agent) > 0,
            intervals: agent.arrived,
            missing: agent.sent - agent.arrived + self.missed(agent),
            losses: agent.losses.clone(),
            sampling_max: None,
        };
        State {
            start: seconds(asked.after),
            end: seconds(asked.until),
            ratio: self.ratio(),
            agents: self.agents.iter().map(one).collect(),
            losses: self.losses(),
            storage,
            notes: Vec::new(),
        }
    }
}
