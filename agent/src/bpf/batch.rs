//! Hash maps, many entries a system call.
//!
//! `BPF_MAP_LOOKUP_BATCH` (Linux 5.6) walks a hash map bucket by bucket, so it neither repeats nor
//! skips entries while the kernel adds and removes others. Key by key (`BPF_MAP_GET_NEXT_KEY`), the
//! walk begins anew whenever the key it stands on is removed.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};

use weir_agent_ebpf::{DatagramKey, Datagrams, DropKey, Socket};

const MAP_LOOKUP_ELEM: libc::c_int = 1;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const MAP_DELETE_ELEM: libc::c_int = 3;
const MAP_LOOKUP_AND_DELETE_ELEM: libc::c_int = 21;
const MAP_LOOKUP_BATCH: libc::c_int = 24;
const NOEXIST: u64 = 1;

/// Entries read with one call: 150 kilobytes of sockets. A bucket must fit, and they hold a handful.
const BATCH: usize = 256;

/// `union bpf_attr`, member `batch` (include/uapi/linux/bpf.h).
#[repr(C)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: RawFd,
    elem_flags: u64,
    flags: u64,
}

/// `union bpf_attr`, the member for single elements.
#[repr(C)]
struct ElementAttr {
    map_fd: RawFd,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// What a key or a value may be.
///
/// # Safety
/// Any bytes are a valid value: it consists of integers, without padding.
pub(super) unsafe trait Record: Copy {
    /// All zero.
    const ZERO: Self;
}

// SAFETY: an integer.
unsafe impl Record for u64 {
    const ZERO: Self = 0;
}

// SAFETY: integers without padding, which the crate asserts.
unsafe impl Record for Socket {
    const ZERO: Self = Self::ZERO;
}

// SAFETY: integers without padding, which the crate asserts.
unsafe impl Record for DatagramKey {
    const ZERO: Self = Self::ZERO;
}

// SAFETY: integers without padding, which the crate asserts.
unsafe impl Record for Datagrams {
    const ZERO: Self = Self::ZERO;
}

// SAFETY: integers without padding, which the crate asserts.
unsafe impl Record for DropKey {
    const ZERO: Self = Self::ZERO;
}

/// Calls `each` for every entry of the map.
///
/// # Errors
/// What the kernel answers.
pub(super) fn for_each<K: Record, V: Record>(
    map: BorrowedFd<'_>,
    mut each: impl FnMut(&K, &V),
) -> io::Result<()> {
    let mut keys: Vec<K> = vec![K::ZERO; BATCH];
    let mut values: Vec<V> = vec![V::ZERO; BATCH];
    let mut position = 0u32;
    let mut first = true;
    loop {
        let mut next = 0u32;
        let mut attr = BatchAttr {
            in_batch: if first { 0 } else { address(&raw const position) },
            out_batch: address(&raw mut next),
            keys: address(keys.as_mut_ptr()),
            values: address(values.as_mut_ptr()),
            count: u32::try_from(BATCH).unwrap_or(u32::MAX),
            map_fd: map.as_raw_fd(),
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: the buffers hold `count` keys and values of the map's sizes; any bytes make valid ones.
        let end = match unsafe { bpf(MAP_LOOKUP_BATCH, &mut attr) } {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => return Err(error),
        };
        let count = usize::try_from(attr.count).unwrap_or(0);
        keys.iter().zip(&values).take(count).for_each(|(key, value)| each(key, value));
        if end {
            return Ok(());
        }
        position = next;
        first = false;
    }
}

/// Removes an entry and returns it as it was removed; `None` if there is none. Before Linux 5.14 that takes two
/// calls, and what a program adds between them is lost.
///
/// # Errors
/// What the kernel answers.
pub(super) fn take<K: Record, V: Record>(map: BorrowedFd<'_>, key: &K) -> io::Result<Option<V>> {
    let mut value = MaybeUninit::<V>::uninit();
    let mut attr = ElementAttr {
        map_fd: map.as_raw_fd(),
        padding: 0,
        key: address(key),
        value: address(value.as_mut_ptr()),
        flags: 0,
    };
    // SAFETY: key and value have the map's sizes.
    let mut taken = unsafe { bpf(MAP_LOOKUP_AND_DELETE_ELEM, &mut attr) };
    if taken.as_ref().is_err_and(is_unknown) {
        // SAFETY: the same.
        taken = unsafe { bpf(MAP_LOOKUP_ELEM, &mut attr) };
        if taken.is_ok() {
            attr.value = 0;
            // SAFETY: the key has the map's size.
            taken = unsafe { bpf(MAP_DELETE_ELEM, &mut attr) };
        }
    }
    match taken {
        // SAFETY: the kernel has written the whole value, and any bytes make a valid record.
        Ok(()) => Ok(Some(unsafe { value.assume_init() })),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes an entry again, unless the kernel has done so meanwhile.
///
/// # Errors
/// What the kernel answers.
pub(super) fn put_back<K: Record, V: Record>(
    map: BorrowedFd<'_>,
    key: &K,
    value: &V,
) -> io::Result<()> {
    let mut attr = ElementAttr {
        map_fd: map.as_raw_fd(),
        padding: 0,
        key: address(key),
        value: address(value),
        flags: NOEXIST,
    };
    // SAFETY: key and value have the map's sizes and are only read.
    match unsafe { bpf(MAP_UPDATE_ELEM, &mut attr) } {
        Err(error) if error.raw_os_error() != Some(libc::EEXIST) => Err(error),
        _ => Ok(()),
    }
}

/// The kernel does not have the call for this kind of map (`ENOTSUPP`, which is its own number).
fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | 524))
}

fn address<T>(pointer: *const T) -> u64 {
    pointer as usize as u64
}

/// bpf(2).
///
/// # Safety
/// `attr` is what the command takes, and its addresses are valid for what the command does.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<()> {
    let attr: *mut T = attr;
    // SAFETY: by contract.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
