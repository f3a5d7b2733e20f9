//! `tp_btf/kfree_skb`: packets that the kernel drops, and why (`include/net/dropreason-core.h`).
//!
//! The packet is read by offsets that the loader takes from the running kernel's type information. Of IPv6 only
//! packets without extension headers are seen. A packet that stands for many segments counts as those.

use core::ffi::c_void;
use core::hint::black_box;
use core::ptr::{addr_of, read_volatile};

use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::programs::BtfTracePointContext;
use weir_agent_ebpf::{DROP_REASONS, DropKey, DropReasons, PacketLayout, protocol};

use crate::maps;
use crate::read::mapped;

/// Set by the loader. A mangled name would depend on the directory of the build.
#[unsafe(no_mangle)]
static WEIR_PACKET: PacketLayout = PacketLayout {
    head: 0,
    end: 0,
    network_header: 0,
    protocol: 0,
    device: 0,
    device_netns: 0,
    socket: 0,
    socket_netns: 0,
    netns_cookie: 0,
    segments: 0,
};

/// Set by the loader.
#[unsafe(no_mangle)]
static WEIR_REASONS: DropReasons = [0; DROP_REASONS / 64];

const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;

/// Arguments: the packet, where in the kernel, and the reason (from Linux 5.17 on).
#[inline(always)]
pub fn dropped(context: &BtfTracePointContext) {
    let packet: u64 = context.arg(0);
    let reason: u32 = context.arg(2);
    if !is_wanted(reason) {
        return;
    }
    let Some((mut key, segments)) = read(packet) else { return };
    key.reason = reason;
    maps::add_drop(&key, segments);
}

#[inline(always)]
fn is_wanted(reason: u32) -> bool {
    if reason >= DROP_REASONS as u32 {
        return false;
    }
    // The mask changes nothing, but the verifier sees the bound by it.
    let word = black_box(reason / 64) as usize & (DROP_REASONS / 64 - 1);
    let bits = unsafe { read_volatile(addr_of!(WEIR_REASONS).cast::<u64>().add(word)) };
    bits & (1 << (reason % 64)) != 0
}

macro_rules! offset {
    ($field:ident) => {
        u64::from(unsafe { read_volatile(addr_of!(WEIR_PACKET.$field)) })
    };
}

/// The two ends of a packet, and how many it is.
#[inline(always)]
fn read(packet: u64) -> Option<(DropKey, u64)> {
    let mut key = DropKey::ZERO;
    let head: u64 = load(packet + offset!(head))?;
    let network: u16 = load(packet + offset!(network_header))?;
    let ethertype: u16 = load(packet + offset!(protocol))?;
    let header = head + u64::from(network);
    let ports = match u16::from_be(ethertype) {
        ETH_P_IP => {
            let first: u8 = load(header)?;
            let protocol: u8 = load(header + 9)?;
            let addresses: [u32; 2] = load(header + 12)?;
            (key.source, key.destination) = (mapped(addresses[0]), mapped(addresses[1]));
            key.protocol = u32::from(protocol);
            header + u64::from(first & 15) * 4
        }
        ETH_P_IPV6 => {
            let protocol: u8 = load(header + 6)?;
            key.source = load(header + 8)?;
            key.destination = load(header + 24)?;
            key.protocol = u32::from(protocol);
            header + 40
        }
        _ => return None,
    };
    match key.protocol {
        protocol::TCP | protocol::UDP => {
            let ports: [u16; 2] = load(ports)?;
            key.source_port = u16::from_be(ports[0]);
            key.destination_port = u16::from_be(ports[1]);
        }
        protocol::ICMP | protocol::ICMPV6 => {}
        _ => return None,
    }
    key.netns = netns(packet).unwrap_or(0);
    let end: u32 = load(packet + offset!(end))?;
    let segments: u16 = load(head + u64::from(end) + offset!(segments)).unwrap_or(0);
    Some((key, if segments == 0 { 1 } else { u64::from(segments) }))
}

/// Of its socket, or else of its device. What is no pointer is not followed.
#[inline(always)]
fn netns(packet: u64) -> Option<u64> {
    let socket: u64 = load(packet + offset!(socket))?;
    let netns: u64 = if socket != 0 {
        load(socket + offset!(socket_netns))?
    } else {
        let device: u64 = load(packet + offset!(device))?;
        load(device + offset!(device_netns))?
    };
    load(netns + offset!(netns_cookie))
}

/// Memory of the kernel.
#[inline(always)]
fn load<T: Copy>(at: u64) -> Option<T> {
    unsafe { bpf_probe_read_kernel(at as *const c_void as *const T) }.ok()
}
