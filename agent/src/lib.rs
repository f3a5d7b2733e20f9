//! The node agent: measures every flow of this host and ships it.
//!
//! The path of a flow, one module for each step:
//!
//! - [`source`]: sockets with their totals, measured by [`bpf`] or through [`sock_diag`];
//! - [`deltas`]: from totals to what happened in an interval;
//! - [`attribution`]: whose socket it is, and who the peer is;
//! - [`conntrack`]: who is at the other end of a translated address;
//! - `dns`: the names that workloads ask for;
//! - `drops`: which flow a packet belonged to that the kernel dropped;
//! - [`rows`]: sockets add up to flow rows, rows become an Arrow batch;
//! - `spool`: batches on disk until the server has them;
//! - `ship`: delivery, with backoff while the server is away;
//! - [`metrics`]: what node and workloads did, for scrapers and for the server;
//! - [`run`]: the threads around it all, [`cli`]: the command.

pub mod attribution;
pub mod bpf;
mod capabilities;
pub mod cgroup_mount;
pub mod cli;
pub mod conntrack;
pub mod deltas;
mod dns;
mod drops;
pub mod metrics;
mod netlink;
pub mod rows;
pub mod run;
mod ship;
pub mod sock_diag;
pub mod socket;
pub mod source;
mod spool;

pub use run::{Config, Error, Handle, spawn};
pub use source::Choice;
