//! A recorded day: what the agents sent, as it came, in one file.
//!
//! ```text
//! one zstd frame of
//!   8 bytes             "weirday\x01"
//!   u32, little endian  length of
//!   JSON                what day it was (`Story`)
//!   for each body, without its own compression
//!     u32, little endian  length of
//!     u8                  what it is: 1 flows, 2 samples
//!     bytes               an Arrow IPC stream as in weir_wire, or a request of remote write 1.0
//! ```
//!
//! Bodies are alike, so one frame around all of them is a small part of their own sizes.

use std::io::{Read as _, Write as _};
use std::path::Path;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::rhythm::Day;

const MAGIC: &[u8; 8] = b"weirday\x01";
/// Most bytes of all batches.
const LIMIT: u64 = 512 << 20;
/// Level and window: a day is recorded once and played often.
const LEVEL: i32 = 19;
const WINDOW_LOG: u32 = 25;

/// What day it was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Story {
    pub(super) day: Day,
    /// Microseconds since the Unix epoch.
    pub(super) incident: (i64, i64),
    /// Seconds between two reports of an agent.
    pub(super) interval: f64,
}

/// What agents send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// A batch of flows.
    Flows,
    /// Counters of the node and its workloads.
    Samples,
}

impl Sent {
    const ALL: [Self; 2] = [Self::Flows, Self::Samples];

    /// Where the server takes it.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Flows => "/v1/flows",
            Self::Samples => "/api/v1/write",
        }
    }

    /// What is sent to a path.
    pub(super) fn to(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sent| sent.path() == path)
    }

    fn byte(self) -> u8 {
        match self {
            Self::Flows => 1,
            Self::Samples => 2,
        }
    }
}

/// A day.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recording {
    pub(super) story: Story,
    /// Bodies without their compression, in the order in which they came.
    pub(super) bodies: Vec<(Sent, Vec<u8>)>,
}

impl Recording {
    /// Writes it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let write = || -> std::io::Result<()> {
            let mut encoder = zstd::Encoder::new(std::fs::File::create(path)?, LEVEL)?;
            encoder.window_log(WINDOW_LOG)?;
            encoder.write_all(MAGIC)?;
            let mut write = |part: &[u8]| -> std::io::Result<()> {
                let length = u32::try_from(part.len()).map_err(std::io::Error::other)?;
                encoder.write_all(&length.to_le_bytes())?;
                encoder.write_all(part)
            };
            write(&serde_json::to_vec(&self.story)?)?;
            for (sent, body) in &self.bodies {
                write(&[&[sent.byte()], &body[..]].concat())?;
            }
            encoder.finish()?.sync_all()
        };
        write().with_context(|| format!("recording {} cannot be written", path.display()))
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is none, or damaged.
    pub(super) fn read(bytes: &[u8]) -> anyhow::Result<Self> {
        let mut decoder = zstd::Decoder::with_buffer(bytes)?;
        decoder.window_log_max(WINDOW_LOG)?;
        let mut text = Vec::new();
        decoder.take(LIMIT).read_to_end(&mut text).context("it is damaged")?;
        let Some(mut rest) = text.strip_prefix(MAGIC) else {
            bail!("it is no day that `weir demo --record` has written");
        };
        let story = part(&mut rest)?.context("it is empty")?;
        let story = serde_json::from_slice(story).context("what day it was is not understood")?;
        let mut bodies = Vec::new();
        while let Some(part) = part(&mut rest)? {
            let (byte, body) = part.split_first().context("a body is empty")?;
            let sent = Sent::ALL.into_iter().find(|sent| sent.byte() == *byte);
            let sent =
                sent.with_context(|| format!("a body is of kind {byte}, which is not known"))?;
            bodies.push((sent, body.to_vec()));
        }
        Ok(Self { story, bodies })
    }
}

/// The next part; `None` at the end.
fn part<'a>(rest: &mut &'a [u8]) -> anyhow::Result<Option<&'a [u8]>> {
    if rest.is_empty() {
        return Ok(None);
    }
    let cut = || "it is cut short";
    let (length, after) = rest.split_first_chunk().with_context(cut)?;
    let length = usize::try_from(u32::from_le_bytes(*length))?;
    let (part, after) = after.split_at_checked(length).with_context(cut)?;
    *rest = after;
    Ok(Some(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_damage_is_told() {
        let story =
            Story { day: Day { began_us: 7, seconds: 240.0 }, incident: (8, 9), interval: 2.0 };
        let day = Recording {
            story,
            bodies: vec![
                (Sent::Flows, vec![1; 3000]),
                (Sent::Samples, Vec::new()),
                (Sent::Flows, vec![2; 10]),
            ],
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("day");
        day.write(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(Recording::read(&bytes).unwrap(), day);
        for cut in [0, 5, bytes.len() - 1] {
            assert!(Recording::read(&bytes[..cut]).is_err(), "{cut}");
        }
        let other = zstd::encode_all(&b"weirday\x02"[..], 1).unwrap();
        let error = Recording::read(&other).unwrap_err().to_string();
        assert!(error.contains("weir demo --record"), "{error}");
        let short = zstd::encode_all(&b"weirday\x01\xff\0\0\0{}"[..], 1).unwrap();
        assert!(Recording::read(&short).unwrap_err().to_string().contains("cut short"));
    }
}
