//! What a commit says of a file's contents, so that readers can skip it.
//!
//! Delta Lake protocol, section "Per-file Statistics": `numRecords`, and `minValues`, `maxValues`
//! and `nullCount` of the time columns and of the text columns that rows are partitioned or sorted
//! by. Bounds of long texts are cut, see [`crate::bounds`].

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int32Type, TimestampMicrosecondType};
use serde_json::{Map, Value};

use super::FilesError;
use super::order::times;
use crate::bounds::{self, Column, Interner, LabelBounds};
use crate::spec::TableSpec;

/// Name of the file's checksum among its statistics; readers pass over what they do not know.
const CHECKSUM: &str = "weirCrc32";

/// Statistics of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileStats {
    pub(crate) rows: u64,
    /// Earliest and latest time of a row, microseconds since the Unix epoch, both inclusive.
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
    earliest: &'static str,
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
        let labels = label_columns(spec);
        let columns = spec.schema.fields().iter().filter_map(|field| {
            let bounds = match field.data_type() {
                DataType::Timestamp(..) => Bounds::Time(None),
                _ if labels.contains(&field.name().as_str()) => Bounds::Text(None),
                _ => return None,
            };
            Some(ColumnStats { name: field.name().clone(), nulls: 0, bounds })
        });
        Self { rows: 0, time: None, earliest: spec.earliest(), columns: columns.collect() }
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
                Bounds::Text(bounds) => add_text(bounds, values),
            }
        }
        Ok(())
    }

    /// `checksum` is that of the whole file, CRC-32 of IEEE 802.3.
    pub(crate) fn finish(self, checksum: u32) -> FileStats {
        let (mut min_time, max_time) = self.time.unwrap_or_default();
        let earliest = self.columns.iter().find(|column| column.name == self.earliest);
        if let Some(Bounds::Time(Some((earliest, _)))) = earliest.map(|column| &column.bounds) {
            min_time = min_time.min(*earliest);
        }
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
                Bounds::Text(Some((low, high))) => {
                    min.insert(name.clone(), bounds::lower(&low).into());
                    if let Some(high) = bounds::upper(&high) {
                        max.insert(name, high.into());
                    }
                }
                Bounds::Time(None) | Bounds::Text(None) => {}
            }
        }
        let json = serde_json::json!({
            "numRecords": self.rows, "minValues": min, "maxValues": max, "nullCount": nulls,
            CHECKSUM: checksum,
        });
        FileStats { rows: self.rows, min_time, max_time, json: json.to_string() }
    }
}

fn widen(bounds: &mut Option<(i64, i64)>, value: i64) {
    *bounds = Some(bounds.map_or((value, value), |(low, high)| (low.min(value), high.max(value))));
}

fn add_text(bounds: &mut Option<(String, String)>, values: &ArrayRef) {
    let Some((low, high)) = text_range(values) else { return };
    match bounds {
        None => *bounds = Some((low.to_owned(), high.to_owned())),
        Some((min, max)) => {
            if low < min.as_str() {
                low.clone_into(min);
            }
            if high > max.as_str() {
                high.clone_into(max);
            }
        }
    }
}

/// Smallest and largest text of a column; of a dictionary only values that rows use.
fn text_range(values: &ArrayRef) -> Option<(&str, &str)> {
    if let Some(texts) = values.as_string_opt::<i32>() {
        return range(texts.iter().flatten());
    }
    let labels = values.as_dictionary_opt::<Int32Type>()?;
    let texts: &StringArray = labels.values().as_string_opt()?;
    let mut used = vec![false; texts.len()];
    for key in labels.keys_iter().flatten() {
        if let Some(used) = used.get_mut(key) {
            *used = true;
        }
    }
    range(texts.iter().zip(used).filter_map(|(text, used)| text.filter(|_| used)))
}

fn range<'a>(texts: impl Iterator<Item = &'a str>) -> Option<(&'a str, &'a str)> {
    texts.fold(None, |range, text| match range {
        None => Some((text, text)),
        Some((low, high)) => Some((text.min(low), text.max(high))),
    })
}

fn render(time: i64) -> Option<Value> {
    let time = jiff::Timestamp::from_microsecond(time).ok()?;
    Some(format!("{time:.6}").into())
}

/// The text columns whose bounds are kept: those that rows are partitioned or sorted by.
pub(crate) fn label_columns(spec: &TableSpec) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for name in spec.workload.iter().chain(spec.sort) {
        let is_text = spec.schema.field_with_name(name).is_ok_and(|field| {
            matches!(field.data_type(), DataType::Dictionary(..) | DataType::Utf8)
        });
        if is_text && !names.contains(name) {
            names.push(name);
        }
    }
    names
}

/// A file's statistics as a commit has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) rows: u64,
    pub(crate) min_time: i64,
    pub(crate) max_time: i64,
    pub(crate) labels: LabelBounds,
    /// Of the whole file, CRC-32 of IEEE 802.3.
    pub(crate) checksum: Option<u32>,
}

/// Reads a file's statistics back from a commit: of the columns with the earliest and the latest time
/// of a row, which must be there, and of the label columns `names`.
pub(crate) fn parse(
    json: &str,
    (earliest, latest): (&str, &str),
    names: &Arc<[&'static str]>,
    texts: &mut Interner,
) -> Option<Parsed> {
    let stats: Value = serde_json::from_str(json).ok()?;
    let bound = |of: &str, time: &str| -> Option<i64> {
        let text = stats.get(of)?.get(time)?.as_str()?;
        Some(text.parse::<jiff::Timestamp>().ok()?.as_microsecond())
    };
    let (rows, min_time, max_time) = (
        stats.get("numRecords")?.as_u64()?,
        bound("minValues", earliest)?,
        bound("maxValues", latest)?,
    );
    let mut text = |of: &str, name: &str| -> Option<Arc<str>> {
        Some(texts.intern(stats.get(of)?.get(name)?.as_str()?))
    };
    let columns = names
        .iter()
        .map(|name| Column {
            bounds: text("minValues", name).zip(text("maxValues", name)),
            nulls: stats.get("nullCount").and_then(|nulls| nulls.get(name)?.as_u64()),
        })
        .collect();
    let checksum = stats.get(CHECKSUM).and_then(Value::as_u64).and_then(|c| u32::try_from(c).ok());
    let labels = LabelBounds::new(names.clone(), columns);
    Some(Parsed { rows, min_time, max_time, labels, checksum })
}
