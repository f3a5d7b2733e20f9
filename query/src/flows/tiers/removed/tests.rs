use std::time::Duration;

use weir_storage::{Clock, MatchOp, Options, Retention, RetentionRule, Store};

use super::*;
use crate::flows::tiers::tests::{BASE_MS, H, append, both, chosen, sums, tiers};
use crate::promql::source::{Grouping, Selector, Steps, Window as Range};
use crate::testing::{Row, specs_with_tiers};

fn equal(label: &str, value: &str) -> Matcher {
    Matcher::new(label, MatchOp::Equal, value).expect("a matcher")
}

fn class(matchers: &[Matcher], unless: &[&[Matcher]], until: i64) -> Arc<Hidden> {
    let unless = unless.iter().map(|list| Arc::from(*list)).collect();
    Arc::new(Hidden { matchers: matchers.into(), unless, after: i64::MIN, until })
}

const COLUMNS: [&str; 2] = ["workload", "tx_bytes"];

#[test]
fn a_tier_without_rows_that_finer_ones_have_does_not_answer() {
    let dev = [equal("namespace", "dev")];
    let mut all = tiers([Some(1), Some(1), Some(1)]);
    // The hourly sums of `dev` go after a shorter time than the rest of them.
    all.0[2].hidden = [class(&dev, &[], 20 * H), class(&[], &[&dev], 5 * H)].into();
    assert_eq!(chosen(&all, &COLUMNS, 20 * H, &[H]), "1h", "all that it asks for is there");
    assert_eq!(chosen(&all, &COLUMNS, 19 * H, &[H]), "5m");
    // The same rule everywhere takes nothing from one of them alone.
    for tier in &mut all.0 {
        tier.hidden = [class(&dev, &[], 20 * H), class(&[], &[&dev], 5 * H)].into();
    }
    assert_eq!(chosen(&all, &COLUMNS, 3 * H, &[H]), "1h");
    // Finer ones that keep everything else for a shorter time are no better.
    all.0[0].hidden = [class(&dev, &[], 20 * H), class(&[], &[&dev], 30 * H)].into();
    all.0[1].hidden = all.0[0].hidden.clone();
    assert_eq!(chosen(&all, &COLUMNS, 3 * H, &[H]), "1h");
    // They have lost both what it has and what it has not: what they have lost is more.
    all.0[2].hidden = [class(&dev, &[], 25 * H), class(&[], &[&dev], 5 * H)].into();
    assert_eq!(chosen(&all, &COLUMNS, 3 * H, &[H]), "1h");
    // Their rows of that time have gone by age.
    let mut aged = tiers([Some(30 * H), Some(30 * H), Some(1)]);
    aged.0[2].hidden = [class(&dev, &[], 20 * H)].into();
    assert_eq!(chosen(&aged, &COLUMNS, 3 * H, &[H]), "1h");
}

#[test]
fn what_a_rule_took_from_the_answer_is_told() {
    let dev = [equal("namespace", "dev")];
    let mut all = tiers([Some(1), Some(1), Some(1)]);
    all.0[0].hidden = [class(&dev, &[], 20 * H)].into();
    let columns = COLUMNS.into_iter().collect();
    let removed = |all: &Tiers, name: &str, after| {
        let need = Need { columns: &columns, after, until: 100 * H, strides: &[] };
        let tier = all.0.iter().find(|tier| tier.name == name).expect("a tier");
        all.removed(tier, &need)
    };
    let said = removed(&all, "raw", 3 * H).expect("a remark");
    for part in [r#"{namespace="dev"}"#, "1970-01-01T20:00:00Z", "the tier 1h", "multiples of 1h"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(removed(&all, "raw", 20 * H), None);
    assert_eq!(removed(&all, "1h", 3 * H), None);
    // Taken, though a finer one has the rows: it has lost more.
    all.0[2].hidden = [class(&[equal("workload", "x")], &[], 20 * H)].into();
    let said = removed(&all, "1h", 3 * H).expect("a remark");
    for part in [r#"{workload="x"}"#, "the tier 5m", "no multiple of 1h"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn classes_are_compared_by_what_they_leave_out() {
    let (a, b) = ([equal("namespace", "a")], [equal("namespace", "b")]);
    let both = [equal("namespace", "a"), equal("workload", "w")];
    let covered = |elsewhere: &[Arc<Hidden>], one: &Hidden| covers(elsewhere, one, one.until);
    let all = class(&[], &[], 9);
    assert!(covered(&[class(&[], &[], 9)], &all) && !covered(&[class(&[], &[], 8)], &all));
    assert!(covered(&[class(&a, &[], 9)], &class(&both, &[], 9)), "more rows go there");
    assert!(!covered(&[class(&both, &[], 9)], &class(&a, &[], 9)));
    // What stays there by a rule stays here too, or goes there by that rule.
    assert!(!covered(&[class(&[], &[&a], 9)], &all));
    assert!(covered(&[class(&[], &[&a], 9)], &class(&[], &[&a, &b], 9)));
    assert!(covered(&[class(&a, &[], 9), class(&[], &[&a], 9)], &all));
    assert!(!covered(&[class(&a, &[], 7), class(&[], &[&a], 9)], &all));
    assert!(covered(&[class(&[], &[&both], 9)], &class(&[], &[&a], 9)));
    assert!(!covered(&[class(&[], &[&a], 9)], &class(&[], &[&both], 9)));
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// Rows of two namespaces, hourly for a day, in a store whose hourly sums of one go after two hours.
#[tokio::test]
async fn answers_are_those_of_the_rows_under_a_rule_for_one_tier() {
    let dir = tempfile::tempdir().expect("a directory");
    let start = BASE_MS / HOUR * HOUR;
    let end = start + 24 * HOUR;
    let rule = RetentionRule {
        matchers: vec![equal("namespace", "dev")],
        keep: Some(Duration::from_secs(2 * 3600)),
        table: Some("flows_1h".into()),
    };
    let options = Options {
        retention: Retention { rules: vec![rule], ..Retention::default() },
        clock: Clock::new(move || (BASE_MS / HOUR * HOUR + 24 * HOUR) * 1000),
        ..Options::new(dir.path(), specs_with_tiers())
    };
    let store = Store::open(options).await.expect("a store");
    let rows: Vec<Row> = (1..=24)
        .flat_map(|hour| ["dev", "prod"].map(|namespace| (hour, namespace)))
        .map(|(hour, namespace)| Row {
            end: (start + hour * HOUR) * 1000,
            labels: vec![("namespace", namespace), ("workload", "w")],
            numbers: vec![("tx_bytes", hour)],
            rtts: None,
        })
        .collect();
    append(&store, &rows).await;
    store.flush().await.expect("rows are written to files");
    store.expire().await.expect("the rule is followed");
    let (source, rows) = both(&store);
    let selector = Selector {
        metric: Some(Arc::from("flow_tx_bytes_total")),
        name_matchers: vec![],
        matchers: vec![],
    };
    let window = Range { range: HOUR, offset: 0, at: None };
    let by = Grouping::By(vec![Arc::from("namespace")]);
    for (from, tier) in [(end - HOUR, "1h"), (start + HOUR, "5m")] {
        let steps = Steps { start: from, end, step: HOUR };
        let found = sums(&source, &selector, &window, &steps, &by).await;
        assert_eq!(found, sums(&rows, &selector, &window, &steps, &by).await, "{tier}");
        let used = source.used();
        assert_eq!(used.tiers().collect::<Vec<_>>(), [tier]);
        assert!(used.lost.is_empty(), "{:?}", used.lost);
    }
}
