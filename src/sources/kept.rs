//! The last good copy of a list that was fetched, so that a restart without network has it.
//!
//! ```text
//! DATA/cloud-ranges/CRC32.list      (CRC-32 of the URL, in hex)
//!   a line of JSON  {"version": 1, "url", "fetched" (seconds since 1970), "etag", "last_modified", "crc32"}
//!   the body as it came
//! ```
//!
//! A copy that is damaged, or of another URL, is none. It is replaced as a whole: written beside, synced, renamed.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weir_ingest::places::MAX_LIST;

const VERSION: u32 = 1;
/// Most bytes of the first line.
const MAX_HEAD: u64 = 64 << 10;

/// By which a server tells that nothing has changed (RFC 9110, section 8.8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Validators {
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
}

/// A list as it was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) body: Vec<u8>,
    pub(super) validators: Validators,
    /// Seconds since 1970.
    pub(super) fetched: i64,
}

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    url: String,
    fetched: i64,
    #[serde(flatten)]
    validators: Validators,
    crc32: u32,
}

/// Where the copy of one URL is.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    path: PathBuf,
    url: String,
}

impl Kept {
    /// Of a server's data folder.
    pub(super) fn of(data: &Path, url: &str) -> Self {
        let name = format!("{:08x}.list", crc32fast::hash(url.as_bytes()));
        Self { path: data.join("cloud-ranges").join(name), url: url.to_owned() }
    }

    /// Its file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The copy, if there is a whole one.
    pub(super) fn read(&self) -> Option<Copy> {
        let mut bytes = Vec::new();
        let file = File::open(&self.path).ok()?;
        file.take(MAX_LIST + MAX_HEAD).read_to_end(&mut bytes).ok()?;
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let head: Head = serde_json::from_slice(bytes.get(..end)?).ok()?;
        let body = bytes.split_off(end + 1);
        let is_whole = head.version == VERSION && head.crc32 == crc32fast::hash(&body);
        let Head { validators, fetched, .. } = head;
        (is_whole && head.url == self.url).then_some(Copy { body, validators, fetched })
    }

    /// Keeps a copy.
    ///
    /// # Errors
    /// The disk refuses; the copy before stays.
    pub(super) fn write(&self, copy: &Copy) -> io::Result<()> {
        let Copy { body, validators, fetched } = copy;
        let head = Head {
            version: VERSION,
            url: self.url.clone(),
            fetched: *fetched,
            validators: validators.clone(),
            crc32: crc32fast::hash(body),
        };
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let beside = self.path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec(&head)?)?;
        file.write_all(b"\n")?;
        file.write_all(body)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy() -> Copy {
        let validators = Validators { etag: Some("\"a\"".into()), last_modified: None };
        Copy { body: b"{\"prefixes\": []}\n".to_vec(), validators, fetched: 1_700_000_000 }
    }

    #[test]
    fn a_copy_comes_back_whole_or_not_at_all() {
        let data = tempfile::tempdir().unwrap();
        let kept = Kept::of(data.path(), "https://example.org/a");
        assert_eq!(kept.read(), None);
        kept.write(&copy()).unwrap();
        assert_eq!(kept.read(), Some(copy()));
        let whole = fs::read(kept.path()).unwrap();
        for (place, byte) in [(whole.len() - 2, b'x'), (2, b'x')] {
            let mut damaged = whole.clone();
            damaged[place] = byte;
            fs::write(kept.path(), damaged).unwrap();
            assert_eq!(kept.read(), None, "{place}");
        }
        fs::write(kept.path(), &whole[..whole.len() - 1]).unwrap();
        assert_eq!(kept.read(), None);
        fs::write(kept.path(), &whole).unwrap();
        let other = Kept { url: "https://example.org/b".into(), ..kept.clone() };
        assert_eq!(other.read(), None);
        let mut newer = copy();
        newer.fetched += 1;
        kept.write(&newer).unwrap();
        assert_eq!(kept.read(), Some(newer));
    }

    /// The form of version 1 is read as it was written first.
    #[test]
    fn the_first_form_is_read() {
        let data = tempfile::tempdir().unwrap();
        let kept = Kept::of(data.path(), "https://example.org/a");
        assert_eq!(kept.path(), data.path().join("cloud-ranges/037562eb.list"));
        fs::create_dir(data.path().join("cloud-ranges")).unwrap();
        let frozen = "{\"version\":1,\"url\":\"https://example.org/a\",\"fetched\":1700000000,\"etag\":\"\\\"a\\\"\",\
             \"last_modified\":null,\"crc32\":2510471165}\n{\"prefixes\": []}\n";
        fs::write(kept.path(), frozen).unwrap();
        assert_eq!(kept.read(), Some(copy()));
    }
}
