//! A measure over time, for the rows of a table and their total.

use std::collections::{BTreeSet, HashMap};

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::{Expr, cast as cast_to};
use datafusion::prelude::{ident, lit};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Number, seconds};
use super::ends::counted;
use super::gather::{Aggregate, Gather, columns_of};
use super::measure::{Histogram, Input, Measure, Slots, Sums};
use super::table::Table;
use crate::error::Error;

/// Points of a line, at most.
pub(crate) const MAX_POINTS: usize = 240;
/// Lengths that a step may have, seconds: those that people read, and that tiers answer.
const STEPS: [i64; 17] =
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400, 604_800];

/// A measure over time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Lines {
    /// The measure.
    measure: &'static str,
    /// Seconds from one value to the next.
    step: i64,
    /// Begin of the first step, seconds since 1970.
    start: f64,
    /// A list for each row.
    values: Vec<Vec<Option<Number>>>,
    /// Of all groups together.
    total: Vec<Option<Number>>,
}

/// The sums of one step.
#[derive(Debug, Clone, Default)]
struct Step(HashMap<Input, i64>);

impl Sums for Step {
    fn get(&self, input: Input) -> Option<i64> {
        self.0.get(&input).copied()
    }

    fn slots(&self, _histogram: Histogram) -> Option<&Slots> {
        None
    }
}

/// It can be shown over time.
pub(crate) fn is_shown(measure: &Measure) -> bool {
    measure.histogram().is_none()
        && !measure.is_of_both()
        && measure.inputs().iter().all(|input| matches!(input, Input::Sum(_)))
}

/// Length of a step, microseconds, so that a period has about so many.
fn step(length: i64, points: usize) -> i64 {
    let points = i64::try_from(points.max(1)).unwrap_or(1);
    let wanted = (length / 1_000_000).div_euclid(points).max(1);
    let fitting = STEPS.into_iter().find(|step| *step >= wanted);
    let weeks = || wanted.saturating_add(604_799).div_euclid(604_800) * 604_800;
    fitting.unwrap_or_else(weeks) * 1_000_000
}

/// The lines of a table's rows: `values` has a list for each, `total` one for all groups together.
pub(crate) async fn lines(
    gather: &Gather<'_>,
    table: &Table,
    measure: &'static Measure,
    points: usize,
) -> Result<Lines, Error> {
    let question = &table.question;
    let period = question.period;
    let step = step(period.until.saturating_sub(period.after), points);
    let origin = period.after.div_euclid(step) * step;
    let count = period.until.saturating_sub(origin).saturating_add(step - 1).div_euclid(step);
    let count = usize::try_from(count).unwrap_or(0).min(2 * MAX_POINTS);
    let inputs = measure.inputs();
    let mut columns: BTreeSet<&str> = Gather::labels(question);
    for column in columns_of(&inputs) {
        columns.insert(column);
    }
    let spans = gather.tiers.split(&columns, period, Some(step));
    let number =
        (cast_to(ident("end"), DataType::Int64) - lit(origin.saturating_add(1))) / lit(step);
    let number = number.alias("weir_step");
    let sums: Vec<Expr> = inputs
        .iter()
        .filter_map(|input| match input {
            Input::Sum(column) => Some(sum(ident(*column))),
            _ => None,
        })
        .collect();
    let mut filters = counted(question);
    let mut total = vec![Step::default(); count];
    let all = Aggregate { by: vec![number.clone()], filters: &filters, values: sums.clone() };
    let take = |batch: &arrow::array::RecordBatch,
                mut into: Box<dyn FnMut(usize, usize, Input, i64) + '_>,
                labels: usize| {
        let Some(steps) = batch.columns().get(labels) else { return };
        let steps = steps.as_primitive::<Int64Type>();
        for (input, column) in inputs.iter().zip(batch.columns().iter().skip(labels + 1)) {
            let column = column.as_primitive::<Int64Type>();
            for (row, value) in column.iter().enumerate() {
                let Some((at, value)) = usize::try_from(steps.value(row)).ok().zip(value) else {
                    continue;
                };
                into(row, at, *input, value);
            }
        }
    };
    let add = |steps: &mut Vec<Step>, at: usize, input: Input, value: i64| {
        if let Some(step) = steps.get_mut(at) {
            let sum = step.0.entry(input).or_insert(0);
            *sum = sum.saturating_add(value);
        }
    };
    let run = all.run(gather.session, &spans, gather.stop, |batch| {
        take(batch, Box::new(|_, at, input, value| add(&mut total, at, input, value)), 0);
        Ok(())
    });
    run.await?;
    let places = table.places();
    let mut each = vec![vec![Step::default(); count]; places.len()];
    filters.extend(table.only());
    let labels = question.by.len();
    let mut by: Vec<Expr> = question.by.iter().map(|name| ident(*name)).collect();
    by.push(number);
    let grouped = Aggregate { by, filters: &filters, values: sums };
    let run = grouped.run(gather.session, &spans, gather.stop, |batch| {
        let texts = batch.columns().iter().take(labels).map(|column| cast(column, &DataType::Utf8));
        let texts = texts.collect::<Result<Vec<_>, _>>().map_err(|e| Error::bad(e.to_string()))?;
        let texts: Vec<_> = texts.iter().map(|column| column.as_string::<i32>()).collect();
        let place = |row: usize| {
            let labels = texts.iter().map(|column| {
                use arrow::array::Array;
                if column.is_valid(row) { column.value(row) } else { "" }
            });
            places.get(&table.groups().find(labels)?).copied()
        };
        let rows: Vec<Option<usize>> = (0..batch.num_rows()).map(place).collect();
        take(
            batch,
            Box::new(|row, at, input, value| {
                let line = rows.get(row).copied().flatten().and_then(|place| each.get_mut(place));
                if let Some(line) = line {
                    add(line, at, input, value);
                }
            }),
            labels,
        );
        Ok(())
    });
    run.await?;
    let line = |steps: &[Step]| steps.iter().map(|step| measure.number(step)).collect();
    Ok(Lines {
        measure: measure.name,
        step: step / 1_000_000,
        start: seconds(origin),
        values: each.iter().map(|steps| line(steps)).collect(),
        total: line(&total),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_what_people_read_and_tiers_answer() {
        let seconds = |length: i64, points| step(length * 1_000_000, points) / 1_000_000;
        assert_eq!(seconds(3600, 60), 60);
        assert_eq!(seconds(86_400, 60), 1800);
        assert_eq!(seconds(30, 60), 1);
        assert_eq!(seconds(365 * 86_400, 60), 604_800);
        assert_eq!(seconds(100 * 365 * 86_400, 10) % 604_800, 0);
    }
}
