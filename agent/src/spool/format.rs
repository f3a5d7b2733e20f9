//! One batch as a file.
//!
//! ```text
//! offset  size
//!      0     8  magic "WEIRSPOL"
//!      8     4  version, u32 = 1
//!     12     4  CRC-32 (IEEE) of everything from offset 16 to the end of the file
//!     16     8  length of the body in bytes, u64
//!     24     8  rows in the batch, u64
//!     32     8  sequence within (agent, boot), i64
//!     40     2  length a of the agent id, u16
//!     42     2  length b of the boot id, u16
//!     44     2  number of losses, u16
//!     46     a  agent id
//!             b  boot id
//!             for each loss: u16 length of its reason, reason, i64 count
//!             body: the request as it is sent (see `weir_wire`)
//! ```
//!
//! Integers are little-endian. Every version begins with the same 16 bytes, so that an older agent can
//! tell a newer file from a damaged one. The losses are those that the body's header declares: a batch that
//! is dropped unsent must hand them on, and dropping must not need to read the body.

use std::collections::BTreeMap;

use thiserror::Error;

const MAGIC: &[u8; 8] = b"WEIRSPOL";
const VERSION: u32 = 1;
const CRC_FROM: usize = 16;

/// A batch that waits for delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) agent: String,
    pub(crate) boot: String,
    pub(crate) sequence: i64,
    pub(crate) rows: u64,
    pub(crate) losses: BTreeMap<String, i64>,
    pub(crate) body: Vec<u8>,
}

/// Why a file is no batch.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum FormatError {
    #[error("not a spooled batch (wrong magic)")]
    Magic,
    #[error("spool format {0} is not known; a newer agent wrote it")]
    Version(u32),
    #[error("checksum does not match")]
    Checksum,
    #[error("cut short or inconsistent")]
    Length,
}

impl Batch {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 256);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend([0; 4]);
        out.extend((self.body.len() as u64).to_le_bytes());
        out.extend(self.rows.to_le_bytes());
        out.extend(self.sequence.to_le_bytes());
        let (agent, boot) = (short(&self.agent), short(&self.boot));
        out.extend(agent.0.to_le_bytes());
        out.extend(boot.0.to_le_bytes());
        let losses: Vec<_> = self.losses.iter().take(usize::from(u16::MAX)).collect();
        out.extend(u16::try_from(losses.len()).unwrap_or(u16::MAX).to_le_bytes());
        out.extend(agent.1);
        out.extend(boot.1);
        for (reason, count) in losses {
            let reason = short(reason);
            out.extend(reason.0.to_le_bytes());
            out.extend(reason.1);
            out.extend(count.to_le_bytes());
        }
        out.extend(&self.body);
        let crc = crc32fast::hash(out.get(CRC_FROM..).unwrap_or(&[]));
        if let Some(slot) = out.get_mut(12..CRC_FROM) {
            slot.copy_from_slice(&crc.to_le_bytes());
        }
        out
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader(bytes);
        if &reader.array::<8>()? != MAGIC {
            return Err(FormatError::Magic);
        }
        let version = u32::from_le_bytes(reader.array()?);
        let crc = u32::from_le_bytes(reader.array()?);
        if crc32fast::hash(reader.0) != crc {
            return Err(FormatError::Checksum);
        }
        if version != VERSION {
            return Err(FormatError::Version(version));
        }
        let body = u64::from_le_bytes(reader.array()?);
        let rows = u64::from_le_bytes(reader.array()?);
        let sequence = i64::from_le_bytes(reader.array()?);
        let agent = u16::from_le_bytes(reader.array()?);
        let boot = u16::from_le_bytes(reader.array()?);
        let count = u16::from_le_bytes(reader.array()?);
        let agent = reader.text(agent)?;
        let boot = reader.text(boot)?;
        let mut losses = BTreeMap::new();
        for _ in 0..count {
            let length = u16::from_le_bytes(reader.array()?);
            let reason = reader.text(length)?;
            losses.insert(reason, i64::from_le_bytes(reader.array()?));
        }
        if reader.0.len() as u64 != body {
            return Err(FormatError::Length);
        }
        Ok(Self { agent, boot, sequence, rows, losses, body: reader.0.to_vec() })
    }
}

/// A text with its length; ids and reasons are far shorter than the bound.
fn short(text: &str) -> (u16, &[u8]) {
    let bytes = text.as_bytes();
    let bytes = bytes.get(..usize::from(u16::MAX)).unwrap_or(bytes);
    (u16::try_from(bytes.len()).unwrap_or(u16::MAX), bytes)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(FormatError::Length)?;
        self.0 = rest;
        Ok(*head)
    }

    fn text(&mut self, length: u16) -> Result<String, FormatError> {
        let (head, rest) =
            self.0.split_at_checked(usize::from(length)).ok_or(FormatError::Length)?;
        self.0 = rest;
        String::from_utf8(head.to_vec()).map_err(|_| FormatError::Length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batch() -> Batch {
        Batch {
            agent: "host-1".into(),
            boot: "b0".into(),
            sequence: 7,
            rows: 3,
            losses: BTreeMap::from([("ring_drops".into(), 2)]),
            body: b"body".to_vec(),
        }
    }

    /// Written by version 1 and never to be changed: spools outlive upgrades.
    const VERSION_1: &str = "5745495253504f4c0100000031c69fd604000000000000000300000000000000\
        0700000000000000060002000100686f73742d3162300a0072696e675f64726f\
        70730200000000000000626f6479";

    #[test]
    fn the_frozen_fixture_still_reads() {
        let bytes: Vec<u8> = VERSION_1
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        let written: String = batch().to_bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(Batch::from_bytes(&bytes), Ok(batch()), "version 1 now writes {written}");
        assert_eq!(batch().to_bytes(), bytes);
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut bytes = batch().to_bytes();
        bytes[8] = 2;
        assert_eq!(Batch::from_bytes(&bytes), Err(FormatError::Version(2)));
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_noticed(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut bytes = batch().to_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(Batch::from_bytes(&bytes).is_err());
        }

        #[test]
        fn any_truncation_is_noticed(at in any::<prop::sample::Index>()) {
            let bytes = batch().to_bytes();
            prop_assert!(Batch::from_bytes(&bytes[..at.index(bytes.len())]).is_err());
        }
    }
}
