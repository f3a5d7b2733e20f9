//! Which data directory belongs to which store.
//!
//! ```text
//! PREFIX/_weir/store     JSON: {"format": "weir store", "version": 1, "id": HEX}
//! DIR/store              text, four lines:
//!                          weir data directory of store 1
//!                          store HEX   the id of the store
//!                          log HEX     the id of this directory's log
//!                          crc HEX     CRC-32 of the lines before
//! ```
//!
//! A log says which rows are not in files yet, so it means something only together with the tables
//! that it belongs to. A directory is bound to the first store that it is opened with and refused with
//! any other, or with none; a directory that has tables of its own is not bound at all.
//!
//! The id of the log names the directory's position in each table (see [`Binding::wal_app`]): another
//! directory has a log of its own, whose positions mean nothing here.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde_json::{Value, json};
use thiserror::Error as ThisError;

use crate::durable::{self, At, FileError, Taken};
use crate::paths::DataDir;

const FORMAT: &str = "weir store";
const VERSION: u64 = 1;
const FIRST_LINE: &str = "weir data directory of store 1";

/// Why a directory and a store do not go together.
#[derive(Debug, ThisError)]
pub(crate) enum BindingError {
    #[error(
        "data directory {dir} belongs to another object store than {url}; give the one that it was used with, or another directory"
    )]
    OtherStore { dir: String, url: String },
    #[error(
        "data directory {dir} belongs to a store in {url}, and that is not there any more; restore the bucket, or take an empty directory to begin anew"
    )]
    Gone { dir: String, url: String },
    #[error(
        "data directory {dir} has tables on local disk; an object store needs an empty directory (the tables stay readable without --store)"
    )]
    HasTables { dir: String },
    #[error("data directory {dir} belongs to an object store; give its URL with --store")]
    NeedsStore { dir: String },
    #[error("{url} is not empty and no store of weir; give an empty prefix")]
    Foreign { url: String },
    #[error(
        "{what} of {url} is damaged or of another version; use the version of weir that wrote it"
    )]
    DamagedStore { url: String, what: &'static str },
    #[error(
        "{path} is damaged; restore it, or take an empty directory (rows of this one's log that are not in the store's tables stay in it)"
    )]
    DamagedDirectory { path: String },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Store(#[from] Error),
}

/// A directory's own note of the store that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    store: String,
    log: String,
}

impl Binding {
    /// Application transaction whose version is the LSN up to which the rows of this directory's log
    /// are in a table's files.
    pub(crate) fn wal_app(&self) -> String {
        format!("weir/wal/{}", self.log)
    }

    fn encode(&self) -> String {
        let lines = format!("{FIRST_LINE}\nstore {}\nlog {}\n", self.store, self.log);
        let crc = crc32fast::hash(lines.as_bytes());
        format!("{lines}crc {crc:08x}\n")
    }

    fn decode(text: &str) -> Option<Self> {
        let (lines, crc) = text.strip_suffix('\n')?.rsplit_once("crc ")?;
        if u32::from_str_radix(crc, 16).ok()? != crc32fast::hash(lines.as_bytes()) {
            return None;
        }
        let mut lines = lines.lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let store = lines.next()?.strip_prefix("store ")?.to_owned();
        let log = lines.next()?.strip_prefix("log ")?.to_owned();
        Some(Self { store, log })
    }
}

/// The directory's note, if it has one.
pub(crate) fn read(dir: &DataDir) -> Result<Option<Binding>, BindingError> {
    let path = dir.store();
    match dir.disk().read(&path) {
        Ok(bytes) => {
            let found = std::str::from_utf8(&bytes).ok().and_then(Binding::decode);
            let damaged = || BindingError::DamagedDirectory { path: path.display().to_string() };
            found.map(Some).ok_or_else(damaged)
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError { action: "read", path, source }.into()),
    }
}

/// Refuses a directory that belongs to an object store and is opened without one.
pub(crate) fn none(dir: &DataDir) -> Result<(), BindingError> {
    match read(dir)? {
        None => Ok(()),
        Some(_) => Err(BindingError::NeedsStore { dir: dir.root().display().to_string() }),
    }
}

/// What a directory on its own says about being used with a store.
pub(crate) fn local(dir: &DataDir) -> Result<Option<Binding>, BindingError> {
    let bound = read(dir)?;
    if bound.is_none() && is_used(dir)? {
        return Err(BindingError::HasTables { dir: dir.root().display().to_string() });
    }
    Ok(bound)
}

/// Whether anything was ever kept in the directory.
fn is_used(dir: &DataDir) -> Result<bool, FileError> {
    for folder in [dir.tables(), dir.wal()] {
        if !dir.disk().read_dir(&folder).at("read folder", &folder)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The store's id; a new store if there is nothing at all below the prefix.
pub(crate) async fn store_id(
    store: &Arc<dyn ObjectStore>,
    prefix: &Path,
    url: &str,
    bound: Option<&Binding>,
    dir: &DataDir,
) -> Result<String, BindingError> {
    let at = prefix.clone().join("_weir").join("store");
    let found = match store.get(&at).await {
        Ok(got) => Some(got.bytes().await?),
        Err(Error::NotFound { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let name = || dir.root().display().to_string();
    let id = match (found, bound) {
        (Some(bytes), _) => decode_store(&bytes, url)?,
        (None, Some(_)) => return Err(BindingError::Gone { dir: name(), url: url.to_owned() }),
        (None, None) => {
            refuse_foreign(store, prefix, url).await?;
            let id = dir.disk().unique().simple().to_string();
            let text = json!({ "format": FORMAT, "version": VERSION, "id": id }).to_string();
            match store.put_opts(&at, text.into(), PutOptions::from(PutMode::Create)).await {
                Ok(_) => id,
                Err(Error::AlreadyExists { .. }) => {
                    decode_store(&store.get(&at).await?.bytes().await?, url)?
                }
                Err(error) => return Err(error.into()),
            }
        }
    };
    match bound {
        Some(bound) if bound.store != id => {
            Err(BindingError::OtherStore { dir: name(), url: url.to_owned() })
        }
        _ => Ok(id),
    }
}

fn decode_store(bytes: &[u8], url: &str) -> Result<String, BindingError> {
    let damaged = || BindingError::DamagedStore { url: url.to_owned(), what: "_weir/store" };
    let value: Value = serde_json::from_slice(bytes).map_err(|_| damaged())?;
    let same = value.get("format").and_then(Value::as_str) == Some(FORMAT)
        && value.get("version").and_then(Value::as_u64) == Some(VERSION);
    let id = value.get("id").and_then(Value::as_str).filter(|_| same);
    id.map(str::to_owned).ok_or_else(damaged)
}

/// Refuses a prefix below which there is something else than our own probes.
async fn refuse_foreign(
    store: &Arc<dyn ObjectStore>,
    prefix: &Path,
    url: &str,
) -> Result<(), BindingError> {
    let ours = prefix.clone().join("_weir");
    let mut objects = store.list(Some(prefix));
    while let Some(object) = objects.try_next().await? {
        if !object.location.prefix_matches(&ours) {
            return Err(BindingError::Foreign { url: url.to_owned() });
        }
    }
    Ok(())
}

/// Binds a directory to a store.
pub(crate) fn bind(dir: &DataDir, store: String) -> Result<Binding, BindingError> {
    let binding = Binding { store, log: dir.disk().unique().simple().to_string() };
    let text = binding.encode();
    let disk = dir.disk().as_ref();
    durable::write(disk, &dir.new_tmp(), &dir.store(), Taken::Refuse, [text.as_bytes()])?;
    Ok(binding)
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn directory() -> (tempfile::TempDir, DataDir) {
        let tmp = tempfile::tempdir().unwrap();
        let dir = DataDir::new(tmp.path().join("d"));
        drop(crate::directory::acquire(&dir).unwrap());
        (tmp, dir)
    }

    async fn open(store: &Arc<dyn ObjectStore>, dir: &DataDir) -> Result<Binding, BindingError> {
        let bound = local(dir)?;
        let id = store_id(store, &Path::from("p"), "s3://b/p", bound.as_ref(), dir).await?;
        bound.map_or_else(|| bind(dir, id), Ok)
    }

    #[tokio::test]
    async fn a_directory_belongs_to_one_store() {
        let (_a, dir) = directory();
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let bound = open(&store, &dir).await.unwrap();
        assert_eq!(open(&store, &dir).await.unwrap(), bound);
        assert!(matches!(none(&dir), Err(BindingError::NeedsStore { .. })));
        let (_b, second) = directory();
        let other = open(&store, &second).await.unwrap();
        assert_eq!(other.store, bound.store);
        assert_ne!(other.wal_app(), bound.wal_app(), "each directory has a position of its own");

        let empty: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        assert!(matches!(open(&empty, &dir).await, Err(BindingError::Gone { .. })));
        let (_c, third) = directory();
        open(&empty, &third).await.unwrap();
        assert!(matches!(open(&empty, &dir).await, Err(BindingError::OtherStore { .. })));
    }

    #[tokio::test]
    async fn what_is_used_otherwise_is_refused() {
        let (_a, dir) = directory();
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        store.put(&Path::from("p/thesis.txt"), "years of work".into()).await.unwrap();
        assert!(matches!(open(&store, &dir).await, Err(BindingError::Foreign { .. })));
        std::fs::create_dir(dir.table("flows")).unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        assert!(matches!(open(&store, &dir).await, Err(BindingError::HasTables { .. })));
        none(&dir).unwrap();
    }

    #[test]
    fn version_1_is_read_for_ever_and_damage_is_seen() {
        let frozen = "weir data directory of store 1\nstore 00112233445566778899aabbccddeeff\nlog ffeeddccbbaa99887766554433221100\ncrc 3ff8ea2d\n";
        let binding = Binding {
            store: "00112233445566778899aabbccddeeff".into(),
            log: "ffeeddccbbaa99887766554433221100".into(),
        };
        assert_eq!(binding.encode(), frozen);
        assert_eq!(Binding::decode(frozen), Some(binding.clone()));
        assert_eq!(binding.wal_app(), "weir/wal/ffeeddccbbaa99887766554433221100");
        for i in 0..frozen.len() {
            let mut bytes = frozen.as_bytes().to_vec();
            bytes[i] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert_ne!(Binding::decode(&changed), Some(binding.clone()), "byte {i}");
        }
        let store =
            br#"{"format":"weir store","id":"00112233445566778899aabbccddeeff","version":1}"#;
        assert_eq!(decode_store(store, "").unwrap(), binding.store);
    }
}
