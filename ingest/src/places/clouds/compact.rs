//! The lists that are shipped.
//!
//! A text of lines `list service region prefix`, separated by tabs, after a line with its magic and version, in one
//! zstd frame with a checksum. `cargo run -p weir-ingest --example compact-clouds FILE...` makes it out of the
//! providers' files.

use std::io::Read as _;

use super::published::{CloudError, Entry, Kind, Published};

/// Made on 2026-11-26 of the lists of 2026-08 (AWS) and 2025-07 (Google Cloud, Azure).
static SHIPPED: &[u8] = include_bytes!("../clouds.zst");

const MAGIC: &str = "weir-clouds 1";
/// Most bytes of a text of ranges.
const MAX_TEXT: u64 = 64 << 20;

/// The shipped form of lists as providers publish them.
///
/// # Errors
/// One of them is no such list.
pub fn compact(lists: &[Vec<u8>]) -> Result<String, CloudError> {
    let mut text = format!("{MAGIC}\n");
    for list in lists {
        let published = Published::parse(list)?;
        let name = published.kind().name();
        for Entry { prefix, service, region } in published.entries() {
            text.push_str(&format!("{name}\t{service}\t{region}\t{prefix}\n"));
        }
    }
    Ok(text)
}

/// The embedded ranges; a defect of the build if they cannot be read.
pub(super) fn shipped() -> Vec<Published> {
    let read = decompressed(SHIPPED).and_then(|text| parse(&text));
    read.unwrap_or_else(|| {
        tracing::error!(
            "the shipped ranges of cloud providers cannot be read: peers in clouds are external"
        );
        Vec::new()
    })
}

fn decompressed(bytes: &[u8]) -> Option<String> {
    let mut text = String::new();
    let reader = zstd::stream::read::Decoder::new(bytes).ok()?;
    reader.take(MAX_TEXT).read_to_string(&mut text).ok()?;
    Some(text)
}

pub(super) fn parse(text: &str) -> Option<Vec<Published>> {
    let mut lines = text.lines();
    if lines.next()? != MAGIC {
        return None;
    }
    let mut all: Vec<(Kind, Vec<Entry>)> = Vec::new();
    for line in lines {
        let mut words = line.split('\t');
        let name = words.next()?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name)?;
        let (service, region) = (words.next()?.to_owned(), words.next()?.to_owned());
        let entry = Entry { prefix: words.next()?.parse().ok()?, service, region };
        match all.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, entries)) => entries.push(entry),
            None => all.push((kind, vec![entry])),
        }
    }
    Some(all.into_iter().map(|(kind, entries)| Published::shipped(kind, entries)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The form of version 1 is read as it was written first.
    #[test]
    fn the_shipped_file_is_whole() {
        let text = decompressed(SHIPPED).unwrap();
        let all = parse(&text).unwrap();
        let counts: Vec<_> = all.iter().map(|p| (p.kind(), p.ranges() > 500)).collect();
        assert_eq!(counts, [(Kind::Aws, true), (Kind::GoogleCloud, true), (Kind::Azure, true)]);
        let mut damaged = SHIPPED.to_vec();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        assert!(decompressed(&damaged).is_none());
    }
}
