//! How the following of a cluster goes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Pods.
    Pods,
    /// Nodes.
    Nodes,
    /// Services.
    Services,
    /// EndpointSlices of services without an address.
    EndpointSlices,
    /// ReplicaSets.
    ReplicaSets,
    /// Jobs.
    Jobs,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Pods,
        Self::Nodes,
        Self::Services,
        Self::EndpointSlices,
        Self::ReplicaSets,
        Self::Jobs,
    ];

    /// As the API's paths have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Nodes => "nodes",
            Self::Services => "services",
            Self::EndpointSlices => "endpointslices",
            Self::ReplicaSets => "replicasets",
            Self::Jobs => "jobs",
        }
    }
}

/// Lists and failures of each kind, since the start.
#[derive(Debug, Default)]
pub struct Status {
    listed: [AtomicBool; 6],
    lists: [AtomicU64; 6],
    failures: [AtomicU64; 6],
}

impl Status {
    pub(super) fn listed(&self, kind: Kind) {
        self.listed[kind as usize].store(true, Ordering::Release);
        self.lists[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, kind: Kind) {
        self.failures[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// All objects of a kind have been told once.
    #[must_use]
    pub fn is_listed(&self, kind: Kind) -> bool {
        self.listed[kind as usize].load(Ordering::Acquire)
    }

    /// How many times a kind was listed: more than once if the API had forgotten where a watch was.
    #[must_use]
    pub fn lists(&self, kind: Kind) -> u64 {
        self.lists[kind as usize].load(Ordering::Relaxed)
    }

    /// Requests about a kind that failed.
    #[must_use]
    pub fn failures(&self, kind: Kind) -> u64 {
        self.failures[kind as usize].load(Ordering::Relaxed)
    }
}
