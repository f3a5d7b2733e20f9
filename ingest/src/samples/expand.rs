//! Decompression of bodies, into buffers that are used again.

use std::io::Read;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;
use weir_wire::frame::{self, InflateError};

/// Buffers that are kept for the next body.
const KEPT: usize = 8;
/// Bytes of a buffer above which it is not kept.
const LARGE: usize = 8 << 20;
/// Gzip is taken to hold this many times its own bytes, unless it says that it holds more.
const GZIP: u64 = 16;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Not at all.
    None,
    /// One snappy block, with its length in front.
    Snappy,
    /// Zstandard frames.
    Zstd,
    /// Gzip members.
    Gzip,
}

/// Why a body cannot be decompressed.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ExpandError {
    /// Not a snappy block.
    #[error("body is not a snappy block (block format, without frames): {0}")]
    Snappy(snap::Error),
    /// Not zstd frames.
    #[error("body cannot be decompressed: {0}")]
    Zstd(InflateError),
    /// Not gzip.
    #[error("body is not gzip: {0}")]
    Gzip(String),
    /// More than a request may have.
    #[error("body holds more than {0} bytes; send smaller requests")]
    TooLarge(u64),
}

/// Bytes that a body claims to hold, or is likely to.
pub(crate) fn claimed(coding: Coding, body: &[u8]) -> u64 {
    let own = u64::try_from(body.len()).unwrap_or(u64::MAX);
    match coding {
        Coding::None => own,
        Coding::Snappy => {
            snap::raw::decompress_len(body).ok().and_then(|n| u64::try_from(n).ok()).unwrap_or(own)
        }
        Coding::Zstd => frame::expanded_size(body).unwrap_or(own),
        // RFC 1952, section 2.3.1: the last four bytes are the size of the last member.
        Coding::Gzip => {
            let size = body.last_chunk::<4>().map_or(0, |size| u32::from_le_bytes(*size));
            own.saturating_mul(GZIP).max(u64::from(size))
        }
    }
}

/// Buffers for decompressed bodies. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

/// A decompressed body. Its buffer goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Expanded<'a> {
    place: Place<'a>,
    from: Buffers,
}

#[derive(Debug)]
enum Place<'a> {
    /// The body itself.
    Body(&'a [u8]),
    /// This many bytes of a buffer. What follows them is of older bodies: a buffer is never cut, since
    /// making it longer again would fill it with zeros first.
    Buffer(Vec<u8>, usize),
}

impl Deref for Expanded<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.place {
            Place::Body(body) => body,
            Place::Buffer(buffer, length) => buffer.get(..*length).unwrap_or_default(),
        }
    }
}

impl Drop for Expanded<'_> {
    fn drop(&mut self) {
        if let Place::Buffer(buffer, _) = &mut self.place
            && buffer.len() <= LARGE
        {
            let mut kept = self.from.0.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < KEPT {
                kept.push(std::mem::take(buffer));
            }
        }
    }
}

impl Buffers {
    /// Decompresses a body, into `limit` bytes at most.
    pub(crate) fn expand<'a>(
        &self,
        coding: Coding,
        body: &'a [u8],
        limit: u64,
    ) -> Result<Expanded<'a>, ExpandError> {
        let place = match coding {
            Coding::None if body.len() as u64 > limit => return Err(ExpandError::TooLarge(limit)),
            Coding::None => Place::Body(body),
            Coding::Snappy => self.snappy(body, limit)?,
            Coding::Zstd => {
                let inflated = frame::inflate(body, limit).map_err(|error| match error {
                    InflateError::TooLarge { limit } => ExpandError::TooLarge(limit),
                    other => ExpandError::Zstd(other),
                })?;
                let length = inflated.len();
                Place::Buffer(inflated, length)
            }
            Coding::Gzip => {
                let mut inflated = Vec::new();
                flate2::read::MultiGzDecoder::new(body)
                    .take(limit.saturating_add(1))
                    .read_to_end(&mut inflated)
                    .map_err(|e| ExpandError::Gzip(e.to_string()))?;
                let length = inflated.len();
                if length as u64 > limit {
                    return Err(ExpandError::TooLarge(limit));
                }
                Place::Buffer(inflated, length)
            }
        };
        Ok(Expanded { place, from: self.clone() })
    }

    fn snappy<'a>(&self, body: &'a [u8], limit: u64) -> Result<Place<'a>, ExpandError> {
        let length = snap::raw::decompress_len(body).map_err(ExpandError::Snappy)?;
        if length as u64 > limit {
            return Err(ExpandError::TooLarge(limit));
        }
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = kept.unwrap_or_default();
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let written =
            snap::raw::Decoder::new().decompress(body, &mut buffer).map_err(ExpandError::Snappy)?;
        Ok(Place::Buffer(buffer, written))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn compressed(coding: Coding, body: &[u8]) -> Vec<u8> {
        match coding {
            Coding::None => body.to_vec(),
            Coding::Snappy => snap::raw::Encoder::new().compress_vec(body).unwrap(),
            Coding::Zstd => zstd::bulk::compress(body, 1).unwrap(),
            Coding::Gzip => {
                let mut out = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
                out.write_all(body).unwrap();
                out.finish().unwrap()
            }
        }
    }

    #[test]
    fn every_coding_within_its_bound() {
        let buffers = Buffers::default();
        for coding in [Coding::None, Coding::Snappy, Coding::Zstd, Coding::Gzip] {
            // A short one after a long one: the buffer has more than the body then.
            for length in [1000_u16, 10, 0] {
                let body: Vec<u8> = (0..length).map(|i| i.to_le_bytes()[0]).collect();
                let sent = compressed(coding, &body);
                let expanded = buffers.expand(coding, &sent, 1000).unwrap();
                assert_eq!(&*expanded, &body);
                drop(expanded);
                if length == 1000 {
                    assert_eq!(
                        buffers.expand(coding, &sent, 999).unwrap_err(),
                        ExpandError::TooLarge(999)
                    );
                }
                if coding != Coding::None {
                    let torn = &sent[..sent.len() / 2];
                    let result = buffers.expand(coding, torn, 1000).map(|e| e.len());
                    assert!(result.is_err() || result == Ok(0), "{coding:?} {length}: {result:?}");
                }
            }
        }
    }

    #[test]
    fn a_claim_is_refused_before_memory_is_taken() {
        // A snappy block that says it holds 4 GiB.
        let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
        let error = Buffers::default().expand(Coding::Snappy, &bomb, 1 << 20).unwrap_err();
        assert_eq!(error, ExpandError::TooLarge(1 << 20));
    }
}
