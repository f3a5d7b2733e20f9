//! Senders of entries.

use rand::Rng;

use super::super::rows::{self, Row, TABLES};
use super::{Done, HOUR, Mode, Run, SECOND};
use crate::entry::{Appended, Entry, Source};
use crate::error::ErrorKind;

/// A sender: one entry at a time, repeated until it is acknowledged.
#[derive(Debug, Default)]
pub(super) struct Sender {
    boot: u32,
    next: i64,
    /// Entry, boot and sequence of what was not acknowledged.
    pending: Option<(usize, u32, i64)>,
    last: Option<(usize, u32, i64)>,
}

impl Run {
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

    pub(super) async fn append(&mut self) -> Done {
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
}
