//! One seed's history.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use object_store::ObjectStoreExt;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::model::{Model, Seen};
use super::rows::{self, Row, TABLES, TIER};
use crate::delta::log::CHECKPOINT_EVERY;
use crate::disk::simulated::{Crash, Kind, Machine, Sabotage};
use crate::entry::{Appended, Entry, Source};
use crate::error::ErrorKind;
use crate::options::Options;
use crate::retention::Retention;
use crate::snapshot::Snapshot;
use crate::store::Store;

/// 2020-09-13T12:00:00Z, in microseconds.
const START: i64 = 1_599_998_400_000_000;
const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;
/// Where the clock stops: senders that were silent for a month are forgotten.
const END: i64 = START + 480 * HOUR;
const DATA: &str = "/srv/data";

/// Whether operations come one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Alone,
    Together,
}

/// What a run was about.
#[derive(Debug, Default, Clone)]
pub(super) struct Outcome {
    pub(super) crashes: u64,
    pub(super) acknowledged: u64,
    pub(super) refused: u64,
    pub(super) flushes: u64,
    pub(super) compactions: u64,
    pub(super) checks: u64,
    pub(super) operations: u64,
}

impl Outcome {
    pub(super) fn add(&mut self, other: &Self) {
        self.crashes += other.crashes;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.flushes += other.flushes;
        self.compactions += other.compactions;
        self.checks += other.checks;
        self.operations += other.operations;
    }
}

/// Something that must not be.
#[derive(Debug)]
pub(super) struct Failure {
    seed: u64,
    trace: Vec<String>,
    broken: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} fails: {}", self.seed, self.broken)?;
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        write!(f, "run it alone with WEIR_SIMULATION_SEED={}: {}", self.seed, self.broken)
    }
}

/// Runs one seed.
pub(super) fn run(
    seed: u64,
    mode: Mode,
    sabotage: Option<Sabotage>,
    verbose: bool,
) -> Result<(Outcome, Vec<String>), Failure> {
    let runtime = match mode {
        Mode::Alone => tokio::runtime::Builder::new_current_thread().enable_time().build(),
        Mode::Together => {
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build()
        }
    }
    .unwrap();
    let mut run = Run::new(seed, mode, sabotage);
    if verbose {
        run.machine.trace_operations();
    }
    let done = runtime.block_on(run.history());
    let outcome = Outcome { operations: run.machine.operations(), ..run.outcome.clone() };
    let trace = run.machine.take_trace();
    drop(run);
    runtime.shutdown_background();
    done.map(|()| (outcome, trace.clone())).map_err(|broken| Failure { seed, trace, broken })
}

/// A sender: one entry at a time, repeated until it is acknowledged.
#[derive(Debug)]
struct Sender {
    boot: u32,
    next: i64,
    /// Entry, boot and sequence of what was not acknowledged.
    pending: Option<(usize, u32, i64)>,
    last: Option<(usize, u32, i64)>,
}

/// A snapshot that someone keeps.
#[derive(Debug)]
struct Held {
    table: usize,
    snapshot: Snapshot,
    rows: BTreeMap<i64, usize>,
}

struct Run {
    machine: Machine,
    mode: Mode,
    random: SmallRng,
    options: Options,
    store: Option<Arc<Store>>,
    senders: Vec<Sender>,
    held: Vec<Held>,
    model: Model,
    /// The rows of files that were read, and a digest of the file.
    files: BTreeMap<PathBuf, (u32, Vec<RecordBatch>)>,
    /// Whether an error can be the disk's fault.
    troubled: bool,
    /// Whether the tier is there from the first restart on only, as with an older program before.
    lacks_tier: bool,
    /// Whether checkpoints of the tables' logs are to be made more often.
    hastens: bool,
    outcome: Outcome,
}

type Done = Result<(), String>;

impl Run {
    fn new(seed: u64, mode: Mode, sabotage: Option<Sabotage>) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let machine = Machine::new(random.random(), START);
        {
            use crate::disk::Disk;
            let disk = machine.start();
            disk.create_dir(Path::new("/srv")).unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
        }
        if let Some(sabotage) = sabotage {
            machine.sabotage(sabotage);
        }
        let retention = random.random_ratio(1, 3).then(|| Duration::from_secs(48 * 3600));
        let options = Options {
            retention: Retention::age(retention),
            removal_grace: Duration::from_secs(if random.random() { 0 } else { 60 }),
            clock: machine.clock(),
            ..Options::new(DATA, rows::specs())
        };
        let options = match mode {
            Mode::Alone => options,
            // Flushes come by themselves, too.
            Mode::Together => Options { memtable_bytes: 10_000, ..options },
        };
        let hastens = random.random();
        let lacks_tier = random.random_ratio(1, 6);
        let senders = (0..3).map(|_| Sender { boot: 0, next: 0, pending: None, last: None });
        Self {
            machine,
            mode,
            random,
            options,
            store: None,
            senders: senders.collect(),
            held: Vec::new(),
            model: Model { horizon: i64::MIN, ..Model::default() },
            files: BTreeMap::new(),
            troubled: false,
            lacks_tier,
            hastens,
            outcome: Outcome::default(),
        }
    }

    fn note(&self, text: impl FnOnce() -> String) {
        self.machine.note(text());
    }

    async fn history(&mut self) -> Done {
        let steps = self.random.random_range(6..20);
        self.start().await?;
        for _ in 0..steps {
            self.step().await?;
            if self.machine.has_crashed() {
                self.restart().await?;
            }
        }
        // Everything heals; what was acknowledged is there after one more end of each sort.
        self.heal();
        self.read_all(false).await?;
        if self.random.random() {
            let store = self.running();
            store.close().await.map_err(|e| format!("a healthy store does not close: {e}"))?;
        }
        let crash = self.draw_crash();
        self.machine.crash(crash);
        self.restart().await
    }

    fn running(&self) -> Arc<Store> {
        self.store.clone().unwrap()
    }

    fn heal(&mut self) {
        self.machine.heal();
        self.troubled = false;
    }

    async fn restart(&mut self) -> Done {
        self.outcome.crashes += 1;
        self.lacks_tier = false;
        self.held.clear();
        self.store = None;
        self.model.ended();
        self.machine.heal();
        self.start().await
    }

    /// Opens the store; recovery may crash, too.
    async fn start(&mut self) -> Done {
        for attempt in 0.. {
            let mut options = self.options.clone();
            options.tables.retain(|t| t.name != TIER || !self.lacks_tier);
            let disk = Arc::new(self.machine.start());
            self.troubled = false;
            if attempt < 3 && self.random.random_ratio(1, 4) {
                let (after, crash) = (self.random.random_range(0..150), self.draw_crash());
                self.note(|| format!("crash in {after} operations: {crash:?}"));
                self.machine.crash_after(after, crash);
                self.troubled = true;
            } else if attempt < 3 && self.random.random_ratio(1, 10) {
                self.draw_fault();
            }
            self.note(|| "open".into());
            self.expired();
            let opened = match self.mode {
                Mode::Alone => Store::open_quietly(options, disk).await,
                Mode::Together => Store::open_on(options, disk).await,
            };
            match opened {
                Ok(store) => {
                    self.store = Some(store);
                    break;
                }
                Err(e) if self.machine.has_crashed() => {
                    self.note(|| format!("crashed: {e}"));
                    self.outcome.crashes += 1;
                }
                Err(e) if self.troubled => {
                    self.note(|| format!("refused: {e}"));
                    self.machine.heal();
                    // The program gives up and is started again.
                    self.machine.crash(Crash::Program);
                }
                Err(e) => return Err(format!("the store does not open: {e}")),
            }
        }
        self.read_all(true).await?;
        self.hasten_checkpoints();
        if self.random.random_ratio(1, 3) {
            let (after, crash) = (self.random.random_range(0..200), self.draw_crash());
            self.note(|| format!("crash in {after} operations: {crash:?}"));
            self.machine.crash_after(after, crash);
            self.troubled = true;
        }
        Ok(())
    }

    /// Has the tables' logs checkpointed every few commits, from the next start on.
    fn hasten_checkpoints(&mut self) {
        if !std::mem::take(&mut self.hastens) {
            return;
        }
        let tier = (!self.lacks_tier).then_some(TIER);
        for table in TABLES.into_iter().chain(tier) {
            let first = format!("tables/{table}/_delta_log/{:020}.json", 0);
            self.machine.edit(&Path::new(DATA).join(first), |text| {
                let interval = |n| format!("\"delta.checkpointInterval\":\"{n}\"");
                let edited = text.replace(&interval(CHECKPOINT_EVERY), &interval(3));
                assert_ne!(edited, text, "the first commit says how often");
                edited
            });
        }
    }

    fn draw_crash(&mut self) -> Crash {
        if self.random.random_ratio(2, 3) { Crash::Power } else { Crash::Program }
    }

    fn draw_fault(&mut self) {
        let kinds = [Kind::Read, Kind::Write, Kind::Sync, Kind::Sync, Kind::Folder];
        let kind = kinds[self.random.random_range(0..kinds.len())];
        let first = self.random.random_range(0..20);
        let count = self.random.random_range(1..4);
        self.note(|| format!("{count} of {kind:?} fail after {first}"));
        self.machine.fail(kind, first, count);
        self.troubled = true;
    }

    async fn step(&mut self) -> Done {
        match self.random.random_range(0..100) {
            0..32 => self.append().await,
            32..45 => self.flush().await,
            45..57 => self.compact().await,
            57..61 => self.expire().await,
            61..68 => self.read_all(false).await,
            68..72 => self.hold(),
            72..76 => self.read_held().await,
            76..80 => {
                let hours = self.random.random_range(-30..60);
                let now = (self.machine.now() + hours * HOUR).clamp(START, END);
                self.note(|| format!("clock jumps {hours} hours"));
                self.set_clock(now);
                Ok(())
            }
            80..83 => {
                let room = self.random.random_range(0..6000);
                self.note(|| format!("disk is full but for {room} bytes"));
                self.machine.fill(room);
                self.troubled = true;
                Ok(())
            }
            83..88 => {
                self.draw_fault();
                Ok(())
            }
            88..91 => {
                self.note(|| "healed".into());
                self.heal();
                Ok(())
            }
            91..95 => {
                let crash = self.draw_crash();
                self.note(|| format!("{crash:?} dies"));
                self.machine.crash(crash);
                Ok(())
            }
            _ => {
                self.note(|| "close".into());
                let store = self.running();
                let closed = store.close().await;
                self.expect_trouble("close", closed)?;
                let crash = self.draw_crash();
                self.machine.crash(crash);
                Ok(())
            }
        }
    }

    /// An error of a store is fine while the disk gives it reason.
    fn expect_trouble<T>(&self, what: &str, done: Result<T, crate::Error>) -> Result<bool, String> {
        match done {
            Ok(_) => Ok(true),
            Err(e) if self.troubled || self.machine.has_crashed() => {
                self.note(|| format!("{what} fails: {e}"));
                if e.kind() == ErrorKind::Unavailable {
                    Ok(false)
                } else {
                    Err(format!("{what} fails with {:?}: {e}", e.kind()))
                }
            }
            Err(e) => Err(format!("{what} fails on a healthy disk: {e}")),
        }
    }

    fn draw_entry(&mut self, sender: usize) -> (usize, Option<Source>, Entry) {
        let state = &self.senders[sender];
        // Now and then an entry that is stored comes again.
        let again = state.pending.or(state.last.filter(|_| self.random.random_ratio(1, 6)));
        let (entry, boot, sequence) = again.unwrap_or_else(|| {
            let mut rows: [Vec<Row>; TABLES.len()] = Default::default();
            let number = i64::try_from(self.model.entries.len() + 1).unwrap();
            let late = self.random.random_ratio(1, 5);
            let tables = self.random.random_range(1..8);
            for (table, rows) in rows.iter_mut().enumerate() {
                if tables & (1 << table) == 0 {
                    continue;
                }
                for i in 0..self.random.random_range(1..6) {
                    let age =
                        if late { self.random.random_range(0..40 * HOUR) } else { i * SECOND };
                    let time = self.machine.now() - age;
                    rows.push(Row { n: number * 8 + i, time });
                }
            }
            let entry = self.model.send(rows);
            let state = &mut self.senders[sender];
            state.next += 1;
            (entry, state.boot, state.next)
        });
        self.senders[sender].pending = Some((entry, boot, sequence));
        let source = Source { agent: format!("agent{sender}"), boot: format!("{boot}"), sequence };
        let parts = TABLES
            .iter()
            .zip(&self.model.entries[entry].rows)
            .filter(|(_, rows)| !rows.is_empty())
            .map(|(table, rows)| rows::part(table, rows))
            .collect();
        (entry, Some(source.clone()), Entry { source: Some(source), parts })
    }

    fn answered(
        &mut self,
        sender: usize,
        entry: usize,
        answer: Result<Appended, crate::Error>,
    ) -> Done {
        self.note(|| format!("append entry {entry} of agent{sender}: {answer:?}"));
        if self.machine.has_crashed() && answer.is_err() {
            // Nobody heard the answer.
            self.model.unanswered(entry);
            return Ok(());
        }
        match answer {
            Ok(appended) => {
                self.outcome.acknowledged += 1;
                let state = &mut self.senders[sender];
                state.last = state.pending.take();
                self.model.acknowledged(entry, appended == Appended::Repeated)
            }
            Err(e) => {
                self.outcome.refused += 1;
                self.model.refused(entry);
                if self.random.random_ratio(1, 6) {
                    // The sender dies, and its entry with it.
                    let state = &mut self.senders[sender];
                    (state.boot, state.next, state.pending) = (state.boot + 1, 0, None);
                }
                // Memory may be full, and for a moment even after the disk was healed: until the
                // store's own next flush.
                let full =
                    e.kind() == ErrorKind::Busy || e.to_string().starts_with("memory is full");
                if self.mode == Mode::Together && full {
                    return Ok(());
                }
                self.expect_trouble("append", Err::<(), _>(e)).map(|_| ())
            }
        }
    }

    async fn append(&mut self) -> Done {
        let store = self.running();
        let count = if self.mode == Mode::Together { self.senders.len() } else { 1 };
        let first = self.random.random_range(0..self.senders.len());
        let mut under_way = Vec::new();
        for i in 0..count {
            let sender = (first + i) % self.senders.len();
            let (entry, _, message) = self.draw_entry(sender);
            let store = store.clone();
            let task = tokio::spawn(async move { store.append(message).await });
            under_way.push((sender, entry, task));
        }
        let flush = (count > 1 && self.random.random()).then(|| {
            let store = store.clone();
            tokio::spawn(async move { store.flush().await })
        });
        let compaction = (count > 1 && self.random.random()).then(|| {
            let store = store.clone();
            tokio::spawn(async move { store.compact().await })
        });
        if self.mode == Mode::Together {
            for _ in 0..3 {
                tokio::task::yield_now().await;
                self.read_meanwhile()?;
            }
        }
        for (sender, entry, task) in under_way {
            let answer = task.await.map_err(|e| e.to_string())?;
            self.answered(sender, entry, answer)?;
        }
        if let Some(flush) = flush {
            let flushed = flush.await.map_err(|e| e.to_string())?;
            self.expect_trouble("flush", flushed)?;
        }
        if let Some(compaction) = compaction {
            let compacted = compaction.await.map_err(|e| e.to_string())?;
            self.expect_trouble("compact", compacted)?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Done {
        self.note(|| "flush".into());
        let flushed = self.running().flush().await;
        if self.expect_trouble("flush", flushed)? {
            self.outcome.flushes += 1;
        }
        Ok(())
    }

    async fn compact(&mut self) -> Done {
        if self.random.random() {
            // Something to put together.
            self.append().await?;
            self.flush().await?;
            if self.machine.has_crashed() {
                return Ok(());
            }
        }
        if self.random.random_ratio(3, 4) {
            // Rows settle: files of a window are put together.
            let hours = self.random.random_range(3..30);
            self.set_clock((self.machine.now() + hours * HOUR).min(END));
        }
        self.note(|| "compact".into());
        let store = self.running();
        let before = store.stats().compaction.jobs;
        let compacted = store.compact().await;
        self.outcome.compactions += store.stats().compaction.jobs - before;
        self.expect_trouble("compact", compacted).map(|_| ())
    }

    async fn expire(&mut self) -> Done {
        self.note(|| "expire".into());
        let expired = self.running().expire().await;
        self.expired();
        self.expect_trouble("expire", expired).map(|_| ())
    }

    fn set_clock(&mut self, now: i64) {
        self.machine.set_clock(now);
        if self.mode == Mode::Together {
            // The store lets go of rows by itself, too: soon after a start, for one.
            self.expired();
        }
    }

    /// From now on rows beyond retention may be gone.
    fn expired(&mut self) {
        if let Some(keep) = self.options.retention.default {
            let keep = i64::try_from(keep.as_micros()).unwrap();
            self.model.horizon = self.model.horizon.max(self.machine.now() - keep);
        }
    }

    fn snapshot(&self, table: &str) -> Result<Snapshot, String> {
        self.running().snapshot(table).map_err(|e| e.to_string())
    }

    /// The rows of a snapshot, batch by batch.
    fn batches(&mut self, snapshot: &Snapshot) -> Result<Vec<RecordBatch>, String> {
        let mut batches = Vec::new();
        for file in snapshot.files.iter() {
            let path = Path::new(DATA).join("tables").join(file.path.as_ref());
            let bytes = self.machine.peek(&path);
            let bytes = bytes.map_err(|e| format!("{} is listed, and: {e}", path.display()))?;
            let digest = crc32fast::hash(&bytes);
            if self.files.get(&path).is_none_or(|(known, _)| *known != digest) {
                let rows = rows::rows_of_file(bytes)
                    .map_err(|e| format!("{} is listed, and: {e}", path.display()))?;
                self.files.insert(path.clone(), (digest, rows));
            }
            batches.extend_from_slice(&self.files[&path].1);
        }
        batches.extend_from_slice(snapshot.memory.batches().map_err(|e| e.to_string())?);
        Ok(batches)
    }

    /// How often each number is in a snapshot.
    fn rows(&mut self, snapshot: &Snapshot) -> Result<BTreeMap<i64, usize>, String> {
        let mut seen = BTreeMap::new();
        for n in self.batches(snapshot)?.iter().flat_map(rows::numbers) {
            *seen.entry(n).or_default() += 1;
        }
        Ok(seen)
    }

    /// Compares everything that is there with the model; after a start also what is on disk.
    async fn read_all(&mut self, started: bool) -> Done {
        self.outcome.checks += 1;
        let mut seen = Seen::default();
        let mut sums = BTreeMap::new();
        let mut listed = BTreeSet::new();
        let tier = (!self.lacks_tier).then_some(TIER);
        let mut complete_after = i64::MIN;
        for (table, name) in TABLES.into_iter().chain(tier).enumerate() {
            let snapshot = self.snapshot(name)?;
            match seen.get_mut(table) {
                Some(seen) => *seen = self.rows(&snapshot)?,
                None => {
                    let batches = self.batches(&snapshot)?;
                    batches.iter().for_each(|batch| rows::add_cells(batch, &mut sums));
                    complete_after = snapshot.complete_after;
                }
            }
            let tables = Path::new(DATA).join("tables");
            listed.extend(snapshot.files.iter().map(|f| tables.join(f.path.as_ref())));
            if let Some(file) = snapshot.files.first().filter(|_| !started && !self.troubled) {
                let read = snapshot.object_store.get(&file.path).await;
                let read = read.map_err(|e| format!("{} does not read: {e}", file.path))?;
                if read.meta.size != file.size {
                    return Err(format!("{} has another size than its commit says", file.path));
                }
            }
        }
        self.note(|| format!("read: {} and {} rows", seen[0].len(), seen[1].len()));
        self.model.check(&seen)?;
        if tier.is_some() {
            self.model.check_tier(&sums, complete_after)?;
        }
        if started && self.mode == Mode::Alone {
            let on_disk: BTreeSet<PathBuf> = self
                .machine
                .peek_files(&Path::new(DATA).join("tables"))
                .into_iter()
                .filter(|p| p.components().any(|c| c.as_os_str().to_string_lossy().contains('=')))
                .collect();
            if let Some(orphan) = on_disk.difference(&listed).next() {
                return Err(format!("{} is named by no commit", orphan.display()));
            }
            if let Some(left) = self.machine.peek_files(&Path::new(DATA).join("tmp")).first() {
                return Err(format!("{} is left over", left.display()));
            }
        }
        Ok(())
    }

    /// While others are at work: what was there before is there, once.
    fn read_meanwhile(&mut self) -> Done {
        let mut seen = Seen::default();
        for (seen, table) in seen.iter_mut().zip(TABLES) {
            let snapshot = self.snapshot(table)?;
            *seen = self.rows(&snapshot)?;
        }
        self.model.check_known(&seen)
    }

    fn hold(&mut self) -> Done {
        let table = self.random.random_range(0..TABLES.len());
        self.note(|| format!("hold a snapshot of {}", TABLES[table]));
        let snapshot = self.snapshot(TABLES[table])?;
        let rows = self.rows(&snapshot)?;
        self.held.push(Held { table, snapshot, rows });
        Ok(())
    }

    async fn read_held(&mut self) -> Done {
        for held in std::mem::take(&mut self.held) {
            if self.rows(&held.snapshot)? != held.rows {
                return Err(format!("a held snapshot of `{}` changed", TABLES[held.table]));
            }
            if self.random.random() {
                self.held.push(held);
            }
        }
        Ok(())
    }
}
