//! PromQL and SQL over the flow history, and the Prometheus HTTP API.

mod database;
mod error;
mod flows;
pub mod promql;
mod scan;

pub use database::{Database, Resources};
pub use error::{Error, ErrorKind};
