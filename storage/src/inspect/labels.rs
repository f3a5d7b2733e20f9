//! The distinct values of a table's labels.

use std::collections::{BTreeMap, HashSet};

use super::Distinct;

/// Values of a label that are told apart; beyond it they are not counted on.
const MAX_VALUES: usize = 1 << 20;

/// The values of one label.
#[derive(Debug, Default)]
struct Values {
    known: HashSet<String>,
    /// There may be others.
    more: bool,
}

/// The distinct values of a table's labels.
#[derive(Debug, Default)]
pub(super) struct Labels(BTreeMap<String, Values>);

impl Labels {
    /// Notes values of a label.
    pub(super) fn add<'a>(&mut self, label: &str, values: impl IntoIterator<Item = &'a str>) {
        let Values { known, more } = self.of(label);
        for value in values {
            if known.contains(value) {
                continue;
            }
            if known.len() >= MAX_VALUES {
                *more = true;
                return;
            }
            known.insert(value.to_owned());
        }
    }

    /// Notes a value of a label; returns if it was not known, and is now.
    pub(super) fn is_new(&mut self, label: &str, value: &str) -> bool {
        let before = self.of(label).known.len();
        self.add(label, [value]);
        self.of(label).known.len() > before
    }

    /// Notes that a label has values that are not known.
    pub(super) fn has_more(&mut self, label: &str) {
        self.of(label).more = true;
    }

    fn of(&mut self, label: &str) -> &mut Values {
        self.0.entry(label.to_owned()).or_default()
    }

    /// How many there are.
    pub(super) fn counted(self) -> BTreeMap<String, Distinct> {
        let count = |Values { known, more }: Values| Distinct {
            values: u64::try_from(known.len()).unwrap_or(u64::MAX),
            at_least: more,
        };
        self.0.into_iter().map(|(label, values)| (label, count(values))).collect()
    }
}
