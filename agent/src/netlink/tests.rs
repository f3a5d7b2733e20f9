//! Datagrams as the kernel sends them, and sockets to which others send as well.

use proptest::prelude::*;

use super::*;

fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + payload.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// What comes of a datagram for the request of this sequence.
fn read(bytes: &[u8], sequence: u32) -> io::Result<(Progress, Vec<u8>)> {
    let (mut progress, mut all) = (Progress::default(), Vec::new());
    replies(bytes, Some(sequence), &mut progress, |_, payload| all.extend(payload))?;
    Ok((progress, all))
}

#[test]
fn a_kernel_error_is_reported_as_such() {
    let refused = message(NLMSG_ERROR, 0, 1, &(-libc::EPERM).to_ne_bytes());
    assert_eq!(read(&refused, 1).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn a_dump_that_ends_with_an_error_is_not_complete() {
    let done = |code: i32| message(NLMSG_DONE, 0, 1, &code.to_ne_bytes());
    assert!(read(&done(0), 1).unwrap().0.complete);
    assert!(read(&done(12), 1).unwrap().0.complete, "what the subsystem counted");
    let error = read(&done(-libc::ENOENT), 1).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
}

#[test]
fn what_is_left_of_another_dump_is_not_taken_for_this_one() {
    let others = [
        message(99, INTERRUPTED, 6, b"left"),
        message(NLMSG_DONE, 0, 6, &0i32.to_ne_bytes()),
        message(NLMSG_ERROR, 0, 6, &(-libc::EBUSY).to_ne_bytes()),
    ];
    let own = [message(99, 0, 7, b"mine"), message(NLMSG_DONE, 0, 7, &0i32.to_ne_bytes())];
    let whole = Progress { complete: true, interrupted: false };
    let all = [others.concat(), own.concat()].concat();
    assert_eq!(read(&all, 7).unwrap(), (whole, b"mine".to_vec()));
    assert_eq!(read(&others.concat(), 7).unwrap(), (Progress::default(), Vec::new()));
}

#[test]
fn a_dump_that_was_interrupted_says_so() {
    for (place, message) in [
        (0, message(99, INTERRUPTED, 7, b"mine")),
        (1, message(NLMSG_DONE, INTERRUPTED, 7, &0i32.to_ne_bytes())),
    ] {
        assert!(read(&message, 7).unwrap().0.interrupted, "{place}");
    }
}

/// `RTM_GETLINK` and `struct ifinfomsg`.
const LINKS: (u16, [u8; 16]) = (18, [0; 16]);

fn links(socket: &Netlink) -> Vec<i32> {
    let index = |_, payload: &[u8]| Some(i32::from_ne_bytes(*payload.get(4..)?.first_chunk()?));
    socket.dump(LINKS.0, &LINKS.1, index).unwrap()
}

#[test]
fn a_dump_that_was_given_up_does_not_disturb_the_next_one() {
    let socket = Netlink::open(libc::NETLINK_ROUTE).unwrap();
    let whole = links(&socket);
    assert!(!whole.is_empty());
    // Addresses (`RTM_GETADDR`), asked for as the socket asks, and not read.
    let request = request(22, 1, &LINKS.1).unwrap();
    // SAFETY: pointer and length are those of one live slice.
    let sent =
        unsafe { libc::send(socket.socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) };
    assert_eq!(usize::try_from(sent).unwrap(), request.len());
    assert_eq!(links(&socket), whole);
}

#[test]
fn what_another_process_sends_is_not_the_kernels() {
    let socket = Netlink::open(libc::NETLINK_USERSOCK).unwrap();
    let other = Netlink::open(libc::NETLINK_USERSOCK).unwrap();
    socket.subscribe(&[]).unwrap();
    other.subscribe(&[]).unwrap();
    // SAFETY: all zero is a valid value.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    let mut size = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    // SAFETY: the pointers are to an address and to its length.
    let named = unsafe {
        libc::getsockname(socket.socket.as_raw_fd(), (&raw mut address).cast(), &raw mut size)
    };
    assert_eq!(named, 0);
    let lie = message(NLMSG_DONE, 0, 1, &0i32.to_ne_bytes());
    // SAFETY: pointers and lengths are those of one live slice and one address.
    let sent = unsafe {
        libc::sendto(
            other.socket.as_raw_fd(),
            lie.as_ptr().cast(),
            lie.len(),
            0,
            (&raw const address).cast(),
            size,
        )
    };
    assert_eq!(usize::try_from(sent).ok(), Some(lie.len()), "{}", io::Error::last_os_error());
    let error = socket.receive(&mut [0; 100], libc::MSG_DONTWAIT).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

proptest! {
    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = events(&bytes, |_, _| ());
        let _ = read(&bytes, 0);
    }
}
