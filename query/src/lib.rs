//! PromQL and SQL over the flow history, and the Prometheus HTTP API.
//!
//! ```text
//! http -> promql::Engine -> series (promql::source::Source) -+-> flows -> database -> scan -+-> snapshot
//!                                                            +-> samples ------------------+
//!      -> sql -> database -> scan, samples -------------------------------------------------+
//! ```
//!
//! - `http`: parameters, envelope, places and timeouts; `console`: the page that asks it;
//! - [`promql`]: the language, which knows no tables;
//! - `flows`: the flow table as metrics, exact sums of windows as one aggregate;
//! - `samples`: ordinary series, read chunk by chunk; `series`: flows and samples side by side;
//! - `sql`: read-only statements, results as JSON, NDJSON, CSV, Arrow or Parquet;
//! - `cardinality`: which labels make series many;
//! - `budget`: the memory of all queries, and the disk beyond it;
//! - `matchers`: selectors as the store understands them, for retention and deletion;
//! - `database`: one DataFusion session for each query, over one snapshot;
//! - [`openapi`]: the document of the API, made of what its handlers use;
//! - `conversations`: the flow table, service map and comparison behind the console;
//! - `scan`: Parquet files and rows in memory as one table.

mod budget;
mod cardinality;
mod console;
mod conversations;
mod database;
mod edges;
mod error;
mod flows;
mod http;
mod matchers;
pub mod openapi;
mod prices;
pub mod promql;
mod samples;
mod scan;
mod series;
mod session;
mod sql;
#[cfg(test)]
mod testing;

pub use console::is_console;
pub use database::{Database, Resources};
pub use error::{Error, ErrorKind};
pub use http::{
    About, Description, Descriptions, Refusal, Refused, Settings, Tell, admin_operations,
    admin_router, operations, router, router_over, router_with,
};
pub use matchers::row_matchers;
pub use prices::{LivePrices, Prices, PricesError};
