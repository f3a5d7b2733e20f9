//! A file as the reader of Parquet sees it.
//!
//! That reader asks for one page after the other, of several columns in turn. Pages of most columns are a few
//! bytes long, and asking an object store for each would take longer than to read it: there, what is short is
//! read together with what follows it.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use tokio::runtime::Handle;
use weir_storage::{DataFile, LocalFile, LocalFiles};

/// Bytes that are read at least.
const READ_AHEAD: usize = 64 << 10;
/// Stretches of a file that are kept, about one for each column.
const STRETCHES: usize = 8;

/// A file. Only for threads that may wait.
#[derive(Clone)]
pub(super) struct Input {
    file: Arc<DataFile>,
    place: Place,
    /// What was read last, the newest at the end: where it begins, and the bytes.
    known: Arc<Mutex<Vec<(u64, Bytes)>>>,
}

/// Where its bytes come from.
#[derive(Clone)]
enum Place {
    /// An open file: read at once, without asking another thread.
    Local(Arc<LocalFile>),
    Store(Arc<dyn ObjectStore>, Handle),
}

impl Input {
    /// Opens a file of the store, or of the folder that it is on local disk.
    pub(super) fn open(
        store: Arc<dyn ObjectStore>,
        local: Option<&LocalFiles>,
        file: Arc<DataFile>,
        runtime: &Handle,
    ) -> Result<Self, ParquetError> {
        let place = match local {
            Some(local) => Place::Local(Arc::new(local.open(&file.path)?)),
            None => Place::Store(store, runtime.clone()),
        };
        Ok(Self { file, place, known: Arc::default() })
    }

    /// Up to `length` bytes from `start` on; fewer at the end of the file.
    fn read(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if length >= READ_AHEAD || matches!(self.place, Place::Local(_)) {
            return self.fetch(start, length);
        }
        let mut known = self.known.lock();
        let found = known.iter().find_map(|(begin, bytes)| part(*begin, bytes, start, length));
        if let Some(found) = found {
            return Ok(found);
        }
        let read = self.fetch(start, READ_AHEAD)?;
        if known.len() >= STRETCHES {
            known.remove(0);
        }
        known.push((start, read.clone()));
        Ok(read.slice(..length.min(read.len())))
    }

    fn fetch(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let end = start.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        let range = start..end.min(self.file.size);
        match &self.place {
            Place::Local(file) => Ok(file.read(range)?),
            Place::Store(store, runtime) => {
                let bytes = store.get_range(&self.file.path, range);
                runtime.block_on(bytes).map_err(|error| ParquetError::External(Box::new(error)))
            }
        }
    }
}

/// Bytes out of a stretch that begins at `begin`, if it has all of them.
fn part(begin: u64, bytes: &Bytes, start: u64, length: usize) -> Option<Bytes> {
    let from = usize::try_from(start.checked_sub(begin)?).ok()?;
    let to = from.checked_add(length)?;
    (to <= bytes.len()).then(|| bytes.slice(from..to))
}

impl Length for Input {
    fn len(&self) -> u64 {
        self.file.size
    }
}

impl ChunkReader for Input {
    type T = Ahead;

    fn get_read(&self, start: u64) -> Result<Ahead, ParquetError> {
        Ok(Ahead { input: self.clone(), next: start, read: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.read(start, length)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF(format!("{} ends too early", self.file.path)));
        }
        Ok(bytes)
    }
}

/// Reads on from some place.
pub(super) struct Ahead {
    input: Input,
    next: u64,
    read: Bytes,
}

impl Read for Ahead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.read.is_empty() && self.next < self.input.file.size {
            self.read = self.input.fetch(self.next, READ_AHEAD).map_err(io::Error::other)?;
            self.next += u64::try_from(self.read.len()).map_err(io::Error::other)?;
        }
        let length = into.len().min(self.read.len());
        if let Some(into) = into.get_mut(..length) {
            self.read.copy_to_slice(into);
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use object_store::PutPayload;
    use object_store::memory::InMemory;

    use super::*;

    #[test]
    fn every_byte_is_the_files_own() {
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let content: Bytes = (0..300_000_u32).flat_map(|n| n.to_le_bytes()).collect();
        let store = Arc::new(InMemory::new());
        let path = object_store::path::Path::from("file");
        let size = u64::try_from(content.len()).expect("a length");
        let put = store.put(&path, PutPayload::from(content.clone()));
        runtime.block_on(put).expect("the file is written");
        let file = Arc::new(DataFile::unknown(path, size));
        let input = Input::open(store, None, file, runtime.handle()).expect("it is opened");
        // Columns in turn, short and long, across the ends of stretches and of the file.
        for round in 0..40 {
            for column in 0..11 {
                let start = column * 100_000 + round * 2_400;
                let length = [1, 2_400, 64 << 10, 70_000][(round + column) % 4];
                let length = length.min(content.len() - start);
                let bytes = input.get_bytes(start as u64, length).expect("bytes");
                assert!(bytes == content.slice(start..start + length), "{start} {length}");
            }
        }
        assert!(input.known.lock().len() <= STRETCHES);
        assert!(input.get_bytes(size - 10, 11).is_err(), "there is no more");
        let mut read = vec![0; 100];
        input.get_read(size - 100).expect("a reader").read_exact(&mut read).expect("bytes");
        assert_eq!(read, content[content.len() - 100..]);
    }
}
