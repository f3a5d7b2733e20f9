//! Which series, label names and label values there are.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::functions_aggregate::expr_fn::{count, max};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::prelude::{DataFrame, SessionContext, ident};
use futures::TryStreamExt;
use weir_wire::schema::{FLOW_COLUMNS, flow_column};

use super::fetch::{Aggregate, ends_within};
use super::filter::{Rows, is_label, rows};
use super::metrics::{Columns, Metric, Parted, Virtual};
use super::shape::{Shape, bounds};
use super::source::metrics_of;
use super::sums::{name_labels, surviving_columns};
use super::tiers::Tiers;
use crate::database::FLOWS;
use crate::error::{Error, ErrorKind};
use crate::promql::source::{Grouping, Labels, Selector};

/// Most label sets that [`series`] gives (about 1 KiB each).
pub(crate) const MAX_SERIES: usize = 100_000;

/// Rows whose `end` lies in `(after, until]`, microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Period {
    pub(crate) after: i64,
    pub(crate) until: i64,
}

/// The selector that `match[]` stands for when there is none: every flow metric.
pub(crate) fn everything() -> Selector {
    Selector { metric: None, name_matchers: Vec::new(), matchers: Vec::new() }
}

/// Label sets of the series that any of the selectors matches, in order, `__name__` included. After
/// `most` of them it looks for no more.
///
/// # Errors
/// [`ErrorKind::Execution`] for more than [`MAX_SERIES`].
pub(crate) async fn series(
    session: &SessionContext,
    selectors: &[Selector],
    period: Period,
    most: usize,
) -> Result<Vec<Labels>, Error> {
    let columns = surviving_columns(&Grouping::Every);
    let mut found = BTreeSet::new();
    for selector in selectors {
        for metric in metrics_of(selector) {
            let own = metric.virtual_label().map(Virtual::name);
            let Rows::Where(filters) = rows(selector, own) else { continue };
            let Period { after, until } = period;
            let aggregate = Aggregate {
                table: FLOWS,
                metric,
                labels: &columns,
                filters,
                after,
                until,
                key: None,
            };
            let groups = aggregate.run(session).await?;
            let shape = Shape::new(metric, selector, true, &groups.filled);
            for group in &groups.groups {
                for slot in &shape.slots {
                    let Labels(mut labels) = name_labels(&columns, &group.labels, slot);
                    labels.push((Arc::from("__name__"), Arc::from(metric.name)));
                    labels.sort_unstable();
                    found.insert(Labels(labels));
                    if found.len() >= most {
                        return Ok(found.into_iter().collect());
                    }
                    if found.len() > MAX_SERIES {
                        return Err(Error::new(
                            ErrorKind::Execution,
                            format!(
                                "more than {MAX_SERIES} series match; narrow the time range, match \
                                 fewer or set limit="
                            ),
                        ));
                    }
                }
            }
        }
    }
    Ok(found.into_iter().collect())
}

/// Names of the labels of the matching series, in order.
pub(crate) async fn label_names(
    session: &SessionContext,
    selectors: &[Selector],
    period: Period,
) -> Result<BTreeSet<Arc<str>>, Error> {
    let mut names = BTreeSet::new();
    for selector in selectors {
        let columns: Vec<_> = FLOW_COLUMNS.iter().filter(|c| is_label(c)).collect();
        let read: Vec<_> = columns.iter().map(|c| c.name).collect();
        let Some(frame) = matching(session, selector, period, &read).await? else { continue };
        let highest = columns.iter().map(|c| max(ident(c.name)).alias(c.name)).collect();
        let batches = frame.aggregate(vec![], highest)?.collect().await?;
        let mut any = false;
        for batch in &batches {
            for (column, values) in columns.iter().zip(batch.columns()) {
                let text = cast(values, &DataType::Utf8View).map_err(not_text)?;
                if text.as_string_view().iter().flatten().any(|v| !v.is_empty()) {
                    any = true;
                    names.insert(Arc::from(column.name));
                }
            }
        }
        if any {
            names.insert(Arc::from("__name__"));
            let own = metrics_of(selector).into_iter().filter_map(Metric::virtual_label);
            names.extend(own.map(|label| Arc::from(label.name())));
        }
    }
    Ok(names)
}

/// Values of one label among the matching series, in order.
pub(crate) async fn label_values(
    session: &SessionContext,
    name: &str,
    selectors: &[Selector],
    period: Period,
) -> Result<BTreeSet<Arc<str>>, Error> {
    let mut values = BTreeSet::new();
    for selector in selectors {
        match name {
            "__name__" => values.extend(metric_names(session, selector, period).await?),
            "phase" | "reason" | "side" | "le" => {
                let owners =
                    |m: &&'static Metric| m.virtual_label().is_some_and(|l| l.name() == name);
                let metrics = metrics_of(selector);
                if metrics.iter().any(owners)
                    && !metric_names(session, selector, period).await?.is_empty()
                {
                    let all: BTreeSet<Arc<str>> = if name == "le" {
                        bounds().collect()
                    } else {
                        let parted = metrics.iter().filter_map(|metric| match metric.columns {
                            Columns::Parted(parted) if parted.label.name() == name => Some(parted),
                            _ => None,
                        });
                        parted.flat_map(Parted::values).map(Arc::from).collect()
                    };
                    let matchers = selector.matchers.iter().filter(|m| &*m.name == name);
                    let ops: Vec<_> = matchers.map(|m| &m.op).collect();
                    values.extend(all.into_iter().filter(|v| ops.iter().all(|op| op.accepts(v))));
                }
            }
            _ if flow_column(name).is_some_and(is_label) => {
                let Some(frame) = matching(session, selector, period, &[name]).await? else {
                    continue;
                };
                let mut stream =
                    frame.aggregate(vec![ident(name)], vec![])?.execute_stream().await?;
                while let Some(batch) = stream.try_next().await? {
                    for column in batch.columns() {
                        let text = cast(column, &DataType::Utf8View).map_err(not_text)?;
                        let text = text.as_string_view().iter().flatten();
                        values.extend(text.filter(|v| !v.is_empty()).map(Arc::from));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(values)
}

/// Metrics that the matching rows measure.
async fn metric_names(
    session: &SessionContext,
    selector: &Selector,
    period: Period,
) -> Result<Vec<Arc<str>>, Error> {
    let Some(frame) = matching(session, selector, period, &[]).await? else {
        return Ok(Vec::new());
    };
    let metrics = metrics_of(selector);
    let counts = metrics.iter().map(|m| count(ident(m.presence())).alias(m.name)).collect();
    let batches = frame.aggregate(vec![], counts)?.collect().await?;
    let mut names = Vec::new();
    for batch in &batches {
        for (metric, column) in metrics.iter().zip(batch.columns()) {
            if column.as_primitive::<Int64Type>().values().iter().any(|n| *n > 0) {
                names.push(Arc::from(metric.name));
            }
        }
    }
    Ok(names)
}

/// The rows behind the series that a selector matches, or a tier's sums of them if those have the
/// columns that are `read`; nothing when there can be none.
async fn matching(
    session: &SessionContext,
    selector: &Selector,
    period: Period,
    read: &[&str],
) -> Result<Option<DataFrame>, Error> {
    let metrics = metrics_of(selector);
    let matched = selector.matchers.iter().map(|m| &*m.name);
    let columns: BTreeSet<&str> = matched
        .filter(|name| flow_column(name).is_some_and(is_label))
        .chain(metrics.iter().map(|m| m.presence()))
        .chain(read.iter().copied())
        .collect();
    let (table, period) = Tiers::of(session).choose_around(&columns, period);
    let mut any: Vec<Expr> = Vec::new();
    let labels = [Virtual::Phase, Virtual::Reason, Virtual::Side, Virtual::Le].map(Some);
    for own in labels.into_iter().chain([None]) {
        let sharing: BTreeSet<&str> =
            metrics.iter().filter(|m| m.virtual_label() == own).map(|m| m.presence()).collect();
        let Rows::Where(mut filters) = rows(selector, own.map(Virtual::name)) else { continue };
        let present = disjunction(sharing.into_iter().map(|c| ident(c).is_not_null()));
        let Some(present) = present else { continue };
        filters.push(present);
        any.extend(conjunction(filters));
    }
    let Some(filter) = disjunction(any) else { return Ok(None) };
    let within = ends_within(period.after, period.until);
    Ok(Some(session.table(table).await?.filter(within.and(filter))?))
}

fn not_text(error: arrow::error::ArrowError) -> Error {
    Error::new(ErrorKind::Internal, format!("label is no text: {error}"))
}
