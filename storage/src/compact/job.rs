//! One job: merge, then commit.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::CompactError;
use super::merge::{Combine, MergeError, Merged, Setting, merge};
use super::plan::is_quiet;
use super::throttle::Throttle;
use crate::apart::apart;
use crate::durable::{self, At, Taken};
use crate::files::properties::Effort;
use crate::files::{FilesError, NewFile};
use crate::flush::{Doubtful, FlushError};
use crate::inner::Inner;
use crate::part::PartId;
use crate::paths::Partition;
use crate::rollup::combine::Combiner;
use crate::series;
use crate::snapshot::DataFile;
use crate::spec::TableSpec;

/// Files of one window and part of a table that are to become one.
pub(crate) struct Job {
    pub(crate) spec: Arc<TableSpec>,
    pub(crate) window: i64,
    pub(crate) part: PartId,
    pub(crate) inputs: Vec<Arc<DataFile>>,
}

/// A file in place of others, and whether it says something else than they did.
struct Replacement {
    /// `None` if no row was left.
    file: Option<NewFile>,
    rows: u64,
    changed: bool,
}

/// Runs a job to its end. After an error the table has its inputs.
pub(crate) async fn run(
    inner: &Arc<Inner>,
    job: Job,
    throttle: &mut Throttle,
) -> Result<(), CompactError> {
    // Before work is done whose outcome could not be brought there.
    inner.place.check().await.map_err(FlushError::from)?;
    settle(inner, job.spec.name).await?;
    let job = Arc::new(job);
    let taken = std::mem::replace(throttle, Throttle::new(None));
    let worker = (inner.clone(), job.clone());
    let runtime = Handle::current();
    let (merged, taken) = tokio::task::spawn_blocking(move || {
        let (inner, job) = worker;
        let mut throttle = taken;
        let merged = apart(super::THREAD, NICE, || write(&inner, &job, &runtime, &mut throttle));
        (merged.map_err(CompactError::from).flatten(), throttle)
    })
    .await
    .map_err(|_| CompactError::CutShort)?;
    *throttle = taken;
    let new = merged?;
    let added: Vec<String> = new.file.iter().map(|file| file.path.clone()).collect();
    let name = job.spec.name;
    if let Err(error) = inner.place.publish(name, &added).await {
        inner.place.discard(name, added).await;
        return Err(FlushError::from(error).into());
    }
    commit(inner, &job, new).await
}

/// Finds out what became of an earlier commit of unknown outcome, before work is done in vain.
async fn settle(inner: &Inner, name: &'static str) -> Result<(), FlushError> {
    let mut tables = inner.tables.lock().await;
    match tables.iter_mut().find(|(table, _)| *table == name) {
        Some((_, table)) => table.settle(inner, name).await,
        None => Ok(()),
    }
}

/// Free bytes that there must be for each byte of input. The outcome takes at most about one.
pub(crate) const ROOM: u64 = 2;

/// How much the thread gives way.
const NICE: i32 = 10;

fn write(
    inner: &Inner,
    job: &Job,
    runtime: &Handle,
    throttle: &mut Throttle,
) -> Result<Replacement, CompactError> {
    check_room(inner, job)?;
    let tmp = inner.dir.new_tmp();
    let written = write_at(inner, job, runtime, throttle, &tmp);
    if !matches!(written, Ok(Replacement { file: Some(_), .. })) {
        let _ = durable::remove(inner.dir.disk().as_ref(), &tmp);
    }
    written
}

fn write_at(
    inner: &Inner,
    job: &Job,
    runtime: &Handle,
    throttle: &mut Throttle,
    tmp: &std::path::Path,
) -> Result<Replacement, CompactError> {
    let disk = inner.dir.disk().as_ref();
    let now = inner.clock.now();
    let over = is_quiet(job.spec.window.end(job.window), now);
    // Late rows may go on to arrive in a window that is over: what is made of them is not to be kept.
    let quiet = job.inputs.iter().all(|file| is_quiet(file.committed, now));
    let combine: Option<Box<dyn Combine>> = if job.spec.series {
        Some(Box::new(series::Combiner::new(job.spec.window)))
    } else {
        let combine = Combiner::new(&job.spec, over).map_err(|e| MergeError::Arrow(e.into()))?;
        combine.map(|combiner| Box::new(combiner) as _)
    };
    let setting = Setting {
        runtime,
        disk,
        store: &inner.objects,
        spec: &job.spec,
        combine,
        effort: if over && quiet { Effort::Settled } else { Effort::Merge },
        throttle,
        stop: &inner.compaction.stop,
    };
    let Merged { size, stats, dropped, combined, changed } = merge(setting, &job.inputs, tmp)?;
    let (rows, changed) = (stats.rows, changed || dropped + combined > 0);
    if rows == 0 {
        return Ok(Replacement { file: None, rows, changed });
    }
    let beyond = || MergeError::Files(FilesError::Time(job.window));
    let date = job.spec.window.date(job.window).ok_or_else(beyond)?;
    let partition = Partition { date, part: job.part };
    let path = partition.new_file(&inner.dir, &job.spec.window.start(job.window));
    let full = inner.dir.table(job.spec.name).join(&path);
    if let Some(folder) = full.parent() {
        durable::create_dir(&inner.dir, folder)?;
    }
    if let Err(error) = durable::publish(disk, tmp, &full, Taken::Refuse) {
        let _ = durable::remove(disk, &full);
        return Err(error.into());
    }
    Ok(Replacement { file: Some(NewFile { path, partition, size, stats }), rows, changed })
}

/// Refuses to begin what the disk has no room for: ingest needs it more.
fn check_room(inner: &Inner, job: &Job) -> Result<(), CompactError> {
    let root = inner.dir.root();
    let available = inner.dir.disk().available(root).at("ask for the free space of", root)?;
    let needed = ROOM * job.inputs.iter().map(|file| file.size).sum::<u64>();
    if available < needed {
        return Err(CompactError::NoRoom { needed, available });
    }
    Ok(())
}

/// Whether the inputs are still files of the table, with the same rows to be seen.
fn is_current(inner: &Inner, job: &Job) -> bool {
    let state = inner.state.lock();
    let Some(table) = state.tables.get(job.spec.name) else { return false };
    let inputs: HashMap<_, _> = job.inputs.iter().map(|file| (&file.path, file)).collect();
    let same = |file: &&Arc<DataFile>| {
        inputs.get(&file.path).is_some_and(|input| input.hidden == file.hidden)
    };
    table.files.iter().filter(same).count() == inputs.len()
}

/// Puts the new file in the place of the inputs, or removes it if they changed meanwhile.
async fn commit(inner: &Arc<Inner>, job: &Job, new: Replacement) -> Result<(), CompactError> {
    let name = job.spec.name;
    let mut tables = inner.tables.lock().await;
    let Some((_, table)) = tables.iter_mut().find(|(table, _)| *table == name) else {
        return Ok(());
    };
    let settled = table.settle(inner, name).await;
    if settled.is_err() || !is_current(inner, job) {
        let unused: Vec<String> = new.file.iter().map(|file| file.path.clone()).collect();
        inner.place.discard(name, unused).await;
        tracing::debug!(table = name, "files changed while they were compacted");
        return Ok(settled?);
    }
    let now = inner.clock.now();
    let written = new.file.as_ref().map_or(0, |file| file.size);
    table.doubtful = Some(Doubtful {
        added: new.file.iter().map(|file| file.path.clone()).collect(),
        removed: job.inputs.clone(),
    });
    table.log.replace(&job.inputs, new.file.as_ref(), new.changed, now).await?;
    table.doubtful = None;
    inner.committed(name, &table.log.files(), table.log.lsn());
    inner.graveyard.lock().bury(job.inputs.clone(), now);
    let read = job.inputs.iter().map(|file| file.size).sum::<u64>();
    let mut stats = inner.compaction.stats.lock();
    stats.jobs += 1;
    stats.bytes_read += read;
    stats.bytes_written += written;
    stats.rows += new.rows;
    drop(stats);
    let files = job.inputs.len();
    tracing::debug!(table = name, files, rows = new.rows, read, written, "compacted");
    Ok(())
}
