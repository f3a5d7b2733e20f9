//! Receiving flows: what arrives over HTTP is decoded, checked, made durable and only then
//! acknowledged.
//!
//! ```text
//! POST /v1/flows
//!   body, bounded in size            413; 429 while others leave it no room
//!   decode (weir_wire), bounded      400, 413
//!   conform to the table             400
//!   check values                     400; 425 (Too Early) for a batch dated more than 5 minutes and
//!                                    less than an hour ahead, good after `Retry-After` seconds
//!   append to the log, fsync         429 (memory bound), 503 (disk)
//!   200 {"status":"stored"}          or "repeated" for a sequence seen before
//! ```
//!
//! Samples (`POST /api/v1/write`, `POST /api/v1/otlp/v1/metrics`) go the same way: see `samples.rs`.

#![forbid(unsafe_code)]

mod admission;
mod body;
mod check;
mod enrich;
mod http;
mod loss;
mod metrics;
pub mod names;
pub mod places;
mod receive;
mod repair;
mod rows;
mod samples;
mod tables;

pub use check::CheckError;
pub use enrich::Enrichment;
pub use http::router;
pub use metrics::Metrics;
pub use receive::{Received, Receiver, RefusedBatch};
pub use repair::{repair, repair_all};
pub use rows::decode_logged;
pub use samples::{
    BodyError, Counter, ExpandError, LabelsError, Metadata, MetricMetadata, MetricType, Refusals,
    Refused, RefusedRequest, SampleMetrics, SampleSettings, SamplesReceiver, TooMany, WireError,
    Written, samples_router,
};
pub use tables::{
    agent_loss_table, flows_1h_table, flows_5m_table, flows_table, names_table, samples_table,
    store_options, store_options_with, tables,
};
