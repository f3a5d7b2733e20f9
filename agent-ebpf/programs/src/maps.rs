//! The maps, and what may go wrong with them.

use core::arch::asm;

use aya_ebpf::bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST};
use aya_ebpf::helpers::bpf_get_prandom_u32;
use aya_ebpf::macros::map;
use aya_ebpf::maps::ring_buf::RingBufEntry;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use weir_agent_ebpf::{
    COUNTS as ENTRY_COUNTS, Count, DNS_RING_BYTES, DatagramKey, Datagrams, DnsMessage, DropKey,
    LOSSES as LOSS_COUNT, Listener, Loss, MAX_DATAGRAMS, MAX_DROPS, MAX_LISTENERS, MAX_OWNERS,
    MAX_SOCKETS, Maker, Owner, RING_BYTES, Socket, flag,
};

#[map]
static SOCKETS: HashMap<u64, Socket> = HashMap::with_max_entries(MAX_SOCKETS, BPF_F_NO_PREALLOC);

#[map]
static CLOSED: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

#[map]
static DATAGRAMS: HashMap<DatagramKey, Datagrams> =
    HashMap::with_max_entries(MAX_DATAGRAMS, BPF_F_NO_PREALLOC);

#[map]
static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(ENTRY_COUNTS, 0);

#[map]
static SAMPLING: Array<u32> = Array::with_max_entries(1, 0);

#[map]
static DNS: RingBuf = RingBuf::with_byte_size(DNS_RING_BYTES, 0);

#[map]
static DROPS: HashMap<DropKey, u64> = HashMap::with_max_entries(MAX_DROPS, BPF_F_NO_PREALLOC);

#[map]
pub static OWNERS: LruHashMap<u64, Maker> = LruHashMap::with_max_entries(MAX_OWNERS, 0);

#[map]
pub static LISTENERS: LruHashMap<Listener, Owner> = LruHashMap::with_max_entries(MAX_LISTENERS, 0);

#[map]
static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(LOSS_COUNT, 0);

/// What an entry begins as: too large for the BPF stack, so it lies in read-only data. A mangled name
/// would depend on the directory of the build, and the object must not.
#[unsafe(no_mangle)]
static WEIR_ZERO: Socket = Socket::ZERO;

/// The agent polls the rings by time, so no event needs to wake it (`BPF_RB_NO_WAKEUP`).
pub const NO_WAKEUP: u64 = 1;

/// The open socket with this cookie.
///
/// The reference is unique in practice: the kernel runs the programs of one socket under the socket's
/// lock. The agent reads entries meanwhile, counter by counter.
#[inline(always)]
pub fn open_socket<'a>(cookie: u64) -> Option<&'a mut Socket> {
    let socket = unsafe { &mut *SOCKETS.get_ptr_mut(&cookie)? };
    if socket.has(flag::CLOSED) { None } else { Some(socket) }
}

/// Enters a socket that has begun, all zero but for what it stands for; the caller fills it in and its `cookie`
/// last. While the map fills, only some of the new ones are entered.
#[inline(always)]
pub fn insert<'a>(cookie: u64) -> Option<&'a mut Socket> {
    let sampling = SAMPLING.get(0).map_or(0, |halvings| *halvings & 31);
    if sampling != 0 && unsafe { bpf_get_prandom_u32() } & ((1 << sampling) - 1) != 0 {
        count(Loss::SampledOut);
        return None;
    }
    if SOCKETS.insert(&cookie, &WEIR_ZERO, u64::from(BPF_NOEXIST)).is_err() {
        // A socket can connect again after it was closed. Its former record may still be here
        // because the ring was full.
        if let Some(former) = SOCKETS.get_ptr_mut(&cookie) {
            let former = unsafe { &*former };
            if former.has(flag::CLOSED) && CLOSED.output::<Socket>(former, NO_WAKEUP).is_err() {
                count(Loss::ClosedOverwritten);
            }
            remove(cookie);
        }
        if SOCKETS.insert(&cookie, &WEIR_ZERO, u64::from(BPF_NOEXIST)).is_err() {
            count(Loss::InsertFailed);
            return None;
        }
    }
    note(Count::SocketsEntered);
    let socket = SOCKETS.get_ptr_mut(&cookie).map(|socket| unsafe { &mut *socket })?;
    socket.sampling = sampling;
    Some(socket)
}

#[inline(always)]
fn remove(cookie: u64) {
    if SOCKETS.remove(&cookie).is_ok() {
        note(Count::SocketsLeft);
    }
}

/// Hands a closed socket over to the agent. If the ring is full it stays in the map, flagged closed,
/// until the agent's next look at the map.
#[inline(always)]
pub fn hand_over(socket: &Socket) {
    let cookie = socket.cookie;
    if CLOSED.output::<Socket>(socket, NO_WAKEUP).is_ok() {
        remove(cookie);
    }
}

/// The flow with this key. Its counters are shared with other processors.
#[inline(always)]
pub fn datagrams(key: &DatagramKey) -> Option<*mut Datagrams> {
    DATAGRAMS.get_ptr_mut(key)
}

/// Enters a flow, or finds it if another processor was faster; `packets` are lost if there is no room.
#[inline(always)]
pub fn insert_datagrams(
    key: &DatagramKey,
    flow: &Datagrams,
    packets: u64,
) -> Option<*mut Datagrams> {
    if DATAGRAMS.insert(key, flow, u64::from(BPF_NOEXIST)).is_ok() {
        note(Count::FlowsEntered);
    }
    let entered = DATAGRAMS.get_ptr_mut(key);
    if entered.is_none() {
        add(Loss::DatagramsUncounted, packets);
    }
    entered
}

/// Room for a message, to be submitted or discarded.
#[inline(always)]
pub fn reserve_dns() -> Option<RingBufEntry<DnsMessage>> {
    let entry = DNS.reserve::<DnsMessage>(0);
    if entry.is_none() {
        count(Loss::DnsDropped);
    }
    entry
}

/// Counts packets that were dropped.
#[inline(always)]
pub fn add_drop(key: &DropKey, packets: u64) {
    if DROPS.get_ptr_mut(key).is_none() {
        // Another processor may be faster.
        let _ = DROPS.insert(key, &0, u64::from(BPF_NOEXIST));
    }
    match DROPS.get_ptr_mut(key) {
        Some(counter) => unsafe { atomic_add(counter, packets) },
        None => add(Loss::DropsUncounted, packets),
    }
}

/// Atomically: another processor may do the same. Core has no such operation for this target.
#[inline(always)]
pub unsafe fn atomic_add(counter: *mut u64, n: u64) {
    unsafe {
        asm!("lock *(u64 *)({counter} + 0) += {n}", counter = in(reg) counter, n = in(reg) n,
            options(nostack));
    }
}

#[inline(always)]
fn note(count: Count) {
    if let Some(counter) = COUNTS.get_ptr_mut(count as u32) {
        unsafe { *counter += 1 };
    }
}

#[inline(always)]
fn count(loss: Loss) {
    add(loss, 1);
}

#[inline(always)]
fn add(loss: Loss, n: u64) {
    if let Some(counter) = LOSSES.get_ptr_mut(loss as u32) {
        unsafe { *counter += n };
    }
}
