//! A sender as an agent is one.

use serde_json::Value;

use super::{Client, batch, flows, now_us};

/// Rows of a batch.
const ROWS: i64 = 40;

/// One batch at a time, repeated until it is acknowledged.
pub(crate) struct Sender {
    boot: String,
    next: i64,
    /// Batches that were acknowledged.
    acknowledged: Vec<i64>,
    /// The batch whose fate is not known.
    pending: Option<(i64, Vec<u8>)>,
}

impl Sender {
    pub(crate) fn new(boot: &str) -> Self {
        Self { boot: boot.to_owned(), next: 0, acknowledged: vec![], pending: None }
    }

    /// Sends the next batch, or the last one again; returns if it was acknowledged.
    pub(crate) fn send(&mut self, server: &Client) -> bool {
        let (sequence, body) = self.pending.take().unwrap_or_else(|| {
            let sequence = self.next;
            self.next += 1;
            // Workloads carry the sequence, so that a row that is there twice can be told.
            let names: Vec<String> =
                (0..ROWS).map(|i| format!("{}-{sequence}-{i}", self.boot)).collect();
            let rows: Vec<_> = names.iter().map(|n| (n.as_str(), sequence + 1, 0)).collect();
            (sequence, batch(&self.boot, sequence, &flows(now_us(), &rows)))
        });
        match server.post(&body) {
            Ok((200, _)) => {
                self.acknowledged.push(sequence);
                true
            }
            Ok((429 | 503, _)) | Err(_) => {
                self.pending = Some((sequence, body));
                false
            }
            Ok((status, text)) => panic!("{status}: {text}"),
        }
    }

    /// Whether a batch waits whose fate is not known.
    pub(crate) fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }

    /// Batches that were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Checks that a server has every acknowledged row once, and nothing else of this sender.
    pub(crate) fn check(&self, server: &Client, when: &str) {
        assert!(!self.is_waiting(), "{when}: a batch is in doubt");
        let rows = ROWS * i64::try_from(self.acknowledged.len()).unwrap();
        let bytes: i64 = self.acknowledged.iter().map(|sequence| ROWS * (sequence + 1)).sum();
        let boot = &self.boot;
        let answer = server.sql(&format!(
            "SELECT count(*), count(DISTINCT workload), coalesce(sum(tx_bytes), 0) FROM flows \
             WHERE workload LIKE '{boot}-%'"
        ));
        let found: Vec<Option<i64>> = answer[0].iter().map(Value::as_i64).collect();
        let wanted = [rows, rows, bytes].map(Some);
        assert_eq!(found, wanted, "rows, distinct rows, bytes of {boot}, {when}");
    }
}
