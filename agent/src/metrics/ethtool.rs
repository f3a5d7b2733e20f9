//! Statistics of network cards' drivers (`ETHTOOL_GSTATS`, linux/ethtool.h), and of EFA devices.
//!
//! Clouds tell through them what their hypervisor did: packets that were queued or dropped because an
//! allowance of the machine was used up. Only those are read; drivers have hundreds of others.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

const SIOCETHTOOL: libc::c_ulong = 0x8946;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSTATS: u32 = 0x1d;
const ETH_SS_STATS: u32 = 1;
const ETH_GSTRING_LEN: usize = 32;
/// Statistics of one card that are read at most.
const MAX_STATS: usize = 4096;

/// Statistics that only grow (Amazon's ENA driver, `ena_ethtool.c`).
pub(super) const COUNTERS: [&str; 5] = [
    "bw_in_allowance_exceeded",
    "bw_out_allowance_exceeded",
    "pps_allowance_exceeded",
    "conntrack_allowance_exceeded",
    "linklocal_allowance_exceeded",
];
/// A level.
pub(super) const AVAILABLE: &str = "conntrack_allowance_available";

/// Counters of EFA devices (`/sys/class/infiniband/*/ports/*/hw_counters`).
pub(super) const EFA: [&str; 14] = [
    "tx_bytes",
    "rx_bytes",
    "tx_pkts",
    "rx_pkts",
    "rx_drops",
    "send_bytes",
    "recv_bytes",
    "rdma_read_bytes",
    "rdma_write_bytes",
    "rdma_read_wr_err",
    "rdma_write_wr_err",
    "retrans_bytes",
    "retrans_pkts",
    "retrans_timeout_events",
];

/// A card's statistics by name; only those of [`COUNTERS`] and [`AVAILABLE`].
///
/// # Errors
/// The kernel's; most virtual devices have none.
pub(super) fn statistics(device: &str) -> io::Result<Vec<(String, u64)>> {
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // struct ethtool_sset_info: cmd, reserved, sset_mask u64, data[1]
    let mut info = [ETHTOOL_GSSET_INFO, 0, 1 << ETH_SS_STATS, 0, 0];
    call(&socket, device, &mut info)?;
    let count = usize::try_from(info.get(4).copied().unwrap_or(0)).unwrap_or(0).min(MAX_STATS);
    if count == 0 {
        return Ok(Vec::new());
    }
    // struct ethtool_gstrings: cmd, string_set, len, data
    let mut strings = vec![0u32; 3 + count * ETH_GSTRING_LEN / 4];
    let number = u32::try_from(count).unwrap_or(0);
    if let [command, set, length, ..] = strings.as_mut_slice() {
        (*command, *set, *length) = (ETHTOOL_GSTRINGS, ETH_SS_STATS, number);
    }
    call(&socket, device, &mut strings)?;
    // struct ethtool_stats: cmd, n_stats, data u64
    let mut stats = vec![0u64; 1 + count];
    if let Some(head) = stats.first_mut() {
        let [command, number] = [ETHTOOL_GSTATS, number].map(u32::to_ne_bytes);
        let mut bytes = [0; 8];
        let (first, second) = bytes.split_at_mut(4);
        first.copy_from_slice(&command);
        second.copy_from_slice(&number);
        *head = u64::from_ne_bytes(bytes);
    }
    call(&socket, device, &mut stats)?;
    let names = strings.get(3..).unwrap_or_default().chunks(ETH_GSTRING_LEN / 4).map(|words| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
    });
    let wanted = |name: &str| COUNTERS.contains(&name) || name == AVAILABLE;
    let values = stats.iter().skip(1).copied();
    Ok(names.zip(values).filter(|(name, _)| wanted(name)).collect())
}

fn call<T>(socket: &OwnedFd, device: &str, data: &mut [T]) -> io::Result<()> {
    // SAFETY: all zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if device.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = data.as_mut_ptr().cast();
    // SAFETY: the request and what it points to are alive, and as long as their heads say.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Counters of EFA devices: device, port, name, value.
pub(super) fn efa() -> Vec<(String, String, &'static str, u64)> {
    let mut all = Vec::new();
    let folder = |path: &str| fs::read_dir(path).into_iter().flatten().flatten();
    let name = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    for device in folder("/sys/class/infiniband") {
        let device = name(&device);
        for port in folder(&format!("/sys/class/infiniband/{device}/ports")) {
            let port = name(&port);
            for counter in EFA {
                let path =
                    format!("/sys/class/infiniband/{device}/ports/{port}/hw_counters/{counter}");
                let value = fs::read_to_string(path).ok().and_then(|t| t.trim().parse().ok());
                all.extend(value.map(|value| (device.clone(), port.clone(), counter, value)));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_statistics_has_none_and_one_that_is_none_is_an_error() {
        // Loopback has no driver statistics, or none of these.
        assert!(statistics("lo").is_ok_and(|s| s.is_empty()) || statistics("lo").is_err());
        assert!(statistics("weir-is-none").is_err());
        assert!(statistics("a-name-that-is-longer-than-any").is_err());
    }
}
