//! Series as they are stored, and what is in them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use weir_storage::Hidden;
use weir_storage::series::chunk::{self, ChunkError};
use weir_storage::series::labels::text_labels;
use weir_storage::series::{SeriesPoints, settle};

use super::rows::Chunk;
use super::wanted::hides;
use crate::promql::error::Error;
use crate::promql::source::{Block, EachSeries, Labels};

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
        let mut decoder = Decoder::default();
        let (mut times, mut values) = (Vec::new(), Vec::new());
        for series in &self.series {
            times.clear();
            values.clear();
            for part in &series.parts {
                let before = times.len();
                match part {
                    Part::Chunk(chunk) => {
                        let span = (self.after, self.until);
                        decoder.decode(chunk, span, &mut times, &mut values).map_err(|e| {
                            let path = &chunk.file.path;
                            Error::Internal(format!("samples in {path} cannot be read: {e}"))
                        })?;
                        if !chunk.file.hidden.is_empty() {
                            hide(&chunk.file.hidden, series, before, &mut times, &mut values);
                        }
                    }
                    // Of that time, without what is hidden.
                    Part::Points(points) => {
                        times.extend_from_slice(&points.times);
                        values.extend_from_slice(&points.values);
                    }
                }
            }
            settle(&mut times, &mut values);
            if !times.is_empty() {
                each(texts.labels(&series.name, &series.labels)?, &times, &values)?;
            }
        }
        Ok(())
    }
}

/// Times that are kept: a series has some chunks, and the next series of the target the same again.
const KEPT_TIMES: usize = 16;

/// Reads chunks one after the other. Series of one target have the same times.
#[derive(Default)]
struct Decoder {
    /// The bytes of times that were read last, and those times.
    known: Vec<(Bytes, Vec<i64>)>,
    /// The one to be replaced next.
    oldest: usize,
}

impl Decoder {
    /// Appends the points of a chunk with times in `(after, until]`.
    fn decode(
        &mut self,
        chunk: &Chunk,
        (after, until): (i64, i64),
        times: &mut Vec<i64>,
        values: &mut Vec<f64>,
    ) -> Result<(), ChunkError> {
        let all = self.times(chunk)?;
        let from = all.partition_point(|time| *time <= after);
        let to = all.partition_point(|time| *time <= until).max(from);
        chunk::decode_values_in(&chunk.values, chunk.count, from..to, values)?;
        times.extend_from_slice(all.get(from..to).unwrap_or_default());
        Ok(())
    }

    /// The times of a chunk.
    fn times(&mut self, chunk: &Chunk) -> Result<&[i64], ChunkError> {
        let count = usize::try_from(chunk.count).unwrap_or(usize::MAX);
        let same =
            |(bytes, times): &(Bytes, Vec<i64>)| times.len() == count && *bytes == chunk.times;
        let place = match self.known.iter().position(same) {
            Some(place) => place,
            None => {
                let place = self.oldest;
                let mut room = match self.known.get_mut(place) {
                    Some((_, times)) => std::mem::take(times),
                    None => Vec::new(),
                };
                room.clear();
                chunk::decode_times(&chunk.times, chunk.count, &mut room)?;
                let entry = (chunk.times.clone(), room);
                match self.known.get_mut(place) {
                    Some(known) => *known = entry,
                    None => self.known.push(entry),
                }
                self.oldest = (place + 1) % KEPT_TIMES;
                place
            }
        };
        Ok(self.known.get(place).map(|(_, times)| times.as_slice()).unwrap_or_default())
    }
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
