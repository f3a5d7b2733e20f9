//! The threads that queries are computed on.
//!
//! They are a runtime of their own: however long queries keep them, rows are taken in and requests are
//! heard meanwhile.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// See the module's text. Clones share the same threads, which end with the last of them.
#[derive(Clone)]
pub(super) struct Threads {
    handle: Handle,
    /// Nothing where the system had no more threads.
    _own: Option<Arc<Own>>,
}

impl Threads {
    /// As many as `parallelism` says, or as there are cores if it is 0.
    pub(super) fn new(parallelism: usize) -> Self {
        let cores = || available_parallelism().map_or(1, NonZeroUsize::get);
        let runtime = Builder::new_multi_thread()
            .worker_threads(if parallelism > 0 { parallelism } else { cores() })
            .thread_name("weir-query")
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => {
                let handle = runtime.handle().clone();
                Self { handle, _own: Some(Arc::new(Own(Some(runtime)))) }
            }
            Err(error) => {
                tracing::warn!(%error, "queries have no threads of their own and can delay ingest");
                Self { handle: Handle::current(), _own: None }
            }
        }
    }

    /// Runs a query on one thread, and what it spawns on the others.
    pub(super) fn run<T: Send + 'static>(
        &self,
        query: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let handle = self.handle.clone();
        self.handle.spawn_blocking(move || handle.block_on(query))
    }
}

/// A runtime that may be dropped anywhere: whoever holds it last need not wait for its threads.
struct Own(Option<Runtime>);

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
