use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::*;

/// Set for the child process that the test below starts.
const CHILD: &str = "WEIR_TEST_NAMESPACE_CHILD";

/// In a network namespace of its own: one connection of 4321 bytes, until standard input ends.
#[test]
fn child_with_a_connection() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    set_loopback_up();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut server = listener.accept().unwrap().0;
    client.write_all(&[1; 4321]).unwrap();
    server.read_exact(&mut [0; 4321]).unwrap();
    println!("\nconnected {}", own_inode().unwrap());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn set_loopback_up() {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    // SAFETY: all-zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *slot = libc::c_char::try_from(*byte).unwrap();
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP).unwrap();
    // SAFETY: the pointer is to a live `ifreq`, as this request wants it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

#[test]
fn sockets_of_another_namespace_are_dumped() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "sock_diag::namespaces::tests::child_with_a_connection", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    // SAFETY: `unshare` is a plain system call, which is allowed between fork and exec.
    unsafe {
        command.pre_exec(|| match libc::unshare(libc::CLONE_NEWNET) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if std::env::var_os("CI").is_none() => {
            // Past the test harness, which would hide it.
            let _ =
                writeln!(std::io::stderr(), "skipped: no network namespace can be made: {error}");
            return;
        }
        Err(error) => panic!("no network namespace can be made: {error}"),
    };
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let inode: u64 = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("connected ")?.parse().ok())
        .expect("the child says its namespace");

    let dumped = dump_all().unwrap();
    let beyond_the_bound = find(own_inode().unwrap(), 0).unwrap();
    // Ends the child, whatever comes next.
    drop(child.stdin.take());
    lines.for_each(drop);
    child.wait().unwrap();

    let own = dumped.namespaces.first().unwrap();
    assert_eq!(own.inode, own_inode().unwrap());
    let other = dumped.namespaces.iter().find(|n| n.inode == inode).unwrap();
    assert_ne!(other.cookie, own.cookie);
    let sent = |bytes| {
        let infos = other.sockets.iter().filter_map(|s| s.info);
        infos.filter(|i| i.bytes_acked == bytes).count()
    };
    assert_eq!(sent(4321 + 1), 1, "payload and SYN");
    assert!(!dumped.unread.contains(&inode));
    // Not visited is not gone.
    assert!(beyond_the_bound.open.is_empty() && beyond_the_bound.unread.contains(&inode));
    // This thread has not moved.
    assert_eq!(own_inode().unwrap(), own.inode);
}
