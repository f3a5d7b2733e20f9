//! A file of a [`Disk`](super::Disk) as Parquet's readers want it.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::File;

/// A file that is read in chunks.
#[derive(Debug, Clone)]
pub(crate) struct Chunks {
    file: Arc<dyn File>,
    length: u64,
}

impl Chunks {
    pub(crate) fn new(file: Box<dyn File>) -> io::Result<Self> {
        Ok(Self { length: file.length()?, file: file.into() })
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Chunks {
    type T = From;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(From { chunks: self.clone(), at: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        // A damaged footer may ask for more than there is.
        let end = u64::try_from(length).ok().and_then(|length| start.checked_add(length));
        if end.is_none_or(|end| end > self.length) {
            return Err(ParquetError::EOF(format!(
                "{length} bytes at {start} are not in the file"
            )));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// What follows a position in a file.
#[derive(Debug)]
pub(crate) struct From {
    chunks: Chunks,
    at: u64,
}

impl Read for From {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.chunks.length.saturating_sub(self.at);
        let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(part) = buffer.get_mut(..length) else { return Ok(0) };
        self.chunks.file.read_exact_at(part, self.at)?;
        self.at += u64::try_from(length).map_err(io::Error::other)?;
        Ok(length)
    }
}
