//! Many open connections.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use super::lab::Lab;

/// Connections to one address and port: there are some 28,000 ports to come from.
const PER_PORT: usize = 20_000;

/// Both ends of connections.
pub(crate) struct Flows {
    ends: Vec<(TcpStream, TcpStream)>,
}

impl Flows {
    /// Each connection sends some bytes one way, and they are read.
    pub(crate) fn talk(&self) {
        let mut buffer = [0; 64];
        for (client, server) in &self.ends {
            (&*client).write_all(b"some bytes").unwrap();
            let read = (&*server).read(&mut buffer).unwrap();
            assert!(read > 0);
        }
    }
}

/// Opens so many sockets, half of them at each end.
pub(crate) fn open(lab: &Lab, sockets: usize) -> Flows {
    let limit = libc::rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 20 };
    // SAFETY: the pointer is to a live value.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    let wanted = sockets / 2;
    let address: Ipv4Addr = lab.b.address;
    let ports = wanted.div_ceil(PER_PORT);
    let mut ends = Vec::with_capacity(wanted);
    for port in 0..ports {
        let count = PER_PORT.min(wanted - port * PER_PORT);
        let at = SocketAddr::new(address.into(), 9000 + port as u16);
        let (ready, is_ready) = mpsc::channel();
        let server = lab.b.enter(move || {
            let listener = TcpListener::bind(at).unwrap();
            ready.send(()).unwrap();
            (0..count).map(|_| listener.accept().unwrap()).collect::<Vec<_>>()
        });
        is_ready.recv().unwrap();
        let client = lab.a.enter(move || {
            let connect = |_| {
                // The backlog is short: a connection that finds it full is tried again by the kernel.
                TcpStream::connect(at).unwrap()
            };
            (0..count).map(connect).collect::<Vec<_>>()
        });
        let mut clients = client.join().unwrap();
        let mut servers = server.join().unwrap();
        clients.sort_by_key(|c| c.local_addr().unwrap().port());
        servers.sort_by_key(|(_, from)| from.port());
        ends.extend(clients.into_iter().zip(servers.into_iter().map(|(server, _)| server)));
    }
    thread::sleep(std::time::Duration::from_millis(500));
    Flows { ends }
}
