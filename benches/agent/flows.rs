//! Many open connections, held by processes of their own: one may not have files enough.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use super::lab::{Lab, Namespace};

/// Connections to one port, which are one flow at either end.
const PER_PORT: usize = 10;
/// Ports of one process; each takes 2 files a connection and one to listen.
const PORTS: usize = 800;
const FIRST_PORT: usize = 10_000;
/// First argument of a process that holds connections.
pub(crate) const HOLD: &str = "--hold-flows";

/// Processes that hold both ends of connections; they end when dropped.
pub(crate) struct Flows(Vec<Child>);

/// Opens so many sockets, half of them at each end.
pub(crate) fn open(lab: &Lab, sockets: usize) -> Flows {
    let ports = (sockets / 2).div_ceil(PER_PORT);
    let begin = |first: usize| {
        let count = PORTS.min(ports - first).to_string();
        let first = (FIRST_PORT + first).to_string();
        let address = lab.b.address.to_string();
        Command::new(std::env::current_exe().unwrap())
            .args([HOLD, &lab.a.name, &lab.b.name, &address, &first, &count])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut flows = Flows((0..ports).step_by(PORTS).map(begin).collect());
    flows.talk();
    flows
}

impl Flows {
    /// Each connection sends some bytes one way, and they are read.
    pub(crate) fn talk(&mut self) {
        for child in &mut self.0 {
            child.stdin.as_mut().unwrap().write_all(b"talk\n").unwrap();
        }
        for child in &mut self.0 {
            let mut done = [0; 5];
            child.stdout.as_mut().unwrap().read_exact(&mut done).unwrap();
        }
    }
}

impl Drop for Flows {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The process that holds connections: opens them, and has each of them talk for every line that it is told.
pub(crate) fn hold(arguments: &[String]) {
    let [a, b, address, first, count] = arguments else { panic!("{arguments:?}") };
    let address: Ipv4Addr = address.parse().unwrap();
    let (first, count): (u16, u16) = (first.parse().unwrap(), count.parse().unwrap());
    let namespace = |name: &str| Namespace {
        name: name.to_owned(),
        device: String::new(),
        address,
        address6: address.to_ipv6_mapped(),
        cookie: 0,
    };
    let at = move |port| SocketAddr::new(address.into(), first + port);
    let (ready, is_ready) = mpsc::channel();
    let server = namespace(b).enter(move || {
        let listeners: Vec<_> = (0..count).map(|p| TcpListener::bind(at(p)).unwrap()).collect();
        ready.send(()).unwrap();
        let accept = |listener: &TcpListener| listener.accept().unwrap();
        let all = listeners.iter().flat_map(|l| (0..PER_PORT).map(move |_| accept(l)));
        all.collect::<Vec<_>>()
    });
    is_ready.recv().unwrap();
    let connect = move |port| TcpStream::connect(at(port)).unwrap();
    let client = namespace(a).enter(move || {
        (0..count).flat_map(|p| (0..PER_PORT).map(move |_| connect(p))).collect::<Vec<_>>()
    });
    let mut clients = client.join().unwrap();
    let mut servers = server.join().unwrap();
    // A port of the client may be in use to several of the server.
    clients.sort_by_key(|c| (c.peer_addr().unwrap().port(), c.local_addr().unwrap().port()));
    servers.sort_by_key(|(s, from)| (s.local_addr().unwrap().port(), from.port()));
    for line in BufReader::new(std::io::stdin()).lines() {
        drop(line.unwrap());
        let mut buffer = [0; 64];
        for (client, (server, _)) in clients.iter().zip(&servers) {
            (&*client).write_all(b"some bytes").unwrap();
            assert!((&*server).read(&mut buffer).unwrap() > 0);
        }
        println!("done");
    }
}
