//! Agents that send as fast as they are acknowledged, or at a rate that is given.
//!
//! Batches are made beforehand: agents encode on their own hosts. Only the schema message, which
//! carries the sequence, is written anew for each request, since a batch that is sent again under
//! its old sequence would be acknowledged without being stored. It travels in a zstd frame of its
//! own, which costs some bytes that agents do not send.

#![allow(dead_code, reason = "each benchmark uses its part of this module")]

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use weir_wire::Header;

use super::answer::answer;
use super::generator::{Cluster, Shape};

/// Wait after a refusal for lack of room. Agents wait longer.
const BACK_OFF: Duration = Duration::from_millis(20);

/// Stands where the id of the sender's run goes.
const BOOT: &str = "boot-00000000";
/// Stands where the sequence goes; 0 in front makes any number fit.
const SEQUENCE: i64 = 1_000_000_000;

/// The batches of one agent.
pub(crate) struct Lane {
    batches: Vec<Made>,
}

/// One batch, ready but for its sequence.
struct Made {
    head: Vec<u8>,
    boot_at: usize,
    sequence_at: usize,
    rest: Vec<u8>,
    rows: u64,
    /// Bytes of the batch as an agent sends it.
    bytes: u64,
}

/// Makes the batches of every node of a cluster.
pub(crate) fn lanes(shape: Shape, intervals: u64) -> Vec<Arc<Lane>> {
    lanes_of(Arc::new(Cluster::new(shape)), intervals, |batch| batch)
}

/// The same of a cluster that is there, each batch changed before it is encoded.
pub(crate) fn lanes_of(
    cluster: Arc<Cluster>,
    intervals: u64,
    change: fn(RecordBatch) -> RecordBatch,
) -> Vec<Arc<Lane>> {
    let nodes = cluster.shape().nodes;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let workers: Vec<_> = (0..threads)
        .map(|worker| {
            let cluster = cluster.clone();
            std::thread::spawn(move || {
                (worker..nodes)
                    .step_by(threads)
                    .map(|node| {
                        let batches =
                            (0..intervals).map(|i| make(&cluster, node, i, change)).collect();
                        Arc::new(Lane { batches })
                    })
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    workers.into_iter().flat_map(|w| w.join().expect("batches are made")).collect()
}

fn make(
    cluster: &Cluster,
    node: usize,
    interval: u64,
    change: fn(RecordBatch) -> RecordBatch,
) -> Made {
    let batch = change(cluster.batch(node, interval));
    let header = Header {
        agent: format!("node-{node}"),
        boot: BOOT.into(),
        sequence: SEQUENCE,
        losses: Default::default(),
    };
    let stream = weir_wire::encode_stream(&header, &batch).expect("batch encodes");
    let length = u32::from_le_bytes(stream[4..8].try_into().expect("four bytes"));
    let (head, rest) = stream.split_at(8 + length as usize);
    let find = |text: &str| {
        head.windows(text.len()).position(|w| w == text.as_bytes()).expect("it is in the header")
    };
    Made {
        boot_at: find(BOOT),
        sequence_at: find(&SEQUENCE.to_string()),
        head: head.to_vec(),
        rest: zstd::bulk::compress(rest, 3).expect("it compresses"),
        rows: batch.num_rows() as u64,
        bytes: weir_wire::encode(&header, &batch).expect("batch encodes").len() as u64,
    }
}

impl Made {
    fn request(
        &self,
        zstd: &mut zstd::bulk::Compressor<'_>,
        run: u64,
        lap: u64,
        sequence: u64,
        out: &mut Vec<u8>,
    ) {
        let mut head = self.head.clone();
        let boot = format!("boot-{run:04}{lap:04}");
        head[self.boot_at..][..BOOT.len()].copy_from_slice(boot.as_bytes());
        let sequence = format!("{sequence:010}");
        head[self.sequence_at..][..sequence.len()].copy_from_slice(sequence.as_bytes());
        let head = zstd.compress(&head).expect("it compresses");
        out.clear();
        let length = head.len() + self.rest.len();
        write!(
            out,
            "POST /v1/flows HTTP/1.1\r\nhost: weir\r\ncontent-type: {}\r\ncontent-encoding: {}\r\ncontent-length: {length}\r\n\r\n",
            weir_wire::CONTENT_TYPE,
            weir_wire::CONTENT_ENCODING,
        )
        .expect("memory");
        out.extend(head);
        out.extend(&self.rest);
    }
}

/// How fast to send.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// The next batch when the last one is acknowledged.
    Closed,
    /// This many rows a second over all agents, whatever the answers take.
    Open(f64),
}

/// When to stop.
pub(crate) enum Until<'a> {
    Elapsed(Duration),
    Reached(&'a (dyn Fn() -> bool + Sync)),
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) rows: u64,
    pub(crate) batches: u64,
    pub(crate) bytes: u64,
    pub(crate) refused: u64,
    pub(crate) elapsed: Duration,
    latencies: Vec<Duration>,
}

impl Outcome {
    /// Rows acknowledged per second.
    pub(crate) fn rate(&self) -> f64 {
        self.rows as f64 / self.elapsed.as_secs_f64()
    }

    /// Time from when a batch was due to its acknowledgement.
    pub(crate) fn latency(&self, share: f64) -> Duration {
        self.latencies[((self.latencies.len() - 1) as f64 * share) as usize]
    }
}

/// Sends from every lane over a connection of its own. `run` tells runs against one server apart.
pub(crate) fn send(
    address: &str,
    lanes: &[Arc<Lane>],
    run: u64,
    pace: Pace,
    until: Until<'_>,
) -> Outcome {
    let begin = Instant::now();
    let done = || match &until {
        Until::Elapsed(limit) => begin.elapsed() >= *limit,
        Until::Reached(reached) => reached(),
    };
    let mut outcome = Outcome::default();
    std::thread::scope(|scope| {
        let senders: Vec<_> = lanes
            .iter()
            .enumerate()
            .map(|(number, lane)| {
                let done = &done;
                let share = number as f64 / lanes.len() as f64;
                let rate = match pace {
                    Pace::Closed => None,
                    Pace::Open(rate) => Some(rate / lanes.len() as f64),
                };
                scope.spawn(move || one(address, lane, run, rate.map(|r| (r, share)), begin, done))
            })
            .collect();
        for sender in senders {
            let part = sender.join().expect("sender");
            outcome.rows += part.rows;
            outcome.batches += part.batches;
            outcome.bytes += part.bytes;
            outcome.refused += part.refused;
            outcome.latencies.extend(part.latencies);
        }
    });
    outcome.elapsed = begin.elapsed();
    outcome.latencies.sort_unstable();
    outcome
}

/// One agent. `rate`: rows a second, and where in the first interval it begins.
fn one(
    address: &str,
    lane: &Lane,
    run: u64,
    rate: Option<(f64, f64)>,
    begin: Instant,
    done: &dyn Fn() -> bool,
) -> Outcome {
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_nodelay(true).expect("no delay");
    let mut answers = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut stream = stream;
    let mut outcome = Outcome::default();
    let mut request = Vec::new();
    let mut zstd = zstd::bulk::Compressor::new(1).expect("a compressor");
    let mut due_rows = rate.map_or(0.0, |(_, share)| share * lane.batches[0].rows as f64);
    for lap in 0.. {
        for (sequence, made) in (0..).zip(&lane.batches) {
            if done() {
                return outcome;
            }
            let mut due = Instant::now();
            if let Some((rate, _)) = rate {
                let at = begin + Duration::from_secs_f64(due_rows / rate);
                std::thread::sleep(at.saturating_duration_since(due));
                due = at;
                due_rows += made.rows as f64;
            }
            made.request(&mut zstd, run, lap, sequence, &mut request);
            loop {
                stream.write_all(&request).expect("the server reads");
                match answer(&mut answers) {
                    (200, _) => break,
                    (429, _) => {
                        outcome.refused += 1;
                        if done() {
                            return outcome;
                        }
                        std::thread::sleep(BACK_OFF);
                    }
                    (status, text) => panic!("{status}: {text}"),
                }
            }
            outcome.latencies.push(due.elapsed());
            outcome.rows += made.rows;
            outcome.batches += 1;
            outcome.bytes += made.bytes;
        }
    }
    outcome
}
