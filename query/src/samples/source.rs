//! The table of samples as the PromQL engine's [`Source`].

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use weir_storage::Snapshot;

use super::block;
use super::files;
use super::heads::HeadCache;
use super::merge::Merge;
use super::rows::{Request, Rows};
use super::wanted::Wanted;
use crate::promql::error::Error;
use crate::promql::source::{
    Block, Blocks, Grouping, Selector, Series, Source, StepSeries, Steps, Window, collected,
};
use crate::scan::indexes::{Indexes, Reader};

/// Points and series that make the first block full: small answers are work for more than one core, too.
const FIRST_BLOCK: (usize, usize) = (128 << 10, 64);
/// The same of the blocks after many others. Each block opens its files anew, so these are larger.
const LATER_BLOCKS: (usize, usize) = (2 << 20, 512);
/// Blocks that wait to be read.
const BLOCKS_AHEAD: usize = 2;
/// Files that one thread opens at least: for fewer, another is not worth it.
const FILES_PER_THREAD: usize = 8;
/// Threads that merge and send at the same time, of all queries: some of the runtime's must stay free for the
/// reads that these wait for.
static SENDERS: Semaphore = Semaphore::const_new(256);
/// Files whose indexes are read at the same time.
const AT_ONCE: usize = 16;

/// The samples of one moment.
#[derive(Debug, Clone)]
pub(crate) struct SampleSource {
    pub(super) snapshot: Arc<Snapshot>,
    reader: Reader,
    heads: Arc<HeadCache>,
}

impl SampleSource {
    pub(crate) fn new(
        snapshot: Snapshot,
        footers: Arc<FileMetadataCache>,
        indexes: Arc<Indexes>,
        heads: Arc<HeadCache>,
    ) -> Self {
        let reader = Reader { store: snapshot.object_store.clone(), footers, indexes };
        Self { snapshot: Arc::new(snapshot), reader, heads }
    }

    /// What has to be read, file by file.
    pub(super) async fn requests(
        &self,
        wanted: &Arc<Wanted>,
        after: i64,
        until: i64,
    ) -> Vec<Request> {
        let candidates = files::candidates(&self.snapshot, wanted, after, until);
        let asked = candidates.into_iter().enumerate().map(|(number, file)| {
            let wanted = wanted.clone();
            async move {
                let rows = files::rows(&self.reader, &file, &wanted).await?;
                Some(Request {
                    number,
                    file,
                    store: self.snapshot.object_store.clone(),
                    local: self.snapshot.local.clone(),
                    footers: self.reader.footers.clone(),
                    heads: self.heads.clone(),
                    rows,
                    wanted,
                    after,
                    until,
                })
            }
        });
        let asked: Vec<Option<Request>> = stream::iter(asked).buffered(AT_ONCE).collect().await;
        asked.into_iter().flatten().collect()
    }

    /// All matching series, merged; fewer where they are `given_up`. For a thread that may wait.
    pub(super) fn merged(
        &self,
        requests: Vec<Request>,
        wanted: &Wanted,
        (after, until): (i64, i64),
        runtime: &Handle,
        given_up: &(dyn Fn() -> bool + Sync),
    ) -> Result<Merge, Error> {
        let files = opened(requests, runtime, given_up)?;
        let memory = self
            .snapshot
            .series_in_memory(after.saturating_add(1)..=until, &mut |c| wanted.canonical(c));
        Ok(Merge::new(files, memory))
    }

    /// Sends blocks until there are no more, or nobody wants them.
    fn send(
        &self,
        requests: Vec<Request>,
        wanted: &Wanted,
        (after, until): (i64, i64),
        runtime: &Handle,
        to: &mpsc::Sender<Result<Box<dyn Block>, Error>>,
    ) -> Result<(), Error> {
        let mut merge =
            self.merged(requests, wanted, (after, until), runtime, &|| to.is_closed())?;
        let mut full = FIRST_BLOCK;
        loop {
            let mut series = Vec::new();
            let mut points = 0;
            while points < full.0 && series.len() < full.1 && !to.is_closed() {
                let Some(next) = merge.next()? else { break };
                points += next.points();
                series.push(next);
            }
            if series.is_empty() {
                return Ok(());
            }
            full = ((full.0 * 2).min(LATER_BLOCKS.0), (full.1 * 2).min(LATER_BLOCKS.1));
            let block = block::Series { series, after, until };
            if to.blocking_send(Ok(Box::new(block))).is_err() {
                return Ok(());
            }
        }
    }
}

/// What a thread sends, and an error if it ended otherwise than by coming to the end: an answer that is cut short
/// must not look like one that is whole.
fn received(from: mpsc::Receiver<Result<Box<dyn Block>, Error>>, sender: JoinHandle<()>) -> Blocks {
    let blocks = stream::unfold((from, Some(sender)), |(mut from, mut sender)| async move {
        if let Some(block) = from.recv().await {
            return Some((block, (from, sender)));
        }
        let ended = sender.take()?.await;
        ended.err().map(|error| (Err(Error::Internal(error.to_string())), (from, None)))
    });
    blocks.boxed()
}

/// Opens files, on all cores if they are many, until they are `given_up`. For a thread that may wait.
///
/// The other threads are none of the runtime's: this one is, and if all of those waited for each other, none
/// would go on.
fn opened(
    requests: Vec<Request>,
    runtime: &Handle,
    given_up: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Rows>, Error> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = requests.len().div_ceil(cores).max(FILES_PER_THREAD);
    let open = |requests: Vec<Request>| {
        let wanted = requests.into_iter().take_while(|_| !given_up());
        let opened = wanted.map(|request| Rows::open(request, runtime));
        opened.filter_map(Result::transpose).collect::<Result<Vec<Rows>, Error>>()
    };
    std::thread::scope(|scope| {
        let mut shares = Vec::new();
        let mut rest = requests;
        while rest.len() > share {
            let requests = rest.split_off(rest.len() - share);
            shares.push(scope.spawn(move || open(requests)));
        }
        let mut files = open(rest)?;
        // In their order, which mostly is that of time: the last ones were given away first.
        for share in shares.into_iter().rev() {
            let opened = share.join();
            files.extend(opened.map_err(|_| Error::Internal("a file was not opened".to_owned()))??);
        }
        Ok(files)
    })
}

#[async_trait]
impl Source for SampleSource {
    async fn series(
        &self,
        selector: &Selector,
        after: i64,
        until: i64,
    ) -> Result<Vec<Series>, Error> {
        let mut all = Vec::new();
        let mut blocks = self.blocks(selector, after, until).await?;
        while let Some(block) = blocks.try_next().await? {
            all.extend(
                collected(block, |labels, points| {
                    let values = points.values.iter().copied();
                    let samples = points.times.iter().copied().zip(values).collect();
                    Some(Series { labels, samples })
                })
                .await?,
            );
        }
        Ok(all)
    }

    async fn blocks(&self, selector: &Selector, after: i64, until: i64) -> Result<Blocks, Error> {
        let wanted = Arc::new(Wanted::new(selector));
        let requests = self.requests(&wanted, after, until).await;
        let (to, from) = mpsc::channel(BLOCKS_AHEAD);
        let source = self.clone();
        let runtime = Handle::current();
        let place = SENDERS.acquire().await.map_err(|e| Error::Internal(e.to_string()))?;
        let sender = tokio::task::spawn_blocking(move || {
            let _place = place;
            let sent = source.send(requests, &wanted, (after, until), &runtime, &to);
            if let Err(error) = sent {
                // Nobody may want to know any more.
                let _ = to.blocking_send(Err(error));
            }
        });
        Ok(received(from, sender))
    }

    async fn window_sums(
        &self,
        _: &Selector,
        _: &Window,
        _: &Steps,
        _: &Grouping,
    ) -> Result<Option<Vec<StepSeries>>, Error> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_panics_is_an_error_after_what_it_sent() {
        let (to, from) = mpsc::channel(1);
        let sender = tokio::task::spawn_blocking(move || {
            let series = Vec::new();
            let block: Box<dyn Block> = Box::new(block::Series { series, after: 0, until: 1 });
            to.blocking_send(Ok(block)).expect("somebody listens");
            panic!("as a reader of a damaged file may");
        });
        let mut blocks = received(from, sender);
        assert!(blocks.next().await.is_some_and(|block| block.is_ok()));
        let last = blocks.next().await.map(|block| block.err());
        assert!(matches!(last, Some(Some(Error::Internal(_)))), "{last:?}");
        assert!(blocks.next().await.is_none());
    }
}
