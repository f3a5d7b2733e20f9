//! What of a file is over age.
//!
//! Each rule is a class of rows, and what no rule matches is one more. A file is over age as a whole
//! when every class that it may hold rows of is; statistics tell which those are. Until then, the
//! classes that are over age are hidden in it, and once all rows of a class in it are over age,
//! rewriting it without them gives room back.

use std::sync::Arc;

use super::policy::TablePolicy;
use crate::hidden::Hidden;
use crate::matcher::Matcher;
use crate::snapshot::DataFile;

impl TablePolicy {
    /// Whether every row that the file may hold is over age at `now` (microseconds). A file of
    /// unknown age stays.
    pub(crate) fn is_expired(&self, file: &DataFile, now: i64) -> bool {
        file.max_time != i64::MAX
            && self.classes(file).into_iter().all(|class| {
                self.keep_of(class).is_some_and(|keep| file.max_time < now.saturating_sub(keep))
            })
    }

    /// What retention hides in a file at `now`. Nothing where there are no rules: files go as a
    /// whole then, and what is a little over age may be seen until its file goes.
    pub(crate) fn hidden(&self, file: &DataFile, now: i64) -> Vec<Arc<Hidden>> {
        if self.rules.is_empty() {
            return Vec::new();
        }
        self.classes(file)
            .into_iter()
            .filter_map(|class| self.hidden_of(class, now))
            .filter(|hidden| hidden.reaches(file.min_time, file.max_time))
            .map(Arc::new)
            .collect()
    }

    /// What retention hides of rows in memory at `now`.
    pub(crate) fn hidden_in_memory(&self, now: i64) -> Vec<Arc<Hidden>> {
        if self.rules.is_empty() {
            return Vec::new();
        }
        (0..=self.rules.len()).filter_map(|c| self.hidden_of(c, now)).map(Arc::new).collect()
    }

    /// Classes of which the file may hold rows: numbers of rules, and their count for the rest.
    fn classes(&self, file: &DataFile) -> Vec<usize> {
        let mut classes = Vec::new();
        for (class, rule) in self.rules.iter().enumerate() {
            if rule.matchers.iter().all(|m| may_match(file, m)) {
                classes.push(class);
            }
            if rule.matchers.iter().all(|m| must_match(file, m)) {
                // It leaves no row to those after it.
                return classes;
            }
        }
        classes.push(self.rules.len());
        classes
    }

    fn keep_of(&self, class: usize) -> Option<i64> {
        self.rules.get(class).map_or(self.keep, |rule| rule.keep)
    }

    fn hidden_of(&self, class: usize, now: i64) -> Option<Hidden> {
        let keep = self.keep_of(class)?;
        let before = self.rules.iter().take(class).map(|rule| rule.matchers.clone());
        Some(Hidden {
            matchers: self.rules.get(class).map(|r| r.matchers.clone()).unwrap_or_default(),
            unless: before.collect(),
            after: i64::MIN,
            until: now.saturating_sub(keep).saturating_sub(1),
        })
    }
}

/// Whether a row of the file may pass.
pub(crate) fn may_match(file: &DataFile, matcher: &Matcher) -> bool {
    if file.rows == 0 {
        return true;
    }
    let nulls = file.null_count(matcher.label());
    let absent = nulls != Some(0) && matcher.matches(None);
    absent
        || match file.text_bounds(matcher.label()) {
            Some((min, max)) => matcher.may_match_between(min, max),
            None => nulls != Some(file.rows),
        }
}

/// Whether every row of the file passes, as far as its statistics tell.
fn must_match(file: &DataFile, matcher: &Matcher) -> bool {
    if file.rows == 0 {
        return false;
    }
    match (file.null_count(matcher.label()), file.text_bounds(matcher.label())) {
        (Some(0), Some((min, max))) => min == max && matcher.matches(Some(min)),
        (Some(nulls), None) => nulls == file.rows && matcher.matches(None),
        _ => false,
    }
}

#[cfg(test)]
pub(crate) mod tests;
