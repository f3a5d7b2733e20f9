//! Who is at one end of a flow.

use std::collections::HashSet;
use std::sync::Arc;

use super::cgroup_path::{self, Named};
use super::process;

/// Digits of a container id that are shown, as the runtimes' own tools do.
const SHORT_ID: usize = 12;

/// Who is at one end of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workload {
    /// Column `workload`.
    pub name: String,
    /// Column `workload_kind`: `SystemdUnit`, `Container`, `Process` or `Unknown`.
    pub kind: &'static str,
    /// Column `container`: the shortened id.
    pub container: Option<String>,
    /// Column `pod`: the pod's uid, the only thing that its cgroup tells.
    pub pod: Option<String>,
}

impl Workload {
    pub(super) fn unknown() -> Self {
        Self { name: "unknown".into(), kind: "Unknown", container: None, pod: None }
    }

    /// Stands for those that there is no room to tell apart.
    pub(crate) fn other() -> Arc<Self> {
        Arc::new(Self { name: "other".into(), kind: "Unknown", container: None, pod: None })
    }

    pub(super) fn process(name: String) -> Self {
        Self { name, kind: "Process", container: None, pod: None }
    }

    pub(super) fn of_process(pid: u32) -> Option<Self> {
        let paths = process::cgroups(pid);
        let by_cgroup =
            [paths.unified, paths.systemd].iter().flatten().find_map(|path| Self::of_cgroup(path));
        by_cgroup.or_else(|| process::name(pid).map(Self::process))
    }

    pub(super) fn of_cgroup(path: &str) -> Option<Self> {
        Some(match cgroup_path::parse(path)? {
            Named::Unit(name) => Self { name, kind: "SystemdUnit", container: None, pod: None },
            Named::Container { id, pod_uid } => {
                let short: String = id.chars().take(SHORT_ID).collect();
                Self {
                    name: short.clone(),
                    kind: "Container",
                    container: Some(short),
                    pod: pod_uid,
                }
            }
        })
    }
}

/// One copy of each workload, however many sockets it has.
#[derive(Debug, Default)]
pub(super) struct Workloads(HashSet<Arc<Workload>>);

impl Workloads {
    /// The copy of it.
    pub(super) fn one(&mut self, workload: Workload) -> Arc<Workload> {
        if let Some(known) = self.0.get(&workload) {
            return Arc::clone(known);
        }
        let workload = Arc::new(workload);
        self.0.insert(Arc::clone(&workload));
        workload
    }

    /// Forgets those that nobody speaks of any more.
    pub(super) fn shrink(&mut self) {
        self.0.retain(|workload| Arc::strong_count(workload) > 1);
    }
}
