//! Ports that stay a test's own, also while whoever listens there is away.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Where ports are looked for: below what Linux gives to outgoing connections
/// (`net.ipv4.ip_local_port_range`, from 32768), above what services of a machine listen on. A port
/// that the kernel picked would be given to the next connection as soon as it is let go.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// `count` ports of 127.0.0.1 on which nobody listens; no test of this process gets them again.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes that run at once begin apart.
    let own = (std::process::id().wrapping_mul(7919) % u32::from(COUNT)) as u16;
    let mut ports = Vec::with_capacity(count);
    for _ in 0..COUNT {
        if ports.len() == count {
            return ports;
        }
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (own + step % COUNT) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            ports.push(port);
        }
    }
    panic!("fewer than {count} free ports from {FIRST} on");
}

/// One such port.
pub(crate) fn free_port() -> u16 {
    free_ports(1)[0]
}
