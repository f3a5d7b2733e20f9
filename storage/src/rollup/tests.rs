//! Sums of random rows against brute force. The tables here serve the tests of the store too.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, AsArray, DictionaryArray, Int32Array, Int64Array, ListArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    Field, Int32Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use proptest::prelude::*;

use super::*;
use crate::compact::merge::Combine as _;

const SECOND: i64 = 1_000_000;

fn label() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

fn schema(tier: bool) -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let buckets = DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)));
    let mut fields = vec![
        Field::new("start", time.clone(), false),
        Field::new("end", time, false),
        Field::new("namespace", label(), true),
        Field::new("workload", label(), false),
        Field::new("pod", label(), true),
        Field::new("port", DataType::Int32, true),
        Field::new("scope", label(), true),
        Field::new("asn", DataType::Int64, true),
        Field::new("address", label(), true),
        Field::new("bytes", DataType::Int64, true),
        Field::new("least", DataType::Int64, true),
        Field::new("sampling", DataType::Int32, true),
        Field::new("offset", DataType::Int32, true),
        Field::new("buckets", buckets, true),
    ];
    if tier {
        fields.retain(|f| f.name() != "pod");
    }
    Arc::new(Schema::new(fields))
}

/// The table that is summed up.
pub(crate) fn source() -> TableSpec {
    TableSpec {
        name: "flows",
        schema: schema(false),
        time: "end",
        window: Window::TWO_HOURS,
        workload: &["namespace", "workload"],
        sort: &["namespace", "workload", "pod", "end"],
        rollup: None,
        series: false,
    }
}

/// A tier of it that folds all but the two largest addresses.
pub(crate) fn tier(name: &'static str, width: Window, window: Window) -> TableSpec {
    TableSpec {
        name,
        schema: schema(true),
        time: "end",
        window,
        workload: &["namespace", "workload"],
        sort: &["namespace", "workload", "port", "scope", "asn", "address", "end"],
        rollup: Some(Rollup {
            source: "flows",
            width,
            start: Some("start"),
            merge: vec![
                ("bytes", Merge::Sum),
                ("least", Merge::Min),
                ("sampling", Merge::Max),
                ("offset", Merge::Offset),
                ("buckets", Merge::Counts { offset: "offset" }),
            ],
            detail: vec![Detail { column: "address", when: &[("scope", &["external", ""])] }],
            fold: Some(Fold {
                column: "address",
                other: "other",
                about: &["asn"],
                largest: &["bytes"],
                keep: 2,
            }),
        }),
        series: false,
    }
}

/// One row of the source, or of a tier (without a pod).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) end: i64,
    pub(crate) namespace: Option<String>,
    pub(crate) workload: String,
    pub(crate) pod: Option<String>,
    pub(crate) port: Option<i32>,
    pub(crate) scope: Option<String>,
    pub(crate) asn: Option<i64>,
    pub(crate) address: Option<String>,
    pub(crate) bytes: Option<i64>,
    pub(crate) least: Option<i64>,
    pub(crate) sampling: Option<i32>,
    pub(crate) histogram: Option<(i32, Vec<i64>)>,
}

/// What rows are the same window and thing.
pub(crate) type Key =
    (i64, Option<String>, String, Option<i32>, Option<String>, Option<i64>, Option<String>);
/// Bytes, least, sampling, buckets by index.
pub(crate) type Sums = (Option<i64>, Option<i64>, Option<i32>, Option<BTreeMap<i64, i64>>);

impl Row {
    /// The key in a tier, without folding.
    fn key(&self, width: Window) -> Key {
        let kept = matches!(self.scope.as_deref(), None | Some("" | "external"));
        let end = -(-self.end).div_euclid(width.micros()) * width.micros();
        let address = self.address.clone().filter(|_| kept);
        let (namespace, workload) = (self.namespace.clone(), self.workload.clone());
        (end, namespace, workload, self.port, self.scope.clone(), self.asn, address)
    }
}

/// Sums of rows by key.
pub(crate) fn sums(rows: &[Row], width: Window) -> BTreeMap<Key, Sums> {
    let mut all: BTreeMap<Key, Sums> = BTreeMap::new();
    for row in rows {
        let sums = all.entry(row.key(width)).or_default();
        if let Some(bytes) = row.bytes {
            *sums.0.get_or_insert(0) += bytes;
        }
        sums.1 = sums.1.into_iter().chain(row.least).min();
        sums.2 = sums.2.max(row.sampling);
        if let Some((offset, counts)) = &row.histogram {
            let buckets = sums.3.get_or_insert_default();
            for (index, count) in (i64::from(*offset)..).zip(counts).filter(|(_, n)| **n != 0) {
                *buckets.entry(index).or_default() += count;
            }
        }
    }
    all
}

/// Rows as a batch of the source.
pub(crate) fn batch(rows: &[Row]) -> RecordBatch {
    let times = |back: i64| -> arrow::array::ArrayRef {
        let times = rows.iter().map(|r| r.end - back);
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
    };
    fn labels<'a>(values: impl Iterator<Item = Option<&'a str>>) -> arrow::array::ArrayRef {
        Arc::new(values.collect::<DictionaryArray<Int32Type>>())
    }
    let lists = rows.iter().map(|r| {
        r.histogram.as_ref().map(|(_, counts)| counts.iter().copied().map(Some).collect::<Vec<_>>())
    });
    RecordBatch::try_new(
        schema(false),
        vec![
            times(10 * SECOND),
            times(0),
            labels(rows.iter().map(|r| r.namespace.as_deref())),
            labels(rows.iter().map(|r| Some(r.workload.as_str()))),
            labels(rows.iter().map(|r| r.pod.as_deref())),
            Arc::new(rows.iter().map(|r| r.port).collect::<Int32Array>()),
            labels(rows.iter().map(|r| r.scope.as_deref())),
            Arc::new(rows.iter().map(|r| r.asn).collect::<Int64Array>()),
            labels(rows.iter().map(|r| r.address.as_deref())),
            Arc::new(rows.iter().map(|r| r.bytes).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|r| r.least).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|r| r.sampling).collect::<Int32Array>()),
            Arc::new(
                rows.iter().map(|r| r.histogram.as_ref().map(|h| h.0)).collect::<Int32Array>(),
            ),
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)),
        ],
    )
    .unwrap()
}

/// The rows of batches of either table, labels as dictionaries or as text.
pub(crate) fn rows(batches: &[RecordBatch]) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in batches {
        let label = |name: &str| -> Vec<Option<String>> {
            let Some(column) = batch.column_by_name(name) else {
                return vec![None; batch.num_rows()];
            };
            let text = cast(column, &DataType::Utf8).unwrap();
            text.as_string::<i32>().iter().map(|v| v.map(str::to_owned)).collect()
        };
        let long = |name: &str| -> Vec<Option<i64>> {
            let column = cast(batch.column_by_name(name).unwrap(), &DataType::Int64).unwrap();
            column.as_primitive::<Int64Type>().iter().collect()
        };
        let ends = batch.column_by_name("end").unwrap().as_primitive::<TimestampMicrosecondType>();
        let (namespace, workload) = (label("namespace"), label("workload"));
        let (pod, scope, address) = (label("pod"), label("scope"), label("address"));
        let (port, asn, bytes) = (long("port"), long("asn"), long("bytes"));
        let (least, sampling, offset) = (long("least"), long("sampling"), long("offset"));
        let buckets = batch.column_by_name("buckets").unwrap().as_list::<i32>();
        for i in 0..batch.num_rows() {
            let counts = buckets
                .is_valid(i)
                .then(|| buckets.value(i).as_primitive::<Int64Type>().values().to_vec());
            rows.push(Row {
                end: ends.value(i),
                namespace: namespace[i].clone(),
                workload: workload[i].clone().unwrap(),
                pod: pod[i].clone(),
                port: port[i].map(|n| n as i32),
                scope: scope[i].clone(),
                asn: asn[i],
                address: address[i].clone(),
                bytes: bytes[i],
                least: least[i],
                sampling: sampling[i].map(|n| n as i32),
                histogram: offset[i].map(|n| n as i32).zip(counts),
            });
        }
    }
    rows
}

/// Few values of everything, so that keys meet; times around the edges of windows.
pub(crate) fn any_row() -> impl Strategy<Value = Row> {
    fn one_of(values: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
        proptest::option::of(proptest::sample::select(values).prop_map(str::to_owned))
    }
    let edge = (0..20i64, -1..=1i64).prop_map(|(n, off)| n * 150 * SECOND + off + HOUR);
    let histogram = (-1..4i32, proptest::collection::vec(0..5i64, 0..4));
    (
        edge,
        (one_of(&["", "shop"]), one_of(&["api", "web"]), one_of(&["p1", "p2"])),
        (proptest::option::of(79..81i32), one_of(&["", "cluster", "external"])),
        (proptest::option::of(-1..1i64), one_of(&["10.0.0.1", "10.0.0.2", "::1", "::2"])),
        (proptest::option::of(-3..1000i64), proptest::option::of(-5..5i64)),
        (proptest::option::of(1..4i32), proptest::option::of(histogram)),
    )
        .prop_map(|(end, names, (port, scope), (asn, address), (bytes, least), rest)| Row {
            end,
            namespace: names.0,
            workload: names.1.unwrap_or_else(|| "db".into()),
            pod: names.2,
            port,
            scope,
            asn,
            address,
            bytes,
            least,
            sampling: rest.0,
            histogram: rest.1,
        })
}

const HOUR: i64 = 3600 * SECOND;

proptest! {
    #[test]
    fn one_row_for_each_key_and_every_sum_is_exact(
        batches in proptest::collection::vec(proptest::collection::vec(any_row(), 0..40), 1..4),
    ) {
        let spec = tier("t", Window::FIVE_MINUTES, Window::DAY);
        let rollup = spec.rollup.as_ref().unwrap();
        let source: Vec<_> = batches.iter().map(|rows| batch(rows)).collect();
        let found = roll_up(&spec, rollup, &source).unwrap();
        let expected = sums(&batches.concat(), rollup.width);
        let found_rows = rows(&found);
        prop_assert_eq!(found_rows.len(), expected.len());
        prop_assert_eq!(sums(&found_rows, rollup.width), expected);
        for batch in &found {
            let time = |name| batch.column_by_name(name).unwrap().as_primitive::<TimestampMicrosecondType>();
            for (start, end) in time("start").values().iter().zip(time("end").values()) {
                prop_assert_eq!(end - start, rollup.width.micros());
                prop_assert_eq!(end % rollup.width.micros(), 0);
            }
        }
    }
}

/// Rows of a tier in the order of its files.
fn in_order(spec: &TableSpec, rows: &[RecordBatch]) -> RecordBatch {
    let parts = crate::part::PartCount::ONE;
    let arranged = crate::files::order::arrange(spec, rows, parts).unwrap();
    match arranged.pieces.as_slice() {
        [] => RecordBatch::new_empty(spec.schema.clone()),
        [piece] => arranged.take(&piece.rows).unwrap(),
        _ => panic!("one window"),
    }
}

fn combine(spec: &TableSpec, rows: &RecordBatch, over: bool, chunk: usize) -> RecordBatch {
    let mut combiner = combine::Combiner::new(spec, over).unwrap().unwrap();
    let mut done = Vec::new();
    for from in (0..rows.num_rows()).step_by(chunk) {
        done.extend(combiner.push(&rows.slice(from, chunk.min(rows.num_rows() - from))).unwrap());
    }
    done.extend(combiner.finish().unwrap());
    arrow::compute::concat_batches(&spec.schema, &done).unwrap()
}

fn without_detail(rows: &[Row]) -> Vec<Row> {
    rows.iter().map(|r| Row { address: None, asn: None, ..r.clone() }).collect()
}

proptest! {
    #[test]
    fn neighbours_combine_and_the_largest_stay(
        batches in proptest::collection::vec(proptest::collection::vec(any_row(), 0..60), 1..4),
        chunk in 1..50usize,
    ) {
        let width = Window::FIVE_MINUTES;
        let spec = tier("t", width, Window::DAY);
        let rollup = spec.rollup.as_ref().unwrap();
        let partial: Vec<_> = batches
            .iter()
            .flat_map(|rows| roll_up(&spec, rollup, &[batch(rows)]).unwrap())
            .collect();
        let sorted = in_order(&spec, &partial);
        let all = batches.concat();

        let combined = combine(&spec, &sorted, false, chunk);
        prop_assert_eq!(&combined, &in_order(&spec, std::slice::from_ref(&combined)), "order is kept");
        let expected = sums(&all, width);
        prop_assert_eq!(combined.num_rows(), expected.len());
        prop_assert_eq!(sums(&rows(&[combined]), width), expected.clone());

        let folded = combine(&spec, &sorted, true, chunk);
        prop_assert_eq!(&folded, &in_order(&spec, std::slice::from_ref(&folded)), "order is kept");
        prop_assert_eq!(&folded, &combine(&spec, &folded, true, chunk), "folded once and for all");
        let found = rows(&[folded]);
        let totals = |rows: &[Row]| sums(&without_detail(rows), width);
        prop_assert_eq!(totals(&found), totals(&all));

        // By brute force: of each window and set of other keys the two largest.
        let mut groups: BTreeMap<Key, Vec<(i64, Key)>> = BTreeMap::new();
        for (key, sums) in &expected {
            if key.6.is_some() {
                let group = (key.0, key.1.clone(), key.2.clone(), key.3, key.4.clone(), None, None);
                groups.entry(group).or_default().push((-sums.0.unwrap_or(0), key.clone()));
            }
        }
        let found = sums(&found, width);
        for (group, mut candidates) in groups {
            candidates.sort();
            let other = (group.0, group.1, group.2, group.3, group.4, None, Some("other".into()));
            prop_assert_eq!(found.contains_key(&other), candidates.len() > 2);
            let kept = candidates.iter().filter(|(_, key)| found.contains_key(key)).count();
            prop_assert_eq!(kept, candidates.len().min(2));
            let least = candidates.get(1).map(|(size, _)| *size);
            for (size, key) in &candidates {
                if let Some(sums) = found.get(key) {
                    prop_assert!(least.is_none_or(|least| *size <= least), "a larger one was folded");
                    prop_assert_eq!(sums, &expected[key], "what is kept is whole");
                }
            }
        }
    }
}

#[test]
fn a_large_group_is_folded_within_bounds() {
    let spec = tier("t", Window::HOUR, Window::DAY);
    let many: Vec<_> = (0..60_000)
        .map(|n| Row {
            end: HOUR,
            workload: "w".into(),
            scope: Some("external".into()),
            address: Some(format!("{n:05}")),
            bytes: Some((n * 7919) % 60_000),
            ..Row::default()
        })
        .collect();
    let sorted =
        in_order(&spec, &roll_up(&spec, spec.rollup.as_ref().unwrap(), &[batch(&many)]).unwrap());
    let found = rows(&[combine(&spec, &sorted, true, 8192)]);
    let bytes: Vec<_> =
        found.iter().map(|r| (r.address.as_deref().unwrap().len(), r.bytes.unwrap())).collect();
    let total: i64 = (0..60_000).sum();
    assert_eq!(bytes.len(), 3);
    assert!(bytes.contains(&(5, 59_999)) && bytes.contains(&(5, 59_998)), "{bytes:?}");
    assert!(bytes.contains(&("other".len(), total - 59_999 - 59_998)), "{bytes:?}");
}

#[test]
fn a_sum_that_would_overflow_stays_in_parts() {
    let spec = tier("t", Window::HOUR, Window::DAY);
    let rollup = spec.rollup.as_ref().unwrap();
    let row = |bytes| Row { end: HOUR, workload: "w".into(), bytes: Some(bytes), ..Row::default() };
    let large = [row(i64::MAX), row(1)];
    let found = rows(&roll_up(&spec, rollup, &[batch(&large)]).unwrap());
    let total: i128 = found.iter().filter_map(|r| r.bytes).map(i128::from).sum();
    assert_eq!(total, i128::from(i64::MAX) + 1);
    assert_eq!(found.len(), 2);

    let wide = |offset| Row { histogram: Some((offset, vec![1])), ..row(1) };
    let found = roll_up(&spec, rollup, &[batch(&[wide(i32::MIN), wide(i32::MAX)])]).unwrap();
    assert_eq!(rows(&found).len(), 2, "no two billion buckets");
}

#[test]
fn a_specification_that_cannot_be_kept_is_refused() {
    let good = tier("t", Window::HOUR, Window::DAY);
    let check = |spec: &TableSpec| spec.rollup.as_ref().unwrap().check(spec, &source().schema);
    assert_eq!(check(&good), Ok(()));
    let unsorted = TableSpec { sort: &["workload", "end"], ..good.clone() };
    assert!(check(&unsorted).unwrap_err().contains("sorted"));
    let narrow = TableSpec { window: Window::FIVE_MINUTES, ..good.clone() };
    assert!(check(&narrow).unwrap_err().contains("width"));
    let last = TableSpec {
        sort: &["namespace", "workload", "asn", "port", "scope", "address", "end"],
        ..good.clone()
    };
    assert!(check(&last).unwrap_err().contains("come last"));
    let mut unknown = good;
    unknown.rollup.as_mut().unwrap().merge.retain(|(name, _)| *name != "buckets");
    assert!(check(&unknown).unwrap_err().contains("type"));
}

#[test]
fn a_coarser_tier_goes_on_from_a_finer_one() {
    use std::sync::Arc;

    use crate::memory::{Budget, Memtable};

    let frozen = |lsn, rows: &[Row]| {
        let mut memtable = Memtable::new(lsn, None);
        memtable.push(lsn, vec![batch(rows)], Budget::new(0).force(0));
        Arc::new(memtable)
    };
    let five = Arc::new(tier("five", Window::FIVE_MINUTES, Window::DAY));
    let hour = Arc::new(tier("hour", Window::HOUR, Window::DAY));
    let row = |end, scope: &str| Row {
        end,
        workload: "w".into(),
        scope: Some(scope.into()),
        address: Some("::1".into()),
        bytes: Some(1),
        ..Row::default()
    };
    let many: Vec<_> =
        (1..40).map(|n| row(n * 100 * SECOND, ["external", "cluster"][n as usize % 2])).collect();
    let memtables = [frozen(1, &many[..20]), frozen(2, &many[20..])];
    let mut cascade = cascade::Cascade::default();
    let mut sum = |spec: &Arc<TableSpec>, frozen: &[Arc<Memtable>]| {
        rows(&cascade.roll_up(spec, spec.rollup.as_ref().unwrap(), frozen).unwrap())
    };
    let direct = |width| sums(&many, width);
    assert_eq!(sums(&sum(&five, &memtables), Window::FIVE_MINUTES), direct(Window::FIVE_MINUTES));
    assert_eq!(sums(&sum(&hour, &memtables), Window::HOUR), direct(Window::HOUR));
    assert_eq!(sums(&sum(&five, &memtables), Window::FIVE_MINUTES), direct(Window::FIVE_MINUTES));
    // A tier that still had older rows to write.
    let other = sum(&hour, &memtables[..1]);
    assert_eq!(sums(&other, Window::HOUR), sums(&many[..20], Window::HOUR));
}
