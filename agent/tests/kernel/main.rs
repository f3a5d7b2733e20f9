//! The BPF programs against the kernel's own books: real programs in network namespaces, compared
//! with `nstat`, `ss -ti` and `iperf3 --json`. Needs root; skipped elsewhere, visibly.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod datagrams;
mod dns;
mod drops;
mod ends;
mod lab;
mod life;
mod nat;
mod nested;
mod permission;
mod pods;
mod pressure;
mod short;
mod stream;
mod tools;
mod transfer;
mod watch;
