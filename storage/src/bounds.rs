//! What a table's log knows of the labels in one file: bounds of their values, and how many are
//! missing.
//!
//! Bounds compare by bytes, as UTF-8 does and as Parquet orders strings. Long values are cut, so a
//! bound need not be a value: a lower bound is a prefix of the smallest one, an upper bound is
//! greater than all values that begin like the largest one.

use std::collections::HashSet;
use std::sync::Arc;

/// Longest bound, bytes.
const MAX: usize = 64;

/// Texts that many files have in common, each kept once.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    texts: HashSet<Arc<str>>,
    /// Size at which texts that no file uses any more are let go of.
    sweep_at: usize,
}

impl Interner {
    pub(crate) fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        if self.texts.len() >= self.sweep_at {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.sweep_at = (2 * self.texts.len()).max(1024);
        }
        let text: Arc<str> = text.into();
        self.texts.insert(text.clone());
        text
    }
}

/// What is known of one label column in one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Column {
    /// At or below every value, at or above every value; `None` when unknown or without values.
    pub(crate) bounds: Option<(Arc<str>, Arc<str>)>,
    /// Rows without a value; `None` when unknown.
    pub(crate) nulls: Option<u64>,
}

/// Bounds of the label columns of one file.
///
/// Kept for the columns that rows are partitioned or sorted by. The default knows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelBounds {
    names: Arc<[&'static str]>,
    columns: Box<[Column]>,
}

impl LabelBounds {
    /// `columns` are those of `names`, in the same order.
    pub(crate) fn new(names: Arc<[&'static str]>, columns: Box<[Column]>) -> Self {
        Self { names, columns }
    }

    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        let at = self.names.iter().position(|n| *n == name)?;
        self.columns.get(at)
    }

    /// Whether some row of a file of `rows` rows may have this value. A null counts as empty text.
    pub(crate) fn may_hold(&self, name: &str, value: &str, rows: u64) -> bool {
        let Some(column) = self.column(name) else { return true };
        let nulls = value.is_empty() && column.nulls != Some(0);
        let values = match &column.bounds {
            Some((min, max)) => min.as_ref() <= value && value <= max.as_ref(),
            // Without bounds only a file that is known to hold nothing but nulls rules a value out.
            None => column.nulls.is_none_or(|nulls| nulls < rows),
        };
        nulls || values
    }
}

/// A text at or below `value` that is not too long to keep.
pub(crate) fn lower(value: &str) -> &str {
    value.get(..value.floor_char_boundary(MAX)).unwrap_or_default()
}

/// A text at or above `value`, and above all that begin like it, that is not too long to keep;
/// `None` if there is none.
pub(crate) fn upper(value: &str) -> Option<String> {
    if value.len() <= MAX {
        return Some(value.to_owned());
    }
    // One byte less than the limit: the next character may be longer by one.
    let mut cut = value.get(..value.floor_char_boundary(MAX - 1))?.to_owned();
    while let Some(last) = cut.pop() {
        // The range skips the surrogates, which are no characters.
        if let Some(next) = (last..=char::MAX).nth(1) {
            cut.push(next);
            return Some(cut);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn long_values_are_cut_to_bounds() {
        let long = format!("{}z", "x".repeat(MAX));
        assert_eq!(lower(&long), "x".repeat(MAX));
        assert_eq!(upper(&long).unwrap(), format!("{}y", "x".repeat(MAX - 2)));
        assert_eq!(upper("short").unwrap(), "short");
        let top = char::MAX.to_string().repeat(40);
        assert_eq!(upper(&top), None, "nothing is above it");
        let mixed = format!("a{top}");
        assert_eq!(upper(&mixed).unwrap(), "b");
        let surrogate = format!("{}\u{d7ff}{}", "x".repeat(60), "y".repeat(9));
        assert_eq!(upper(&surrogate).unwrap(), format!("{}\u{e000}", "x".repeat(60)));
    }

    proptest! {
        #[test]
        fn bounds_hold_for_every_text(text in "\\PC{0,80}", tail in "\\PC{0,4}") {
            prop_assert!(lower(&text) <= text.as_str());
            prop_assert!(lower(&text).len() <= MAX);
            if let Some(upper) = upper(&text) {
                prop_assert!(upper.as_str() >= text.as_str());
                prop_assert!(upper.len() <= MAX);
                if text.len() > MAX {
                    let longer = text.clone() + &tail;
                    prop_assert!(upper > longer);
                }
            }
        }
    }

    #[test]
    fn a_value_outside_the_bounds_is_ruled_out() {
        let names: Arc<[&'static str]> = ["a", "b", "c", "d"].into();
        let bounds = |min: &str, max: &str| Some((min.into(), max.into()));
        let columns = [
            Column { bounds: bounds("b", "d"), nulls: Some(0) },
            Column { bounds: bounds("b", "d"), nulls: Some(1) },
            Column { bounds: None, nulls: Some(10) },
            Column::default(),
        ];
        let labels = LabelBounds::new(names, columns.into());
        let may = |name, value| labels.may_hold(name, value, 10);
        assert!(may("a", "b") && may("a", "c") && may("a", "d"));
        assert!(!may("a", "a") && !may("a", "e") && !may("a", ""));
        assert!(may("b", "") && !may("b", "a"), "a null is an empty text");
        assert!(may("c", "") && !may("c", "a"), "nothing but nulls");
        for unknown in ["d", "e"] {
            assert!(may(unknown, "") && may(unknown, "x"));
        }
    }

    #[test]
    fn texts_are_kept_once_and_let_go_of() {
        let mut interner = Interner::default();
        let a = interner.intern("a");
        assert!(Arc::ptr_eq(&a, &interner.intern("a")));
        for n in 0..100_000 {
            interner.intern(&n.to_string());
        }
        assert!(interner.texts.len() <= 1024);
        assert!(Arc::ptr_eq(&a, &interner.intern("a")));
    }
}
