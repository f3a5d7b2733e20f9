//! Data files on local disk, for readers that may wait for the disk.
//!
//! [`crate::Snapshot::object_store`] reads the same files, but opens a file for each request, on another
//! thread. Whoever reads page after page on a thread of its own is better off with a file that stays open.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;

use crate::disk::{Disk, File, Mode};

/// The folder of all tables.
#[derive(Debug, Clone)]
pub struct LocalFiles {
    disk: Arc<dyn Disk>,
    root: PathBuf,
}

/// A data file that is open. It can be read to its end even if it is removed meanwhile.
#[derive(Debug)]
pub struct LocalFile(Box<dyn File>);

impl LocalFiles {
    pub(crate) fn new(disk: Arc<dyn Disk>, root: PathBuf) -> Self {
        Self { disk, root }
    }

    /// Opens a file of the table.
    ///
    /// # Errors
    /// When it is not there, or the disk refuses.
    pub fn open(&self, path: &Path) -> io::Result<LocalFile> {
        self.disk.open(&self.root.join(path.as_ref()), Mode::Read).map(LocalFile)
    }
}

impl LocalFile {
    /// These bytes of the file.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if it has not all of them; whatever the disk says.
    pub fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let length = range.end.saturating_sub(range.start);
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.0.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes.into())
    }
}
