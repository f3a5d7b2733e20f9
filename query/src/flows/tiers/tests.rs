//! Answers of tiers against those of the rows.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_storage::{Entry, Options, Part, Store};
use weir_wire::{Header, encode};

use super::*;
use crate::database::{Resources, Runtime};
use crate::flows::FlowSource;
use crate::flows::metrics::metric_named;
pub(super) use crate::flows::tests::BASE_MS;
use crate::flows::tests::{TESTED, random_grouping, random_matchers, random_rows};
use crate::promql::source::{Grouping, Labels, Selector, Source, Steps, Window as Range};
use crate::session::LazySession;
use crate::testing::{Row, flow_batch, specs_with_tiers};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

pub(super) async fn append(store: &Store, rows: &[Row]) {
    let batch = flow_batch(rows);
    let header = Header {
        agent: "a".into(),
        boot: "b".into(),
        sequence: 1,
        losses: std::collections::BTreeMap::default(),
    };
    let ipc = encode(&header, &batch).expect("a batch");
    let part = Part { table: "flows", ipc: Bytes::from(ipc), batches: vec![batch] };
    let entry = Entry { source: None, parts: vec![part] };
    store.append(entry).await.expect("rows are stored");
}

/// A store with tiers whose rows are in several files and in memory, some of them late.
async fn store(rng: &mut StdRng, dir: &std::path::Path, span: i64) -> Arc<Store> {
    let store = Store::open(Options::new(dir, specs_with_tiers())).await.expect("a store");
    for round in 0..3 {
        append(&store, &random_rows(rng, 150, span)).await;
        if round < 2 {
            store.flush().await.expect("rows are written to files");
        }
    }
    store
}

pub(super) fn both(store: &Arc<Store>) -> (FlowSource, FlowSource) {
    let resources = Resources::default();
    let source = |snapshots| {
        FlowSource::new(Arc::new(LazySession::new(Runtime::new(&resources), snapshots)))
    };
    let all = store.snapshots();
    let rows = all.iter().filter(|s| s.spec.name == FLOWS).cloned().collect();
    (source(all), source(rows))
}

pub(super) async fn sums(
    source: &FlowSource,
    selector: &Selector,
    window: &Range,
    steps: &Steps,
    grouping: &Grouping,
) -> Vec<(Labels, Vec<Option<f64>>)> {
    let sums = source.window_sums(selector, window, steps, grouping).await;
    let sums = sums.expect("an answer").expect("a metric of deltas");
    sums.into_iter().map(|s| (s.labels, s.values.iter().collect())).collect()
}

/// The labels of [`random_grouping`] and [`random_matchers`] that are all in tiers.
fn kept(grouping: &Grouping) -> bool {
    matches!(grouping, Grouping::By(_))
}

#[tokio::test]
async fn every_tier_answers_what_the_rows_do() {
    let mut used = BTreeSet::new();
    for seed in 0..4 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let dir = tempfile::tempdir().expect("a directory");
        let store = store(rng, dir.path(), 3 * HOUR).await;
        let (source, rows) = both(&store);
        for _ in 0..25 {
            let metric = metric_named(TESTED[rng.random_range(0..TESTED.len())]).expect("a metric");
            // Sometimes the edges are a little beside.
            let beside = if rng.random_bool(0.3) { rng.random_range(1..MINUTE) } else { 0 };
            let width = if rng.random_bool(0.5) { HOUR } else { 5 * MINUTE };
            let edge = |n: i64| n * width;
            let start = (BASE_MS / width + rng.random_range(-2..=2)) * width + beside;
            let steps = Steps {
                start,
                end: start + edge(rng.random_range(0..6)),
                step: edge(rng.random_range(1..3)),
            };
            let window = Range {
                range: edge(rng.random_range(1..5)),
                offset: edge(rng.random_range(-2..=2)),
                at: None,
            };
            let grouping = random_grouping(rng);
            let selector = Selector {
                metric: Some(Arc::from(metric.name)),
                name_matchers: vec![],
                matchers: random_matchers(rng),
            };
            let found = sums(&source, &selector, &window, &steps, &grouping).await;
            let expected = sums(&rows, &selector, &window, &steps, &grouping).await;
            let what = format!("seed {seed} {selector:?} {window:?} {steps:?} {grouping:?}");
            assert_eq!(found, expected, "{what}");
            let tiers: Vec<_> = source.used().tiers().collect();
            let exact = !kept(&grouping) || beside != 0;
            match tiers.as_slice() {
                // No row can match.
                [] => assert!(found.is_empty(), "{what}"),
                ["raw"] => assert!(exact, "{what}"),
                [_] => assert!(!exact, "{what}"),
                more => panic!("{more:?} {what}"),
            }
            used.extend(tiers);
        }
    }
    assert_eq!(used.len(), 3, "{used:?}");
}

fn tier(table: &'static str, width: Option<Window>, oldest: Option<i64>) -> Tier {
    let columns = ["workload", "tx_bytes", "rtt_sum_us"];
    let mut columns: BTreeSet<_> = columns.iter().map(|c| (*c).to_owned()).collect();
    if width.is_none() {
        columns.insert("pod".to_owned());
    }
    Tier {
        table,
        name: table.strip_prefix("flows_").unwrap_or("raw"),
        width,
        columns,
        complete_after: i64::MIN,
        oldest,
        hidden: Arc::default(),
    }
}

pub(super) fn tiers(oldest: [Option<i64>; 3]) -> Tiers {
    let [raw, five, hour] = oldest;
    Tiers(vec![
        tier("flows", None, raw),
        tier("flows_5m", Some(Window::FIVE_MINUTES), five),
        tier("flows_1h", Some(Window::HOUR), hour),
    ])
}

pub(super) const H: i64 = Window::HOUR.micros();
const M5: i64 = Window::FIVE_MINUTES.micros();

pub(super) fn chosen(tiers: &Tiers, columns: &[&str], after: i64, strides: &[i64]) -> &'static str {
    let columns = columns.iter().copied().collect();
    let need = Need { columns: &columns, after, until: after + 100 * H, strides };
    tiers.choose(&need).expect("a table").name
}

#[test]
fn the_coarsest_that_fits_is_taken() {
    let all = tiers([Some(0); 3]);
    let columns = ["workload", "tx_bytes"];
    for (after, strides, name) in [
        (2 * H, [H, 0], "1h"),
        (2 * H, [6 * H, 2 * H], "1h"),
        (2 * H, [H, M5], "5m"),
        (2 * H + M5, [H, 0], "5m"),
        (2 * H + M5, [M5, 0], "5m"),
        (2 * H, [H, 1], "raw"),
        (2 * H + 1, [H, 0], "raw"),
        (-2 * H, [H, 0], "1h"),
    ] {
        assert_eq!(chosen(&all, &columns, after, &strides), name, "{after} {strides:?}");
    }
    assert_eq!(chosen(&all, &["pod", "tx_bytes"], 0, &[H]), "raw");
    assert_eq!(chosen(&all, &["active"], 0, &[H]), "raw", "a level is in no tier");
}

#[test]
fn a_tier_that_is_not_whole_does_not_answer() {
    let columns = ["workload", "tx_bytes"];
    let mut young = tiers([Some(0); 3]);
    young.0[2].complete_after = 10 * H;
    assert_eq!(chosen(&young, &columns, 10 * H, &[H]), "1h");
    assert_eq!(chosen(&young, &columns, 9 * H, &[H]), "5m");
    // Kept for a shorter time than finer ones.
    let short = tiers([Some(1), Some(M5), Some(8 * H)]);
    assert_eq!(chosen(&short, &columns, 8 * H, &[H]), "1h");
    assert_eq!(chosen(&short, &columns, 7 * H, &[H]), "1h", "its first window is the oldest");
    assert_eq!(chosen(&short, &columns, 6 * H, &[H]), "5m");
    let none = tiers([Some(1), Some(M5), None]);
    assert_eq!(chosen(&none, &columns, 8 * H, &[H]), "5m");
    assert_eq!(chosen(&tiers([None; 3]), &columns, 8 * H, &[H]), "1h", "all in memory");
    // The rows have gone, their sums are there.
    let long = tiers([Some(50 * H + 1), Some(20 * H), Some(H)]);
    assert_eq!(chosen(&long, &columns, 0, &[H]), "1h");
}

#[test]
fn what_retention_took_is_told() {
    let long = tiers([Some(50 * H + 1), Some(50 * H + M5), Some(H)]);
    let lost = |columns: &[&str], after, until| {
        let columns = columns.iter().copied().collect();
        let need = Need { columns: &columns, after, until, strides: &[1] };
        long.lost(long.choose(&need).expect("a table"), &need)
    };
    let said = lost(&["tx_bytes"], 1, 60 * H).expect("a remark");
    assert!(said.contains("multiples of 1h") && said.contains("1970-01-03T02:00:00Z"), "{said}");
    let said = lost(&["tx_bytes", "pod"], 1, 60 * H).expect("a remark");
    assert!(said.contains("without pod"), "{said}");
    assert_eq!(lost(&["tx_bytes"], 50 * H + 2, 60 * H), None);
    let aligned = ["tx_bytes"].into_iter().collect();
    let need = Need { columns: &aligned, after: 0, until: 60 * H, strides: &[H] };
    assert_eq!(long.lost(long.choose(&need).expect("a table"), &need), None);
}

#[test]
fn labels_of_a_long_time_come_from_a_tier() {
    let all = tiers([Some(0); 3]);
    let around = |columns: &[&str], after, until| {
        let columns = columns.iter().copied().collect();
        let (table, period) = all.choose_around(&columns, Period { after, until });
        (table, period.after, period.until)
    };
    let columns = ["workload", "tx_bytes"];
    assert_eq!(around(&columns, H + 1, 40 * H - 1), ("flows_1h", H, 40 * H));
    assert_eq!(around(&columns, H + 1, 20 * H - 1), ("flows_5m", H, 20 * H));
    assert_eq!(around(&columns, H + 1, 2 * H - 1), ("flows", H + 1, 2 * H - 1));
    assert_eq!(around(&columns, i64::MIN, i64::MAX).0, "flows_1h");
    assert_eq!(around(&["pod"], H, 40 * H), ("flows", H, 40 * H));
}
