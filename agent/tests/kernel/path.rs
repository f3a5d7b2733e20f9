//! A path with a delay: two TUN devices and threads that carry packets from one to the other.
//! (The kernel's own way, netem, is often not built in.)

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Carries packets until dropped.
pub(crate) struct Path {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

type Packet = (Instant, Vec<u8>);

impl Path {
    /// Joins two TUN devices; each packet arrives `delay` after it was sent.
    pub(crate) fn join(a: File, b: File, delay: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (a_again, b_again) = (a.try_clone().unwrap(), b.try_clone().unwrap());
        let mut threads = Vec::new();
        for (from, to) in [(a, b_again), (b, a_again)] {
            let (sender, receiver) = mpsc::channel();
            let stop = Arc::clone(&stop);
            threads.push(thread::spawn(move || read(from, &sender, delay, &stop)));
            threads.push(thread::spawn(move || write(to, &receiver)));
        }
        Self { stop, threads }
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn read(mut from: File, to: &Sender<Packet>, delay: Duration, stop: &AtomicBool) {
    let mut buffer = vec![0; 65536];
    while !stop.load(Ordering::Relaxed) {
        let mut poll = libc::pollfd { fd: from.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one descriptor, open as long as `from`.
        if unsafe { libc::poll(&raw mut poll, 1, 50) } <= 0 {
            continue;
        }
        // Reading fails while the device is down.
        let Ok(length) = from.read(&mut buffer) else { continue };
        if to.send((Instant::now() + delay, buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}

fn write(mut to: File, from: &Receiver<Packet>) {
    while let Ok((due, packet)) = from.recv() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let _ = to.write_all(&packet);
    }
}

/// Makes a TUN device in the calling thread's network namespace; it lives as long as the file.
pub(crate) fn tun(name: &str) -> File {
    const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
    const IFF_TUN: u16 = 1;
    const IFF_NO_PI: u16 = 0x1000;
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun").unwrap();
    let mut request = [0u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    request[16..18].copy_from_slice(&(IFF_TUN | IFF_NO_PI).to_ne_bytes());
    // SAFETY: `struct ifreq` is 40 bytes: the name, then the flags.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) };
    assert_eq!(result, 0, "TUNSETIFF: {}", io::Error::last_os_error());
    file
}
