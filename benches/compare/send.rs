//! Senders of remote write: a keep-alive connection for each lane, one request at a time.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::answer::answer;
use super::remote_write::Lane;

/// No lane is further ahead of the slowest one, milliseconds of data: Prometheus refuses what is an
/// hour behind.
const AHEAD: i64 = 20 * 60_000;
/// Wait after a refusal for lack of room.
const BACK_OFF: Duration = Duration::from_millis(20);

/// What was sent.
pub(crate) struct Sent {
    pub(crate) samples: u64,
    pub(crate) bytes: u64,
    pub(crate) refused: u64,
    pub(crate) elapsed: Duration,
    latencies: Vec<Duration>,
}

impl Sent {
    pub(crate) fn latency(&self, share: f64) -> Duration {
        self.latencies[((self.latencies.len() - 1) as f64 * share) as usize]
    }
}

/// Sends every lane to its end.
pub(crate) fn send(address: &str, lanes: Vec<Lane>) -> Sent {
    let reached: Vec<AtomicI64> = lanes.iter().map(|_| AtomicI64::new(0)).collect();
    let totals = [const { AtomicU64::new(0) }; 3];
    let begin = Instant::now();
    let latencies = std::thread::scope(|scope| {
        let senders: Vec<_> = lanes
            .into_iter()
            .enumerate()
            .map(|(number, lane)| {
                let (reached, totals) = (&reached, &totals);
                scope.spawn(move || one(address, lane, number, reached, totals))
            })
            .collect();
        senders.into_iter().flat_map(|s| s.join().expect("sender")).collect::<Vec<_>>()
    });
    let elapsed = begin.elapsed();
    let [samples, bytes, refused] = totals.map(AtomicU64::into_inner);
    let mut latencies = latencies;
    latencies.sort_unstable();
    Sent { samples, bytes, refused, elapsed, latencies }
}

fn one(
    address: &str,
    lane: Lane,
    number: usize,
    reached: &[AtomicI64],
    totals: &[AtomicU64; 3],
) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_nodelay(true).expect("no delay");
    let mut answers = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut latencies = Vec::new();
    let mut request = Vec::new();
    for body in lane {
        while body.until - slowest(reached) > AHEAD && slowest(reached) > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        request.clear();
        write!(
            request,
            "POST /api/v1/write HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/x-protobuf\r\n\
             content-encoding: snappy\r\nx-prometheus-remote-write-version: 0.1.0\r\n\
             content-length: {}\r\n\r\n",
            body.bytes.len(),
        )
        .expect("memory");
        request.extend_from_slice(&body.bytes);
        let begin = Instant::now();
        loop {
            stream.write_all(&request).expect("the server reads");
            match answer(&mut answers) {
                (200..300, _) => break,
                (429 | 503, _) => {
                    totals[2].fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(BACK_OFF);
                }
                (status, text) => panic!("{status}: {text}"),
            }
        }
        latencies.push(begin.elapsed());
        totals[0].fetch_add(body.samples, Ordering::Relaxed);
        totals[1].fetch_add(body.bytes.len() as u64, Ordering::Relaxed);
        reached[number].store(body.until, Ordering::Relaxed);
    }
    // It holds nobody back any more.
    reached[number].store(i64::MAX, Ordering::Relaxed);
    latencies
}

/// How far the slowest lane is; 0 until each has sent something.
fn slowest(reached: &[AtomicI64]) -> i64 {
    reached.iter().map(|at| at.load(Ordering::Relaxed)).min().unwrap_or(i64::MAX)
}
