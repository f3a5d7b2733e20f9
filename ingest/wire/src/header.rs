//! What a batch says about itself, carried in the custom metadata of the Arrow schema.
//!
//! ```text
//! weir.version    "1"
//! weir.agent      stable id of the sender, 1 to 128 characters of [A-Za-z0-9._:-]
//! weir.boot       id of this run of the sender, same characters
//! weir.sequence   decimal, grows by any step with each batch of one (agent, boot)
//! weir.loss.R     decimal, how much was lost for reason R since the previous batch
//! ```
//!
//! A sender has one batch of an (agent, boot) under way at a time and repeats it until it is
//! acknowledged. The server takes a sequence that is not above the highest acknowledged one for a
//! repetition: it acknowledges and does not store it again.

use std::collections::{BTreeMap, HashMap};

use thiserror::Error;

/// Version of the wire contract that this crate writes and reads.
pub const VERSION: u32 = 1;

const MAX_ID: usize = 128;
const LOSS_PREFIX: &str = "weir.loss.";

/// Why something is missing from the rows of an agent. Each reason counts its own unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Loss {
    /// Sockets that could not be entered in the kernel's socket map.
    MapInsertFailures,
    /// Records of closed sockets that did not fit into the kernel's ring buffer.
    RingDrops,
    /// Rows in batches that the spool dropped to stay within its bound, or that could not be written.
    SpoolRows,
    /// Batches that the spool dropped to stay within its bound, or that could not be written.
    SpoolBatches,
    /// Batches in the spool that failed their checksum.
    SpoolDamaged,
    /// Batches that the server refused for good (a 4xx that repeating cannot mend).
    RefusedBatches,
    /// Sockets that existed before measuring began and are not measured.
    UnseenSockets,
    /// Datagrams whose flow could not be entered in the kernel's map of flows.
    UncountedDatagrams,
    /// Times that events of connection tracking were lost; it was read anew each time.
    ConntrackOverruns,
    /// Translated connections for which there was no room: they show the address that was dialled.
    ConntrackEntries,
    /// Network namespaces whose connection tracking could not be followed.
    ConntrackNamespaces,
    /// Messages of DNS that were not read: names and counts of questions lack them.
    DnsMessages,
    /// Dropped packets that could not be entered in the kernel's map of them.
    UncountedDrops,
    /// Sockets that were not measured because others stand for them: rows say for how many (`sampling`).
    SampledOutSockets,
    /// Flows that were added up to one row of their workload, since there were too many.
    FoldedFlows,
    /// Intervals that were measured through `sock_diag`, since BPF was refused.
    IntervalsWithoutBpf,
    /// Intervals in which the agent's own namespace told nothing of connection tracking.
    IntervalsWithoutConntrack,
    /// Intervals in which dropped packets were not counted.
    IntervalsWithoutDrops,
}

impl Loss {
    /// Every reason.
    pub const ALL: [Self; 18] = [
        Self::MapInsertFailures,
        Self::RingDrops,
        Self::SpoolRows,
        Self::SpoolBatches,
        Self::SpoolDamaged,
        Self::RefusedBatches,
        Self::UnseenSockets,
        Self::UncountedDatagrams,
        Self::ConntrackOverruns,
        Self::ConntrackEntries,
        Self::ConntrackNamespaces,
        Self::DnsMessages,
        Self::UncountedDrops,
        Self::SampledOutSockets,
        Self::FoldedFlows,
        Self::IntervalsWithoutBpf,
        Self::IntervalsWithoutConntrack,
        Self::IntervalsWithoutDrops,
    ];

    /// The reason's name, as in the header and in `agent_loss.reason`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MapInsertFailures => "map_insert_failures",
            Self::RingDrops => "ring_drops",
            Self::SpoolRows => "spool_rows",
            Self::SpoolBatches => "spool_batches",
            Self::SpoolDamaged => "spool_damaged",
            Self::RefusedBatches => "refused_batches",
            Self::UnseenSockets => "unseen_sockets",
            Self::UncountedDatagrams => "uncounted_datagrams",
            Self::ConntrackOverruns => "conntrack_overruns",
            Self::ConntrackEntries => "conntrack_entries",
            Self::ConntrackNamespaces => "conntrack_namespaces",
            Self::DnsMessages => "dns_messages",
            Self::UncountedDrops => "uncounted_drops",
            Self::SampledOutSockets => "sampled_out_sockets",
            Self::FoldedFlows => "folded_flows",
            Self::IntervalsWithoutBpf => "intervals_without_bpf",
            Self::IntervalsWithoutConntrack => "intervals_without_conntrack",
            Self::IntervalsWithoutDrops => "intervals_without_drops",
        }
    }
}

/// Who sent a batch, which one of theirs it is, and what is missing from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Stable id of the sender.
    pub agent: String,
    /// Id of this run of the sender.
    pub boot: String,
    /// Number of the batch within (agent, boot); not negative.
    pub sequence: i64,
    /// Losses since the previous batch, by reason. A reason that this version does not know is kept.
    pub losses: BTreeMap<String, i64>,
}

/// Why a header was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HeaderError {
    /// A key that every batch must have is not there.
    #[error(
        "schema metadata lacks `{0}`; every batch names weir.version, weir.agent, weir.boot and weir.sequence"
    )]
    Missing(&'static str),
    /// Written by a newer, incompatible sender.
    #[error(
        "wire version {found} is not supported; this server reads version {VERSION}, upgrade it"
    )]
    Version {
        /// What the batch says.
        found: String,
    },
    /// An id with other characters, or none, or too many.
    #[error("`{key}` is not an id: 1 to {MAX_ID} characters of A-Z a-z 0-9 . _ : - are allowed")]
    Id {
        /// The metadata key.
        key: &'static str,
    },
    /// Not a decimal number from 0 to 2^63 - 1.
    #[error("`{key}` is `{found}`, not a whole number from 0 to 9223372036854775807")]
    Number {
        /// The metadata key.
        key: String,
        /// Its value, cut to a printable length.
        found: String,
    },
}

impl Header {
    /// The header as schema metadata.
    #[must_use]
    pub fn to_metadata(&self) -> HashMap<String, String> {
        let mut metadata = HashMap::from([
            ("weir.version".to_owned(), VERSION.to_string()),
            ("weir.agent".to_owned(), self.agent.clone()),
            ("weir.boot".to_owned(), self.boot.clone()),
            ("weir.sequence".to_owned(), self.sequence.to_string()),
        ]);
        for (reason, count) in &self.losses {
            metadata.insert(format!("{LOSS_PREFIX}{reason}"), count.to_string());
        }
        metadata
    }

    /// Reads the header out of schema metadata.
    ///
    /// # Errors
    /// Names the key that is missing or not well formed.
    pub fn from_metadata(metadata: &HashMap<String, String>) -> Result<Self, HeaderError> {
        let get = |key: &'static str| metadata.get(key).ok_or(HeaderError::Missing(key));
        let version = get("weir.version")?;
        if version.parse() != Ok(VERSION) {
            return Err(HeaderError::Version { found: shorten(version) });
        }
        let id = |key| {
            let value = get(key)?;
            if is_id(value) { Ok(value.clone()) } else { Err(HeaderError::Id { key }) }
        };
        let mut losses = BTreeMap::new();
        for (key, value) in metadata {
            if let Some(reason) = key.strip_prefix(LOSS_PREFIX) {
                if !is_id(reason) {
                    return Err(HeaderError::Id { key: "weir.loss.*" });
                }
                losses.insert(reason.to_owned(), number(key, value)?);
            }
        }
        Ok(Self {
            agent: id("weir.agent")?,
            boot: id("weir.boot")?,
            sequence: number("weir.sequence", get("weir.sequence")?)?,
            losses,
        })
    }
}

fn is_id(value: &str) -> bool {
    (1..=MAX_ID).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
}

fn number(key: &str, value: &str) -> Result<i64, HeaderError> {
    match value.parse::<i64>() {
        Ok(n) if n >= 0 => Ok(n),
        _ => Err(HeaderError::Number { key: key.to_owned(), found: shorten(value) }),
    }
}

fn shorten(value: &str) -> String {
    value.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            agent: "host-1".into(),
            boot: "b0".into(),
            sequence: 7,
            losses: BTreeMap::from([("ring_drops".into(), 3), ("from_the_future".into(), 1)]),
        }
    }

    #[test]
    fn survives_the_trip() {
        assert_eq!(Header::from_metadata(&header().to_metadata()), Ok(header()));
    }

    #[test]
    fn refuses_what_it_cannot_trust() {
        for (key, value) in [
            ("weir.version", "2"),
            ("weir.agent", ""),
            ("weir.agent", "a b"),
            ("weir.boot", "../x"),
            ("weir.sequence", "-1"),
            ("weir.sequence", "9223372036854775808"),
            ("weir.loss.ring_drops", "x"),
        ] {
            let mut metadata = header().to_metadata();
            metadata.insert(key.into(), value.into());
            assert!(Header::from_metadata(&metadata).is_err(), "{key} = {value:?}");
        }
        for key in ["weir.version", "weir.agent", "weir.boot", "weir.sequence"] {
            let mut metadata = header().to_metadata();
            metadata.remove(key);
            assert_eq!(Header::from_metadata(&metadata), Err(HeaderError::Missing(key)));
        }
    }
}
