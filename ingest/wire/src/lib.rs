//! The contract between agents and the server: which columns a flow row has, and how a batch of
//! rows travels.
//!
//! One module owns one part of it:
//!
//! - [`schema`]: the columns of the `flows` and `agent_loss` tables, their types and what they mean;
//! - [`chosen`]: the labels of pods that are columns beside them;
//! - [`histogram`]: the log-scale buckets of the round-trip-time and connect-time columns;
//! - [`header`]: who sent a batch, and what that sender knows to be missing from it;
//! - [`frame`]: the compression of a whole body;
//! - [`encode`] and [`decode`]: the Arrow IPC framing, and the limits that untrusted bytes meet.
//!
//! ```text
//! POST /v1/flows
//! Content-Type: application/vnd.apache.arrow.stream
//! Content-Encoding: zstd             if the stream is in zstd frames; the bytes alone decide
//!
//! Arrow IPC stream
//!   schema message   columns of the batch, custom metadata `weir.*` (see `header`)
//!   dictionary and record batch messages, bodies as they are or compressed one by one (zstd, lz4)
//!   end of stream
//! ```
//!
//! Columns that the server does not know are ignored and missing optional ones read as null, so
//! that old agents and new servers mix. The version in the header changes only when a reader of the
//! old version would misread the new one.

#![forbid(unsafe_code)]

pub mod chosen;
pub mod decode;
pub mod encode;
pub mod frame;
pub mod header;
pub mod histogram;
pub mod schema;

pub use decode::{DecodeError, Limits, Message, decode, decode_flows};
pub use encode::{EncodeError, encode, encode_stream};
pub use header::{Header, HeaderError, Loss, VERSION};

/// Media type of a batch: an Arrow IPC stream (IANA `application/vnd.apache.arrow.stream`).
pub const CONTENT_TYPE: &str = "application/vnd.apache.arrow.stream";

/// Content coding of what [`encode`] writes (IANA `zstd`, RFC 8878).
pub const CONTENT_ENCODING: &str = "zstd";
