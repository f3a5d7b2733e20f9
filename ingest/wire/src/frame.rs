//! The compression of a whole body.
//!
//! ```text
//! body     an Arrow IPC stream as it is, or zstd frames (RFC 8878) that hold one together
//! told by  the first four bytes: ff ff ff ff (Arrow's continuation marker) or 28 b5 2f fd
//! ```
//!
//! One frame around the stream is three times smaller than Arrow's own compression, which compresses
//! each of some 150 small buffers by itself, and a fraction of the work to read. `Content-Encoding:
//! zstd` says the same over HTTP; the bytes alone decide.
//!
//! A frame may claim any size and hold a thousand times its own. [`expanded_size`] tells what a
//! reader has to expect, and [`inflate`] stops at the bound that it is given.

use std::cell::RefCell;

use thiserror::Error;
use zstd::bulk::Compressor;
use zstd::zstd_safe::{self, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

/// What a frame begins with (RFC 8878, section 3.1.1).
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Largest window that a frame may ask for: 8 MiB, as RFC 8878 recommends to accept.
const WINDOW_LOG: u32 = 23;
/// Level of what this crate writes.
const LEVEL: i32 = 3;
/// A frame that does not tell its size is taken to hold this many times its own, and at least
/// [`SMALL`].
const EXPANSION: u64 = 64;
const SMALL: u64 = 1 << 20;

/// Why a body cannot be decompressed.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum InflateError {
    /// The frames end early.
    #[error("zstd frame is cut short")]
    Truncated,
    /// More comes out than allowed.
    #[error("zstd frames hold more than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
    /// Not what zstd writes, or with a window of more than 8 MiB.
    #[error("zstd frame is damaged: {0}")]
    Damaged(&'static str),
}

thread_local! {
    static DECOMPRESSOR: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

/// Whether a body is compressed as a whole.
#[must_use]
pub fn is_compressed(body: &[u8]) -> bool {
    body.starts_with(&MAGIC)
}

/// Bytes that a compressed body holds, as far as it says so: what it claims, or a multiple of its
/// own size if it claims nothing. `None` for a body that is not compressed.
#[must_use]
pub fn expanded_size(body: &[u8]) -> Option<u64> {
    if !is_compressed(body) {
        return None;
    }
    let own = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let guess = own.saturating_mul(EXPANSION).max(SMALL);
    match zstd_safe::get_frame_content_size(body) {
        // Other frames may follow the one that makes the claim.
        Ok(Some(claimed)) => Some(claimed.max(guess.min(SMALL))),
        Ok(None) | Err(_) => Some(guess),
    }
}

/// Compresses a stream into one frame that tells its size.
pub(crate) fn deflate(stream: &[u8]) -> std::io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new(LEVEL)?),
        };
        compressor.compress(stream)
    })
}

/// Decompresses all frames of a body, into `limit` bytes at most.
///
/// # Errors
/// [`InflateError`]; memory is taken as output comes, not as a frame claims.
pub fn inflate(body: &[u8], limit: u64) -> Result<Vec<u8>, InflateError> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        // Taken out and put back only when all is well: after an error it may be within a frame.
        let mut context = kept.take().map_or_else(new_context, Ok)?;
        let inflated = inflate_with(&mut context, body, limit)?;
        *kept = Some(context);
        Ok(inflated)
    })
}

fn new_context() -> Result<DCtx<'static>, InflateError> {
    let mut context = DCtx::try_create().ok_or(InflateError::Damaged("no memory to read it"))?;
    context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).map_err(damaged)?;
    Ok(context)
}

fn damaged(code: usize) -> InflateError {
    InflateError::Damaged(zstd_safe::get_error_name(code))
}

fn inflate_with(
    context: &mut DCtx<'static>,
    body: &[u8],
    limit: u64,
) -> Result<Vec<u8>, InflateError> {
    const STEP: usize = 1 << 20;
    context.reset(ResetDirective::SessionOnly).map_err(damaged)?;
    let limit_bytes = usize::try_from(limit).unwrap_or(usize::MAX);
    // The claim of the first frame saves growing, within reason.
    let claimed = expanded_size(body).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let reasonable = body.len().saturating_mul(32).min(claimed);
    // One byte more than the limit tells "all of it" from "too much".
    let most = limit_bytes.saturating_add(1);
    let mut out: Vec<u8> = Vec::with_capacity(reasonable.clamp(1, most));
    let mut input = InBuffer::around(body);
    loop {
        let begin = out.len();
        let mut output = OutBuffer::around_pos(&mut out, begin);
        let more = context.decompress_stream(&mut output, &mut input).map_err(damaged)?;
        let written = output.pos() - begin;
        if out.len() > limit_bytes {
            return Err(InflateError::TooLarge { limit });
        }
        // Zero: a frame has ended and is all written. Another may begin behind it.
        if more == 0 && input.pos() == body.len() {
            return Ok(out);
        }
        if out.len() == out.capacity() {
            let grow = out.len().clamp(SMALL_STEP, STEP).min(most - out.len());
            out.reserve_exact(grow);
        } else if written == 0 && input.pos() == body.len() {
            return Err(InflateError::Truncated);
        }
    }
}

/// The least by which the output grows.
const SMALL_STEP: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_add_up_and_ends_are_missed() {
        let mut body = deflate(b"flow ").unwrap();
        body.extend(deflate(&b"x".repeat(100_000)).unwrap());
        let all = inflate(&body, 100_005).unwrap();
        assert!(all.starts_with(b"flow x") && all.len() == 100_005);
        assert_eq!(inflate(&body, 100_004), Err(InflateError::TooLarge { limit: 100_004 }));
        for length in 0..body.len() {
            let cut = inflate(&body[..length], 1 << 20);
            // The first frame alone is whole.
            assert!(cut.is_err() || cut.unwrap() == b"flow ", "{length}");
        }
        assert_eq!(inflate(&body, 1 << 20).unwrap().len(), 100_005, "an error leaves no trace");
    }

    #[test]
    fn a_bomb_is_refused_and_told_beforehand() {
        let body = deflate(&vec![0; 64 << 20]).unwrap();
        assert!(body.len() < 8192);
        assert_eq!(expanded_size(&body), Some(64 << 20));
        assert_eq!(inflate(&body, 1 << 20), Err(InflateError::TooLarge { limit: 1 << 20 }));
    }

    #[test]
    fn a_frame_that_hides_its_size_is_expected_to_be_large() {
        let stream = zstd::stream::encode_all(&b"x".repeat(10_000)[..], 3).unwrap();
        assert_eq!(zstd_safe::get_frame_content_size(&stream).unwrap(), None);
        assert_eq!(expanded_size(&stream), Some(SMALL));
        assert_eq!(inflate(&stream, 10_000).unwrap().len(), 10_000);
        assert_eq!(expanded_size(b"\xff\xff\xff\xff"), None);
    }

    #[test]
    fn a_window_of_a_gigabyte_is_refused() {
        // Magic, descriptor without a content size, window descriptor 0xa0: 2^30 bytes.
        let body = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa0, 0x01, 0x00, 0x00];
        assert!(matches!(inflate(&body, 1 << 20), Err(InflateError::Damaged(_))));
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(data in prop::collection::vec(0u8..4, 0..5000)) {
            prop_assert_eq!(inflate(&deflate(&data).unwrap(), 5000).unwrap(), data);
        }

        #[test]
        fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut body = MAGIC.to_vec();
            body.extend(bytes);
            let _ = inflate(&body, 1 << 20);
            let _ = expanded_size(&body);
        }
    }
}
