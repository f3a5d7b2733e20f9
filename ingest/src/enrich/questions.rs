//! What the rows of a batch ask about a column: each text once for each interval.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::column::Column;
use super::intervals::{Interval, Intervals};

/// A row that asks nothing: it has no text.
const NOTHING: u32 = u32::MAX;

/// See the module's text.
pub(super) struct Questions<'a> {
    all: Vec<(&'a str, Interval)>,
    of_rows: Vec<u32>,
}

impl<'a> Questions<'a> {
    /// Those of the rows that are `asking`, in the order in which they come.
    pub(super) fn of(
        column: Option<Column<'a>>,
        intervals: &Intervals,
        rows: usize,
        asking: impl Fn(usize) -> bool,
    ) -> Self {
        let mut questions = Self { all: Vec::new(), of_rows: vec![NOTHING; rows] };
        let Some(column) = column else { return questions };
        // Nearly always there is one interval, and a question for each text.
        let mut first = vec![NOTHING; column.texts()];
        let mut others: HashMap<(usize, usize), u32, RandomState> = HashMap::default();
        for (row, of_row) in
            questions.of_rows.iter_mut().enumerate().filter(|(row, _)| asking(*row))
        {
            let Some(text) = column.key(row) else { continue };
            let known = match intervals.number(row) {
                0 => match first.get_mut(text) {
                    Some(known) => known,
                    None => continue,
                },
                interval => others.entry((text, interval)).or_insert(NOTHING),
            };
            if *known == NOTHING
                && let Some(asked) = column.text(text)
            {
                *known = u32::try_from(questions.all.len()).unwrap_or(NOTHING);
                questions.all.push((asked, intervals.get(row)));
            }
            *of_row = *known;
        }
        questions
    }

    /// All of them: a text, and an interval.
    pub(super) fn all(&self) -> &[(&'a str, Interval)] {
        &self.all
    }

    /// Number of a row's.
    pub(super) fn number(&self, row: usize) -> Option<usize> {
        self.of_rows.get(row).filter(|number| **number != NOTHING).map(|number| *number as usize)
    }

    /// The answer to a row's, of answers in the order of [`Self::all`].
    pub(super) fn answer<'b, T>(&self, row: usize, answers: &'b [T]) -> Option<&'b T> {
        answers.get(*self.of_rows.get(row)? as usize)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, DictionaryArray, RecordBatch, TimestampMicrosecondArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn each_text_is_asked_once_for_each_interval_in_which_a_row_has_it() {
        let texts = [Some("a"), None, Some("b"), Some("a"), Some("a"), Some(""), Some("c")];
        let times = |times: [i64; 7]| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
        };
        let column: DictionaryArray<Int32Type> = texts.into_iter().collect();
        let batch = RecordBatch::try_from_iter([
            ("start", times([0, 0, 0, 0, 10, 0, 0])),
            ("end", times([10, 10, 10, 10, 20, 10, 10])),
            ("c", Arc::new(column) as ArrayRef),
        ])
        .unwrap();
        let (column, intervals) = (Column::of(&batch, "c"), Intervals::of(&batch));
        let questions = Questions::of(column, &intervals, 7, |row| row != 6);
        assert_eq!(questions.all(), [("a", (0, 10)), ("b", (0, 10)), ("a", (10, 20))]);
        let answers = ["A", "B", "A later"];
        let of_rows: Vec<_> = (0..7).map(|row| questions.answer(row, &answers).copied()).collect();
        let (a, b, later) = (Some("A"), Some("B"), Some("A later"));
        assert_eq!(of_rows, [a, None, b, a, later, None, None]);
        assert!(Questions::of(None, &intervals, 7, |_| true).all().is_empty());
    }
}
