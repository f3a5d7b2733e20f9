//! The node agent: measures every flow of this host and ships it.

pub mod bpf;
pub mod cgroup_mount;
pub mod socket;
