//! PromQL and SQL over the flow history, and the Prometheus HTTP API.
//!
//! ```text
//! http -> promql::Engine -> flows (promql::source::Source) -+-> database -> scan -> snapshot
//!      -> sql ----------------------------------------------+
//! ```
//!
//! - `http`: parameters, envelope, places and timeouts;
//! - [`promql`]: the language, which knows no tables;
//! - `flows`: the flow table as metrics, exact sums of windows as one aggregate;
//! - `sql`: read-only statements, results as JSON, NDJSON, CSV, Arrow or Parquet;
//! - `budget`: the memory of all queries, and the disk beyond it;
//! - `matchers`: selectors as the store understands them, for retention and deletion;
//! - `database`: one DataFusion session for each query, over one snapshot;
//! - `scan`: Parquet files and rows in memory as one table.

mod budget;
mod database;
mod error;
mod flows;
mod http;
mod matchers;
pub mod promql;
mod scan;
mod sql;
#[cfg(test)]
mod testing;

pub use database::{Database, Resources};
pub use error::{Error, ErrorKind};
pub use http::{Settings, admin_router, router, router_over, router_with};
pub use matchers::row_matchers;
