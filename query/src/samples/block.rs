//! Series as they are stored, and what is in them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use weir_storage::Hidden;
use weir_storage::series::chunk::{self, ChunkError};
use weir_storage::series::labels::text_labels;
use weir_storage::series::{SeriesPoints, settle};

use super::rows::Chunk;
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
            let times_again = reader.read(series)?;
            if !reader.times.is_empty() {
                let points = Points { times: &reader.times, values: &reader.values, times_again };
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
    /// Of the series that was read last.
    times: Vec<i64>,
    values: Vec<f64>,
    /// Which of the decoder's times these were, where that is all there is to say of them.
    origin: Vec<Origin>,
    /// Of the series that is being read.
    next: Vec<Origin>,
}

impl Reader {
    /// Reads a series; whether its times, of which there are some, are those of the series before.
    fn read(&mut self, series: &Undecoded) -> Result<bool, Error> {
        self.values.clear();
        if self.has_same_times(series)? {
            for (part, origin) in series.parts.iter().zip(&self.origin) {
                if let Part::Chunk(chunk) = part {
                    let decoded = chunk.decode(origin.points.clone(), &mut self.values);
                    decoded.map_err(|e| unreadable(chunk, &e))?;
                }
            }
            return Ok(!self.times.is_empty());
        }
        self.times.clear();
        let mut sorted = true;
        for part in &series.parts {
            let before = self.times.len();
            match part {
                Part::Chunk(chunk) => {
                    sorted &= self.append(chunk).map_err(|e| unreadable(chunk, &e))?;
                    if !chunk.file.hidden.is_empty() {
                        hide(&chunk.file.hidden, series, before, &mut self.times, &mut self.values);
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
        Ok(false)
    }

    /// Whether all times of a series come from where those of the series before came from. If not, it is
    /// noted where they come from.
    fn has_same_times(&mut self, series: &Undecoded) -> Result<bool, Error> {
        self.next.clear();
        for part in &series.parts {
            match part {
                // With more parts they would be forgotten before they are appended.
                Part::Chunk(chunk)
                    if chunk.file.hidden.is_empty() && series.parts.len() <= KEPT_TIMES =>
                {
                    let known = self.decoder.times(chunk, self.span);
                    let Known { number, wanted, .. } = known.map_err(|e| unreadable(chunk, &e))?;
                    self.next.push(Origin { number: *number, points: wanted.clone() });
                }
                _ => {
                    self.origin.clear();
                    return Ok(false);
                }
            }
        }
        let same = !self.origin.is_empty() && self.origin == self.next;
        std::mem::swap(&mut self.origin, &mut self.next);
        Ok(same)
    }

    /// Appends the points of a chunk; whether they ascend.
    fn append(&mut self, chunk: &Chunk) -> Result<bool, ChunkError> {
        let known = self.decoder.times(chunk, self.span)?;
        chunk.decode(known.wanted.clone(), &mut self.values)?;
        let times = known.times.get(known.wanted.clone()).unwrap_or_default();
        self.times.extend_from_slice(times);
        Ok(known.ascend)
    }
}

impl Chunk {
    /// Appends the values of some of its points.
    fn decode(&self, points: Range<usize>, to: &mut Vec<f64>) -> Result<(), ChunkError> {
        chunk::decode_values_in(&self.values, self.count, points, to)
    }
}

fn unreadable(chunk: &Chunk, error: &ChunkError) -> Error {
    Error::Internal(format!("samples in {} cannot be read: {error}", chunk.file.path))
}

/// Whether the times from `at` on come after those before.
fn follows(times: &[i64], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|last| times.get(last));
    before.zip(times.get(at)).is_none_or(|(before, next)| before < next)
}

/// Times that are kept: a series has some chunks, and the next series of the target the same again.
const KEPT_TIMES: usize = 64;

/// Where times of a series come from.
#[derive(PartialEq, Eq)]
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

/// Label texts that have been seen: most come again.
#[derive(Debug, Default)]
pub(super) struct Texts(HashMap<Box<str>, Arc<str>>);

impl Texts {
    fn text(&mut self, text: &str) -> Arc<str> {
        match self.0.get(text) {
            Some(known) => known.clone(),
            None => {
                let new: Arc<str> = text.into();
                self.0.insert(text.into(), new.clone());
                new
            }
        }
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
