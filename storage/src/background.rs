//! The store's own task: flushes by size and age, removes what retention lets go of.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::expire::expire;
use crate::flush;
use crate::inner::Inner;

/// Wait after a failed flush; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Wait between two rounds of expiry when one is not enough: flushes have their turn.
const MORE: Duration = Duration::from_secs(1);

/// When to flush. No I/O.
#[derive(Debug)]
pub(crate) struct Schedule {
    bytes: usize,
    interval: Duration,
    /// Since when there are rows in memory.
    since: Option<Instant>,
    /// After a failure: not before this, and how long the next wait is.
    not_before: Option<(Instant, Duration)>,
}

impl Schedule {
    pub(crate) fn new(bytes: usize, interval: Duration) -> Self {
        Self { bytes, interval, since: None, not_before: None }
    }

    /// When the next flush is due, given what is in memory; `None` while there is nothing to flush.
    pub(crate) fn due(&mut self, has_rows: bool, bytes: usize, now: Instant) -> Option<Instant> {
        if !has_rows {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let due = if bytes >= self.bytes { now } else { since + self.interval };
        Some(self.not_before.map_or(due, |(at, _)| due.max(at)))
    }

    /// Notes how a flush that ended at `now` went.
    pub(crate) fn done(&mut self, ok: bool, now: Instant) {
        if ok {
            self.since = None;
            self.not_before = None;
        } else {
            let wait = self.not_before.map_or(RETRY_MIN, |(_, wait)| (wait * 2).min(RETRY_MAX));
            self.not_before = Some((now + wait, wait));
        }
    }
}

/// Runs until `stop` changes or its sender is gone.
pub(crate) async fn run(inner: Arc<Inner>, mut schedule: Schedule, mut stop: watch::Receiver<()>) {
    let expire_every = inner.retention.interval();
    let mut expire_at = Instant::now();
    loop {
        if inner.place.fenced().is_some() {
            // Nothing can be committed or removed any more.
            let _ = stop.changed().await;
            return;
        }
        let now = Instant::now();
        let has_rows = inner.state.lock().has_rows();
        let flush_at = schedule.due(has_rows, inner.budget.used(), now);
        if flush_at.is_some_and(|at| at <= now) {
            let outcome = flush::flush(inner.clone()).await;
            schedule.done(outcome.is_ok(), Instant::now());
            if let Err(error) = outcome {
                tracing::error!(%error, "rows cannot be written to files; they stay in memory and in the log, next attempt follows");
            }
            continue;
        }
        if expire_at <= now {
            let more = expire(inner.clone()).await.unwrap_or_else(|error| {
                tracing::error!(%error, "files beyond retention cannot be removed; next attempt follows");
                false
            });
            expire_at = Instant::now() + if more { MORE } else { expire_every };
            continue;
        }
        let wake = flush_at.map_or(expire_at, |at| at.min(expire_at));
        tokio::select! {
            _ = stop.changed() => return,
            () = inner.grown.notified() => {}
            () = sleep_until(wake) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn flushes_by_size_or_age_and_waits_after_failures() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut schedule = Schedule::new(100, Duration::from_secs(60));
        assert_eq!(schedule.due(false, 0, start), None);
        assert_eq!(schedule.due(true, 50, start), Some(after(60)));
        assert_eq!(schedule.due(true, 50, after(30)), Some(after(60)), "age of the oldest row");
        assert_eq!(schedule.due(true, 100, after(30)), Some(after(30)), "size");
        schedule.done(false, after(30));
        assert_eq!(schedule.due(true, 100, after(30)), Some(after(31)));
        schedule.done(false, after(31));
        assert_eq!(schedule.due(true, 100, after(31)), Some(after(33)));
        for _ in 0..10 {
            schedule.done(false, after(33));
        }
        assert_eq!(schedule.due(true, 100, after(33)), Some(after(43)));
        schedule.done(true, after(43));
        assert_eq!(schedule.due(true, 1, after(44)), Some(after(104)));
    }
}
