//! Series as they are stored, and what is in them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use weir_storage::Hidden;
use weir_storage::series::chunk::{self, ChunkError};
use weir_storage::series::labels::text_labels;
use weir_storage::series::{SeriesPoints, settle};

use super::columns::ValueColumn;
use super::rows::{Chunk, unreadable};
use super::wanted::hides;
use crate::promql::error::Error;
use crate::promql::source::{Block, EachSeries, Labels, Points};

/// A series that has not been decoded.
pub(super) struct Undecoded {
    pub(super) name: Arc<str>,
    /// All other labels, as text.
    pub(super) labels: Arc<str>,
    pub(super) parts: Vec<Part>,
}

/// Some points of a series.
pub(super) enum Part {
    /// A row of a file.
    Chunk(Chunk),
    /// From memory.
    Points(SeriesPoints),
}

impl Undecoded {
    /// About how many points it has.
    pub(super) fn points(&self) -> usize {
        let of = |part: &Part| match part {
            Part::Chunk(chunk) => usize::try_from(chunk.count).unwrap_or_default(),
            Part::Points(points) => points.times.len(),
        };
        self.parts.iter().map(of).sum()
    }
}

/// Series with their points in `(after, until]`, milliseconds.
pub(super) struct Series {
    pub(super) series: Vec<Undecoded>,
    pub(super) after: i64,
    pub(super) until: i64,
}

impl Block for Series {
    fn read(self: Box<Self>, each: EachSeries<'_>) -> Result<(), Error> {
        let mut texts = Texts::default();
        let mut reader = Reader { span: (self.after, self.until), ..Reader::default() };
        for series in &self.series {
            let times_number = reader.read(series)?;
            if !reader.times.is_empty() {
                let points = Points { times: &reader.times, values: &reader.values, times_number };
                each(texts.labels(&series.name, &series.labels)?, points)?;
            }
        }
        Ok(())
    }
}

/// Reads series one after the other.
#[derive(Default)]
struct Reader {
    /// Times `(after, until]` are read.
    span: (i64, i64),
    decoder: Decoder,
    stored: Stored,
    /// Of the series that was read last.
    times: Vec<i64>,
    values: Vec<f64>,
    /// Which of the decoder's times these were, where that is all there is to say of them, and their number.
    origin: Vec<Origin>,
    number: u64,
    /// Of the series that is being read.
    next: Vec<Origin>,
    /// The numbers that have been given.
    numbers: HashMap<Vec<Origin>, u64>,
}

impl Reader {
    /// Reads a series; the number of its times, see [`Points::times_number`].
    fn read(&mut self, series: &Undecoded) -> Result<u64, Error> {
        self.values.clear();
        self.values.reserve(series.points());
        if self.find_origin(series)? && self.next == self.origin {
            for (part, origin) in series.parts.iter().zip(&self.origin) {
                if let Part::Chunk(chunk) = part {
                    self.stored.decode(chunk, origin.points.clone(), &mut self.values)?;
                }
            }
            return Ok(self.number);
        }
        std::mem::swap(&mut self.origin, &mut self.next);
        self.times.clear();
        self.times.reserve(series.points());
        let mut sorted = true;
        for part in &series.parts {
            let before = self.times.len();
            match part {
                Part::Chunk(chunk) => {
                    sorted &= self.append(chunk)?;
                    if !chunk.file.file.hidden.is_empty() {
                        let (times, values) = (&mut self.times, &mut self.values);
                        hide(&chunk.file.file.hidden, series, before, times, values);
                    }
                }
                // Of that time, without what is hidden; ascending.
                Part::Points(points) => {
                    self.times.extend_from_slice(&points.times);
                    self.values.extend_from_slice(&points.values);
                }
            }
            sorted &= follows(&self.times, before);
        }
        if !sorted {
            settle(&mut self.times, &mut self.values);
            self.origin.clear();
        }
        self.number = match (self.numbers.get(&self.origin), self.origin.is_empty()) {
            (_, true) => 0,
            (Some(number), _) => *number,
            (None, _) => {
                let number = self.numbers.len() as u64 + 1;
                self.numbers.insert(self.origin.clone(), number);
                number
            }
        };
        Ok(self.number)
    }

    /// Notes where the times of a series come from, in `next`; false, and nothing, if that is more than files.
    fn find_origin(&mut self, series: &Undecoded) -> Result<bool, Error> {
        self.next.clear();
        // With more parts they would be forgotten before they are appended.
        let few = series.parts.len() <= KEPT_TIMES;
        for part in &series.parts {
            match part {
                Part::Chunk(chunk) if few && chunk.file.file.hidden.is_empty() => {
                    let known = self.decoder.times(chunk, self.span);
                    let Known { number, wanted, .. } = known.map_err(|e| damaged(chunk, &e))?;
                    self.next.push(Origin { number: *number, points: wanted.clone() });
                }
                _ => {
                    self.next.clear();
                    return Ok(false);
                }
            }
        }
        Ok(!self.next.is_empty())
    }

    /// Appends the points of a chunk; whether they ascend.
    fn append(&mut self, chunk: &Chunk) -> Result<bool, Error> {
        let known = self.decoder.times(chunk, self.span);
        let known = known.map_err(|e| damaged(chunk, &e))?;
        self.stored.decode(chunk, known.wanted.clone(), &mut self.values)?;
        let times = known.times.get(known.wanted.clone()).unwrap_or_default();
        self.times.extend_from_slice(times);
        Ok(known.ascend)
    }
}

/// The values of the files that a block's series are in.
#[derive(Default)]
struct Stored {
    /// By the number of the file: the row group that is being read.
    columns: HashMap<usize, (usize, ValueColumn)>,
}

impl Stored {
    /// Appends values of a chunk; those of a file are asked for in the order of its rows.
    fn decode(
        &mut self,
        chunk: &Chunk,
        points: Range<usize>,
        to: &mut Vec<f64>,
    ) -> Result<(), Error> {
        let bytes = self.read(chunk).map_err(|error| unreadable(&chunk.file.file, &error))?;
        chunk::decode_values_in(bytes, chunk.count, points, to).map_err(|e| damaged(chunk, &e))
    }

    fn read(&mut self, chunk: &Chunk) -> Result<&[u8], ParquetError> {
        let Chunk { file, group, row, .. } = chunk;
        let open = || Ok::<_, ParquetError>((*group, ValueColumn::open(&file.group(*group))?));
        let (_, column) = match self.columns.entry(file.number) {
            Entry::Occupied(entry) if entry.get().0 == *group => entry.into_mut(),
            Entry::Occupied(mut entry) => {
                entry.insert(open()?);
                entry.into_mut()
            }
            Entry::Vacant(entry) => entry.insert(open()?),
        };
        column.read(*row)
    }
}

fn damaged(chunk: &Chunk, error: &ChunkError) -> Error {
    Error::Internal(format!("samples in {} cannot be read: {error}", chunk.file.file.path))
}

/// Whether the times from `at` on come after those before.
fn follows(times: &[i64], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|last| times.get(last));
    before.zip(times.get(at)).is_none_or(|(before, next)| before < next)
}

/// Times that are kept: a series has some chunks, and the next series of the target the same again.
const KEPT_TIMES: usize = 64;

/// Where times of a series come from.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Origin {
    /// Of what was decoded.
    number: u64,
    /// The points in it that are wanted.
    points: Range<usize>,
}

/// Decodes times. Series of one target have the same.
#[derive(Default)]
struct Decoder {
    /// What was decoded last.
    known: Vec<Known>,
    /// The one to be replaced next.
    oldest: usize,
    /// How many have been decoded.
    decoded: u64,
}

/// Times, and the bytes that they were decoded from.
struct Known {
    number: u64,
    bytes: Bytes,
    times: Vec<i64>,
    /// Whether they ascend, as they should.
    ascend: bool,
    /// Those that are asked for.
    wanted: Range<usize>,
}

impl Decoder {
    /// The times of a chunk; those in `(after, until]` are asked for.
    fn times(&mut self, chunk: &Chunk, (after, until): (i64, i64)) -> Result<&Known, ChunkError> {
        let count = usize::try_from(chunk.count).unwrap_or(usize::MAX);
        let known = |known: &Known| known.times.len() == count && same(&known.bytes, &chunk.times);
        let place = match self.known.iter().position(known) {
            Some(place) => place,
            None => {
                let place = self.oldest;
                let mut times = match self.known.get_mut(place) {
                    Some(known) => std::mem::take(&mut known.times),
                    None => Vec::new(),
                };
                times.clear();
                chunk::decode_times(&chunk.times, chunk.count, &mut times)?;
                let from = times.partition_point(|time| *time <= after);
                let to = times.partition_point(|time| *time <= until).max(from);
                self.decoded += 1;
                let entry = Known {
                    number: self.decoded,
                    bytes: chunk.times.clone(),
                    ascend: times.is_sorted_by(|a, b| a < b),
                    times,
                    wanted: from..to,
                };
                if place == self.known.len() {
                    self.known.push(entry);
                } else {
                    self.known[place] = entry;
                }
                self.oldest = (place + 1) % KEPT_TIMES;
                place
            }
        };
        Ok(&self.known[place])
    }
}

/// Whether these are the same bytes. Those of one stretch lie in the same place.
fn same(a: &Bytes, b: &Bytes) -> bool {
    a.len() == b.len() && (a.as_ptr() == b.as_ptr() || a == b)
}

/// Removes the points from `from` on that are hidden.
fn hide(
    hidden: &[Arc<Hidden>],
    series: &Undecoded,
    from: usize,
    times: &mut Vec<i64>,
    values: &mut Vec<f64>,
) {
    for hidden in hidden.iter().filter(|h| hides(h, &series.name, &series.labels)) {
        let is_hidden = |time: i64| {
            let micros = time.saturating_mul(1000);
            hidden.after < micros && micros <= hidden.until
        };
        let mut at = 0..;
        let mut kept = at.clone();
        let keep = |index: Option<usize>, times: &[i64]| {
            index.is_none_or(|i| i < from || times.get(i).is_none_or(|time| !is_hidden(*time)))
        };
        values.retain(|_| keep(at.next(), times));
        let shown = times.clone();
        times.retain(|_| keep(kept.next(), &shown));
    }
}

/// Label texts that are remembered at most. A listing goes through all series of a history, and some labels have
/// another value in each of them.
const MAX_TEXTS: usize = 100_000;

/// Label texts that have been seen: most come again.
#[derive(Debug, Default)]
pub(super) struct Texts(HashSet<Arc<str>>);

impl Texts {
    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        if self.0.len() >= MAX_TEXTS {
            self.0.clear();
        }
        let new: Arc<str> = text.into();
        self.0.insert(new.clone());
        new
    }

    /// The labels of a series, sorted.
    pub(super) fn labels(&mut self, name: &str, text: &str) -> Result<Labels, Error> {
        let mut labels = Vec::with_capacity(12);
        if !name.is_empty() {
            labels.push((self.text("__name__"), self.text(name)));
        }
        for label in text_labels(text) {
            let (name, value) =
                label.map_err(|e| Error::Internal(format!("labels of a series {text}: {e}")))?;
            labels.push((self.text(&name), self.text(&value)));
        }
        // All but the name come in order.
        if !labels.is_sorted() {
            labels.sort_unstable();
        }
        Ok(Labels(labels))
    }
}
