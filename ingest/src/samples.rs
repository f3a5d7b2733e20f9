//! Samples: ordinary Prometheus series, from remote write and OTLP.
//!
//! ```text
//! body, bounded in size                       http
//!   -> decompressed, bounded                  expand
//!   -> walked in place                        write1, write2, otlp (fields: protobuf)
//!   -> canonical labels, times, values        points, labels
//!   -> what cannot be stored is named         refusals
//!   -> log: the body as it came, fsync        logged, weir_storage
//!   -> 204, or 400 with what was refused      http
//! ```
//!
//! Bounds are in [`limits`]. A request that is malformed or too large is refused as a whole; of any
//! other one, what is acceptable is stored, and the reply names the rest. Nothing is allocated for a
//! label: each is copied once, from the decompressed body to its place in the batch.
//!
//! Samples may come in any order and more than once. They may be as old as the window that is
//! configured allows and up to 10 minutes ahead of the server's clock.

mod counters;
mod decode;
mod expand;
mod http;
mod labels;
mod limits;
mod logged;
#[cfg(test)]
mod messages;
mod metadata;
mod otlp;
mod points;
mod protobuf;
mod receive;
mod refusals;
mod write1;
mod write2;

pub use counters::{Counter, SampleMetrics};
pub use decode::{BodyError, MetricType};
pub use expand::ExpandError;
pub use http::samples_router;
pub(crate) use logged::read as read_logged;
pub use metadata::{Metadata, MetricMetadata};
pub use points::TooMany;
pub use protobuf::WireError;
pub use receive::{RefusedRequest, SampleSettings, SamplesReceiver, Written};
pub use refusals::{LabelsError, Refusals, Refused};
