//! Merging real files.

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int64Array, TimestampMicrosecondArray, UInt32Array,
};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::disk::objects::DiskStore;
use crate::disk::real::RealDisk;
use crate::hidden::Hidden;
use crate::matcher::{MatchOp, Matcher};
use crate::window::Window;

type Key = (Option<String>, i64, i64);

fn spec() -> TableSpec {
    let label = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    TableSpec {
        name: "t",
        schema: Arc::new(Schema::new(vec![
            Field::new("end", time, false),
            Field::new("workload", label, true),
            Field::new("n", DataType::Int64, false),
        ])),
        time: "end",
        window: Window::TWO_HOURS,
        workload: &["workload"],
        sort: &["workload", "end"],
        rollup: None,
        series: false,
    }
}

fn batch(rows: &[Key]) -> RecordBatch {
    let labels: DictionaryArray<Int32Type> = rows.iter().map(|r| r.0.as_deref()).collect();
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.1));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times.with_timezone("UTC")),
        Arc::new(labels),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2))),
    ];
    RecordBatch::try_new(spec().schema, columns).unwrap()
}

struct Files {
    dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Files {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { dir: tempfile::tempdir().unwrap(), runtime }
    }

    fn write(&self, name: &str, spec: &TableSpec, batch: &RecordBatch) -> Arc<DataFile> {
        let path = self.dir.path().join(name);
        let mut writer = FileWriter::create(&RealDisk, &path, spec, Effort::Flush).unwrap();
        writer.write(batch).unwrap();
        let (size, stats) = writer.finish().unwrap();
        Arc::new(DataFile {
            rows: stats.rows,
            min_time: stats.min_time,
            max_time: stats.max_time,
            ..DataFile::unknown(name.into(), size)
        })
    }

    fn merge(
        &self,
        spec: &TableSpec,
        files: &[Arc<DataFile>],
        combine: bool,
    ) -> Result<(Merged, RecordBatch), MergeError> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let store: Arc<dyn ObjectStore> =
            Arc::new(DiskStore::read_only(disk, self.dir.path().to_owned()));
        let path = self.dir.path().join(format!("out-{}", uuid::Uuid::new_v4()));
        // The runtime of one thread is driven by this one.
        let merged = std::thread::scope(|scope| {
            let (done, ended) = tokio::sync::oneshot::channel();
            let job = scope.spawn(|| {
                let setting = Setting {
                    effort: Effort::Merge,
                    runtime: self.runtime.handle(),
                    disk: &RealDisk,
                    store: &store,
                    spec,
                    combine: combine.then(|| Box::new(Sum::default()) as Box<dyn Combine>),
                    throttle: &mut Throttle::new(None),
                    stop: &AtomicBool::new(false),
                };
                let merged = merge(setting, files, &path);
                let _ = done.send(());
                merged
            });
            let _ = self.runtime.block_on(ended);
            job.join().unwrap()
        })?;
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).unwrap()).unwrap();
        assert_eq!(merged.size, std::fs::metadata(&path).unwrap().len());
        let schema = reader.schema().clone();
        let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
        Ok((merged, arrow::compute::concat_batches(&schema, &batches).unwrap()))
    }
}

fn rows(batch: &RecordBatch) -> Vec<Key> {
    let times = batch.column_by_name("end").unwrap().as_primitive::<TimestampMicrosecondType>();
    let labels = batch.column_by_name("workload").unwrap().as_string::<i32>();
    let n = batch.column_by_name("n").unwrap().as_primitive::<Int64Type>();
    (0..batch.num_rows())
        .map(|i| {
            (labels.is_valid(i).then(|| labels.value(i).to_owned()), times.value(i), n.value(i))
        })
        .collect()
}

fn sorted(mut rows: Vec<Key>) -> Vec<Key> {
    rows.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    rows
}

/// Rows of random keys, few enough that many are equal; some in long runs, some one by one.
fn random(random: &mut SmallRng, count: usize, first: i64) -> Vec<Key> {
    let names = random.random_range(1..300);
    let times = random.random_range(1..2000);
    sorted(
        (first..first + i64::try_from(count).unwrap())
            .map(|n| {
                let name = random.random_range(0..=names);
                let label = (name > 0).then(|| "x".repeat(name % 3) + &name.to_string());
                (label, random.random_range(0..times), n)
            })
            .collect(),
    )
}

#[test]
fn a_merge_is_a_stable_sort_of_all_rows() {
    let files = Files::new();
    for seed in 0..25 {
        let mut dice = SmallRng::seed_from_u64(seed);
        let (mut all, mut inputs) = (Vec::new(), Vec::new());
        for index in 0..dice.random_range(1..17) {
            // Some of several batches.
            let count = dice.random_range(1..if seed % 5 == 0 { 13_000 } else { 300 });
            let part = random(&mut dice, count, i64::try_from(all.len()).unwrap());
            inputs.push(files.write(&format!("{seed}-{index}"), &spec(), &batch(&part)));
            all.extend(part);
        }
        let (merged, found) = files.merge(&spec(), &inputs, false).unwrap();
        assert_eq!(merged.stats.rows, u64::try_from(all.len()).unwrap());
        assert_eq!((merged.dropped, merged.combined), (0, 0));
        assert!(rows(&found) == sorted(all), "seed {seed}");
    }
}

#[test]
fn hidden_rows_are_dropped_and_counted() {
    let files = Files::new();
    let mut dice = SmallRng::seed_from_u64(1);
    let mut all = random(&mut dice, 9000, 0);
    let mut file = files.write("a", &spec(), &batch(&all)).as_ref().clone();
    let name = all.iter().find_map(|row| row.0.clone()).unwrap();
    file.hidden = Arc::new([Arc::new(Hidden {
        matchers: Arc::new([Matcher::new("workload", MatchOp::Equal, name.as_str()).unwrap()]),
        unless: Arc::default(),
        after: -1,
        until: i64::MAX,
    })]);
    let other = random(&mut dice, 100, 9000);
    let inputs = [Arc::new(file.clone()), files.write("b", &spec(), &batch(&other))];
    let (merged, found) = files.merge(&spec(), &inputs, false).unwrap();
    all.retain(|row| row.0.as_deref() != Some(name.as_str()));
    assert_eq!(merged.dropped, 9000 - u64::try_from(all.len()).unwrap());
    all.extend(other);
    assert!(rows(&found) == sorted(all));
    file.hidden = Arc::new([Arc::new(Hidden {
        matchers: Arc::default(),
        unless: Arc::default(),
        after: -1,
        until: i64::MAX,
    })]);
    let (merged, found) = files.merge(&spec(), &[Arc::new(file)], false).unwrap();
    assert_eq!((merged.dropped, merged.stats.rows, found.num_rows()), (9000, 0, 0));
}

/// Sums `n` over rows of equal label and time.
#[derive(Default)]
struct Sum(Option<RecordBatch>);

impl Combine for Sum {
    fn push(&mut self, rows: &RecordBatch) -> Result<Vec<RecordBatch>, ArrowError> {
        let rows = &match self.0.take() {
            Some(held) => arrow::compute::concat_batches(&rows.schema(), [&held, rows])?,
            None => rows.clone(),
        };
        let label = arrow::compute::cast(rows.column(1), &DataType::Utf8)?;
        let label = label.as_string::<i32>();
        let time = rows.column(0).as_primitive::<TimestampMicrosecondType>();
        let n = rows.column(2).as_primitive::<Int64Type>();
        let (mut first, mut sums): (Vec<u32>, Vec<i64>) = (vec![], vec![]);
        for i in 0..rows.num_rows() {
            let key = |i: usize| (label.is_valid(i).then(|| label.value(i)), time.value(i));
            if i > 0 && key(i) == key(i - 1) {
                *sums.last_mut().unwrap() += n.value(i);
            } else {
                first.push(u32::try_from(i).unwrap());
                sums.push(n.value(i));
            }
        }
        let kept = arrow::compute::take_record_batch(rows, &UInt32Array::from(first))?;
        let n = Arc::new(Int64Array::from(sums));
        let columns: Vec<ArrayRef> = vec![kept.column(0).clone(), kept.column(1).clone(), n];
        let sums = RecordBatch::try_new(rows.schema(), columns)?;
        let last = sums.num_rows() - 1;
        self.0 = Some(sums.slice(last, 1));
        Ok(vec![sums.slice(0, last)])
    }

    fn finish(&mut self) -> Result<Vec<RecordBatch>, ArrowError> {
        Ok(self.0.take().into_iter().collect())
    }
}

#[test]
fn equal_rows_are_combined_over_batches_and_files() {
    let files = Files::new();
    let mut dice = SmallRng::seed_from_u64(2);
    let mut sums = std::collections::BTreeMap::new();
    let inputs: Vec<_> = (0..7)
        .map(|index| {
            // Every file has more than two chunks of the first key: the row that is held goes on.
            let mut part = vec![(None, 0, 1); 20_000];
            part.extend(random(&mut dice, 5000, 0));
            let part = sorted(part);
            for (label, time, n) in &part {
                *sums.entry((label.clone(), *time)).or_insert(0) += n;
            }
            files.write(&format!("{index}"), &spec(), &batch(&part))
        })
        .collect();
    let (merged, found) = files.merge(&spec(), &inputs, true).unwrap();
    let wanted: Vec<Key> = sums.into_iter().map(|((label, time), n)| (label, time, n)).collect();
    assert!(rows(&found) == wanted);
    assert_eq!(merged.combined, 7 * 25_000 - u64::try_from(wanted.len()).unwrap());
}

#[test]
fn what_is_not_as_it_should_be_is_named() {
    let files = Files::new();
    let good = files.write("good", &spec(), &batch(&[(None, 1, 1), (Some("a".into()), 1, 2)]));
    let merge = |bad: &Arc<DataFile>| {
        let error = files.merge(&spec(), &[good.clone(), bad.clone()], false).unwrap_err();
        assert_eq!(error.culprit(), Some(&bad.path), "{error}");
        assert!(error.to_string().contains(bad.path.as_ref()), "{error}");
        error
    };
    let mut wrong: Vec<Key> = (0..9000).map(|n| (Some("a".into()), n, n)).collect();
    wrong.swap(5000, 5001);
    let disorder = merge(&files.write("disorder", &spec(), &batch(&wrong)));
    assert!(matches!(disorder, MergeError::Disorder { row: 5001, .. }), "{disorder}");
    wrong.swap(5000, 5001);
    // The first row of a batch before the last one of the batch before.
    wrong.swap(4095, 4096);
    let disorder = merge(&files.write("border", &spec(), &batch(&wrong)));
    assert!(matches!(disorder, MergeError::Disorder { row: 4096, .. }), "{disorder}");

    let listed = DataFile { rows: 3, path: "good".into(), ..good.as_ref().clone() };
    std::fs::copy(files.dir.path().join("good"), files.dir.path().join("short")).unwrap();
    let short = merge(&Arc::new(DataFile { path: "short".into(), ..listed }));
    assert!(matches!(short, MergeError::Rows { found: 2, listed: 3, .. }), "{short}");

    let gone = merge(&Arc::new(DataFile { path: "gone".into(), ..good.as_ref().clone() }));
    assert!(matches!(gone, MergeError::Read { .. }), "{gone}");

    let torn = files.write("torn", &spec(), &batch(&[(None, 1, 1)]));
    let mut bytes = std::fs::read(files.dir.path().join("torn")).unwrap();
    bytes.truncate(bytes.len() - 9);
    std::fs::write(files.dir.path().join("torn"), bytes).unwrap();
    merge(&torn);

    let mut wider = spec();
    let mut fields: Vec<Field> = wider.schema.fields().iter().map(|f| f.as_ref().clone()).collect();
    fields.push(Field::new("future", DataType::Int64, true));
    wider.schema = Arc::new(Schema::new(fields));
    let row = batch(&[(None, 1, 1)]);
    let mut columns = row.columns().to_vec();
    columns.push(Arc::new(Int64Array::from(vec![7])));
    let row = RecordBatch::try_new(wider.schema.clone(), columns).unwrap();
    let newer = files.write("newer", &wider, &row);
    let unknown = merge(&newer);
    assert!(unknown.to_string().contains("`future`"), "{unknown}");

    // The other way round it is a column that old files do not have.
    let (_, found) = files.merge(&wider, &[good, newer], false).unwrap();
    let future = found.column_by_name("future").unwrap().as_primitive::<Int64Type>();
    assert_eq!(future.iter().collect::<Vec<_>>(), [None, Some(7), None]);
}

#[test]
fn a_required_column_may_be_younger_than_a_file() {
    let files = Files::new();
    let old = files.write("old", &spec(), &batch(&[(None, 1, 1)]));
    let mut wider = spec();
    let mut fields: Vec<Field> = wider.schema.fields().iter().map(|f| f.as_ref().clone()).collect();
    fields.push(Field::new("required", DataType::Int64, false));
    wider.schema = Arc::new(Schema::new(fields));
    let (merged, found) = files.merge(&wider, &[old], false).unwrap();
    assert_eq!(merged.stats.rows, 1);
    assert_eq!(found.column_by_name("required").unwrap().null_count(), 1);
}
