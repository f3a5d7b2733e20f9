use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;

use super::*;
use crate::deltas::{Deltas, Durations};
use crate::socket::{Counters, Histogram, Protocol};

fn own_netns() -> u64 {
    crate::sock_diag::namespaces::own_inode().unwrap()
}

fn socket(cookie: u64, role: Role, local: SocketAddr, peer: SocketAddr) -> SocketState {
    SocketState {
        protocol: Protocol::Tcp,
        cookie,
        netns: own_netns(),
        began_ns: 0,
        sampling: 1,
        owner: Owner::default(),
        role,
        local,
        peer,
        counters: Counters::default(),
        rtt: Histogram::default(),
        connect_time_us: None,
        open: true,
        closed: false,
    }
}

fn delta(socket: SocketState) -> Delta {
    Delta {
        counters: socket.counters,
        rtt: Durations::default(),
        connect_time_us: None,
        open: socket.open,
        socket,
    }
}

impl Attribution {
    /// One collection.
    fn collect(
        &mut self,
        deltas: Vec<Delta>,
        translate: impl Fn(&SocketState) -> Option<Translation>,
    ) -> Vec<Attributed> {
        self.begin_collection();
        deltas.iter().for_each(|delta| self.meet(&delta.socket, &translate));
        self.search();
        let all = deltas.into_iter().map(|delta| self.attribute(delta)).collect();
        self.end_collection();
        all
    }

    /// Without translation.
    fn plain(&mut self, deltas: Vec<Delta>) -> Vec<Attributed> {
        self.collect(deltas, |_| None)
    }
}

fn named(name: &str) -> Owner {
    let mut comm = [0; 16];
    comm[..name.len()].copy_from_slice(name.as_bytes());
    Owner { comm, ..Owner::default() }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Name that this test process goes by.
fn own_name() -> String {
    process::name(std::process::id()).unwrap()
}

#[test]
fn the_process_is_better_than_the_thread_that_made_the_socket() {
    let mut attribution = Attribution::new();
    let client =
        |cookie| socket(cookie, Role::Client, addr("198.51.100.1:4"), addr("198.51.100.2:80"));
    let alive = SocketState {
        owner: Owner { tgid: std::process::id(), ..named("worker-3") },
        ..client(u64::MAX)
    };
    let ended = SocketState {
        owner: Owner { tgid: u32::MAX, ..named("worker-3") },
        ..client(u64::MAX - 1)
    };
    let of = attribution.plain(vec![delta(alive), delta(ended)]);
    // Where the tests run in a service or a container, that is the workload.
    let own = process::cgroups(std::process::id());
    let own = [own.unified, own.systemd].iter().flatten().find_map(|p| Workload::of_cgroup(p));
    let own = own.unwrap_or_else(|| Workload::process(own_name()));
    assert_eq!(*of[0].local, own);
    assert_eq!((of[1].local.name.as_str(), of[1].local.kind), ("worker-3", "Process"));
    assert_eq!((of[1].peer.clone(), of[1].peer_scope), (None, Scope::External));
}

#[test]
fn nobody_known_is_unknown_and_stays_so() {
    let mut attribution = Attribution::new();
    for _ in 0..5 {
        let nobody =
            socket(u64::MAX, Role::Client, addr("198.51.100.1:4"), addr("198.51.100.2:80"));
        let of = attribution.plain(vec![delta(nobody)]);
        assert_eq!((of[0].local.name.as_str(), of[0].local.kind), ("unknown", "Unknown"));
    }
    assert_eq!(attribution.sockets[&u64::MAX].attempts, ATTEMPTS);
}

#[test]
fn an_accepted_socket_without_owner_belongs_to_the_listening_process() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut attribution = Attribution::new();
    // Closed already, so that only its listener can tell.
    let local = SocketAddr::new([127, 0, 0, 1].into(), port);
    let accepted = socket(u64::MAX, Role::Server, local, addr("198.51.100.2:50000"));
    let of = attribution.plain(vec![delta(accepted)]);
    assert_ne!(of[0].local.kind, "Unknown");
    // The client's side of such a conversation names it as its peer.
    let mut client = socket(u64::MAX - 1, Role::Client, addr("127.0.0.1:4000"), local);
    client.owner = named("curl");
    let of_client = attribution.plain(vec![delta(client)]);
    assert_eq!(of_client[0].peer.as_ref(), Some(&of[0].local));
    assert_eq!(of_client[0].peer_scope, Scope::Node);
}

#[test]
fn an_open_socket_without_owner_belongs_to_who_holds_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let _server = listener.accept().unwrap();
    let (here, there) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    let state = socket(cookie(&client), Role::Client, here, there);
    let of = Attribution::new().plain(vec![delta(state)]);
    assert_ne!(of[0].local.kind, "Unknown");
    // Of UDP, too: it may be older than the agent.
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut state = socket(cookie(&server), Role::Server, server.local_addr().unwrap(), here);
    state.protocol = Protocol::Udp;
    let of = Attribution::new().plain(vec![delta(state)]);
    assert_ne!(of[0].local.kind, "Unknown");
}

fn cookie(socket: &impl AsRawFd) -> u64 {
    let mut cookie = 0u64;
    let mut length: libc::socklen_t = 8;
    // SAFETY: the pointers are to a u64 and to its length.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    assert_eq!(result, 0);
    cookie
}

#[test]
fn both_ends_of_a_conversation_name_each_other() {
    let (a, b) = (addr("198.51.100.1:40000"), addr("198.51.100.9:80"));
    let client = SocketState { owner: named("curl"), ..socket(1, Role::Client, a, b) };
    let server = SocketState { owner: named("nginx"), netns: 7, ..socket(2, Role::Server, b, a) };
    let mut attribution = Attribution::new();
    let of = attribution.plain(vec![delta(client.clone()), delta(server)]);
    let peers: Vec<_> = of.iter().map(|o| o.peer.as_ref().unwrap().name.as_str()).collect();
    assert_eq!(peers, ["nginx", "curl"]);
    assert!(of.iter().all(|o| o.peer_scope == Scope::Node));
    // The peer that closed first is still known in the next interval.
    let of = attribution.plain(vec![delta(client.clone())]);
    assert_eq!(of[0].peer.as_ref().unwrap().name, "nginx");
    // The same socket connected to somebody else is another conversation.
    let elsewhere = SocketState { peer: addr("203.0.113.1:80"), ..client };
    let of = attribution.plain(vec![delta(elsewhere)]);
    assert_eq!((of[0].peer.clone(), of[0].peer_scope), (None, Scope::External));
}

#[test]
fn loopback_means_another_host_in_another_namespace() {
    let (a, b) = (addr("127.0.0.1:40000"), addr("127.0.0.1:80"));
    let client = SocketState { owner: named("curl"), ..socket(1, Role::Client, a, b) };
    let server = SocketState { owner: named("nginx"), netns: 7, ..socket(2, Role::Server, b, a) };
    let of = Attribution::new().plain(vec![delta(client), delta(server)]);
    assert!(of.iter().all(|o| o.peer.is_none() && o.peer_scope == Scope::Node));
}

#[test]
fn what_is_remembered_ends() {
    let mut attribution = Attribution::new();
    let mut deltas = Deltas::default();
    let one = SocketState {
        owner: named("curl"),
        ..socket(1, Role::Client, addr("198.51.100.1:4"), addr("198.51.100.2:80"))
    };
    attribution.plain(vec![deltas.advance(one)]);
    (0..=KEEP).for_each(|_| drop(attribution.plain(vec![])));
    assert!(attribution.sockets.is_empty() && attribution.pairs.is_empty());
}

#[test]
fn a_client_that_is_seen_before_its_server_accepts_is_named_by_who_accepted_there() {
    let mut attribution = Attribution::new();
    let (a, b) = (addr("198.51.100.1:4000"), addr("198.51.100.2:80"));
    let accepts = |cookie, name: &str, peer| SocketState {
        owner: named(name),
        ..socket(cookie, Role::Server, b, peer)
    };
    let connects = |cookie, port| socket(cookie, Role::Client, SocketAddr::new(a.ip(), port), b);
    let first = vec![delta(connects(1, 4000)), delta(accepts(2, "shop", a))];
    let peers = |done: Vec<Attributed>| -> Vec<_> {
        done.into_iter().map(|a| a.peer.map(|w| w.name.clone())).collect()
    };
    assert_eq!(peers(attribution.plain(first))[0].as_deref(), Some("shop"));
    // The server's end of this one comes with the next collection. Its address is known by then
    // as this host's, from the sockets that are open there.
    let still = || delta(accepts(2, "shop", a));
    let early = vec![delta(connects(3, 4001)), still()];
    assert_eq!(peers(attribution.plain(early))[0].as_deref(), Some("shop"));
    // Two workloads at one address, in two network namespaces: nobody can tell.
    let other = SocketState { netns: 7, ..accepts(4, "bank", addr("198.51.100.9:5")) };
    let early = vec![delta(connects(5, 4002)), still(), delta(other)];
    assert_eq!(peers(attribution.plain(early))[0], None);
}

#[test]
fn translated_ends_find_each_other_and_the_translation_is_kept() {
    let (dialled, backend) = (addr("10.96.0.1:443"), addr("10.0.0.7:6443"));
    let (own, masqueraded) = (addr("10.0.0.1:40000"), addr("192.0.2.9:1024"));
    let client = SocketState { owner: named("curl"), ..socket(1, Role::Client, own, dialled) };
    let server =
        SocketState { owner: named("nginx"), ..socket(2, Role::Server, backend, masqueraded) };
    let translate = |socket: &SocketState| {
        Some(match socket.role {
            Role::Client => Translation {
                local: own,
                peer: backend,
                known_as: masqueraded,
                service: Some(dialled),
            },
            _ => Translation { local: backend, peer: own, known_as: dialled, service: None },
        })
    };
    let mut attribution = Attribution::new();
    let both = || vec![delta(client.clone()), delta(server.clone())];
    let of = attribution.collect(both(), translate);
    let peers: Vec<_> = of.iter().map(|a| a.peer.as_ref().map(|p| p.name.as_str())).collect();
    assert_eq!(peers, [Some("nginx"), Some("curl")]);
    assert_eq!((of[0].peer_address, of[0].service), (backend, Some(dialled)));
    assert_eq!((of[1].peer_address, of[1].service), (own, None));
    // The kernel has forgotten it.
    for _ in 0..2 * KEEP {
        let of = attribution.plain(both());
        assert_eq!((of[0].peer_address, of[1].peer_address), (backend, own));
    }
}
