//! A table of series: points in memory, in files, through compaction, deletion and crashes.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::delete::Deletion;
use crate::index::LabelIndex;
use crate::inspect::{Depth, inspect};
use crate::matcher::{MatchOp, Matcher};
use crate::retention::RetentionRule;
use crate::series::{self, HiddenPoints, PointsBuilder, STALE, chunk, labels, prefer};

mod size;

/// Bits of the value at each time, by the series' text.
type Samples = BTreeMap<String, BTreeMap<i64, u64>>;

const START: i64 = MIDNIGHT / 1000;

fn tables() -> Vec<TableSpec> {
    vec![series::table("samples", Window::TWO_HOURS), spec("flows")]
}

fn options(dir: &Path) -> Options {
    Options { tables: tables(), ..super::options(dir) }
}

async fn open(dir: &Path) -> Arc<Store> {
    open_when_free(options(dir)).await
}

fn canonical(name: &str, instance: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let pairs = [("__name__", name), ("instance", instance), ("job", "node")];
    labels::write_canonical(pairs, &mut out).unwrap();
    out
}

fn text(name: &str, instance: &str) -> String {
    format!("{name}{{instance=\"{instance}\",job=\"node\"}}")
}

fn entry_of(points: PointsBuilder) -> Entry {
    Entry { source: None, parts: vec![part("samples", points.finish().unwrap())] }
}

/// One point for each of (name, instance, milliseconds after the start, value).
async fn append(store: &Store, samples: &[(&str, &str, i64, f64)]) {
    let mut points = PointsBuilder::new();
    for (name, instance, time, value) in samples {
        points.series(&canonical(name, instance));
        points.point(START + time, *value);
    }
    store.append(entry_of(points)).await.unwrap();
}

fn add(to: &mut Samples, series: String, times: &[i64], values: &[f64]) {
    let series = to.entry(series).or_default();
    for (time, value) in times.iter().zip(values) {
        let kept =
            series.get(&(time - START)).map_or(*value, |v| prefer(f64::from_bits(*v), *value));
        series.insert(time - START, kept.to_bits());
    }
}

/// What a query sees: chunks of files, and points in memory.
fn seen(store: &Store) -> Samples {
    let snapshot = store.snapshot("samples").unwrap();
    let mut samples = Samples::new();
    for file in snapshot.files.iter() {
        for batch in read_file(store, file.path.as_ref()) {
            let batch = crate::conform::conform(&snapshot.spec, &batch).unwrap();
            let hidden = HiddenPoints::of(&file.hidden, &batch).unwrap();
            let rows = series::ChunkRows::of(&batch).unwrap();
            for row in 0..batch.num_rows() {
                let (mut times, mut values) = (Vec::new(), Vec::new());
                chunk::decode_times(rows.times(row), rows.count(row), &mut times).unwrap();
                chunk::decode_values(rows.values(row), rows.count(row), &mut values).unwrap();
                let range = (times[0] * 1000, times.last().unwrap() * 1000);
                assert_eq!(range, rows.range(row));
                assert!(file.min_time <= range.0 && range.1 <= file.max_time);
                if let Some(hidden) = &hidden {
                    hidden.remove(row, &mut times, &mut values);
                }
                add(
                    &mut samples,
                    format!("{}{}", rows.name(row), rows.labels(row)),
                    &times,
                    &values,
                );
            }
        }
    }
    for series in snapshot.series_in_memory(0..=i64::MAX, &mut |_| true) {
        let mut text = labels::metric_name(&series.labels).to_owned();
        labels::write_text(&series.labels, &mut text);
        add(&mut samples, text, &series.times, &series.values);
    }
    samples.retain(|_, points| !points.is_empty());
    samples
}

fn times(samples: &Samples, series: &str) -> Vec<i64> {
    samples.get(series).map(|points| points.keys().copied().collect()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn points_are_seen_in_memory_in_files_and_after_a_replay() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    append(&store, &[("up", "a", 0, 1.0), ("up", "b", 0, 0.0), ("load", "a", 0, 0.25)]).await;
    append(&store, &[("up", "a", 15_000, 1.0), ("up", "a", 5000, f64::NAN)]).await;
    let wanted = seen(&store);
    assert_eq!(times(&wanted, &text("up", "a")), [0, 5000, 15_000]);
    assert_eq!(wanted[&text("load", "a")], [(0, 0.25f64.to_bits())].into());
    let snapshot = store.snapshot("samples").unwrap();
    let mut asked = 0;
    let found = snapshot.series_in_memory(START + 1..=START + 5000, &mut |canonical| {
        asked += 1;
        labels::value(canonical, "instance") == "a"
    });
    assert_eq!(asked, 3, "once for each series");
    let [found] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((&found.labels, &found.times[..]), (&canonical("up", "a"), &[START + 5000][..]));
    assert_eq!(store.stats().memory_rows, 5);
    let rows: usize = snapshot.memory.batches().unwrap().iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, 3, "and as chunks, for whoever wants those");

    drop((snapshot, store));
    let store = open(dir.path()).await;
    assert_eq!(seen(&store), wanted, "the log has them");
    let held = store.snapshot("samples").unwrap();
    store.flush().await.unwrap();
    assert_eq!(seen(&store), wanted);
    assert_eq!(store.snapshot("samples").unwrap().files.iter().map(|f| f.rows).sum::<u64>(), 3);
    assert_eq!(held.series_in_memory(0..=i64::MAX, &mut |_| true).len(), 3, "readers keep theirs");
    drop(held);
    assert_eq!(store.stats().memory_bytes, 0, "all memory is given back, that of labels too");
    append(&store, &[("up", "a", 30_000, 1.0)]).await;
    assert_eq!(times(&seen(&store), &text("up", "a")), [0, 5000, 15_000, 30_000]);
    store.close().await.unwrap();
    drop(store);
    let store = open(dir.path()).await;
    assert_eq!(times(&seen(&store), &text("up", "a")), [0, 5000, 15_000, 30_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_values_for_one_time_the_same_one_stays_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let stale = f64::from_bits(STALE);
    for (round, value) in [stale, 2.0, 1.0, stale].into_iter().cycle().take(8).enumerate() {
        append(&store, &[("up", "a", 0, value), ("up", "b", 0, stale)]).await;
        let wanted = if round == 0 { STALE } else { 2.0f64.to_bits() };
        assert_eq!(seen(&store)[&text("up", "a")][&0], wanted);
        store.flush().await.unwrap();
    }
    append(&store, &[("up", "a", 0, 2.0), ("up", "a", 0, 1.5)]).await;
    let wanted = seen(&store);
    assert_eq!(wanted[&text("up", "a")], [(0, 2.0f64.to_bits())].into());
    assert_eq!(wanted[&text("up", "b")], [(0, STALE)].into());
    store.flush().await.unwrap();
    store.compact().await.unwrap();
    assert_eq!(seen(&store), wanted);
    let files = store.snapshot("samples").unwrap().files.clone();
    assert_eq!((files.len(), files[0].rows), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_makes_one_chunk_of_many() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for round in 0..12i64 {
        for step in 0..20 {
            let time = (round * 20 + step) * 15_000;
            let value = (time / 1000) as f64;
            append(
                &store,
                &[
                    ("up", "a", time, 1.0),
                    ("cpu", "a", time, value),
                    ("cpu", "b", time, value / 100.0),
                ],
            )
            .await;
        }
        store.flush().await.unwrap();
    }
    let wanted = seen(&store);
    assert_eq!(wanted.values().map(BTreeMap::len).sum::<usize>(), 3 * 240);
    assert_eq!(store.snapshot("samples").unwrap().files.len(), 12);
    store.compact().await.unwrap();
    assert_eq!(seen(&store), wanted);
    let files = store.snapshot("samples").unwrap().files.clone();
    assert_eq!((files.len(), files[0].rows), (1, 3), "one chunk each");
    assert_eq!((files[0].min_time, files[0].max_time), (MIDNIGHT, MIDNIGHT + 239 * 15 * SECOND));

    // Damage is found, labels are counted by name.
    drop(store);
    let found = loop {
        match inspect(dir.path(), &tables(), Depth::Verify, &Clock::new(|| MIDNIGHT)).await {
            Err(e) if e.to_string().contains("in use") => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            other => break other.unwrap(),
        }
    };
    let damage: Vec<_> =
        found.damage.iter().filter(|d| !d.what.contains("no table names")).collect();
    assert!(damage.is_empty(), "{damage:?}");
    let report = found.tables.iter().find(|t| t.name == "samples").unwrap();
    let wanted = [("labels", 2), ("labels[\"instance\"]", 2), ("labels[\"job\"]", 1), ("name", 2)];
    let labels: Vec<_> = report.labels.iter().map(|(name, n)| (name.as_str(), n.values)).collect();
    assert_eq!(labels, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_series_are_in_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut points = PointsBuilder::new();
    for instance in 0..50 {
        for name in ["cpu", "load", "up"] {
            points.series(&canonical(name, &format!("host{instance}")));
            points.point(START, 1.0);
        }
    }
    let mut bare = Vec::new();
    labels::write_canonical([("__name__", "a"), ("zone", "z")], &mut bare).unwrap();
    points.series(&bare);
    points.point(START, 1.0);
    store.append(entry_of(points)).await.unwrap();
    store.flush().await.unwrap();
    let snapshot = store.snapshot("samples").unwrap();
    let file = &snapshot.files[0];
    let path = store.inner.dir.tables().join(file.path.as_ref());
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap());
    let footer = reader.unwrap().metadata().clone();
    let objects = snapshot.object_store.as_ref();
    let index = LabelIndex::open(objects, &file.path, file.size, &footer).await.unwrap().unwrap();
    let instance = series::column_of("instance");
    let columns = ["name", &instance, "labels[\"zone\"]"];
    let read = index.read(objects, &columns).await.unwrap();
    assert_eq!(read.len(), 3);
    let rows = read[1].1.rows_where(|value| value == Some("host7")).unwrap();
    assert_eq!(rows.len(), 3);
    let absent = read[1].1.rows_where(|value| value.is_none()).unwrap();
    assert_eq!(absent.iter().collect::<Vec<_>>(), [0], "the one without comes first");
    assert_eq!(read[2].1.rows_where(|value| value.is_none()).unwrap().len(), 150);
    assert!(!index.has("labels"), "label sets as a whole are not worth it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_cuts_chunks_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for step in 0..10 {
        let time = step * 1000;
        append(&store, &[("up", "a", time, 1.0), ("up", "b", time, 2.0), ("load", "a", time, 3.0)])
            .await;
    }
    let delete = |label: &str, value: &str, after: i64, until: i64| Deletion {
        tables: vec!["samples".into()],
        matchers: vec![
            Matcher::new(label, MatchOp::Equal, value).unwrap(),
            Matcher::new("__name__", MatchOp::Regex, "up").unwrap(),
        ],
        after: MIDNIGHT + after * SECOND,
        until: MIDNIGHT + until * SECOND,
    };
    let deleted = store.delete(delete("instance", "a", 2, 5)).await.unwrap();
    assert_eq!(deleted.files, 1);
    store.delete(delete("instance", "b", 7, 100)).await.unwrap();
    store.delete(delete("name", "up", -1, 100)).await.unwrap();
    let check = |samples: &Samples| {
        assert_eq!(times(samples, &text("up", "a")), [0, 1000, 2000, 6000, 7000, 8000, 9000]);
        assert_eq!(times(samples, &text("up", "b")).len(), 8);
        assert_eq!(times(samples, &text("load", "a")).len(), 10, "another name");
    };
    check(&seen(&store));
    drop(store);
    let store = open(dir.path()).await;
    check(&seen(&store));
    store.clean().await.unwrap();
    check(&seen(&store));
    let files = store.snapshot("samples").unwrap().files.clone();
    assert!(files.iter().all(|f| f.hidden.is_empty()), "the points are gone from disk");
    store.delete(delete("instance", "b", -1, 100)).await.unwrap();
    store.clean().await.unwrap();
    let left = seen(&store);
    assert_eq!(times(&left, &text("up", "b")), Vec::<i64>::new());
    assert_eq!(left.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_retention_lets_go_of_points_by_label() {
    let dir = tempfile::tempdir().unwrap();
    let rule = |table: Option<&str>| RetentionRule {
        matchers: vec![Matcher::new("instance", MatchOp::Equal, "a").unwrap()],
        keep: Some(Duration::from_secs(24 * 3600 - 4)),
        table: table.map(str::to_owned),
    };
    let with = |rules| Options {
        retention: Retention { rules, ..Retention::default() },
        ..options(dir.path())
    };
    let refused = Store::open(with(vec![rule(None)])).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid, "a rule for series names their table");
    let store = open_when_free(with(vec![rule(Some("samples"))])).await;
    let samples: Vec<_> =
        (0..10).flat_map(|n| [("up", "a", n * 1000, 1.0), ("up", "b", n * 1000, 1.0)]).collect();
    append(&store, &samples).await;
    let check = |store: &Store| {
        let seen = seen(store);
        assert_eq!(times(&seen, &text("up", "a")), [4000, 5000, 6000, 7000, 8000, 9000]);
        assert_eq!(times(&seen, &text("up", "b")).len(), 10);
    };
    // A clock ahead of the rows is believed once they span enough; these come with it.
    append(&store, &[("now", "c", 24 * 3_600_000, 0.0)]).await;
    store.expire().await.unwrap();
    check(&store);
    store.flush().await.unwrap();
    check(&store);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let small =
        Options { memtable_bytes: 5000, flush_interval: Duration::MAX, ..options(dir.path()) };
    let store = Store::open_quietly(small, Arc::new(RealDisk)).await.unwrap();
    let one = |labels: &[u8], time: i64| {
        let mut points = PointsBuilder::new();
        points.series(&canonical("up", "good"));
        points.point(START, 1.0);
        points.series(labels);
        points.point(time, 1.0);
        entry_of(points)
    };
    for bad in [one(b"\x01a", START), one(b"\x01a\x01b", -1)] {
        assert_eq!(store.append(bad).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    let mut batch = PointsBuilder::new().finish().unwrap();
    batch = RecordBatch::try_from_iter([("labels", batch.column(0).clone())]).unwrap();
    let entry = Entry { source: None, parts: vec![part("samples", batch)] };
    assert_eq!(store.append(entry).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert!(seen(&store).is_empty());
    // Labels take memory, too.
    let mut refused = None;
    for n in 0..200 {
        let series = canonical(&"x".repeat(100), &n.to_string());
        if let Err(e) = store.append(one(&series, START)).await {
            refused = Some(e.kind());
            break;
        }
    }
    assert_eq!(refused, Some(ErrorKind::Busy));
    store.flush().await.unwrap();
    assert_eq!(store.stats().memory_bytes, 0);
    store.append(one(&canonical("up", "b"), START)).await.unwrap();
}

/// Appends while flushes and compaction run; the store is dropped at a random moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_acknowledged_point_is_there_after_any_crash() {
    let dir = tempfile::tempdir().unwrap();
    let mut sure: BTreeMap<(String, i64), f64> = BTreeMap::new();
    let mut random = SmallRng::seed_from_u64(7);
    for round in 0..16i64 {
        let store = open_when_free(Options {
            memtable_bytes: random.random_range(5_000..40_000),
            flush_interval: Duration::from_millis(random.random_range(1..40)),
            compaction: true,
            ..options(dir.path())
        })
        .await;
        let there = seen(&store);
        for ((series, time), value) in &sure {
            assert_eq!(there[series].get(time), Some(&value.to_bits()), "round {round}");
        }
        let senders: Vec<_> = (0..3i64)
            .map(|sender| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut acknowledged = Vec::new();
                    for n in 0..300i64 {
                        let instance = format!("{sender}-{}", n % 7);
                        let time = (round * 300 + n) * 1000;
                        let mut points = PointsBuilder::new();
                        for name in ["up", "load"] {
                            points.series(&canonical(name, &instance));
                            points.point(START + time, n as f64);
                        }
                        match store.append(entry_of(points)).await {
                            Ok(_) => {
                                for name in ["up", "load"] {
                                    acknowledged.push(((text(name, &instance), time), n as f64));
                                }
                            }
                            Err(e) if e.kind() == ErrorKind::Busy => {
                                tokio::time::sleep(Duration::from_millis(1)).await;
                            }
                            Err(e) => {
                                assert_eq!(e.kind(), ErrorKind::Closed);
                                break;
                            }
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(random.random_range(1..80))).await;
        drop(store.running.lock().take());
        for sender in senders {
            sure.extend(sender.await.unwrap());
        }
    }
    assert!(sure.len() > 200, "{}", sure.len());
    let store = open(dir.path()).await;
    store.compact().await.unwrap();
    let there = seen(&store);
    for ((series, time), value) in &sure {
        assert_eq!(there[series].get(time), Some(&value.to_bits()));
    }
    assert!(store.stats().tables.iter().any(|(name, files, ..)| *name == "samples" && *files > 0));
}

/// Points that were numbered before a freeze and enter after it keep their series.
#[test]
fn points_that_a_freeze_overtakes_keep_their_series() {
    use crate::memory::Budget;
    use crate::series::Points;
    use crate::state::{Incoming, State, TableState};

    let budget = Budget::new(1 << 20);
    let spec = Arc::new(series::table("samples", Window::DAY));
    let mut state = State::default();
    state.tables.insert("samples", TableState::new(spec, Arc::default(), i64::MIN));
    let number = |state: &State, instance: &str, time: i64| {
        let registry = state.tables["samples"].registry().unwrap();
        let mut points = PointsBuilder::new();
        points.series(&canonical("up", instance));
        points.point(time, 1.0);
        let batch = points.finish().unwrap();
        let rows = Points::of(&batch).unwrap().intern(&registry, &budget, false).unwrap();
        let reserved = budget.reserve(crate::memory::size_of(&rows)).unwrap();
        Incoming { table: "samples", batches: vec![rows], registry: Some(registry), reserved }
    };
    let first = number(&state, "a", 1);
    let overtaken = number(&state, "b", 2);
    state.apply(1, vec![first]);
    assert!(state.freeze());
    let after = number(&state, "c", 3);
    state.apply(2, vec![after]);
    state.apply(3, vec![overtaken]);
    state.put_together();
    let runs = state.runs(&state.tables["samples"]);
    let found = series::read(&runs, &(0..=9), &[], &mut |_| true);
    let found: Vec<_> =
        found.iter().map(|s| (labels::value(&s.labels, "instance"), s.times.clone())).collect();
    assert_eq!(found, [("a", vec![1]), ("b", vec![2]), ("c", vec![3])]);

    state.freeze();
    let chunks = series::from_memory(Window::DAY, &state.runs(&state.tables["samples"])).unwrap();
    assert_eq!(chunks.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
}
