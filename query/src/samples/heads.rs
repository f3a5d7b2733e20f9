//! What is known of rows beside their values: whose points they are, and of which times.
//!
//! ```text
//! a stretch: 512 rows of a row group, read together when one of them is asked for
//!   of each row: name, labels, first and last time, number of points, their times
//! ```
//!
//! Dashboards ask for the same series again and again. Names, labels and times are the larger part of the
//! pages that a query touches, and the same texts in every file: kept between queries, they leave one page
//! of values to read for each row that is wanted. What was not used for longest is let go of first.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use parking_lot::Mutex;
use parquet::errors::{ParquetError, Result};

use super::columns::Heads;

/// Rows of a stretch.
pub(super) const STRETCH_ROWS: usize = 512;

/// Heads of rows, kept between queries within a bound of bytes.
#[derive(Debug)]
pub(crate) struct HeadCache {
    limit: usize,
    kept: Mutex<Kept>,
}

/// Which stretch: of a file, by the number of the row group and its own within that.
type Key = (Path, usize, usize);

#[derive(Debug, Default)]
struct Kept {
    stretches: HashMap<Key, Entry>,
    /// The labels of all that is kept, each text once.
    texts: HashSet<Arc<str>>,
    bytes: usize,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    stretch: Arc<Stretch>,
    used: u64,
}

/// Heads of consecutive rows.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    rows: Vec<Row>,
    names: Vec<Arc<str>>,
    times: Vec<Bytes>,
}

#[derive(Debug)]
struct Row {
    labels: Arc<str>,
    start: i64,
    end: i64,
    count: i32,
    /// Among the names and times of the stretch.
    name: u16,
    times: u16,
}

/// The head of one row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) name: &'a Arc<str>,
    /// All other labels, as text.
    pub(super) labels: &'a Arc<str>,
    /// First and last time, microseconds.
    pub(super) start: i64,
    /// See `start`.
    pub(super) end: i64,
    /// How many points.
    pub(super) count: i32,
    /// Their times, encoded.
    pub(super) times: &'a Bytes,
}

impl HeadCache {
    /// Keeps at most about `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, kept: Mutex::default() }
    }

    /// The stretch of a row group that a row, numbered within it, is in; `read` is called if it is not known.
    pub(super) fn stretch(
        &self,
        file: &Path,
        group: usize,
        number: usize,
        read: impl FnOnce() -> Result<Heads>,
    ) -> Result<Arc<Stretch>> {
        let key = (file.clone(), group, number);
        if let Some(known) = self.kept.lock().get(&key) {
            return Ok(known);
        }
        let heads = read()?;
        let mut kept = self.kept.lock();
        // Another query may have been as fast.
        if let Some(known) = kept.get(&key) {
            return Ok(known);
        }
        let stretch = Arc::new(Stretch::new(&heads, |text| kept.text(text))?);
        kept.bytes += stretch.bytes();
        kept.clock += 1;
        let entry = Entry { stretch: stretch.clone(), used: kept.clock };
        kept.stretches.insert(key, entry);
        if kept.bytes > self.limit {
            kept.shrink(self.limit / 4 * 3);
        }
        Ok(stretch)
    }
}

impl Kept {
    fn get(&mut self, key: &Key) -> Option<Arc<Stretch>> {
        self.clock += 1;
        let entry = self.stretches.get_mut(key)?;
        entry.used = self.clock;
        Some(entry.stretch.clone())
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let new: Arc<str> = text.into();
        self.bytes += text.len() + 3 * size_of::<Arc<str>>();
        self.texts.insert(new.clone());
        new
    }

    /// Lets go of what was used longest ago, until `limit` bytes are left.
    fn shrink(&mut self, limit: usize) {
        let mut by_age: Vec<(u64, Key)> =
            self.stretches.iter().map(|(key, entry)| (entry.used, key.clone())).collect();
        by_age.sort_unstable_by_key(|(used, _)| *used);
        // Texts go with the last stretch that has them; how many bytes that frees is known afterwards.
        for some in by_age.chunks(by_age.len() / 8 + 1) {
            for (_, key) in some {
                self.stretches.remove(key);
            }
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            let texts = self.texts.iter().map(|text| text.len() + 3 * size_of::<Arc<str>>());
            let stretches = self.stretches.values().map(|entry| entry.stretch.bytes());
            self.bytes = texts.sum::<usize>() + stretches.sum::<usize>();
            if self.bytes <= limit {
                break;
            }
        }
    }
}

impl Stretch {
    fn new(heads: &Heads, mut labels_of: impl FnMut(&str) -> Arc<str>) -> Result<Self> {
        let Heads { names, labels, starts, ends, counts, times } = heads;
        let mut stretch = Self::default();
        stretch.rows.reserve_exact(names.len());
        let columns = names.iter().zip(labels).zip(starts).zip(ends).zip(counts).zip(times);
        for (((((name, labels), start), end), count), times) in columns {
            let name = place(
                &mut stretch.names,
                |known| known.as_bytes() == name.data(),
                || Ok(name.as_utf8()?.into()),
            )?;
            let times = place(
                &mut stretch.times,
                |known| **known == *times.data(),
                || Ok(Bytes::copy_from_slice(times.data())),
            )?;
            let labels = labels_of(labels.as_utf8()?);
            stretch.rows.push(Row { labels, start: *start, end: *end, count: *count, name, times });
        }
        Ok(stretch)
    }

    /// The head of a row, numbered within the stretch.
    pub(super) fn head(&self, row: usize) -> Option<Head<'_>> {
        let row = self.rows.get(row)?;
        Some(Head {
            name: self.names.get(usize::from(row.name))?,
            labels: &row.labels,
            start: row.start,
            end: row.end,
            count: row.count,
            times: self.times.get(usize::from(row.times))?,
        })
    }

    /// About how many bytes it takes, without labels.
    fn bytes(&self) -> usize {
        let names: usize = self.names.iter().map(|name| name.len() + 32).sum();
        let times: usize = self.times.iter().map(|times| times.len() + 48).sum();
        self.rows.capacity() * size_of::<Row>() + names + times + 160
    }
}

/// Where a value is among those known; the last one is the most likely.
fn place<T>(
    known: &mut Vec<T>,
    is_it: impl Fn(&T) -> bool,
    make: impl FnOnce() -> Result<T>,
) -> Result<u16> {
    let place = match known.iter().rposition(is_it) {
        Some(place) => place,
        None => {
            known.push(make()?);
            known.len() - 1
        }
    };
    u16::try_from(place).map_err(|error| ParquetError::External(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Heads of `rows` rows of metric `m`.
    fn heads(rows: usize, label: impl Fn(usize) -> String) -> Heads {
        let mut heads = Heads::default();
        for row in 0..rows {
            let at = i64::try_from(row).expect("a row");
            heads.names.push("m".into());
            heads.labels.push(label(row).into_bytes().into());
            heads.starts.push(at);
            heads.ends.push(at + 1000);
            heads.counts.push(100 + i32::try_from(row).expect("a row"));
            heads.times.push(vec![1, u8::try_from(row % 3).expect("a byte")].into());
        }
        heads
    }

    #[test]
    fn a_stretch_is_read_once_and_has_what_was_read() {
        let cache = HeadCache::new(1 << 20);
        let path = Path::from("file");
        let get = |number, read: bool| {
            let rows = || {
                assert!(read, "it was known");
                Ok(heads(STRETCH_ROWS, |row| format!("{{a=\"{}\"}}", row / 2)))
            };
            cache.stretch(&path, 0, number, rows).expect("a stretch")
        };
        for (number, read) in [(0, true), (1, true), (0, false), (1, false)] {
            let stretch = get(number, read);
            let Head { name, labels, start, end, count, times } =
                stretch.head(7).expect("the row is there");
            assert_eq!((&**name, &**labels), ("m", "{a=\"3\"}"));
            assert_eq!((start, end, count, &**times), (7, 1007, 107, &[1, 1][..]));
            assert!(stretch.head(STRETCH_ROWS).is_none());
        }
        let (one, other) = (get(0, false), get(1, false));
        let labels = |stretch: &Stretch| stretch.head(9).expect("a row").labels.clone();
        assert!(Arc::ptr_eq(&labels(&one), &labels(&other)), "a text is kept twice");
        let failed = cache.stretch(&path, 1, 0, || Err(ParquetError::EOF("cut".to_owned())));
        assert!(failed.is_err());
        assert_eq!(cache.kept.lock().stretches.len(), 2);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes() {
        const LIMIT: usize = 1 << 20;
        let cache = HeadCache::new(LIMIT);
        let path = Path::from("file");
        let mut largest = 0;
        for number in 0..200 {
            let read =
                || Ok(heads(STRETCH_ROWS, |row| format!("{{n=\"{number}\",row=\"{row}\"}}")));
            cache.stretch(&path, 0, number, read).expect("a stretch");
            // The first is asked again and again.
            cache.stretch(&path, 0, 0, || panic!("it was let go of")).expect("a stretch");
            let kept = cache.kept.lock();
            let counted: usize = kept.stretches.values().map(|e| e.stretch.bytes()).sum::<usize>()
                + kept.texts.iter().map(|text| text.len() + 48).sum::<usize>();
            assert_eq!(kept.bytes, counted);
            assert!(counted <= LIMIT);
            largest = largest.max(counted);
            let texts = kept.stretches.len() * STRETCH_ROWS;
            assert_eq!(kept.texts.len(), texts, "texts that nothing has are kept");
        }
        assert!(largest > LIMIT / 2, "{largest}");
        let again = cache.stretch(&path, 0, 1, || Ok(Heads::default())).expect("a stretch");
        assert!(again.head(0).is_none(), "it is long gone");
    }
}
