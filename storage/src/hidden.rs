//! Rows that are in a file and must not be seen: deleted ones, and those that a retention rule lets
//! go of before the rest of their file.
//!
//! Whoever reads a [`crate::DataFile`] leaves out what its `hidden` says; compaction leaves the same
//! rows out of the files that it writes. Both ask [`visible`], so there is one answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{and, not};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;

use crate::matcher::{Matcher, all_match};
use crate::series::stored_in;

/// Hides the rows whose time lies in `(after, until]`, that pass all of `matchers`, and that do not
/// pass all of any list of `unless`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// All of them must pass; none of them means every row.
    pub matchers: Arc<[Matcher]>,
    /// Rows that pass all of one of these lists stay.
    pub unless: Arc<[Arc<[Matcher]>]>,
    /// Microseconds since the Unix epoch, exclusive.
    pub after: i64,
    /// Microseconds since the Unix epoch, inclusive.
    pub until: i64,
}

impl Hidden {
    /// Whether a row of a file with these times (inclusive) can lie in the range.
    #[must_use]
    pub fn reaches(&self, min_time: i64, max_time: i64) -> bool {
        self.after < max_time && min_time <= self.until
    }

    /// Whether every row of a file with these times (inclusive) lies in the range.
    #[must_use]
    pub fn spans(&self, min_time: i64, max_time: i64) -> bool {
        self.after < min_time && max_time <= self.until
    }

    /// The rows of a batch that are hidden, without nulls. `time` names its time column.
    ///
    /// # Errors
    /// When the batch has no such time column, or a label that is no text.
    pub fn rows(&self, time: &str, batch: &RecordBatch) -> Result<BooleanArray, ArrowError> {
        let times = batch
            .column_by_name(time)
            .and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>())
            .ok_or_else(|| ArrowError::SchemaError(format!("no time column `{time}`")))?;
        let within = |t: &i64| self.after < *t && *t <= self.until;
        let mut hidden: BooleanArray =
            times.values().iter().map(within).collect::<BooleanBuffer>().into();
        if !hidden.has_true() {
            return Ok(hidden);
        }
        hidden = and(&hidden, &all_match(&self.matchers, batch)?)?;
        for kept in self.unless.iter() {
            hidden = and(&hidden, &not(&all_match(kept, batch)?)?)?;
        }
        Ok(hidden)
    }

    /// The labels that it looks at.
    fn labels(&self) -> impl Iterator<Item = &str> {
        self.matchers.iter().chain(self.unless.iter().flat_map(|m| m.iter())).map(Matcher::label)
    }
}

/// The columns that [`visible`] looks at besides the time column, each once. Of a table of series these
/// are `name` and `labels`; what is hidden there is points: see [`crate::series::HiddenPoints`].
#[must_use]
pub fn columns(hidden: &[Arc<Hidden>]) -> BTreeSet<&str> {
    hidden.iter().flat_map(|h| h.labels()).map(stored_in).collect()
}

/// The rows of a batch that nothing hides, without nulls; `None` when that is all of them.
///
/// # Errors
/// As [`Hidden::rows`].
pub fn visible(
    hidden: &[Arc<Hidden>],
    time: &str,
    batch: &RecordBatch,
) -> Result<Option<BooleanArray>, ArrowError> {
    let mut seen: Option<BooleanArray> = None;
    for hidden in hidden {
        let rows = hidden.rows(time, batch)?;
        if rows.has_true() {
            let shown = not(&rows)?;
            seen = Some(match seen {
                Some(seen) => and(&seen, &shown)?,
                None => shown,
            });
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, DictionaryArray, TimestampMicrosecondArray};
    use arrow::datatypes::Int32Type;

    use super::*;
    use crate::matcher::MatchOp;

    fn equal(value: &str) -> Arc<[Matcher]> {
        Arc::new([Matcher::new("namespace", MatchOp::Equal, value).unwrap()])
    }

    fn seen(hidden: &[Arc<Hidden>]) -> Vec<usize> {
        let labels: DictionaryArray<Int32Type> =
            [Some("dev"), Some("prod"), None, Some("dev"), Some("audit")].into_iter().collect();
        let times = TimestampMicrosecondArray::from(vec![10, 20, 30, 40, 50]).with_timezone("UTC");
        let batch = RecordBatch::try_from_iter([
            ("namespace", Arc::new(labels) as ArrayRef),
            ("end", Arc::new(times) as ArrayRef),
        ])
        .unwrap();
        match visible(hidden, "end", &batch).unwrap() {
            None => vec![0, 1, 2, 3, 4],
            Some(rows) => {
                rows.iter().enumerate().filter(|(_, v)| *v == Some(true)).map(|(i, _)| i).collect()
            }
        }
    }

    fn hidden(matchers: Arc<[Matcher]>, after: i64, until: i64) -> Arc<Hidden> {
        Arc::new(Hidden { matchers, unless: Arc::new([]), after, until })
    }

    #[test]
    fn rows_are_hidden_by_time_label_and_exception() {
        assert_eq!(seen(&[]), [0, 1, 2, 3, 4]);
        assert_eq!(seen(&[hidden(Arc::new([]), 10, 40)]), [0, 4], "left open, right closed");
        assert_eq!(seen(&[hidden(equal("dev"), 0, 39)]), [1, 2, 3, 4]);
        assert_eq!(seen(&[hidden(equal("dev"), 0, 99), hidden(equal(""), 0, 99)]), [1, 4]);
        let but = Hidden {
            matchers: Arc::new([]),
            unless: Arc::new([equal("audit"), equal("prod")]),
            after: i64::MIN,
            until: i64::MAX,
        };
        assert_eq!(seen(&[Arc::new(but)]), [1, 4]);
    }

    #[test]
    fn files_out_of_range_are_told_by_their_times() {
        let h = hidden(Arc::new([]), 10, 20);
        assert!(h.reaches(0, 11) && h.reaches(20, 30) && !h.reaches(0, 10) && !h.reaches(21, 30));
        assert!(h.spans(11, 20) && !h.spans(10, 20) && !h.spans(11, 21));
        assert_eq!(
            columns(&[hidden(equal("a"), 0, 1)]).into_iter().collect::<Vec<_>>(),
            ["namespace"]
        );
    }
}
