//! PromQL and SQL over the flow history, and the Prometheus HTTP API.

mod database;
mod error;
mod flows;
mod http;
pub mod promql;
mod scan;
mod sql;
#[cfg(test)]
mod testing;

pub use database::{Database, Resources};
pub use error::{Error, ErrorKind};
pub use http::{Settings, router, router_with};
