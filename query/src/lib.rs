//! PromQL and SQL over the flow history, and the Prometheus HTTP API.

pub mod promql;
