//! Collects as the agent does, and keeps what the last report of each socket said.

use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use weir_agent::bpf::{BpfCollector, Options};
use weir_agent::socket::{Collected, Counters, SocketState};

use crate::lab::{Lab, Namespace};

/// A collector at work on a thread of its own.
pub(crate) struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<Seen>,
}

/// All that was reported.
#[derive(Default)]
pub(crate) struct Seen {
    /// Last report of each connection: of those that ended, then of those that are open.
    pub(crate) last: Vec<SocketState>,
    /// Each collection's reports.
    pub(crate) collections: Vec<Vec<SocketState>>,
    pub(crate) map_insert_failures: u64,
    pub(crate) ring_drops: u64,
    pub(crate) datagrams_uncounted: u64,
    pub(crate) sampled_out: u64,
}

impl Watch {
    /// With the defaults, once a second.
    pub(crate) fn every_second() -> Self {
        Self::start(Options::default(), Duration::from_secs(1))
    }

    /// Attaches, and collects every `interval` until stopped.
    pub(crate) fn start(options: Options, interval: Duration) -> Self {
        let mut collector = BpfCollector::start(&options).unwrap_or_else(|e| panic!("{e:?}"));
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut seen = Seen::default();
            let mut open = HashMap::new();
            let mut next = Instant::now() + interval;
            let mut collected = Collected::default();
            loop {
                let poll = Duration::from_millis(100).min(interval);
                let end = stopped.recv_timeout(poll) != Err(RecvTimeoutError::Timeout);
                collector.poll(&mut collected);
                if !end && Instant::now() < next {
                    continue;
                }
                next += interval;
                let unseen = collector.collect(&mut collected).unwrap();
                seen.map_insert_failures += unseen.map_insert_failures;
                seen.ring_drops += unseen.ring_drops;
                seen.datagrams_uncounted += unseen.datagrams_uncounted;
                seen.sampled_out += unseen.sampled_out;
                let sockets = std::mem::take(&mut collected.sockets);
                for socket in &sockets {
                    // A socket of datagrams has a flow with each peer.
                    let id = (socket.cookie, socket.protocol, socket.peer);
                    if socket.closed {
                        open.remove(&id);
                        seen.last.push(socket.clone());
                    } else {
                        open.insert(id, socket.clone());
                    }
                }
                seen.collections.push(sockets);
                if end {
                    seen.last.extend(open.into_values());
                    return seen;
                }
            }
        });
        Self { stop, thread }
    }

    /// Waits for the last words of the lab's connections, then takes the final collection.
    pub(crate) fn stop(self, lab: &Lab) -> Seen {
        lab.settle();
        self.stop_now()
    }

    /// Takes the final collection while connections are open.
    pub(crate) fn stop_now(self) -> Seen {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap()
    }
}

impl Seen {
    /// The only connection of a network namespace.
    pub(crate) fn only(&self, namespace: &Namespace) -> &SocketState {
        let sockets = self.of(namespace.cookie);
        assert_eq!(sockets.len(), 1, "{sockets:#?}");
        sockets[0]
    }

    /// Last reports of the connections of a network namespace.
    pub(crate) fn of(&self, netns: u64) -> Vec<&SocketState> {
        self.last.iter().filter(|s| s.netns == netns).collect()
    }
}

/// Sets an option of a socket.
pub(crate) fn set_option<T>(socket: &impl AsRawFd, level: i32, option: i32, value: &T) {
    let length = libc::socklen_t::try_from(size_of::<T>()).unwrap();
    let value: *const T = value;
    // SAFETY: the value is valid and of that length.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value.cast(), length) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Adds one counter up.
pub(crate) fn sum(sockets: &[&SocketState], counter: impl Fn(&Counters) -> u64) -> u64 {
    sockets.iter().map(|s| counter(&s.counters)).sum()
}

/// A quantile out of the histogram, microseconds: interpolated within the bucket on its log scale,
/// as `histogram_quantile` does for native histograms.
pub(crate) fn quantile(socket: &SocketState, q: f64) -> f64 {
    let total: u32 = socket.rtt.slots.iter().sum();
    let mut rank = q * f64::from(total);
    for (slot, &count) in socket.rtt.slots.iter().enumerate() {
        if count > 0 && rank <= f64::from(count) {
            let index = slot as f64 - 1.0;
            let inside = rank / f64::from(count);
            return 2f64.powf((index + inside) / 2.0);
        }
        rank -= f64::from(count);
    }
    f64::NAN
}
