use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use object_store::path::Path;

use super::*;
use crate::matcher::MatchOp;
use crate::retention::policy::Rule;
use crate::spec::TableSpec;
use crate::window::Window;

pub(crate) fn spec(name: &'static str, labels: &[&str]) -> TableSpec {
    let label = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let labels = labels.iter().map(|l| Field::new(*l, label.clone(), true));
    let fields: Vec<Field> = labels.chain([Field::new("end", time, false)]).collect();
    TableSpec {
        name,
        schema: Arc::new(Schema::new(fields)),
        time: "end",
        window: Window::TWO_HOURS,
        workload: &[],
        sort: &["end"],
        rollup: None,
        series: false,
    }
}

pub(crate) fn sized(max_time: i64, size: u64) -> Arc<DataFile> {
    Arc::new(DataFile {
        rows: 10,
        min_time: max_time.min(0),
        max_time,
        ..DataFile::unknown(Path::from("t/f"), size)
    })
}

pub(crate) fn file(max_time: i64) -> Arc<DataFile> {
    sized(max_time, 1)
}

fn rule(value: &str, keep: Option<i64>) -> Rule {
    Rule { matchers: Arc::new([Matcher::new("namespace", MatchOp::Equal, value).unwrap()]), keep }
}

/// A file of rows from 0 to `max_time` whose namespaces lie between the two values.
fn of(min: &str, max: &str, max_time: i64) -> DataFile {
    DataFile {
        labels: crate::bounds::LabelBounds::new(
            Arc::new(["namespace"]),
            Box::new([crate::bounds::Column {
                bounds: Some((min.into(), max.into())),
                nulls: Some(0),
            }]),
        ),
        ..DataFile::clone(&file(max_time))
    }
}

#[test]
fn without_rules_whole_files_expire_by_their_newest_row() {
    let policy = TablePolicy { keep: Some(10), rules: vec![] };
    for (max_time, now, expired) in [(10, 20, false), (10, 21, true), (i64::MAX, i64::MAX, false)] {
        assert_eq!(policy.is_expired(&file(max_time), now), expired, "{max_time} {now}");
    }
    assert!(policy.hidden(&file(10), 15).is_empty());
    assert!(!TablePolicy { keep: None, rules: vec![] }.is_expired(&file(10), i64::MAX));
}

#[test]
fn a_shorter_rule_hides_and_takes_whole_files_that_hold_nothing_else() {
    let policy = TablePolicy { keep: Some(100), rules: vec![rule("dev", Some(10))] };
    let mixed = of("a", "z", 50);
    assert!(policy.hidden(&mixed, 5).is_empty(), "nothing is that old");
    let hidden = policy.hidden(&mixed, 30);
    let [dev] = hidden.as_slice() else { panic!("{hidden:?}") };
    assert_eq!((dev.until, dev.matchers.len(), dev.unless.len()), (19, 1, 0));
    assert!(!dev.spans(0, 50));
    assert!(policy.hidden(&mixed, 61).iter().any(|h| h.spans(0, 50)), "ripe for a rewrite");
    assert!(!policy.is_expired(&mixed, 61));
    assert!(policy.is_expired(&of("dev", "dev", 50), 61), "all of it is dev");
    let other = of("e", "z", 50);
    assert!(!policy.is_expired(&other, 61) && policy.hidden(&other, 61).is_empty(), "no dev in it");
    assert!(policy.is_expired(&mixed, 151));
}

#[test]
fn a_longer_rule_keeps_its_rows_and_only_those() {
    let policy = TablePolicy { keep: Some(10), rules: vec![rule("audit", None)] };
    let mixed = of("a", "z", 50);
    assert!(!policy.is_expired(&mixed, 1000));
    let hidden = policy.hidden(&mixed, 1000);
    let [rest] = hidden.as_slice() else { panic!("{hidden:?}") };
    assert!(rest.matchers.is_empty() && rest.unless.len() == 1 && rest.spans(0, 50));
    assert!(policy.is_expired(&of("b", "z", 50), 1000), "no audit in it");
    assert!(policy.hidden(&of("audit", "audit", 50), 1000).is_empty());
}

#[test]
fn the_first_rule_that_matches_counts() {
    let policy = TablePolicy {
        keep: None,
        rules: vec![rule("dev", None), Rule { matchers: Arc::new([]), keep: Some(10) }],
    };
    let all_dev = of("dev", "dev", 50);
    assert!(!policy.is_expired(&all_dev, 1000) && policy.hidden(&all_dev, 1000).is_empty());
    assert!(policy.is_expired(&of("e", "f", 50), 61), "the second rule takes the rest");
    let hidden = policy.hidden(&of("a", "z", 50), 61);
    assert_eq!(hidden.len(), 1);
    assert_eq!(hidden.first().map(|h| h.unless.len()), Some(1));
}

#[test]
fn statistics_rule_out_only_what_cannot_be_there() {
    let equal = |value| Matcher::new("namespace", MatchOp::Equal, value).unwrap();
    let nulls = |nulls| DataFile {
        labels: crate::bounds::LabelBounds::new(
            Arc::new(["namespace"]),
            Box::new([crate::bounds::Column { bounds: None, nulls }]),
        ),
        ..DataFile::clone(&file(50))
    };
    let all_null = nulls(Some(10));
    assert!(may_match(&all_null, &equal("")) && must_match(&all_null, &equal("")));
    assert!(!may_match(&all_null, &equal("dev")));
    let unknown = nulls(None);
    assert!(may_match(&unknown, &equal("dev")) && !must_match(&unknown, &equal("")));
    assert!(!may_match(&of("a", "b", 50), &equal("")));
}
