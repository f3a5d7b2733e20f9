//! The netlink socket of one namespace.

use std::io;

use super::message::Entry;
use crate::netlink::{self, Netlink};

/// `NFNL_SUBSYS_CTNETLINK`, and in it `IPCTNL_MSG_CT_NEW`, `_GET`, `_DELETE`.
const SUBSYSTEM: u16 = 1 << 8;
const NEW: u16 = SUBSYSTEM;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
/// `NFNLGRP_CONNTRACK_NEW` and `_DESTROY`.
const GROUPS: [u32; 2] = [1, 3];
/// Bits of `CTA_STATUS`: `IPS_SRC_NAT`, `IPS_DST_NAT`.
const TRANSLATED: u32 = 0x30;
/// Room for events until they are taken.
const RECEIVE_BYTES: libc::c_int = 4 << 20;
/// Messages that are taken in at a time: the rest waits.
const MAX_READS: usize = 100_000;

/// A change.
#[derive(Debug)]
pub(super) enum Event {
    /// A connection is tracked.
    New(Entry),
    /// It no longer is.
    Destroy(Entry),
}

/// Events of the namespace that the calling thread was in.
#[derive(Debug)]
pub(super) struct Events {
    events: Netlink,
    dumps: Netlink,
}

impl Events {
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn open() -> io::Result<Self> {
        let events = Netlink::open(libc::NETLINK_NETFILTER)?;
        // More than the system's bound takes CAP_NET_ADMIN; less room is no reason to do without.
        let _ = events.option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &RECEIVE_BYTES);
        only_translated(&events)?;
        events.subscribe(&GROUPS)?;
        Ok(Self { events, dumps: Netlink::open(libc::NETLINK_NETFILTER)? })
    }

    /// Gives all waiting events to `each`; how many times some were lost since the last call.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn read(&self, mut each: impl FnMut(Event)) -> io::Result<u64> {
        let mut buffer = vec![0u8; 16 << 10];
        let mut overruns = 0;
        for _ in 0..MAX_READS {
            match self.events.receive(&mut buffer, libc::MSG_DONTWAIT) {
                Ok(bytes) => {
                    netlink::events(bytes, |kind, payload| match (kind, Entry::parse(payload)) {
                        (NEW, Some(entry)) => each(Event::New(entry)),
                        (DELETE, Some(entry)) => each(Event::Destroy(entry)),
                        _ => {}
                    })?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => overruns += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(overruns)
    }

    /// All translated connections that are tracked.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn dump(&self) -> io::Result<Vec<Entry>> {
        // `struct nfgenmsg`: every family.
        self.dumps.dump(GET, &[0; 4], |kind, payload| {
            let entry = (kind == NEW).then(|| Entry::parse(payload))?;
            entry.filter(Entry::is_translated)
        })
    }
}

/// Has the kernel drop events of connections that are not translated. Each event is a message of its own,
/// with its status (`ctnetlink_conntrack_event`); one without is let through.
fn only_translated(socket: &Netlink) -> io::Result<()> {
    // linux/filter.h: the offset of the attribute X from A on, or 0.
    const FIND_ATTRIBUTE: u32 = 0xffff_f000 + 12;
    const STATUS: u32 = 3;
    let statement = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_IMM, 0, 0, 20),
        statement(libc::BPF_LDX | libc::BPF_IMM, 0, 0, STATUS),
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, FIND_ATTRIBUTE),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 3, 0, 0),
        statement(libc::BPF_MISC | libc::BPF_TAX, 0, 0, 0),
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_IND, 0, 0, 4),
        statement(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0, 1, TRANSLATED),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ];
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap_or(0),
        filter: program.as_mut_ptr(),
    };
    socket.option(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}
