//! Matchers over the columns of a batch. No I/O.

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{and, cast};
use arrow::datatypes::{DataType, Int32Type};
use arrow::error::ArrowError;

use super::Matcher;
use crate::series::{label_of, stored_in, value_in_text};

/// Rows that pass every matcher; all rows if there is none.
///
/// Labels may be dictionaries, texts, text views or whole numbers.
pub(crate) fn all_match(
    matchers: &[Matcher],
    batch: &RecordBatch,
) -> Result<BooleanArray, ArrowError> {
    let mut passed = BooleanArray::from(BooleanBuffer::new_set(batch.num_rows()));
    for matcher in matchers {
        let column = match batch.column_by_name(matcher.label()) {
            Some(labels) => column(&|text| matcher.matches(text), labels)?,
            None if stored_in(matcher.label()) != matcher.label() => {
                match (batch.column_by_name(stored_in(matcher.label())), label_of(matcher.label()))
                {
                    (Some(texts), Some(label)) => {
                        let value = |text: &str| value_in_text(text, &label).into_owned();
                        column(&|text| matcher.matches(text.map(value).as_deref()), texts)?
                    }
                    _ if matcher.matches(None) => continue,
                    _ => return Ok(BooleanBuffer::new_unset(batch.num_rows()).into()),
                }
            }
            None if matcher.matches(None) => continue,
            None => return Ok(BooleanBuffer::new_unset(batch.num_rows()).into()),
        };
        passed = and(&passed, &column)?;
    }
    Ok(passed)
}

/// What says whether a text passes.
type Passes<'a> = &'a dyn Fn(Option<&str>) -> bool;

/// Rows whose label passes. The result has no nulls.
fn column(passes: Passes<'_>, labels: &ArrayRef) -> Result<BooleanArray, ArrowError> {
    let Some(dictionary) = labels.as_dictionary_opt::<Int32Type>() else {
        let texts = cast(labels, &DataType::Utf8View)?;
        return Ok(texts_match(passes, texts.as_string_view().iter()));
    };
    let values = cast(dictionary.values(), &DataType::Utf8View)?;
    // Each value once, however many rows have it.
    let by_value = texts_match(passes, values.as_string_view().iter());
    let absent = passes(None);
    let of = |key: Option<usize>| match key {
        Some(key) if key < by_value.len() => by_value.value(key),
        _ => absent,
    };
    Ok(dictionary.keys_iter().map(|key| Some(of(key))).collect())
}

/// Sorted files have long runs of one value: the outcome for the text before is kept.
fn texts_match<'a>(
    passes: Passes<'_>,
    texts: impl Iterator<Item = Option<&'a str>>,
) -> BooleanArray {
    let mut last: Option<(Option<&str>, bool)> = None;
    texts
        .map(|text| match last {
            Some((known, outcome)) if known == text => Some(outcome),
            _ => {
                let outcome = passes(text);
                last = Some((text, outcome));
                Some(outcome)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, DictionaryArray, Int32Array, StringViewArray};

    use super::*;
    use crate::matcher::MatchOp;

    fn matching(matchers: &[(&str, MatchOp, &str)]) -> Vec<usize> {
        let texts = [Some("dev"), None, Some("prod"), Some(""), Some("dev")];
        let labels: DictionaryArray<Int32Type> = texts.into_iter().collect();
        let batch = RecordBatch::try_from_iter([
            ("namespace", Arc::new(labels) as ArrayRef),
            ("view", Arc::new(StringViewArray::from_iter(texts)) as ArrayRef),
            (
                "port",
                Arc::new(Int32Array::from(vec![Some(80), None, Some(8080), Some(0), Some(443)])),
            ),
        ])
        .unwrap();
        let matchers: Vec<_> = matchers
            .iter()
            .map(|(label, op, value)| Matcher::new(*label, *op, *value).unwrap())
            .collect();
        let rows = all_match(&matchers, &batch).unwrap();
        assert_eq!(rows.null_count(), 0);
        rows.iter().enumerate().filter(|(_, m)| *m == Some(true)).map(|(i, _)| i).collect()
    }

    #[test]
    fn every_form_of_label_is_matched_as_text() {
        use MatchOp::{Equal, NotEqual, NotRegex, Regex};
        for label in ["namespace", "view"] {
            assert_eq!(matching(&[(label, Equal, "dev")]), [0, 4], "{label}");
            assert_eq!(matching(&[(label, Equal, "")]), [1, 3], "{label}");
            assert_eq!(matching(&[(label, NotRegex, "dev|")]), [2], "{label}");
        }
        assert_eq!(matching(&[("port", Regex, "80.*")]), [0, 2]);
        assert_eq!(matching(&[("port", Equal, "")]), [1]);
        assert_eq!(matching(&[("port", NotEqual, "80"), ("namespace", Equal, "dev")]), [4]);
        assert_eq!(matching(&[]), [0, 1, 2, 3, 4]);
        assert_eq!(matching(&[("zone", Equal, "a")]), Vec::<usize>::new(), "no such column");
        assert_eq!(matching(&[("zone", NotEqual, "a"), ("view", Equal, "prod")]), [2]);
    }
}
