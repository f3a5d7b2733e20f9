//! The list of deletions, where every writer of the store finds it.
//!
//! ```text
//! PREFIX/_weir/tombstones
//! magic    8  "WEIRTMS\n"
//! version u32  1
//! epoch   u64  of the writer's claim ([`super::fence`])
//! serial  u64  grows with each change that one writer makes
//! list         as the file of a data directory has it ([`crate::tombstone`]), its checksum included
//! crc     u32  of everything before
//! ```
//!
//! Whoever claims the store replaces the object under its own epoch, and reads the list by that. Each
//! change is made on condition that the object is still the one that the writer itself wrote last: a
//! deletion by a writer that was overtaken is refused, so that none is acknowledged that the next
//! writer does not know.

use std::sync::Arc;

use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use thiserror::Error as ThisError;

use crate::tombstone::{TombstoneError, Tombstones};
use crate::wal::format::{Cursor, FormatError};

const MAGIC: [u8; 8] = *b"WEIRTMS\n";
const VERSION: u32 = 1;
/// Attempts to take the list over while others do.
const ATTEMPTS: usize = 10;

/// Why the list cannot be read or changed.
#[derive(Debug, ThisError)]
pub(crate) enum SharedError {
    #[error(
        "{at} is damaged: {reason}; restore it from a copy, or remove it, after which rows that were deleted and not yet rewritten are seen again"
    )]
    Damaged { at: Path, reason: FormatError },
    /// A later claim has it.
    #[error("the store was claimed again (claim {epoch})")]
    Overtaken { epoch: u64 },
    #[error("{ATTEMPTS} others changed {at} at the same time; start one writer only")]
    Contended { at: Path },
    #[error(transparent)]
    List(#[from] Box<TombstoneError>),
    #[error(transparent)]
    Store(#[from] Error),
}

/// The object as its writer left it.
#[derive(Debug)]
pub(crate) struct Held {
    at: Path,
    epoch: u64,
    serial: u64,
    version: UpdateVersion,
}

/// What the object says.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    epoch: u64,
    serial: u64,
    list: Tombstones,
}

fn encode(epoch: u64, serial: u64, list: &Tombstones) -> Result<Vec<u8>, SharedError> {
    let list = list.encode().map_err(Box::new)?;
    let mut out = Vec::with_capacity(list.len() + 32);
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend(epoch.to_le_bytes());
    out.extend(serial.to_le_bytes());
    out.extend(list);
    out.extend(crc32fast::hash(&out).to_le_bytes());
    Ok(out)
}

fn decode(bytes: &[u8]) -> Result<Found, FormatError> {
    const WHAT: &str = "the shared list of tombstones";
    let (body, crc) = bytes.split_last_chunk::<4>().ok_or(FormatError::Short(WHAT))?;
    let mut cursor = Cursor { rest: body, what: WHAT };
    if cursor.array::<8>()? != MAGIC {
        return Err(FormatError::Malformed(WHAT));
    }
    let version = cursor.u32()?;
    if version != VERSION {
        return Err(FormatError::Version(version));
    }
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err(FormatError::Checksum(WHAT));
    }
    let (epoch, serial) = (cursor.u64()?, cursor.u64()?);
    Ok(Found { epoch, serial, list: Tombstones::decode(cursor.rest)? })
}

async fn read(
    store: &Arc<dyn ObjectStore>,
    at: &Path,
) -> Result<Option<(Found, UpdateVersion)>, SharedError> {
    let got = match store.get(at).await {
        Err(Error::NotFound { .. }) => return Ok(None),
        other => other?,
    };
    let version =
        UpdateVersion { e_tag: got.meta.e_tag.clone(), version: got.meta.version.clone() };
    let found = decode(&got.bytes().await?)
        .map_err(|reason| SharedError::Damaged { at: at.clone(), reason })?;
    Ok(Some((found, version)))
}

/// Takes the list over for the claim of an epoch; `more` enters it.
pub(crate) async fn claim(
    store: &Arc<dyn ObjectStore>,
    prefix: &Path,
    epoch: u64,
    more: &Tombstones,
) -> Result<(Tombstones, Held), SharedError> {
    let at = prefix.clone().join("_weir").join("tombstones");
    for _ in 0..ATTEMPTS {
        let (mut list, mode) = match read(store, &at).await? {
            Some((found, _)) if found.epoch > epoch => {
                return Err(SharedError::Overtaken { epoch: found.epoch });
            }
            // An attempt whose answer was lost.
            Some((found, version)) if found.epoch == epoch => {
                return Ok((found.list, Held { at, epoch, serial: found.serial, version }));
            }
            Some((found, version)) => (found.list, PutMode::Update(version)),
            None => (Tombstones::default(), PutMode::Create),
        };
        for tombstone in &more.0 {
            if !list.0.contains(tombstone) {
                list.0.push(tombstone.clone());
            }
        }
        let bytes = encode(epoch, 0, &list)?;
        match store.put_opts(&at, bytes.into(), PutOptions::from(mode)).await {
            Ok(put) => {
                let version = UpdateVersion { e_tag: put.e_tag, version: put.version };
                return Ok((list, Held { at, epoch, serial: 0, version }));
            }
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(SharedError::Contended { at })
}

/// Changes the list.
pub(crate) async fn save(
    store: &Arc<dyn ObjectStore>,
    held: &mut Held,
    list: &Tombstones,
) -> Result<(), SharedError> {
    for _ in 0..ATTEMPTS {
        let serial = held.serial + 1;
        let bytes = encode(held.epoch, serial, list)?;
        let mode = PutMode::Update(held.version.clone());
        match store.put_opts(&held.at, bytes.into(), PutOptions::from(mode)).await {
            Ok(put) => {
                held.serial = serial;
                held.version = UpdateVersion { e_tag: put.e_tag, version: put.version };
                return Ok(());
            }
            Err(
                Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotFound { .. },
            ) => {}
            Err(error) => return Err(error.into()),
        }
        match read(store, &held.at).await? {
            Some((found, _)) if found.epoch > held.epoch => {
                return Err(SharedError::Overtaken { epoch: found.epoch });
            }
            // A change of our own whose answer was lost.
            Some((found, version)) if found.epoch == held.epoch => {
                (held.serial, held.version) = (found.serial, version);
                if found.list == *list {
                    return Ok(());
                }
            }
            _ => return Err(SharedError::Contended { at: held.at.clone() }),
        }
    }
    Err(SharedError::Contended { at: held.at.clone() })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::hidden::Hidden;
    use crate::matcher::{MatchOp, Matcher};
    use crate::objects::testing::Fickle;
    use crate::tombstone::Tombstone;

    fn list(names: &[&str]) -> Tombstones {
        let tombstone = |name: &&str| Tombstone {
            created: 7,
            hidden: Arc::new(Hidden {
                matchers: [Matcher::new("namespace", MatchOp::Equal, *name).unwrap()].into(),
                unless: Arc::default(),
                after: 1,
                until: 2,
            }),
            files: HashSet::from([Path::from("flows/a.parquet")]),
        };
        Tombstones(names.iter().map(tombstone).collect())
    }

    #[tokio::test]
    async fn only_the_newest_claim_changes_the_list() {
        let fickle = Fickle::default();
        let bucket: Arc<dyn ObjectStore> = Arc::new(fickle.clone());
        let prefix = Path::from("p");
        let (found, mut first) = claim(&bucket, &prefix, 1, &list(&["old"])).await.unwrap();
        assert_eq!(found, list(&["old"]), "what a directory kept by itself enters it");
        save(&bucket, &mut first, &list(&["old", "a"])).await.unwrap();
        fickle.set_unanswered(Some("tombstones"));
        save(&bucket, &mut first, &list(&["old", "b"])).await.unwrap_err();
        fickle.set_unanswered(None);
        save(&bucket, &mut first, &list(&["old", "c"])).await.unwrap();
        let (found, mut second) = claim(&bucket, &prefix, 2, &list(&["old"])).await.unwrap();
        assert_eq!(found, list(&["old", "c"]), "each once");
        let refused = save(&bucket, &mut first, &list(&["d"])).await.unwrap_err();
        assert!(matches!(refused, SharedError::Overtaken { epoch: 2 }), "{refused}");
        let late = claim(&bucket, &prefix, 1, &list(&[])).await.unwrap_err();
        assert!(matches!(late, SharedError::Overtaken { epoch: 2 }), "{late}");
        save(&bucket, &mut second, &list(&[])).await.unwrap();
        assert_eq!(claim(&bucket, &prefix, 3, &list(&[])).await.unwrap().0, list(&[]));
    }

    #[test]
    fn version_1_is_read_for_ever_and_damage_is_seen() {
        let frozen = include_bytes!("../../tests/fixtures/shared-tombstones-v1");
        let found = decode(frozen).unwrap();
        assert_eq!(found, Found { epoch: 5, serial: 9, list: list(&["dev", "é"]) });
        assert_eq!(encode(5, 9, &found.list).unwrap(), frozen, "and still written so");
        for at in 0..frozen.len() {
            let mut bytes = frozen.to_vec();
            bytes[at] ^= 1;
            decode(&bytes).unwrap_err();
        }
    }
}
