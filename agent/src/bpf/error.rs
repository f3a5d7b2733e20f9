//! Why the BPF programs cannot be used.

use std::io;
use std::path::PathBuf;

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;
use thiserror::Error;

use crate::cgroup_mount::CgroupMountError;

/// What was refused, and what it needs.
#[derive(Debug, Error)]
pub enum BpfError {
    /// There is no cgroup v2 hierarchy to attach to.
    #[error(transparent)]
    NoCgroup(#[from] CgroupMountError),
    /// The cgroup cannot be opened.
    #[error("cannot open cgroup {path}")]
    Cgroup {
        /// Its path.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The object that replaces the built-in one cannot be read.
    #[error("cannot read BPF object {path}")]
    ReadObject {
        /// Its path.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The maps cannot be created.
    #[error(
        "the kernel does not create the BPF maps (needs Linux 5.10, and root or CAP_BPF with CAP_NET_ADMIN)"
    )]
    Load(#[source] EbpfError),
    /// The object is not the one that this agent was built for.
    #[error(
        "the BPF object has no `{what}` of the expected kind; rebuild it with agent-ebpf/build-bpf"
    )]
    Object {
        /// Name of the program or map.
        what: &'static str,
    },
    /// A program was refused, or may not be attached.
    #[error(
        "the kernel refuses BPF program `{program}` (needs Linux 5.10 with CONFIG_CGROUP_BPF, and root or CAP_BPF with CAP_NET_ADMIN)"
    )]
    Program {
        /// Name of the program.
        program: &'static str,
        /// What the kernel says, with the verifier's log.
        source: Box<ProgramError>,
    },
    /// Network namespaces cannot be told apart.
    #[error(
        "kernels before Linux 5.15 need their type information (CONFIG_DEBUG_INFO_BTF) for BPF"
    )]
    NoNetns,
    /// Dropped packets cannot be read by reason.
    #[error(
        "the kernel does not tell why packets are dropped (needs Linux 5.17 with CONFIG_DEBUG_INFO_BTF)"
    )]
    Reasons(#[source] io::Error),
    /// A map cannot be used.
    #[error("cannot use BPF map `{map}`")]
    Map {
        /// Name of the map.
        map: &'static str,
        /// What the kernel says.
        source: MapError,
    },
    /// The socket map cannot be read.
    #[error("cannot read the BPF socket map")]
    Lookup(#[source] io::Error),
}
