//! Measures sockets of TCP, UDP and ICMP with the BPF programs of `weir-agent-ebpf`.
//!
//! ```text
//! start    find the cgroup v2 root, load the object, attach four programs to the root
//! poll     tell of the sockets that closed, out of the ring; call it about 10 times a second
//! collect  the same, and read every open socket from the map, twice: see [`Visit`]
//! drop     links are closed, the kernel detaches and frees everything
//! ```
//!
//! Needs Linux 5.10 and root, or `CAP_BPF` and `CAP_NET_ADMIN` (and `CAP_PERFMON` where the kernel
//! asks for it). A record that finds the ring full waits in the map for the next `collect`, so a slow
//! reader loses nothing; a socket that finds the map full is not measured, and counted.

mod batch;
mod btf;
mod convert;
mod datagrams;
mod drops;
mod error;
mod room;

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{env, fs, io, mem};

use aya::maps::{Array, Map, MapData, PerCpuArray, RingBuf};
use aya::programs::{
    BtfTracePoint, CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSock, SockOps,
};
use aya::{Btf, Ebpf, EbpfLoader, Pod};
use weir_agent_ebpf::{
    Count, DNS_RING_BYTES, DnsMessage, Loss, PacketLayout, Socket, SocketLayout, flag, maps,
    programs, variables,
};

use drops::{Drops, Reasons};
use room::Room;

pub use drops::Dropped;
pub use error::BpfError;

use crate::cgroup_mount;
use crate::rows::ephemeral_ports;
use crate::socket::{Collected, Unseen, Visit};

/// The programs, compiled. `agent-ebpf/build-bpf` makes it; its record lies beside it.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../bpf/weir.bpf.o");

/// Names a file to load in place of the built-in object, for tests of a fresh build.
pub const OBJECT_VARIABLE: &str = "WEIR_BPF_OBJECT";

/// How to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most sockets that are measured at a time; while there are nearly as many, new ones are sampled.
    pub max_sockets: u32,
    /// Most flows of datagrams that are measured at a time.
    pub max_datagrams: u32,
    /// Copy messages of DNS.
    pub dns: bool,
    /// Bytes of the ring of closed sockets; a power of two, at least a page.
    pub ring_bytes: u32,
    /// The running kernel's type information; without it less is known of sockets, and nothing of drops.
    pub types: PathBuf,
    /// The cgroup to attach to; `None` is the root of the hierarchy, wherever it is mounted.
    pub cgroup: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        let (max_sockets, max_datagrams) = room::from_memory();
        Self {
            max_sockets,
            max_datagrams,
            dns: true,
            ring_bytes: weir_agent_ebpf::RING_BYTES,
            types: btf::VMLINUX.into(),
            cgroup: None,
        }
    }
}

/// The attached programs and their maps.
pub struct BpfCollector {
    /// Owns the programs and their links.
    _ebpf: Ebpf,
    sockets: MapData,
    ring: RingBuf<MapData>,
    ring_bytes: usize,
    room: Room,
    datagrams: datagrams::Flows,
    dns: RingBuf<MapData>,
    /// `None` where the kernel cannot tell.
    drops: Option<Drops>,
    losses: PerCpuArray<MapData, u64>,
    /// Connections that were taken out of the map by the last collection: the kernel may have handed them
    /// over in the same moment.
    taken: HashSet<Connection>,
    /// Losses since the start, as of the last collection.
    lost: Unseen,
}

/// Which connection of which socket: the cookie, and the time of `connect`. A socket that accepted has none,
/// and began only once.
type Connection = (u64, u64);

fn connection(socket: &Socket) -> Connection {
    (socket.cookie, socket.connect_begin_ns)
}

impl std::fmt::Debug for BpfCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BpfCollector").field("lost", &self.lost).finish_non_exhaustive()
    }
}

impl BpfCollector {
    /// Loads and attaches the programs. From here on every connection that begins is measured.
    ///
    /// # Errors
    /// Says which step was refused and what it needs; the caller can fall back to `sock_diag`.
    pub fn start(options: &Options) -> Result<Self, BpfError> {
        let cgroup_path = match &options.cgroup {
            Some(path) => path.clone(),
            None => cgroup_mount::find()?,
        };
        let cgroup = File::open(&cgroup_path)
            .map_err(|source| BpfError::Cgroup { path: cgroup_path.clone(), source })?;
        let mut loader = EbpfLoader::new();
        // It has read the kernel's type information, which takes tens of megabytes and nothing is relocated by:
        // each reader is to let go of it before the next begins.
        loader.btf(None);
        let dns = u32::from(options.dns);
        let kernel = btf::Btf::read(&options.types);
        let socket = Plain(kernel.as_ref().map(socket_layout).unwrap_or_default());
        let ask_netns = u32::from(release().is_none_or(|release| release >= (5, 15)));
        if ask_netns == 0 && socket.0.netns_cookie == 0 {
            return Err(BpfError::NoNetns);
        }
        let reasons = kernel.and_then(|btf| Reasons::of(&btf));
        let layout = reasons.as_ref().map(|reasons| Plain(reasons.layout));
        if let (Ok(reasons), Ok(layout)) = (&reasons, &layout) {
            loader.override_global(variables::PACKET, layout, true).override_global(
                variables::REASONS,
                &reasons.wanted,
                true,
            );
        }
        loader
            .override_global(variables::DNS, &dns, true)
            .override_global(variables::SOCKET, &socket, true)
            .override_global(variables::ASK_NETNS, &ask_netns, true)
            // Without messages a page is all the room there has to be.
            .map_max_entries(maps::DNS, if options.dns { DNS_RING_BYTES } else { 4096 })
            .map_max_entries(maps::SOCKETS, options.max_sockets)
            .map_max_entries(maps::DATAGRAMS, options.max_datagrams)
            .map_max_entries(maps::CLOSED, options.ring_bytes);
        let mut ebpf = match env::var_os(OBJECT_VARIABLE) {
            Some(path) => loader.load(&read_object(Path::new(&path))?),
            None => loader.load(OBJECT),
        }
        .map_err(BpfError::Load)?;

        // Single is the mode whose flags are 0, as a link wants them; links always allow others beside
        // them. Life cycle last: once it inserts sockets, the others are there to complete them.
        let sock_create: &mut CgroupSock = program(&mut ebpf, programs::SOCK_CREATE)?;
        step(programs::SOCK_CREATE, sock_create.load())?;
        let attached = sock_create.attach(&cgroup, CgroupAttachMode::Single);
        step(programs::SOCK_CREATE, attached)?;
        for (name, at) in [
            (programs::INGRESS, CgroupSkbAttachType::Ingress),
            (programs::EGRESS, CgroupSkbAttachType::Egress),
        ] {
            let packets: &mut CgroupSkb = program(&mut ebpf, name)?;
            step(name, packets.load())?;
            step(name, packets.attach(&cgroup, at, CgroupAttachMode::Single))?;
        }
        let life_cycle: &mut SockOps = program(&mut ebpf, programs::LIFE_CYCLE)?;
        step(programs::LIFE_CYCLE, life_cycle.load())?;
        step(programs::LIFE_CYCLE, life_cycle.attach(&cgroup, CgroupAttachMode::Single))?;

        let drops = reasons
            .map_err(BpfError::Reasons)
            .and_then(|reasons| attach_drops(&mut ebpf, reasons))
            .inspect_err(|error| {
                let error = error as &dyn std::error::Error;
                tracing::warn!(error, "packets that the kernel drops are not counted");
            })
            .ok();
        let Map::HashMap(sockets) = take_map(&mut ebpf, maps::SOCKETS)? else {
            return Err(BpfError::Object { what: maps::SOCKETS });
        };
        let Map::HashMap(datagrams) = take_map(&mut ebpf, maps::DATAGRAMS)? else {
            return Err(BpfError::Object { what: maps::DATAGRAMS });
        };
        let datagrams = datagrams::Flows::new(datagrams, options.max_datagrams, ephemeral_ports());
        let counts = PerCpuArray::try_from(take_map(&mut ebpf, maps::COUNTS)?)
            .map_err(|source| BpfError::Map { map: maps::COUNTS, source })?;
        let sampling = Array::try_from(take_map(&mut ebpf, maps::SAMPLING)?)
            .map_err(|source| BpfError::Map { map: maps::SAMPLING, source })?;
        let room = Room::new(sampling, counts, options.max_sockets);
        let ring = RingBuf::try_from(take_map(&mut ebpf, maps::CLOSED)?)
            .map_err(|source| BpfError::Map { map: maps::CLOSED, source })?;
        let dns = RingBuf::try_from(take_map(&mut ebpf, maps::DNS)?)
            .map_err(|source| BpfError::Map { map: maps::DNS, source })?;
        let losses = PerCpuArray::try_from(take_map(&mut ebpf, maps::LOSSES)?)
            .map_err(|source| BpfError::Map { map: maps::LOSSES, source })?;
        Ok(Self {
            _ebpf: ebpf,
            sockets,
            ring,
            ring_bytes: usize::try_from(options.ring_bytes).unwrap_or(usize::MAX),
            room,
            datagrams,
            dns,
            drops,
            losses,
            taken: HashSet::new(),
            lost: Unseen::default(),
        })
    }

    /// Tells of what has closed since the last call. Calling it about every 100 ms keeps the ring from filling, and
    /// sooner if it says that the ring was a quarter full.
    pub fn poll(&mut self, visit: &mut dyn Visit) -> bool {
        let flows = self.room.count(Count::FlowsEntered).unwrap_or(0);
        if let Err(error) = self.datagrams.poll(flows, visit) {
            tracing::debug!(%error, "flows of datagrams could not be read between two collections");
        }
        let mut records = 0;
        self.poll_ring(visit, |_| records += 1);
        if let Err(error) = self.room.adjust(Instant::now()) {
            tracing::debug!(%error, "the room for sockets could not be seen to");
        }
        records * size_of::<Socket>() > self.ring_bytes / 4
    }

    fn poll_ring(&mut self, visit: &mut dyn Visit, mut each: impl FnMut(Connection)) {
        while let Some(record) = self.ring.next() {
            let Some(socket) = convert::parse(&record) else { continue };
            if !self.taken.remove(&connection(&socket)) {
                each(connection(&socket));
                visit.closed(convert::state(&socket));
            }
        }
    }

    /// Gives the messages of DNS that passed since the last call to `each`. Calling it some times a second
    /// keeps their ring from filling.
    pub fn poll_dns(&mut self, mut each: impl FnMut(&DnsMessage)) {
        while let Some(record) = self.dns.next() {
            if let Some(message) = convert::parse_dns(&record) {
                each(&message);
            }
        }
    }

    /// Packets that the kernel drops are counted.
    #[must_use]
    pub fn counts_drops(&self) -> bool {
        self.drops.is_some()
    }

    /// Gives what the kernel dropped since the last call to `each`.
    pub fn poll_drops(&mut self, each: impl FnMut(Dropped)) {
        if let Some(drops) = &self.drops
            && let Err(error) = drops.poll(each)
        {
            tracing::debug!(%error, "dropped packets could not be read");
        }
    }

    /// Tells of what has closed, and of every socket that is open.
    ///
    /// A socket that connects anew keeps its cookie: [`crate::socket::SocketState::began_ns`] tells its connections apart.
    ///
    /// # Errors
    /// The kernel refuses to read the maps. What has been told stands; the next collection tells the rest.
    pub fn collect(&mut self, visit: &mut dyn Visit) -> Result<Unseen, BpfError> {
        // The kernel hands a connection over and then removes it from the map, where it may still be seen.
        let mut just_closed = HashSet::new();
        self.poll_ring(visit, |connection| {
            just_closed.insert(connection);
        });
        // Of what the last collection took out of the map, the ring has nothing any more.
        self.taken.clear();
        let mut waiting = Vec::new();
        self.each_open(|socket| {
            if socket.has(flag::CLOSED) {
                waiting.push(socket.cookie);
            } else {
                visit.meet(&convert::state(socket));
            }
        })?;
        for cookie in waiting {
            self.take_waiting(cookie, &just_closed, visit)?;
        }
        let flows = self.room.count(Count::FlowsEntered)?;
        let datagrams = self.datagrams.collect(flows, visit).map_err(BpfError::Lookup)?;
        datagrams.iter().for_each(|flow| visit.meet(flow));
        visit.all_met();
        self.each_open(|socket| {
            if !socket.has(flag::CLOSED) {
                visit.count(convert::state(socket));
            }
        })?;
        datagrams.into_iter().for_each(|flow| visit.count(flow));
        let lost = Unseen {
            map_insert_failures: self.loss(Loss::InsertFailed)?,
            ring_drops: self.loss(Loss::ClosedOverwritten)?,
            dns_dropped: self.loss(Loss::DnsDropped)?,
            datagrams_uncounted: self.loss(Loss::DatagramsUncounted)?,
            drops_uncounted: self.loss(Loss::DropsUncounted)?,
            sampled_out: self.loss(Loss::SampledOut)?,
        };
        let before = mem::replace(&mut self.lost, lost);
        Ok(Unseen {
            map_insert_failures: lost.map_insert_failures - before.map_insert_failures,
            ring_drops: lost.ring_drops - before.ring_drops,
            dns_dropped: lost.dns_dropped - before.dns_dropped,
            datagrams_uncounted: lost.datagrams_uncounted - before.datagrams_uncounted,
            drops_uncounted: lost.drops_uncounted - before.drops_uncounted,
            sampled_out: lost.sampled_out - before.sampled_out,
        })
    }

    /// [`Self::collect`], all at once.
    ///
    /// # Errors
    /// As there.
    pub fn collect_all(&mut self) -> Result<Collected, BpfError> {
        let mut collected = Collected::default();
        collected.unseen = self.collect(&mut collected)?;
        Ok(collected)
    }

    fn each_open(&self, mut each: impl FnMut(&Socket)) -> Result<(), BpfError> {
        batch::for_each(self.sockets.fd().as_fd(), |_: &u64, socket: &Socket| {
            // Without a cookie it is being filled in on another CPU this very moment: complete at the next look.
            if socket.cookie != 0 {
                each(socket);
            }
        })
        .map_err(BpfError::Lookup)
    }

    /// Takes a closed socket, for which the ring had no room, out of the map.
    fn take_waiting(
        &mut self,
        cookie: u64,
        just_closed: &HashSet<Connection>,
        visit: &mut dyn Visit,
    ) -> Result<(), BpfError> {
        let fd = self.sockets.fd().as_fd();
        let Some(socket) = batch::take::<u64, Socket>(fd, &cookie).map_err(BpfError::Lookup)?
        else {
            return Ok(());
        };
        if !socket.has(flag::CLOSED) {
            // The same socket has connected again since the look at the map: put it back. What
            // happens to it between the two calls is carried by its counters at the next event,
            // unless it closes just then.
            batch::put_back(fd, &socket.cookie, &socket).map_err(BpfError::Lookup)?;
            return Ok(());
        }
        self.room.took_one();
        if !just_closed.contains(&connection(&socket)) {
            self.taken.insert(connection(&socket));
            visit.closed(convert::state(&socket));
        }
        Ok(())
    }

    fn loss(&self, loss: Loss) -> Result<u64, BpfError> {
        let counts = self
            .losses
            .get(&(loss as u32), 0)
            .map_err(|source| BpfError::Map { map: maps::LOSSES, source })?;
        Ok(counts.iter().sum())
    }
}

/// Of integers alone.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Plain<T>(T);

// SAFETY: integers without padding, which the crate asserts.
unsafe impl Pod for Plain<PacketLayout> {}
// SAFETY: integers of one size.
unsafe impl Pod for Plain<SocketLayout> {}

fn socket_layout(btf: &btf::Btf) -> SocketLayout {
    let offset = |path| btf.offset(path).unwrap_or(0);
    SocketLayout {
        error: offset("sock.sk_err"),
        netns: offset("sock.__sk_common.skc_net.net"),
        netns_cookie: offset("net.net_cookie"),
    }
}

/// Version of the running kernel, major and minor.
fn release() -> Option<(u32, u32)> {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// What is not to be had without the kernel's type information.
fn attach_drops(ebpf: &mut Ebpf, reasons: Reasons) -> Result<Drops, BpfError> {
    let btf = Btf::from_sys_fs().map_err(|error| BpfError::Reasons(io::Error::other(error)))?;
    let dropped: &mut BtfTracePoint = program(ebpf, programs::DROPPED)?;
    step(programs::DROPPED, dropped.load("kfree_skb", &btf))?;
    step(programs::DROPPED, dropped.attach())?;
    let Map::HashMap(map) = take_map(ebpf, maps::DROPS)? else {
        return Err(BpfError::Object { what: maps::DROPS });
    };
    Ok(Drops::new(map, reasons))
}

fn read_object(path: &Path) -> Result<Vec<u8>, BpfError> {
    fs::read(path).map_err(|source| BpfError::ReadObject { path: path.to_owned(), source })
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, BpfError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program>,
{
    ebpf.program_mut(name)
        .and_then(|program| <&mut P>::try_from(program).ok())
        .ok_or(BpfError::Object { what: name })
}

fn take_map(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, BpfError> {
    ebpf.take_map(name).ok_or(BpfError::Object { what: name })
}

fn step<T>(
    program: &'static str,
    result: Result<T, aya::programs::ProgramError>,
) -> Result<T, BpfError> {
    result.map_err(|source| BpfError::Program { program, source: Box::new(source) })
}
