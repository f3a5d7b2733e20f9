//! What a commit says of a file's contents, so that readers can skip it.
//!
//! Delta Lake protocol, section "Per-file Statistics": `numRecords`, and `minValues`, `maxValues`
//! and `nullCount` of the time columns and of the text columns that rows are sorted by.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use serde_json::{Map, Value};

use super::FilesError;
use super::order::times;
use crate::spec::TableSpec;

/// Longer text values have no bounds in the statistics (an upper bound cannot simply be cut off).
const MAX_TEXT: usize = 64;

/// Statistics of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileStats {
    pub(crate) rows: u64,
    /// Of the time column, microseconds since the Unix epoch, both inclusive.
    pub(crate) min_time: i64,
    pub(crate) max_time: i64,
    /// As the commit carries them.
    pub(crate) json: String,
}

/// Collects statistics while a file is written piece by piece.
#[derive(Debug)]
pub(crate) struct Collector {
    rows: u64,
    time: Option<(i64, i64)>,
    columns: Vec<ColumnStats>,
}

#[derive(Debug)]
struct ColumnStats {
    name: String,
    nulls: u64,
    bounds: Bounds,
}

#[derive(Debug)]
enum Bounds {
    Time(Option<(i64, i64)>),
    Text(Option<(String, String)>),
}

impl Collector {
    pub(crate) fn new(spec: &TableSpec) -> Self {
        let columns = spec.schema.fields().iter().filter_map(|field| {
            let bounds = match field.data_type() {
                DataType::Timestamp(..) => Bounds::Time(None),
                DataType::Dictionary(..) | DataType::Utf8
                    if spec.sort.contains(&field.name().as_str()) =>
                {
                    Bounds::Text(None)
                }
                _ => return None,
            };
            Some(ColumnStats { name: field.name().clone(), nulls: 0, bounds })
        });
        Self { rows: 0, time: None, columns: columns.collect() }
    }

    pub(crate) fn add(&mut self, spec: &TableSpec, batch: &RecordBatch) -> Result<(), FilesError> {
        self.rows += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        for time in times(spec, batch)? {
            widen(&mut self.time, *time);
        }
        for stats in &mut self.columns {
            let Some(values) = batch.column_by_name(&stats.name) else { continue };
            stats.nulls += u64::try_from(values.logical_null_count()).unwrap_or(u64::MAX);
            match &mut stats.bounds {
                Bounds::Time(bounds) => {
                    if let Some(times) = values.as_primitive_opt::<TimestampMicrosecondType>() {
                        for time in times.iter().flatten() {
                            widen(bounds, time);
                        }
                    }
                }
                Bounds::Text(bounds) => add_text(bounds, values)?,
            }
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> FileStats {
        let (min_time, max_time) = self.time.unwrap_or_default();
        let (mut min, mut max, mut nulls) = (Map::new(), Map::new(), Map::new());
        for ColumnStats { name, nulls: count, bounds } in self.columns {
            nulls.insert(name.clone(), count.into());
            match bounds {
                Bounds::Time(Some((low, high))) => {
                    if let (Some(low), Some(high)) = (render(low), render(high)) {
                        min.insert(name.clone(), low);
                        max.insert(name, high);
                    }
                }
                Bounds::Text(Some((low, high)))
                    if low.len() <= MAX_TEXT && high.len() <= MAX_TEXT =>
                {
                    min.insert(name.clone(), low.into());
                    max.insert(name, high.into());
                }
                _ => {}
            }
        }
        let json = serde_json::json!({
            "numRecords": self.rows, "minValues": min, "maxValues": max, "nullCount": nulls,
        });
        FileStats { rows: self.rows, min_time, max_time, json: json.to_string() }
    }
}

fn widen(bounds: &mut Option<(i64, i64)>, value: i64) {
    *bounds = Some(bounds.map_or((value, value), |(low, high)| (low.min(value), high.max(value))));
}

fn add_text(bounds: &mut Option<(String, String)>, values: &ArrayRef) -> Result<(), FilesError> {
    let texts = cast(values, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    let (Some(low), Some(high)) = (texts.iter().flatten().min(), texts.iter().flatten().max())
    else {
        return Ok(());
    };
    *bounds = Some(match bounds.take() {
        None => (low.to_owned(), high.to_owned()),
        Some((a, b)) => (if low < a.as_str() { low.to_owned() } else { a }, {
            if high > b.as_str() { high.to_owned() } else { b }
        }),
    });
    Ok(())
}

fn render(time: i64) -> Option<Value> {
    let time = jiff::Timestamp::from_microsecond(time).ok()?;
    Some(format!("{time:.6}").into())
}

/// Reads a file's statistics back from a commit: rows and bounds of the time column.
pub(crate) fn parse(json: &str, time: &str) -> Option<(u64, i64, i64)> {
    let stats: Value = serde_json::from_str(json).ok()?;
    let bound = |of: &str| -> Option<i64> {
        let text = stats.get(of)?.get(time)?.as_str()?;
        Some(text.parse::<jiff::Timestamp>().ok()?.as_microsecond())
    };
    Some((stats.get("numRecords")?.as_u64()?, bound("minValues")?, bound("maxValues")?))
}
