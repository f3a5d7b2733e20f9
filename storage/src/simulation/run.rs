//! One seed's history.

mod readers;
mod senders;
mod upkeep;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use self::readers::Held;
use self::senders::Sender;
use super::model::Model;
use super::rows::{self, TABLES, TIERS};
use crate::delta::log::CHECKPOINT_EVERY;
use crate::disk::simulated::{Crash, Kind, Machine, Sabotage};
use crate::error::ErrorKind;
use crate::options::Options;
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
    /// Deletions that were acknowledged and reached rows.
    pub(super) deletions: u64,
    /// Times that rows of tiers were seen folded.
    pub(super) folded: u64,
    /// Times that a table was seen divided into parts.
    pub(super) divided: u64,
    /// Times that files went because there were too many bytes.
    pub(super) exceeded: u64,
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
        self.deletions += other.deletions;
        self.folded += other.folded;
        self.divided += other.divided;
        self.exceeded += other.exceeded;
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
    /// Whether the tiers are there from the first restart on only, as with an older program before.
    lacks_tiers: bool,
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
        let retention = upkeep::draw_retention(&mut random);
        let divides = random.random_ratio(1, 2);
        let options = Options {
            retention,
            removal_grace: Duration::from_secs(if random.random() { 0 } else { 60 }),
            part_bytes: if divides { 1 } else { u64::MAX },
            part_rows: random.random_range(1..3),
            clock: machine.clock(),
            ..Options::new(DATA, rows::specs())
        };
        let options = match mode {
            Mode::Alone => options,
            // Flushes come by themselves, too.
            Mode::Together => Options { memtable_bytes: 10_000, ..options },
        };
        let hastens = random.random();
        let lacks_tiers = random.random_ratio(1, 6);
        let senders = (0..3).map(|_| Sender::default());
        Self {
            machine,
            mode,
            random,
            options,
            store: None,
            senders: senders.collect(),
            held: Vec::new(),
            model: Model::default(),
            files: BTreeMap::new(),
            troubled: false,
            lacks_tiers,
            hastens,
            outcome: Outcome::default(),
        }
    }

    fn note(&self, text: impl FnOnce() -> String) {
        self.machine.note(text());
    }

    async fn history(&mut self) -> Done {
        let steps = self.random.random_range(8..24);
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

    /// The tiers that there are, numbered.
    fn tiers(&self) -> impl Iterator<Item = (usize, &'static str)> + use<> {
        let tiers = TIERS.iter().map(|(name, _)| *name).enumerate();
        tiers.filter({
            let lacks = self.lacks_tiers;
            move |_| !lacks
        })
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
        self.lacks_tiers = false;
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
            options.tables.retain(|t| t.rollup.is_none() || !self.lacks_tiers);
            let known = |name: &String| options.tables.iter().any(|t| t.name == name);
            options.retention.rules.retain(|rule| rule.table.as_ref().is_none_or(known));
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
                    // Opening takes time, and hides by the time at its end.
                    self.expired();
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
        for table in TABLES.into_iter().chain(self.tiers().map(|(_, name)| name)) {
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
            0..27 => self.append().await,
            27..38 => self.flush().await,
            38..51 => self.compact().await,
            51..57 => self.expire().await,
            57..61 => self.delete().await,
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
}
