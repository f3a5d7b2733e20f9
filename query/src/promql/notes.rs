//! Remarks on an answer: Prometheus' annotations.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::expr::Place;
use super::parse;

/// Remarks on an answer, each once. What is said of several places is said of the one that is evaluated
/// last.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    query: String,
    warnings: BTreeMap<String, Place>,
    infos: BTreeMap<String, Place>,
}

impl Notes {
    /// No remarks on a query yet.
    pub(crate) fn on(query: &str) -> Self {
        Self { query: query.to_owned(), ..Self::default() }
    }

    /// The answer is probably not what was meant, because of what stands there in the query.
    pub(crate) fn warn(&mut self, place: Place, message: impl Display) {
        add(&mut self.warnings, format!("PromQL warning: {message}"), place);
    }

    /// Worth knowing about what stands there in the query.
    pub(crate) fn inform(&mut self, place: Place, message: impl Display) {
        add(&mut self.infos, format!("PromQL info: {message}"), place);
    }

    /// Warnings and infos, in order.
    pub(crate) fn into_lists(self) -> (Vec<String>, Vec<String>) {
        let Self { query, warnings, infos } = self;
        let list = |notes: BTreeMap<String, Place>| {
            notes
                .into_iter()
                .map(|(message, place)| {
                    format!("{message} ({})", parse::place(&query, place.start))
                })
                .collect()
        };
        (list(warnings), list(infos))
    }
}

/// Calls overlap in time, but the place where each ends tells which comes last.
fn add(notes: &mut BTreeMap<String, Place>, message: String, place: Place) {
    let known = notes.entry(message).or_insert(place);
    if place.end >= known.end {
        *known = place;
    }
}
