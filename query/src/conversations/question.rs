//! What is asked of the flow table.

use serde::Serialize;
use utoipa::ToSchema;
use weir_wire::schema::{FLOW_COLUMNS, flow_column};

use super::ends::{is_label_name, not_a_label};
use super::measure::{Histogram, Measure, named};
use crate::error::Error;
use crate::flows::catalog::Period;
use crate::flows::filter::is_label;
use crate::promql::source::Selector;

/// Which conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum View {
    /// All of them.
    All,
    /// Between workloads that are known.
    Cluster,
    /// With services of cloud providers.
    Cloud,
    /// With the rest of the world.
    External,
}

impl View {
    /// All of them, by name.
    pub(crate) const ALL: [(&'static str, Self); 4] = [
        ("all", Self::All),
        ("cluster", Self::Cluster),
        ("cloud", Self::Cloud),
        ("external", Self::External),
    ];

    /// What rows are grouped by unless the question says.
    fn labels(self) -> &'static str {
        match self {
            Self::All | Self::Cluster => "namespace,workload,peer_namespace,peer_workload",
            Self::Cloud => "namespace,workload,peer_cloud_service,peer_region",
            Self::External => "namespace,workload,peer_domain,peer_network,peer_country",
        }
    }

    /// The measures of an answer unless the question says.
    fn measures(self) -> &'static str {
        match self {
            Self::Cluster => {
                "bytes,tx_bytes,rx_bytes,retransmits,retransmit_ratio,timeouts,connects,connect_failures,lost_tx,lost_rx"
            }
            _ => {
                "bytes,tx_bytes,rx_bytes,retransmits,retransmit_ratio,timeouts,connects,connect_failures"
            }
        }
    }
}

/// A column of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Column {
    Label(&'static str),
    Measure(&'static Measure),
}

/// See the module's text.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) view: View,
    /// Rows that end in it, microseconds.
    pub(crate) period: Period,
    /// Alternatives; none is everything.
    pub(crate) selectors: Vec<Selector>,
    pub(crate) by: Vec<&'static str>,
    pub(crate) measures: Vec<&'static Measure>,
}

fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// Labels by their names.
///
/// # Errors
/// One of them is none.
pub(crate) fn labels(text: &str) -> Result<Vec<&'static str>, Error> {
    let mut found: Vec<&'static str> = Vec::new();
    for name in names(text) {
        let column = flow_column(name).filter(|column| is_label(column));
        let column = column.ok_or_else(|| not_a_label("by", name))?;
        if !found.contains(&column.name) {
            found.push(column.name);
        }
    }
    Ok(found)
}

/// Measures by their names.
///
/// # Errors
/// One of them is none.
pub(crate) fn measures(text: &str) -> Result<Vec<&'static Measure>, Error> {
    let mut found: Vec<&'static Measure> = Vec::new();
    for name in names(text) {
        let measure = named(name).ok_or_else(|| {
            let all: Vec<_> = super::measure::MEASURES.iter().map(|m| m.name).collect();
            Error::bad(format!(
                "invalid parameter \"measures\": there is no measure `{name}`; there are {}",
                all.join(", ")
            ))
        })?;
        if !found.iter().any(|known| known.name == measure.name) {
            found.push(measure);
        }
    }
    Ok(found)
}

impl Question {
    /// # Errors
    /// A label or measure is not known.
    pub(crate) fn new(
        view: View,
        period: Period,
        selectors: Vec<Selector>,
        by: Option<&str>,
        of: Option<&str>,
    ) -> Result<Self, Error> {
        for selector in &selectors {
            if selector.metric.is_some() || !selector.name_matchers.is_empty() {
                return Err(Error::bad(
                    "invalid parameter \"match[]\": conversations have labels and no metric name, as in \
                     {namespace=\"shop\"}",
                ));
            }
            if let Some(unknown) = selector.matchers.iter().find(|m| !is_label_name(&m.name)) {
                return Err(not_a_label("match[]", &unknown.name));
            }
        }
        Ok(Self {
            view,
            period,
            selectors,
            by: labels(by.unwrap_or(view.labels()))?,
            measures: measures(of.unwrap_or(view.measures()))?,
        })
    }

    /// The histograms that its measures need, each once.
    pub(crate) fn histograms(&self) -> Vec<Histogram> {
        let mut all: Vec<_> = self.measures.iter().filter_map(|one| one.histogram()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The columns of its answer, in order.
    pub(crate) fn columns(&self) -> Vec<Column> {
        let labels = self.by.iter().map(|name| Column::Label(name));
        labels.chain(self.measures.iter().map(|measure| Column::Measure(measure))).collect()
    }
}

/// Names of all labels.
pub(crate) fn all_labels() -> Vec<&'static str> {
    FLOW_COLUMNS.iter().filter(|column| is_label(column)).map(|column| column.name).collect()
}
