//! One writer at a time.
//!
//! ```text
//! PREFIX/_weir/writer    JSON: {"format": "weir writer", "version": 1, "epoch": N, "id": HEX,
//!                               "host": TEXT, "pid": N, "at": RFC 3339}
//! ```
//!
//! Whoever opens the store claims it, and the newest claim wins: it replaces this object on condition
//! that nobody else did meanwhile, with an epoch one higher, and then commits that epoch to each
//! table as the application transaction [`WRITER_APP`]. From that commit on no commit of the writer
//! before can succeed: a writer commits only as the version right after one that it has seen with its
//! own epoch in it, and versions are made once. What the other writer committed before is part of the
//! table. What it had acknowledged and not committed stays in its own log, and enters the tables when
//! its data directory is opened again.
//!
//! A writer that finds a higher epoch, in a table or in the object, is fenced for good: it takes no
//! rows any more, commits nothing and removes nothing.

use std::fmt;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use serde_json::{Value, json};
use thiserror::Error as ThisError;
use uuid::Uuid;

/// Application transaction whose version is the epoch of the writer that a table belongs to.
pub(crate) const WRITER_APP: &str = "weir/writer";

const FORMAT: &str = "weir writer";
const VERSION: u64 = 1;
/// Attempts to claim; each failure means that another claim came between.
const ATTEMPTS: usize = 10;

/// Why a store cannot be claimed.
#[derive(Debug, ThisError)]
pub(crate) enum FenceError {
    #[error(
        "{at} does not name the store's writer: {what}; if no weir of a newer version writes to this store, remove that object"
    )]
    Damaged { at: Path, what: &'static str },
    #[error("{ATTEMPTS} others claimed the store at the same time; start one writer only")]
    Contended,
    #[error(transparent)]
    Store(#[from] Error),
}

/// A writer's claim to a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Higher than that of every claim before.
    pub(crate) epoch: u64,
    /// Random: tells two claims apart.
    id: String,
    host: String,
    pid: u32,
    /// When, microseconds since the Unix epoch.
    at: i64,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the process with pid {} on host {}", self.pid, self.host)?;
        match jiff::Timestamp::from_microsecond(self.at) {
            Ok(at) => write!(f, ", since {at:.0} (claim {})", self.epoch),
            Err(_) => write!(f, " (claim {})", self.epoch),
        }
    }
}

impl Claim {
    fn encode(&self) -> String {
        let at = jiff::Timestamp::from_microsecond(self.at).unwrap_or_default().to_string();
        let mut text = json!({
            "format": FORMAT,
            "version": VERSION,
            "epoch": self.epoch,
            "id": self.id,
            "host": self.host,
            "pid": self.pid,
            "at": at,
        })
        .to_string();
        text.push('\n');
        text
    }

    fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let value: Value = serde_json::from_slice(bytes).map_err(|_| "it is no JSON")?;
        let text = |name| value.get(name).and_then(Value::as_str);
        if text("format") != Some(FORMAT) {
            return Err("it is of another format");
        }
        if value.get("version").and_then(Value::as_u64) != Some(VERSION) {
            return Err("it is of another version");
        }
        let epoch = value.get("epoch").and_then(Value::as_u64);
        // The highest epoch leaves no room for a next one, and is nobody's.
        let epoch = epoch.filter(|e| i64::try_from(*e).is_ok_and(|e| e < i64::MAX));
        Ok(Self {
            epoch: epoch.ok_or("its epoch is missing")?,
            id: text("id").ok_or("its id is missing")?.to_owned(),
            host: printable(text("host").unwrap_or_default()),
            pid: value
                .get("pid")
                .and_then(Value::as_u64)
                .and_then(|p| p.try_into().ok())
                .unwrap_or(0),
            at: text("at")
                .and_then(|at| at.parse::<jiff::Timestamp>().ok())
                .map_or(0, jiff::Timestamp::as_microsecond),
        })
    }
}

/// A host name as it may stand in a message.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

/// This machine's name, for people.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = printable(name.trim());
    if name.is_empty() { "unknown".to_owned() } else { name }
}

/// The object that names the writer of the store below a prefix.
fn object(prefix: &Path) -> Path {
    prefix.clone().join("_weir").join("writer")
}

/// Who has the store now.
pub(crate) async fn holder(
    store: &Arc<dyn ObjectStore>,
    prefix: &Path,
) -> Result<Option<Claim>, FenceError> {
    Ok(read(store, &object(prefix)).await?.map(|(claim, _)| claim))
}

async fn read(
    store: &Arc<dyn ObjectStore>,
    at: &Path,
) -> Result<Option<(Claim, UpdateVersion)>, FenceError> {
    let got = match store.get(at).await {
        Err(Error::NotFound { .. }) => return Ok(None),
        other => other?,
    };
    let version =
        UpdateVersion { e_tag: got.meta.e_tag.clone(), version: got.meta.version.clone() };
    let claim = Claim::decode(&got.bytes().await?)
        .map_err(|what| FenceError::Damaged { at: at.clone(), what })?;
    Ok(Some((claim, version)))
}

/// Claims the store at the time `now`, by a random `id`; returns the claim and the one that it replaced.
pub(crate) async fn claim(
    store: &Arc<dyn ObjectStore>,
    prefix: &Path,
    id: Uuid,
    now: i64,
) -> Result<(Claim, Option<Claim>), FenceError> {
    let at = object(prefix);
    let id = id.simple().to_string();
    // Without the object nobody knows the last epoch. The tables do, and it counted claims, or seconds
    // before now.
    let first = u64::try_from(now / 1_000_000).unwrap_or(0).max(1);
    let mut mine = Claim { epoch: first, id, host: host(), pid: std::process::id(), at: now };
    let mut before = None;
    for _ in 0..ATTEMPTS {
        let mode = match read(store, &at).await? {
            // An attempt whose answer was lost.
            Some((found, _)) if found.id == mine.id => return Ok((found, before)),
            Some((found, version)) => {
                mine.epoch = found.epoch + 1;
                before = Some(found);
                PutMode::Update(version)
            }
            None => {
                mine.epoch = first;
                before = None;
                PutMode::Create
            }
        };
        match store.put_opts(&at, mine.encode().into(), PutOptions::from(mode)).await {
            Ok(_) => return Ok((mine, before)),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(FenceError::Contended)
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn the_newest_claim_wins_and_each_epoch_is_claimed_once() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let prefix = Path::from("p");
        assert_eq!(holder(&store, &prefix).await.unwrap(), None);
        let (first, before) = claim(&store, &prefix, Uuid::new_v4(), 100_000_000).await.unwrap();
        assert_eq!((first.epoch, before), (100, None));
        let racers = (0..8).map(|_| claim(&store, &prefix, Uuid::new_v4(), 50_000_000));
        let outcomes = futures::future::join_all(racers).await;
        let mut epochs: Vec<u64> = outcomes.into_iter().map(|c| c.unwrap().0.epoch).collect();
        epochs.sort_unstable();
        assert_eq!(epochs, (101..=108).collect::<Vec<_>>());
        let held = holder(&store, &prefix).await.unwrap().unwrap();
        assert_eq!(held.epoch, 108);
        assert!(held.to_string().contains("1970-01-01T00:00:50Z (claim 108)"), "{held}");
    }

    #[test]
    fn version_1_is_read_for_ever() {
        let frozen = br#"{"at":"2026-11-22T00:00:00Z","epoch":7,"format":"weir writer","host":"db-0","id":"00112233445566778899aabbccddeeff","pid":12,"version":1}"#;
        let claim = Claim::decode(frozen).unwrap();
        assert_eq!(
            claim.to_string(),
            "the process with pid 12 on host db-0, since 2026-11-22T00:00:00Z (claim 7)"
        );
        assert_eq!(Claim::decode(claim.encode().as_bytes()), Ok(claim));
    }

    #[tokio::test]
    async fn what_is_no_claim_is_not_replaced() {
        for bytes in [
            "",
            "{}",
            r#"{"format":"weir writer","version":2,"epoch":1,"id":"x"}"#,
            r#"{"format":"weir writer","version":1,"epoch":9223372036854775807,"id":"x"}"#,
        ] {
            let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            let prefix = Path::from("p");
            store.put(&object(&prefix), bytes.to_owned().into()).await.unwrap();
            let error = claim(&store, &prefix, Uuid::nil(), 0).await.unwrap_err();
            assert!(matches!(error, FenceError::Damaged { .. }), "{error}");
        }
    }
}
