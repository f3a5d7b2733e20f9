//! From the bytes of an index to rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, StringArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use bytes::Bytes;
use roaring::{MultiOps, RoaringBitmap};

use super::{INDEXED, MAGIC, MAX_BODY, PREFIX, TOO_LARGE, TOO_MANY, VERSION};

/// What is wrong with some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// At this offset from the start of what was parsed.
    Damaged(usize, &'static str),
    /// A layout of another version.
    Version(u32),
}

/// Where a column's block is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: String,
    /// Nothing for a column that was left out.
    pub(super) block: Option<Block>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    /// From the index's start.
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) crc: u32,
}

/// The head of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) rows: u32,
    pub(super) columns: Vec<Place>,
}

/// Length of the head, from its first bytes.
pub(super) fn head_length(bytes: &[u8]) -> Result<usize, Wrong> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.take(MAGIC.len())? != MAGIC {
        return Err(Wrong::Damaged(0, "it does not begin with WEIRLIDX"));
    }
    let version = reader.u32()?;
    if version != VERSION {
        return Err(Wrong::Version(version));
    }
    let directory = reader.length()?;
    directory.checked_add(PREFIX + 4).ok_or(Wrong::Damaged(PREFIX - 4, "the directory has no end"))
}

/// Parses a head of exactly these bytes; `index_length` bounds the blocks.
pub(super) fn head(bytes: &[u8], index_length: u64) -> Result<Head, Wrong> {
    if head_length(bytes)? != bytes.len() {
        return Err(Wrong::Damaged(0, "the head is cut off"));
    }
    let (body, crc) = bytes.split_at_checked(bytes.len() - 4).ok_or(CUT_OFF)?;
    if crc32fast::hash(body).to_le_bytes() != crc {
        return Err(Wrong::Damaged(0, "the checksum of the head is wrong"));
    }
    let mut reader = Reader { bytes: body, at: PREFIX };
    let rows = reader.u32()?;
    let count = reader.length()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let at = reader.at;
        let name_length = reader.u16()?;
        let name = std::str::from_utf8(reader.take(usize::from(name_length))?)
            .map_err(|_| Wrong::Damaged(at, "a column's name is not UTF-8"))?
            .to_owned();
        let state = reader.take(1)?.first().copied();
        let block = Block { offset: reader.u32()?, length: reader.u32()?, crc: reader.u32()? };
        let end = u64::from(block.offset) + u64::from(block.length);
        let block = match state {
            Some(INDEXED) if end <= index_length => Some(block),
            Some(INDEXED) => return Err(Wrong::Damaged(at, "a column lies beyond the index")),
            Some(TOO_MANY | TOO_LARGE) => None,
            _ => return Err(Wrong::Damaged(at, "a column has a state that does not exist")),
        };
        columns.push(Place { name, block });
    }
    Ok(Head { rows, columns })
}

/// Which rows of a file have which value of one label.
#[derive(Debug)]
pub struct ColumnIndex {
    rows: u32,
    values: ArrayRef,
    /// Bitmaps, one after the other, and where each ends.
    bitmaps: Bytes,
    ends: Vec<usize>,
    /// Where the block begins in the file, for messages.
    pub(super) offset: u64,
}

impl ColumnIndex {
    /// The distinct values of the column, as Utf8; the first is null if rows without a value exist.
    #[must_use]
    pub fn values(&self) -> &ArrayRef {
        &self.values
    }

    /// Rows of the file.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Bytes in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of::<Self>()
            + self.bitmaps.len()
            + self.ends.len() * size_of::<usize>()
            + self.values.get_array_memory_size()
    }

    /// Rows whose value passes; `chosen` says so of each of [`ColumnIndex::values`].
    ///
    /// # Errors
    /// What is wrong with a bitmap.
    pub fn select(&self, chosen: &BooleanArray) -> Result<RoaringBitmap, &'static str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let mut bitmaps = Vec::new();
        for (i, (start, end)) in starts.zip(&self.ends).enumerate().take(chosen.len()) {
            if !chosen.is_valid(i) || !chosen.value(i) {
                continue;
            }
            let bytes = self.bitmaps.get(start..*end).ok_or("a bitmap is cut off")?;
            let bitmap = RoaringBitmap::deserialize_from(bytes)
                .map_err(|_| "a bitmap is not in Roaring's format")?;
            if bitmap.max().is_some_and(|row| row >= self.rows) {
                return Err("a bitmap has rows that the file has not");
            }
            bitmaps.push(bitmap);
        }
        Ok(bitmaps.union())
    }

    /// Rows whose value passes `accepts`, which is asked once for each distinct value.
    ///
    /// # Errors
    /// As [`ColumnIndex::select`].
    pub fn rows_where(
        &self,
        mut accepts: impl FnMut(Option<&str>) -> bool,
    ) -> Result<RoaringBitmap, &'static str> {
        let texts = self.values.as_any().downcast_ref::<StringArray>();
        let chosen: Vec<bool> = texts.into_iter().flatten().map(&mut accepts).collect();
        self.select(&BooleanArray::from(chosen))
    }
}

/// Parses a column's block of a file with this many rows.
pub(super) fn column(block: &Bytes, crc: u32, rows: u32) -> Result<ColumnIndex, Wrong> {
    if crc32fast::hash(block) != crc {
        return Err(Wrong::Damaged(0, "the checksum of a column is wrong"));
    }
    let mut reader = Reader { bytes: block, at: 0 };
    let size = reader.length()?;
    if size > MAX_BODY {
        return Err(Wrong::Damaged(0, "a column is larger than any writer makes it"));
    }
    let compressed = block.get(reader.at..).unwrap_or_default();
    let body = zstd::bulk::decompress(compressed, size)
        .map_err(|_| Wrong::Damaged(4, "a column cannot be decompressed"))?;
    if body.len() != size {
        return Err(Wrong::Damaged(4, "a column has not the length that it says"));
    }
    body_of(body, rows)
}

fn body_of(body: Vec<u8>, rows: u32) -> Result<ColumnIndex, Wrong> {
    // Offsets inside of a compressed body would help nobody: the block's start stands for them.
    let wrong = |what| Wrong::Damaged(0, what);
    let mut reader = Reader { bytes: &body, at: 0 };
    let count = reader.length()?;
    let absent = match reader.take(1)? {
        [0] => 0,
        [1] => 1,
        _ => return Err(wrong("a column's mark of absent values is neither 0 nor 1")),
    };
    if count.saturating_mul(8) > body.len() {
        return Err(wrong("a column has fewer bytes than values"));
    }
    let mut value_lengths = vec![0; absent];
    let mut ends = Vec::with_capacity(count + absent);
    for _ in 0..count {
        value_lengths.push(reader.length()?);
    }
    let mut end = 0usize;
    for _ in 0..count + absent {
        end = end.saturating_add(reader.length()?);
        ends.push(end);
    }
    let text_length = value_lengths.iter().fold(0usize, |sum, n| sum.saturating_add(*n));
    let texts = reader.take(text_length)?.to_vec();
    let start = reader.at;
    if body.len() - start != end {
        return Err(wrong("a column's bitmaps have not the length that it says"));
    }
    if i32::try_from(text_length).is_err() {
        return Err(wrong("a column's values are too long"));
    }
    let offsets = OffsetBuffer::from_lengths(value_lengths);
    let nulls = (absent == 1).then(|| {
        NullBuffer::from_iter(std::iter::once(false).chain(std::iter::repeat_n(true, count)))
    });
    let values = StringArray::try_new(offsets, Buffer::from_vec(texts), nulls)
        .map_err(|_| wrong("a column's values are not UTF-8"))?;
    let bitmaps = Bytes::from(body).slice(start..);
    Ok(ColumnIndex { rows, values: Arc::new(values), bitmaps, ends, offset: 0 })
}

const CUT_OFF: Wrong = Wrong::Damaged(0, "it is cut off");

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Wrong> {
        let end = self.at.checked_add(n).ok_or(CUT_OFF)?;
        let taken = self.bytes.get(self.at..end).ok_or(Wrong::Damaged(self.at, "it is cut off"))?;
        self.at = end;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, Wrong> {
        let at = self.at;
        let bytes = self.take(2)?.try_into().map_err(|_| Wrong::Damaged(at, "it is cut off"))?;
        Ok(u16::from_le_bytes(bytes))
    }

    fn u32(&mut self) -> Result<u32, Wrong> {
        let at = self.at;
        let bytes = self.take(4)?.try_into().map_err(|_| Wrong::Damaged(at, "it is cut off"))?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn length(&mut self) -> Result<usize, Wrong> {
        let at = self.at;
        usize::try_from(self.u32()?).map_err(|_| Wrong::Damaged(at, "a length is out of bounds"))
    }
}
