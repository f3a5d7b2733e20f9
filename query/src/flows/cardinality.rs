//! How many series the rows of some time make.

use std::sync::Arc;

use datafusion::functions_aggregate::expr_fn::{count, max, min};
use datafusion::prelude::{SessionContext, ident, lit};

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};

use super::catalog::{Period, everything};
use super::fetch::{Aggregate, ends_within};
use super::metrics::METRICS;
use super::shape::Shape;
use super::sums::surviving_columns;
use crate::cardinality::Cardinality;
use crate::database::FLOWS;
use crate::error::Error;
use crate::promql::source::Grouping;

/// Counts the series of the rows of a period.
///
/// # Errors
/// [`crate::ErrorKind::Execution`] when there are more than fit in memory.
pub(crate) async fn count_series(
    session: &SessionContext,
    period: Period,
    into: &mut Cardinality,
) -> Result<(), Error> {
    let Period { after, until } = period;
    let rows = session.table(FLOWS).await?.filter(ends_within(after, until))?;
    let totals = vec![count(lit(1i64)), min(ident("end")), max(ident("end"))];
    for batch in rows.aggregate(vec![], totals)?.collect().await? {
        let [rows, first, last] = batch.columns() else { continue };
        let rows = rows.as_primitive::<Int64Type>().values().first().copied().unwrap_or_default();
        if rows > 0 {
            into.chunks += u64::try_from(rows).unwrap_or_default();
            let time = |column: &arrow::array::ArrayRef| {
                let times = column.as_primitive_opt::<TimestampMicrosecondType>();
                times.and_then(|t| t.values().first().copied()).unwrap_or_default() / 1000
            };
            into.span(time(first), time(last));
        }
    }
    let columns = surviving_columns(&Grouping::Every);
    let names: Vec<Arc<str>> = columns.iter().map(|c| Arc::from(c.name)).collect();
    let name_label: Arc<str> = Arc::from("__name__");
    for metric in &METRICS {
        let aggregate = Aggregate {
            table: FLOWS,
            metric,
            labels: &columns,
            filters: Vec::new(),
            after,
            until,
            key: None,
        };
        let groups = aggregate.run(session).await?;
        let shape = Shape::new(metric, &everything(), true, &groups.filled);
        let slots = u64::try_from(shape.slots.len()).unwrap_or_default();
        let metric: Arc<str> = Arc::from(metric.name);
        let own: Vec<(Arc<str>, Arc<str>)> = shape
            .slots
            .iter()
            .flat_map(|slot| &slot.label)
            .map(|(name, value)| (Arc::from(*name), value.clone()))
            .collect();
        for group in &groups.groups {
            let labels = names.iter().zip(&group.labels).filter(|(_, value)| !value.is_empty());
            into.add(slots, labels.chain([(&name_label, &metric)]));
            for (name, value) in &own {
                into.add_label(name, value, 1);
            }
        }
    }
    Ok(())
}
