//! Retention by rule, by bytes, and against a clock that lies.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::matcher::{MatchOp, Matcher};
use crate::retention::RetentionRule;

fn hours(n: u64) -> Duration {
    Duration::from_secs(n * 3600)
}

/// Rows of the namespace `ns`, which two of three rows have.
fn of_ns(keep: Option<Duration>) -> RetentionRule {
    let matchers = vec![Matcher::new("namespace", MatchOp::Equal, "ns").unwrap()];
    RetentionRule { matchers, keep, table: None }
}

struct Timed {
    now: Arc<AtomicI64>,
    store: Arc<Store>,
    _dir: tempfile::TempDir,
}

impl Timed {
    async fn open(retention: Retention) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now = Arc::new(AtomicI64::new(MIDNIGHT + HOUR));
        let clock = Clock::new({
            let now = now.clone();
            move || now.load(Ordering::Relaxed)
        });
        let options = Options { retention, clock, compaction: false, ..options(dir.path()) };
        Self { now, store: open_when_free(options).await, _dir: dir }
    }

    /// Rows with these `n`, each `n` seconds after midnight.
    async fn rows(&self, n: std::ops::Range<i64>) {
        let rows: Vec<_> = n.map(|n| (MIDNIGHT + n * SECOND, "web", n)).collect();
        let parts = vec![part("flows", batch(&rows))];
        self.store.append(Entry { source: None, parts }).await.unwrap();
    }

    async fn at(&self, hours: i64) {
        self.now.store(MIDNIGHT + hours * HOUR, Ordering::Relaxed);
        self.store.expire().await.unwrap();
    }

    fn seen(&self) -> Vec<i64> {
        counts(&self.store, "flows").into_keys().collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shorter_rule_hides_its_rows_at_once_and_they_leave_the_disk() {
    let mut retention = Retention::age(Some(hours(20)));
    retention.rules.push(of_ns(Some(hours(4))));
    let timed = Timed::open(retention).await;
    timed.rows(0..6).await;
    timed.at(4).await;
    assert_eq!(timed.seen(), [0, 1, 2, 3, 4, 5]);
    timed.now.store(MIDNIGHT + 4 * HOUR + 2 * SECOND, Ordering::Relaxed);
    timed.store.expire().await.unwrap();
    assert_eq!(
        timed.seen(),
        [0, 2, 3, 4, 5],
        "in memory: 1 is over age, 0 and 3 have no namespace"
    );
    timed.store.flush().await.unwrap();
    assert_eq!(timed.seen(), [0, 2, 3, 4, 5], "in a file");
    timed.at(5).await;
    assert_eq!(timed.seen(), [0, 3]);
    let before = timed.store.snapshot("flows").unwrap();
    assert_eq!(before.files[0].rows, 6);
    timed.store.compact().await.unwrap();
    let after = timed.store.snapshot("flows").unwrap();
    assert_eq!((after.files[0].rows, timed.seen()), (2, vec![0, 3]), "rewritten");
    timed.at(6).await;
    timed.store.compact().await.unwrap();
    let later = timed.store.snapshot("flows").unwrap();
    assert_eq!(later.files[0].path, after.files[0].path, "once is enough");
    assert!(later.files[0].hidden.is_empty(), "nothing is left to hide in it");
    timed.at(21).await;
    assert_eq!(timed.seen(), Vec::<i64>::new());
    assert!(timed.store.snapshot("flows").unwrap().files.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_rule_keeps_its_rows_and_nothing_else() {
    let mut retention = Retention::age(Some(hours(4)));
    retention.rules.push(of_ns(None));
    let timed = Timed::open(retention).await;
    timed.rows(0..6).await;
    timed.store.flush().await.unwrap();
    timed.at(5).await;
    assert_eq!(timed.seen(), [1, 2, 4, 5]);
    timed.store.compact().await.unwrap();
    assert_eq!(timed.store.snapshot("flows").unwrap().files[0].rows, 4);
    timed.at(20).await;
    assert_eq!(timed.seen(), [1, 2, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_files_go_when_there_are_too_many_bytes() {
    let timed = Timed::open(Retention { max_bytes: Some(1), ..Retention::default() }).await;
    for n in [0, 2 * 3600, 4 * 3600] {
        timed.rows(n..n + 1).await;
    }
    timed.store.flush().await.unwrap();
    timed.at(5).await;
    assert_eq!(timed.seen(), [4 * 3600], "the newest window stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_a_year_ahead_removes_nothing() {
    let timed = Timed::open(Retention::age(Some(hours(48)))).await;
    timed.rows(0..3).await;
    timed.store.flush().await.unwrap();
    timed.at(365 * 24).await;
    assert_eq!(timed.seen(), [0, 1, 2]);
    // What this host measures now is dated by the same clock.
    let year = 365 * 24 * 3600;
    timed.rows(year..year + 3).await;
    timed.at(365 * 24 + 1).await;
    assert_eq!(timed.seen().len(), 6);
    timed.store.flush().await.unwrap();
    timed.at(365 * 24 + 2).await;
    assert_eq!(timed.seen().len(), 6);
    // Rows of a whole day say that the time is what the clock says.
    for hour in (0..=24).step_by(2) {
        let n = year + hour * 3600;
        timed.rows(n + 3..n + 4).await;
    }
    timed.at(365 * 24 + 25).await;
    assert_eq!(timed.seen().first(), Some(&year));
}
