//! The commit log of one table.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use deltalake_core::DeltaTableError;
use deltalake_core::checkpoints::cleanup_expired_logs_for;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake_core::kernel::{
    Action, Add, Metadata, MetadataExt, Remove, StructField, StructType, Transaction,
};
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::state::DeltaTableState;
use object_store::path::Path;
use thiserror::Error;
use url::Url;

use super::schema::{self, DATE, PART, SpecError};
use crate::bounds::Interner;
use crate::durable::FileError;
use crate::files::{NewFile, stats};
use crate::objects::CheckError;
use crate::objects::fence::WRITER_APP;
use crate::part::{PartCount, PartId};
use crate::place::Place;
use crate::snapshot::DataFile;
use crate::spec::TableSpec;

mod replace;

/// Folder of the log below the table's.
pub(crate) const LOG_FOLDER: &str = "_delta_log";
/// Table property: number of parts that new files are split into.
const PARTS: &str = "weir.parts";
/// Table property: LSN up to which a tier had nothing to take in when it was made.
const FROM_LSN: &str = "weir.fromLsn";
/// Table property: windows of a tier that end later than this (microseconds) are whole.
const COMPLETE_AFTER: &str = "weir.completeAfter";
/// Commits between two checkpoints.
pub(crate) const CHECKPOINT_EVERY: u32 = 50;
/// Attempts to commit a claim while others commit.
const CLAIM_ATTEMPTS: usize = 20;
/// How long superfluous log files stay, for readers of the table that are at work.
pub(crate) const KEEP_LOG: Duration = Duration::from_secs(3600);

/// Why a table's log cannot be used.
#[derive(Debug, Error)]
pub(crate) enum LogError {
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error("table log {url}: {source}")]
    Delta { url: String, source: Box<DeltaTableError> },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{0} is no path that a table can have")]
    Path(std::path::PathBuf),
    #[error(
        "table {url}: column `{column}` is {found} in its log and {expected} in this version of weir; use the version that wrote it"
    )]
    Column { url: String, column: String, found: String, expected: String },
    #[error("table {url} is partitioned or configured by someone else: {what}")]
    Foreign { url: String, what: &'static str },
    #[error(transparent)]
    Bucket(#[from] CheckError),
}

/// Where a table begins that is made beside others which have rows already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// It takes in the rows of later entries.
    pub(crate) lsn: u64,
    /// See [`crate::Snapshot::complete_after`].
    pub(crate) complete_after: i64,
}

impl Origin {
    /// Of a table that misses nothing.
    pub(crate) const START: Self = Self { lsn: 0, complete_after: i64::MIN };
}

/// A table's log, loaded.
#[derive(Debug)]
pub(crate) struct TableLog {
    url: Url,
    place: Place,
    store: LogStoreRef,
    state: DeltaTableState,
    spec: Arc<TableSpec>,
    files: HashMap<String, Arc<DataFile>>,
    parts: PartCount,
    lsn: u64,
    /// Label columns whose bounds are kept of each file.
    labels: Arc<[&'static str]>,
    texts: Interner,
    complete_after: i64,
}

impl TableLog {
    /// Loads the table's log; creates the table, with that origin, if there is none.
    pub(crate) async fn open(
        place: &Place,
        spec: Arc<TableSpec>,
        origin: Origin,
    ) -> Result<Self, LogError> {
        let (url, store) = place.log_store(spec.name)?;
        let delta = |source| LogError::Delta { url: url.to_string(), source: Box::new(source) };
        let columns = schema::columns(&spec)?;
        if !store.is_delta_table_location().await.map_err(delta)?
            && let Err(error) = create(&store, &columns, origin).await
            // Someone else may have made it at the same time.
            && !store.is_delta_table_location().await.map_err(delta)?
        {
            return Err(delta(error));
        }
        place.sync_log(spec.name).await?;
        let mut log = Self::load(place, spec, url, store).await?;
        log.claim().await?;
        log.evolve(columns).await?;
        log.read_state().await?;
        Ok(log)
    }

    /// Loads the log of a table that is there, as it is.
    pub(crate) async fn look(place: &Place, spec: Arc<TableSpec>) -> Result<Self, LogError> {
        let (url, store) = place.log_store(spec.name)?;
        let columns = schema::columns(&spec)?;
        let mut log = Self::load(place, spec, url, store).await?;
        log.differences(columns)?;
        log.read_state().await?;
        Ok(log)
    }

    async fn load(
        place: &Place,
        spec: Arc<TableSpec>,
        url: Url,
        store: LogStoreRef,
    ) -> Result<Self, LogError> {
        let state = DeltaTableState::try_new(store.as_ref(), None).await;
        let delta = |source| LogError::Delta { url: url.to_string(), source: Box::new(source) };
        let state = state.map_err(delta)?;
        Ok(Self {
            url,
            place: place.clone(),
            store,
            state,
            files: HashMap::new(),
            parts: PartCount::ONE,
            lsn: Origin::START.lsn,
            complete_after: Origin::START.complete_after,
            labels: stats::label_columns(&spec).into(),
            texts: Interner::default(),
            spec,
        })
    }

    fn delta(&self, source: DeltaTableError) -> LogError {
        LogError::Delta { url: self.url.to_string(), source: Box::new(source) }
    }

    /// Commits this process's claim of the store to the table: see [`crate::objects::fence`].
    async fn claim(&mut self) -> Result<(), LogError> {
        let Some(bucket) = self.place.bucket().cloned() else { return Ok(()) };
        let epoch = i64::try_from(bucket.epoch()).unwrap_or(i64::MAX);
        for attempt in 1.. {
            match self.claimed_by(&self.state).await? {
                Some(held) if held == bucket.epoch() => break,
                Some(held) if held > bucket.epoch() => {
                    return Err(CheckError::Fenced { by: bucket.lost_to(held).await }.into());
                }
                _ => {}
            }
            let claim = Transaction::new(WRITER_APP, epoch);
            match self.commit_actions(Vec::new(), vec![claim], write_operation()).await {
                Ok(()) => break,
                // Another commit came first, or the answer is lost.
                Err(error) if attempt >= CLAIM_ATTEMPTS => return Err(error),
                Err(_) => self.state = self.last_version().await?,
            }
        }
        Ok(())
    }

    /// The epoch of the claim that a version belongs to.
    async fn claimed_by(&self, state: &DeltaTableState) -> Result<Option<u64>, LogError> {
        let found = state.transaction_version(self.store.as_ref(), WRITER_APP).await;
        Ok(found.map_err(|e| self.delta(e))?.and_then(|epoch| u64::try_from(epoch).ok()))
    }

    /// The last version. The one that is loaded stays as it is.
    async fn last_version(&self) -> Result<DeltaTableState, LogError> {
        self.place.sync_log(self.spec.name).await?;
        DeltaTableState::try_new(self.store.as_ref(), None).await.map_err(|e| self.delta(e))
    }

    /// Adds the columns that this version has and the table has not, and the properties that it sets;
    /// refuses other differences.
    async fn evolve(&mut self, wanted: Vec<StructField>) -> Result<(), LogError> {
        if let Some(metadata) = self.differences(wanted)? {
            self.commit_actions(vec![Action::Metadata(metadata)], Vec::new(), write_operation())
                .await?;
        }
        Ok(())
    }

    /// The metadata that the table lacks; refuses a column of another type.
    fn differences(&self, wanted: Vec<StructField>) -> Result<Option<Metadata>, LogError> {
        let table = self.state.schema();
        let mut columns: Vec<StructField> = table.fields().cloned().collect();
        let mut added = false;
        for field in wanted {
            match table.field(field.name()) {
                Some(found) if found.data_type() == field.data_type() => {}
                Some(found) => {
                    return Err(LogError::Column {
                        url: self.url.to_string(),
                        column: field.name().clone(),
                        found: found.data_type().to_string(),
                        expected: field.data_type().to_string(),
                    });
                }
                None => {
                    // Old files do not have it: it reads as null from them.
                    columns.push(StructField::new(field.name(), field.data_type().clone(), true));
                    added = true;
                }
            }
        }
        let mut metadata = self.state.metadata().clone();
        if added {
            let schema =
                StructType::try_new(columns).map_err(|e| self.delta(DeltaTableError::from(e)))?;
            metadata = metadata.with_schema(&schema).map_err(|e| self.delta(e.into()))?;
        }
        for (key, value) in properties() {
            if metadata.configuration().get(key) != Some(&value) {
                added = true;
                metadata = metadata
                    .add_config_key(key.to_owned(), value)
                    .map_err(|e| self.delta(e.into()))?;
            }
        }
        Ok(added.then_some(metadata))
    }

    /// Files, position and part count as the loaded version has them.
    async fn read_state(&mut self) -> Result<(), LogError> {
        let foreign = |what| LogError::Foreign { url: self.url.to_string(), what };
        if self.state.metadata().partition_columns() != [DATE, PART] {
            return Err(foreign("the partition columns are not date and part"));
        }
        let parts = match self.state.metadata().configuration().get(PARTS) {
            None => Some(PartCount::ONE),
            Some(text) => text.parse().ok().and_then(PartCount::new),
        };
        self.parts = parts.ok_or_else(|| foreign("weir.parts is not a power of two"))?;
        let lsn = self
            .state
            .transaction_version(self.store.as_ref(), self.place.wal_app())
            .await
            .map_err(|e| self.delta(e))?;
        let configuration = self.state.metadata().configuration();
        let origin = match (configuration.get(FROM_LSN), configuration.get(COMPLETE_AFTER)) {
            (None, None) => Some(Origin::START),
            (Some(lsn), Some(after)) => {
                lsn.parse().and_then(|lsn| Ok(Origin { lsn, complete_after: after.parse()? })).ok()
            }
            _ => None,
        };
        let origin =
            origin.ok_or_else(|| foreign("weir.fromLsn or weir.completeAfter is damaged"))?;
        self.complete_after = origin.complete_after;
        // In a bucket the origin may be a position in another directory's log. A tier that takes in
        // more than it has to is no less right: those windows are not whole.
        let from = if self.place.bucket().is_some() { 0 } else { origin.lsn };
        self.lsn = lsn.and_then(|lsn| u64::try_from(lsn).ok()).unwrap_or(from);
        let mut files = HashMap::new();
        for view in self.state.log_data().iter() {
            let path = view.path().into_owned();
            let file = match self.files.get(&path) {
                Some(known) => known.clone(),
                None => {
                    let size = u64::try_from(view.size()).unwrap_or_default();
                    let part = view.partition_values_map().remove(PART).flatten();
                    let part = part.and_then(|part| PartId::from_number(part.parse().ok()?));
                    Arc::new(data_file(
                        &self.spec,
                        &self.labels,
                        &mut self.texts,
                        (&path, size, part, view.modification_time(), view.stats().as_deref()),
                    ))
                }
            };
            files.insert(path, file);
        }
        self.files = files;
        Ok(())
    }

    /// LSN up to which the table's rows are in files.
    pub(crate) fn lsn(&self) -> u64 {
        self.lsn
    }

    /// See [`crate::Snapshot::complete_after`].
    pub(crate) fn complete_after(&self) -> i64 {
        self.complete_after
    }

    /// Number of parts that new files are split into.
    pub(crate) fn parts(&self) -> PartCount {
        self.parts
    }

    /// Commits that new files are split into `parts` parts. The files that are there stay as they are.
    ///
    /// After an error the commit may have happened all the same.
    pub(crate) async fn set_parts(&mut self, parts: PartCount) -> Result<(), LogError> {
        let metadata = deltalake_core::kernel::MetadataExt::add_config_key(
            self.state.metadata().clone(),
            PARTS.to_owned(),
            parts.get().to_string(),
        )
        .map_err(|e| self.delta(e.into()))?;
        let properties = HashMap::from([(PARTS.to_owned(), parts.get().to_string())]);
        let operation = DeltaOperation::SetTableProperties { properties };
        self.commit_actions(vec![Action::Metadata(metadata)], Vec::new(), operation).await?;
        self.read_state().await
    }

    /// The table's files, oldest first.
    pub(crate) fn files(&self) -> Arc<[Arc<DataFile>]> {
        let mut files: Vec<_> = self.files.values().cloned().collect();
        files.sort_unstable_by(|a, b| {
            (a.min_time, a.path.as_ref()).cmp(&(b.min_time, b.path.as_ref()))
        });
        files.into()
    }

    /// Whether a path below the table's folder is one of its files.
    pub(crate) fn has_file(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// The paths of its files, below the table's folder.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Loads what has been committed since, by an attempt of our own that reported an error or by
    /// another program.
    pub(crate) async fn reload(&mut self) -> Result<(), LogError> {
        // A commit whose file has its name but was not synced is seen, and yet may be lost.
        let state = self.last_version().await?;
        if let Some(bucket) = self.place.bucket().cloned() {
            let held = self.claimed_by(&state).await?.unwrap_or(0);
            if held != bucket.epoch() {
                return Err(CheckError::Fenced { by: bucket.lost_to(held).await }.into());
            }
        }
        self.state = state;
        self.read_state().await
    }

    /// Commits new files together with the LSN up to which the table's rows are now in files.
    ///
    /// After an error the commit may have happened all the same: [`TableLog::reload`] tells.
    pub(crate) async fn add(
        &mut self,
        new: &[NewFile],
        lsn: u64,
        now: i64,
    ) -> Result<(), LogError> {
        let millis = now.div_euclid(1000);
        let actions = new.iter().map(|file| Action::Add(add_action(file, millis))).collect();
        let position = i64::try_from(lsn).unwrap_or(i64::MAX);
        let txn = Transaction::new_with_last_update(self.place.wal_app(), position, Some(millis));
        let expected = self.state.version() + 1;
        self.commit_actions(actions, vec![txn], write_operation()).await?;
        if self.state.version() != expected {
            return self.read_state().await;
        }
        self.lsn = lsn;
        for file in new {
            self.list(file, millis);
        }
        Ok(())
    }

    /// Enters a file that a commit has added.
    fn list(&mut self, file: &NewFile, millis: i64) {
        let part = Some(file.partition.part);
        let data = data_file(
            &self.spec,
            &self.labels,
            &mut self.texts,
            (&file.path, file.size, part, millis, Some(&file.stats.json)),
        );
        self.files.insert(file.path.clone(), Arc::new(data));
    }

    /// Commits that files are no longer part of the table. They stay on disk.
    pub(crate) async fn remove(
        &mut self,
        gone: &[Arc<DataFile>],
        now: i64,
    ) -> Result<(), LogError> {
        let prefix = format!("{}/", self.spec.name);
        let gone: std::collections::HashSet<&str> =
            gone.iter().filter_map(|f| f.path.as_ref().strip_prefix(&prefix)).collect();
        let actions = self
            .state
            .log_data()
            .iter()
            .filter(|view| gone.contains(view.path().as_ref()))
            .map(|view| {
                Action::Remove(Remove {
                    deletion_timestamp: Some(now.div_euclid(1000)),
                    ..view.remove_action(true)
                })
            })
            .collect();
        let operation = DeltaOperation::Delete { predicate: None };
        self.commit_actions(actions, Vec::new(), operation).await?;
        self.files.retain(|path, _| !gone.contains(path.as_str()));
        Ok(())
    }

    async fn commit_actions(
        &mut self,
        actions: Vec<Action>,
        transactions: Vec<Transaction>,
        operation: DeltaOperation,
    ) -> Result<(), LogError> {
        // Looking for superfluous files lists the whole log: not at every commit.
        let mut properties = CommitProperties::default()
            .with_application_transactions(transactions)
            .with_cleanup_expired_logs(Some(false));
        if let Some(bucket) = self.place.bucket() {
            if let Some(by) = bucket.fenced() {
                return Err(CheckError::Fenced { by }.into());
            }
            // A commit that comes right after a version with our claim in it cannot come after
            // another's claim. So none is moved behind versions that were not looked at.
            properties = properties.with_max_retries(0);
        }
        let commit = async {
            CommitBuilder::from(properties)
                .with_actions(actions)
                .build(Some(&self.state), self.store.clone(), operation)
                .into_prepared_commit_future()
                .await?
                .await
        };
        let committed = match commit.await {
            Ok(committed) => committed,
            Err(error) => {
                let outrun = matches!(
                    &error,
                    DeltaTableError::Transaction { source: TransactionError::MaxCommitAttempts(_) }
                );
                if outrun {
                    self.place.check().await?;
                }
                return Err(self.delta(error));
            }
        };
        let version = committed.version;
        // From here on the commit is a fact: checkpoint and cleaning up may fail without undoing it.
        match committed.await {
            Ok(done) => {
                let checkpointed = done.metrics.new_checkpoint_created;
                self.state = done.snapshot();
                if checkpointed && let Err(error) = self.clean_up().await {
                    tracing::warn!(table = self.spec.name, version, %error, "cannot clean the table's log up");
                }
            }
            Err(error) => {
                tracing::warn!(table = self.spec.name, version, %error, "cannot checkpoint the table's log");
                self.state
                    .update(self.store.as_ref(), Some(version))
                    .await
                    .map_err(|e| self.delta(e))?;
            }
        }
        Ok(())
    }

    /// Removes files of the log that checkpoints make superfluous, once they are [`KEEP_LOG`] old.
    async fn clean_up(&mut self) -> Result<(), DeltaTableError> {
        // The age of a file is by the clock of the disk, whatever the store's own clock says.
        let now = jiff::Timestamp::now().as_millisecond();
        let keep = i64::try_from(KEEP_LOG.as_millis()).unwrap_or(i64::MAX);
        let (version, store) = (self.state.version(), self.store.as_ref());
        let removed =
            cleanup_expired_logs_for(version, store, now.saturating_sub(keep), None).await?;
        if removed > 0 {
            // What is loaded names the files that it came from.
            self.state = DeltaTableState::try_new(store, Some(version)).await?;
        }
        Ok(())
    }
}

/// What readers get to know of a file: its path, size, part, time of commit (milliseconds) and
/// statistics as the log has them.
fn data_file(
    spec: &TableSpec,
    labels: &Arc<[&'static str]>,
    texts: &mut Interner,
    (path, size, part, millis, stats): (&str, u64, Option<PartId>, i64, Option<&str>),
) -> DataFile {
    let path = Path::from_iter(std::iter::once(spec.name).chain(path.split('/')));
    let committed = millis.saturating_mul(1000);
    let unknown = DataFile { part, committed, ..DataFile::unknown(path, size) };
    // A file that another writer added may come without statistics.
    match stats.and_then(|stats| stats::parse(stats, (spec.earliest(), spec.time), labels, texts)) {
        Some(stats::Parsed { rows, min_time, max_time, labels, checksum }) => {
            DataFile { rows, min_time, max_time, labels, checksum, ..unknown }
        }
        None => unknown,
    }
}

fn write_operation() -> DeltaOperation {
    DeltaOperation::Write {
        mode: SaveMode::Append,
        partition_by: Some(vec![DATE.to_owned(), PART.to_owned()]),
        predicate: None,
    }
}

/// What every table's metadata says of its log.
///
/// Checkpoints name removed files for a week unless told otherwise: with a flush every ten seconds,
/// compacted, that is more than everything else in them.
fn properties() -> [(&'static str, String); 4] {
    let keep = format!("interval {} hours", KEEP_LOG.as_secs() / 3600);
    [
        ("delta.checkpointInterval", CHECKPOINT_EVERY.to_string()),
        ("delta.logRetentionDuration", keep.clone()),
        ("delta.deletedFileRetentionDuration", keep),
        ("delta.enableExpiredLogCleanup", "true".to_owned()),
    ]
}

async fn create(
    store: &LogStoreRef,
    columns: &[StructField],
    origin: Origin,
) -> Result<(), DeltaTableError> {
    let parts = (PARTS, PartCount::ONE.get().to_string());
    let origin = (origin != Origin::START).then(|| {
        [(FROM_LSN, origin.lsn.to_string()), (COMPLETE_AFTER, origin.complete_after.to_string())]
    });
    let origin = origin.into_iter().flatten();
    let configuration = properties().into_iter().chain([parts]).chain(origin);
    CreateBuilder::new()
        .with_log_store(store.clone())
        .with_columns(columns.iter().cloned())
        .with_partition_columns([DATE, PART])
        .with_configuration(configuration.map(|(key, value)| (key, Some(value))))
        .with_raise_if_key_not_exists(false)
        .await
        .map(|_| ())
}

fn add_action(file: &NewFile, now_millis: i64) -> Add {
    Add {
        path: file.path.clone(),
        partition_values: HashMap::from([
            (DATE.to_owned(), Some(file.partition.date.clone())),
            (PART.to_owned(), Some(file.partition.part.number().to_string())),
        ]),
        size: i64::try_from(file.size).unwrap_or(i64::MAX),
        modification_time: now_millis,
        data_change: true,
        stats: Some(file.stats.json.clone()),
        ..Add::default()
    }
}
