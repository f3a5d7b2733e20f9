//! Series out of many files and memory, each with all that there is of it.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;

use weir_storage::series::SeriesPoints;
use weir_storage::series::labels::{metric_name, write_text};

use super::block::{Part, Undecoded};
use super::rows::Rows;
use crate::promql::error::Error;

/// One input, in order of series.
enum Cursor {
    File(Box<Rows>),
    Memory(Points),
}

/// Points in memory, the next series last.
struct Points(Vec<(Key, SeriesPoints)>);

/// Name and labels of a series, as files are sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key(Arc<str>, Arc<str>);

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        // Files mostly are at the same series, whose labels are one text.
        let text = |a: &Arc<str>, b: &Arc<str>| match Arc::ptr_eq(a, b) {
            true => Ordering::Equal,
            false => a.cmp(b),
        };
        text(&self.0, &other.0).then_with(|| text(&self.1, &other.1))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// All inputs.
pub(super) struct Merge {
    cursors: Vec<Cursor>,
    /// The current series of each input that has one.
    heap: BinaryHeap<Reverse<(Key, usize)>>,
}

impl Merge {
    pub(super) fn new(files: Vec<Rows>, memory: Vec<SeriesPoints>) -> Self {
        let mut cursors: Vec<Cursor> =
            files.into_iter().map(|rows| Cursor::File(Box::new(rows))).collect();
        let mut points: Vec<(Key, SeriesPoints)> = memory
            .into_iter()
            .map(|points| {
                let mut text = String::new();
                write_text(&points.labels, &mut text);
                (Key(metric_name(&points.labels).into(), text.into()), points)
            })
            .collect();
        points.sort_unstable_by(|a, b| b.0.cmp(&a.0));
        cursors.push(Cursor::Memory(Points(points)));
        let current = cursors.iter().enumerate();
        let heap = current.filter_map(|(i, c)| Some(Reverse((c.key()?, i)))).collect();
        Self { cursors, heap }
    }

    /// The next series.
    pub(super) fn next(&mut self) -> Result<Option<Undecoded>, Error> {
        let Some(Reverse((key, first))) = self.heap.pop() else { return Ok(None) };
        let mut series =
            Undecoded { name: key.0.clone(), labels: key.1.clone(), parts: Vec::new() };
        self.take(first, &key, &mut series.parts)?;
        while self.heap.peek().is_some_and(|Reverse((next, _))| *next == key) {
            let Some(Reverse((_, input))) = self.heap.pop() else { break };
            self.take(input, &key, &mut series.parts)?;
        }
        Ok(Some(series))
    }

    /// Takes everything of a series from an input that is at it.
    fn take(&mut self, input: usize, key: &Key, parts: &mut Vec<Part>) -> Result<(), Error> {
        let Some(cursor) = self.cursors.get_mut(input) else { return Ok(()) };
        match cursor {
            Cursor::File(rows) => {
                let mut more = true;
                while more
                    && rows
                        .series()
                        .is_some_and(|(name, labels)| *name == key.0 && *labels == key.1)
                {
                    parts.extend(rows.chunk().map(Part::Chunk));
                    more = rows.advance()?;
                }
                if more {
                    self.heap.extend(cursor.key().map(|key| Reverse((key, input))));
                } else {
                    // Its columns and what else was open of it; chunks hold the file themselves.
                    *cursor = Cursor::Memory(Points(Vec::new()));
                }
            }
            Cursor::Memory(Points(points)) => {
                parts.extend(points.pop().map(|(_, points)| Part::Points(points)));
                self.heap.extend(cursor.key().map(|key| Reverse((key, input))));
            }
        }
        Ok(())
    }
}

impl Cursor {
    fn key(&self) -> Option<Key> {
        match self {
            Self::File(rows) => {
                rows.series().map(|(name, labels)| Key(name.clone(), labels.clone()))
            }
            Self::Memory(Points(points)) => points.last().map(|(key, _)| key.clone()),
        }
    }
}
