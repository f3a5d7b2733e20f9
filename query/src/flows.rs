//! The flow table as Prometheus metrics.
//!
//! Each numeric column of `flows` is a virtual metric whose labels are the key columns; a null or
//! empty key column is a label that is not there.
//!
//! - [`metrics`]: which metrics there are, and which columns each is made of;
//! - [`filter`]: label matchers as filters on columns;
//! - [`buckets`]: the aggregate function that merges histograms;
//! - [`shape`]: from the aggregated columns of a metric to the series it gives;
//! - [`windows`]: windows as runs of time buckets, and their sums;
//! - [`tiers`]: which table answers, the rows or sums of them;
//! - [`sums`], [`counters`], [`catalog`], [`cardinality`]: the queries themselves.

mod buckets;
pub(crate) mod cardinality;
pub(crate) mod catalog;
mod counters;
pub(crate) mod fetch;
pub(crate) mod filter;
pub(crate) mod metrics;
mod shape;
mod source;
mod sums;
pub(crate) mod tiers;
mod windows;

pub(crate) use buckets::{add_counts, bucket_sum, each_histogram};
pub(crate) use source::{FlowSource, Used, metrics_of};
pub(crate) use tiers::Tiers;

#[cfg(test)]
mod tests;
