//! Dumps of every network namespace that this process may enter.
//!
//! Namespaces are found through `/proc/*/ns/net`, one representative process for each inode. A
//! namespace that no process is in (kept alive by a bind mount alone) has no sockets of its own to
//! speak of and is not visited. Entering one takes `CAP_SYS_ADMIN`; it is done on a thread that ends
//! afterwards, so that no other thread ever finds itself in the wrong namespace.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

use super::message::DiagSocket;
use super::netlink;
pub(crate) use super::netlink::Which;

/// Namespaces visited in one collection. A node runs some hundred pods; beyond the bound the rest is
/// not visited and said so.
const MAX_NAMESPACES: usize = 1024;

/// The sockets of one namespace.
pub(crate) struct Namespace {
    /// Inode of the namespace.
    pub(crate) inode: u64,
    /// Its cookie, where the kernel tells it (Linux 5.14).
    pub(crate) cookie: Option<u64>,
    pub(crate) sockets: Vec<DiagSocket>,
}

/// What one round of dumps gave.
#[derive(Default)]
pub(crate) struct Dumped {
    pub(crate) namespaces: Vec<Namespace>,
    /// Namespaces that exist and could not be read this time, or were not visited. Sockets of a
    /// namespace that is neither here nor dumped are gone with it.
    pub(crate) unread: Vec<u64>,
}

/// Inode of the network namespace that the calling thread is in.
pub(crate) fn own_inode() -> io::Result<u64> {
    Ok(fs::metadata("/proc/thread-self/ns/net")?.ino())
}

/// Dumps the TCP sockets of this process's namespace and all others that it may enter.
///
/// # Errors
/// When the process's own namespace cannot be dumped, or nobody can say which others there are;
/// others that fail are listed as unread.
pub(crate) fn dump_all() -> io::Result<Dumped> {
    dump_all_of(Which::Tcp)
}

/// The same of more sockets.
///
/// # Errors
/// As there.
pub(crate) fn dump_all_of(which: Which) -> io::Result<Dumped> {
    let own = own_inode()?;
    let mut dumped = Dumped::default();
    dumped.namespaces.push(Namespace {
        inode: own,
        cookie: netlink::namespace_cookie(),
        sockets: netlink::dump(which)?,
    });
    let Found { open, unread } = find(own, MAX_NAMESPACES)?;
    dumped.unread.extend(unread);
    if open.is_empty() {
        return Ok(dumped);
    }
    let visits = std::thread::Builder::new()
        .name("weir-netns".into())
        .spawn(move || {
            let visits = open.into_iter().map(|(inode, file)| (inode, visit(inode, &file, which)));
            visits.collect::<Vec<_>>()
        })?
        .join()
        .map_err(|_| io::Error::other("thread that visits network namespaces has panicked"))?;
    for (inode, visit) in visits {
        match visit {
            Ok(namespace) => dumped.namespaces.push(namespace),
            Err(error) => {
                tracing::debug!(inode, %error, "network namespace could not be read");
                dumped.unread.push(inode);
            }
        }
    }
    Ok(dumped)
}

/// The other namespaces, by inode, each with a handle to it.
///
/// # Errors
/// When nobody can say which there are.
pub(crate) fn others() -> io::Result<HashMap<u64, File>> {
    Ok(find(own_inode()?, MAX_NAMESPACES)?.open)
}

/// Moves the calling thread into a namespace. It does not come back.
///
/// # Errors
/// Without `CAP_SYS_ADMIN`.
pub(crate) fn enter(namespace: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open; the call changes the namespace of this thread alone.
    if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Cookie of the namespace that the calling thread is in (Linux 5.14), as BPF reports it.
pub(crate) fn cookie() -> Option<u64> {
    netlink::namespace_cookie()
}

/// The namespaces of other processes.
#[derive(Default)]
struct Found {
    /// Those to visit, each with a handle to it.
    open: HashMap<u64, File>,
    /// Those beyond the bound, and those for which no handle was to be had.
    unread: HashSet<u64>,
}

/// Every other namespace, at most `max` of them with a handle.
fn find(own: u64, max: usize) -> io::Result<Found> {
    let mut found = Found::default();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        let path = entry.path().join("ns/net");
        // Processes end while they are looked at, and those of other users are closed to us.
        let Ok(inode) = fs::metadata(&path).map(|m| m.ino()) else { continue };
        if inode == own || found.open.contains_key(&inode) {
            continue;
        }
        match if found.open.len() < max { File::open(&path).ok() } else { None } {
            Some(file) => {
                found.unread.remove(&inode);
                found.open.insert(inode, file);
            }
            None => {
                found.unread.insert(inode);
            }
        }
    }
    if found.open.len() >= max && !found.unread.is_empty() {
        tracing::warn!(limit = max, "more network namespaces than are visited");
    }
    Ok(found)
}

fn visit(inode: u64, file: &File, which: Which) -> io::Result<Namespace> {
    enter(file)?;
    Ok(Namespace { inode, cookie: netlink::namespace_cookie(), sockets: netlink::dump(which)? })
}

#[cfg(test)]
mod tests;
