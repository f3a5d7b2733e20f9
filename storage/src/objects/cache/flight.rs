//! Blocks that are being fetched: whoever needs one of them waits for the same request.
//!
//! The queries of one dashboard start at once and read the same files. A request goes on when the
//! query that began it is gone, since others may wait for it.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::Shared;
use object_store::path::Path;
use object_store::{Error, Result};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Blocks that are fetched by one request at most.
const RUN: u64 = 8;

/// Size of the object, and the bytes in the block.
pub(crate) type Fetched = std::result::Result<(u64, Bytes), Arc<Error>>;
type Waiting = Shared<oneshot::Receiver<Fetched>>;

/// Requests under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flights(Arc<Mutex<HashMap<(Path, u64), Waiting>>>);

/// Neighbouring blocks that one request is to fetch. What is not delivered when this is dropped, fails.
#[derive(Debug)]
pub(crate) struct Run {
    flights: Flights,
    pub(crate) object: Path,
    pub(crate) blocks: Range<u64>,
    replies: HashMap<u64, oneshot::Sender<Fetched>>,
}

impl Flights {
    /// Joins requests under way for the blocks, and returns the requests that the caller has to make.
    ///
    /// A block that is `kept` by now has landed since the caller looked for it, and is left out.
    pub(crate) fn join(
        &self,
        object: &Path,
        blocks: &BTreeSet<u64>,
        kept: impl Fn(u64) -> bool,
    ) -> (Vec<(u64, Waiting)>, Vec<Run>) {
        let mut flights = self.0.lock();
        let mut waiting = Vec::with_capacity(blocks.len());
        let mut runs: Vec<Run> = Vec::new();
        for block in blocks {
            let key = (object.clone(), *block);
            if let Some(flight) = flights.get(&key) {
                waiting.push((*block, flight.clone()));
                continue;
            }
            if kept(*block) {
                continue;
            }
            let (reply, replied) = oneshot::channel();
            let flight = replied.shared();
            waiting.push((*block, flight.clone()));
            flights.insert(key, flight);
            match runs.last_mut() {
                Some(run) if run.blocks.end == *block && *block - run.blocks.start < RUN => {
                    run.blocks.end = *block + 1;
                    run.replies.insert(*block, reply);
                }
                _ => runs.push(Run {
                    flights: self.clone(),
                    object: object.clone(),
                    blocks: *block..*block + 1,
                    replies: HashMap::from([(*block, reply)]),
                }),
            }
        }
        (waiting, runs)
    }
}

#[cfg(test)]
impl Flights {
    /// Blocks that are on their way.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl Run {
    /// Gives a block to whoever waits for it.
    pub(crate) fn deliver(&mut self, block: u64, fetched: Fetched) {
        if let Some(reply) = self.replies.remove(&block) {
            // Nobody may wait any more.
            let _ = reply.send(fetched);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock();
        for block in self.blocks.clone() {
            flights.remove(&(self.object.clone(), block));
        }
    }
}

/// Waits for a block.
pub(crate) async fn land(object: &Path, waiting: Waiting) -> Result<(u64, Bytes)> {
    const STORE: &str = "cache";
    match waiting.await {
        Ok(Ok(block)) => Ok(block),
        Ok(Err(error)) => Err(match error.as_ref() {
            Error::NotFound { .. } => {
                Error::NotFound { path: object.to_string(), source: Box::new(error) }
            }
            _ => Error::Generic { store: STORE, source: Box::new(error) },
        }),
        Err(gone) => Err(Error::Generic { store: STORE, source: Box::new(gone) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_block_is_asked_for_once_and_neighbours_together() {
        let flights = Flights::default();
        let object = Path::from("o");
        let (_, runs) = flights.join(&object, &BTreeSet::from([0, 1, 2, 3, 5]), |b| b == 3);
        let ranges: Vec<_> = runs.iter().map(|r| r.blocks.clone()).collect();
        assert_eq!(ranges, [0..3, 5..6]);
        let (waiting, none) = flights.join(&object, &BTreeSet::from([2, 5]), |_| false);
        assert!(none.is_empty());
        let (_, long) = flights.join(&Path::from("p"), &(0..20).collect(), |_| false);
        assert_eq!(
            long.iter().map(|r| r.blocks.clone()).collect::<Vec<_>>(),
            [0..8, 8..16, 16..20]
        );
        for mut run in runs {
            if run.blocks.contains(&2) {
                run.deliver(2, Ok((9, Bytes::from("two"))));
            }
        }
        let mut outcomes = Vec::new();
        for (_, flight) in waiting {
            outcomes.push(land(&object, flight).await);
        }
        assert_eq!(outcomes[0].as_ref().unwrap().1, "two");
        assert!(outcomes[1].is_err(), "what is dropped undelivered fails");
        let (_, again) = flights.join(&object, &BTreeSet::from([2]), |_| false);
        assert_eq!(again.len(), 1, "a request that is over is made anew");
    }
}
