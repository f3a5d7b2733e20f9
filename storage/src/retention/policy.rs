//! The rules of retention.
//!
//! A row is kept as long as the first rule says that matches it, in the order of the rules; without
//! one, as long as its table says; without that, as long as the default says.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::matcher::Matcher;
use crate::series;
use crate::spec::TableSpec;

/// What is kept, and for how long.
///
/// Age is the time since a row's own time, not since it arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retention {
    /// Age up to which rows are kept; `None` keeps everything.
    pub default: Option<Duration>,
    /// Tables whose rows are kept for another time than the default.
    pub tables: Vec<(String, Option<Duration>)>,
    /// Rows that are kept for another time than the rest of their table.
    pub rules: Vec<RetentionRule>,
    /// Bytes of all data files together above which the oldest of them are removed, those of the
    /// finest tier first; `None` has no bound.
    pub max_bytes: Option<u64>,
}

/// How long the rows are kept that pass all matchers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRule {
    /// The rows: those that pass all of these.
    pub matchers: Vec<Matcher>,
    /// Age up to which they are kept; `None` for ever.
    pub keep: Option<Duration>,
    /// The only table that the rule is for; `None` for every table that has all of its labels, but for
    /// tables of series: their labels are anything, so a rule for them names them.
    pub table: Option<String>,
}

/// A rule that no table can follow.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum PolicyError {
    #[error("retention names table `{0}`, which does not exist; there are {1}")]
    Table(String, String),
    #[error("retention rule {rule} matches label `{label}`, which {table}")]
    Label { rule: String, label: String, table: String },
}

impl Retention {
    /// Keeps the rows of all tables up to an age; `None` keeps everything.
    #[must_use]
    pub fn age(keep: Option<Duration>) -> Self {
        Self { default: keep, ..Self::default() }
    }

    /// Refuses rules that mean no table or no column.
    pub(crate) fn check(&self, specs: &[TableSpec]) -> Result<(), PolicyError> {
        let known = |name: &String| specs.iter().any(|spec| spec.name == name);
        let mut named = self.tables.iter().map(|(name, _)| name);
        let mut ruled = self.rules.iter().filter_map(|rule| rule.table.as_ref());
        if let Some(name) = named.find(|n| !known(n)).or_else(|| ruled.find(|n| !known(n))) {
            let names: Vec<_> = specs.iter().map(|spec| format!("`{}`", spec.name)).collect();
            return Err(PolicyError::Table(name.clone(), names.join(", ")));
        }
        for rule in &self.rules {
            if specs.iter().any(|spec| rule.is_for(spec)) {
                continue;
            }
            let candidates = || specs.iter().filter(|spec| rule.may_name(spec));
            let missing = |m: &&Matcher| !candidates().any(|spec| tells(spec, m.label()));
            return Err(PolicyError::Label {
                rule: rule.describe(),
                label: rule.matchers.iter().find(missing).map_or("", Matcher::label).to_owned(),
                table: match &rule.table {
                    Some(table) => format!("table `{table}` does not have"),
                    None => "no table has".to_owned(),
                },
            });
        }
        Ok(())
    }

    /// What the rules mean for one table.
    pub(crate) fn of(&self, spec: &TableSpec) -> TablePolicy {
        let keep = self.tables.iter().find(|(name, _)| name == spec.name).map(|(_, keep)| *keep);
        let rules = self.rules.iter().filter(|rule| rule.is_for(spec));
        TablePolicy {
            keep: keep.unwrap_or(self.default).map(micros),
            rules: rules
                .map(|rule| Rule {
                    matchers: if spec.series {
                        rule.matchers.iter().map(series::on_column).collect()
                    } else {
                        rule.matchers.as_slice().into()
                    },
                    keep: rule.keep.map(micros),
                })
                .collect(),
        }
    }

    /// How often to look: files span hours, so hours of retention need minutes of precision.
    pub(crate) fn interval(&self) -> Duration {
        let tables = self.tables.iter().filter_map(|(_, keep)| *keep);
        let rules = self.rules.iter().filter_map(|rule| rule.keep);
        let shortest = self.default.into_iter().chain(tables).chain(rules).min();
        let size = self.max_bytes.map(|_| Duration::from_secs(60));
        shortest
            .map(|keep| keep / 100)
            .into_iter()
            .chain(size)
            .min()
            .unwrap_or(Duration::MAX)
            .clamp(Duration::from_secs(1), Duration::from_secs(600))
    }
}

impl RetentionRule {
    fn may_name(&self, spec: &TableSpec) -> bool {
        self.table.as_ref().is_none_or(|name| name == spec.name)
    }

    fn is_for(&self, spec: &TableSpec) -> bool {
        self.may_name(spec)
            && !(spec.series && self.table.is_none())
            && self.matchers.iter().all(|m| tells(spec, m.label()))
    }

    fn describe(&self) -> String {
        let matchers: Vec<_> = self.matchers.iter().map(ToString::to_string).collect();
        format!("{{{}}}", matchers.join(","))
    }
}

/// Whether a matcher on a label tells the rows of a table apart: it has such a column, and has not
/// folded some of its values into one.
pub(crate) fn tells(spec: &TableSpec, label: &str) -> bool {
    use arrow::datatypes::DataType::{Dictionary, Int32, Int64, Utf8};
    let folded = spec.rollup.as_ref().is_some_and(|rollup| {
        let fold = rollup.fold.as_ref();
        rollup.detail.iter().any(|detail| detail.column == label)
            || fold.is_some_and(|fold| fold.column == label || fold.about.contains(&label))
    });
    if spec.series {
        return true;
    }
    !folded
        && spec
            .schema
            .field_with_name(label)
            .is_ok_and(|field| matches!(field.data_type(), Dictionary(..) | Utf8 | Int32 | Int64))
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// The rules for one table. Ages in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TablePolicy {
    pub(crate) keep: Option<i64>,
    /// The first that matches counts.
    pub(crate) rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) matchers: Arc<[Matcher]>,
    pub(crate) keep: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matcher::MatchOp;
    use crate::retention::age::tests::spec;

    fn rule(label: &str, table: Option<&str>) -> RetentionRule {
        RetentionRule {
            matchers: vec![Matcher::new(label, MatchOp::Equal, "x").unwrap()],
            keep: Some(Duration::from_secs(1)),
            table: table.map(str::to_owned),
        }
    }

    #[test]
    fn rules_apply_where_their_labels_are() {
        let specs = [spec("raw", &["namespace", "pod"]), spec("hourly", &["namespace"])];
        let retention = Retention {
            default: Some(Duration::from_secs(9)),
            tables: vec![("hourly".into(), None)],
            rules: vec![rule("pod", None), rule("namespace", None), rule("namespace", Some("raw"))],
            max_bytes: None,
        };
        retention.check(&specs).unwrap();
        let [raw, hourly] = &specs;
        let raw = retention.of(raw);
        assert_eq!((raw.keep, raw.rules.len()), (Some(9_000_000), 3));
        let hourly = retention.of(hourly);
        assert_eq!((hourly.keep, hourly.rules.len()), (None, 1));
        let with = |rule| Retention { rules: vec![rule], ..Retention::default() };
        let error = with(rule("zone", None)).check(&specs).unwrap_err().to_string();
        assert_eq!(error, "retention rule {zone=\"x\"} matches label `zone`, which no table has");
        let error = with(rule("pod", Some("hourly"))).check(&specs).unwrap_err().to_string();
        assert!(
            error.ends_with("matches label `pod`, which table `hourly` does not have"),
            "{error}"
        );
        let error = with(rule("pod", Some("daily"))).check(&specs).unwrap_err().to_string();
        assert_eq!(
            error,
            "retention names table `daily`, which does not exist; there are `raw`, `hourly`"
        );
    }

    #[test]
    fn the_shortest_age_decides_how_often_to_look() {
        let day = Duration::from_secs(24 * 3600);
        let mut retention = Retention::age(Some(100 * day));
        assert_eq!(retention.interval(), Duration::from_secs(600));
        retention.max_bytes = Some(1);
        assert_eq!(retention.interval(), Duration::from_secs(60));
        retention.rules.push(rule("pod", None));
        assert_eq!(retention.interval(), Duration::from_secs(1));
        assert_eq!(Retention::default().interval(), Duration::from_secs(600));
    }
}
