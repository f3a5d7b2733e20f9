use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Barrier;
use std::thread::JoinHandle;

use super::receiver::{Answer, Receiver, Request};
use super::*;
use crate::spool::Batch;

struct Shipping {
    spool: Spool,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
    directory: tempfile::TempDir,
}

impl Shipping {
    fn start(server: String, token_file: Option<PathBuf>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path(), 1 << 20, "n").unwrap();
        let stop = Stop::default();
        let target = Target { server, token_file };
        let clients = Arc::new(tls::Clients::new(tls::TlsFiles::default()).unwrap());
        let shipper = Shipper::new(Poster::new(target, clients), spool.clone(), stop.clone());
        let thread = Some(std::thread::spawn(move || shipper.run()));
        Self { spool, stop, thread, directory }
    }

    fn push(&self, sequence: i64) {
        self.push_body(sequence, sequence.to_string().into_bytes());
    }

    fn push_body(&self, sequence: i64, body: Vec<u8>) {
        let batch = Batch {
            agent: "a".into(),
            boot: "b".into(),
            sequence,
            rows: 1,
            losses: BTreeMap::new(),
            body,
        };
        self.spool.push(batch, &BTreeMap::new());
    }

    fn end(&mut self, within: Duration) {
        self.stop.by(Instant::now() + within, &self.spool);
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Shipping {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end(Duration::ZERO);
        }
    }
}

fn taken(requests: &[Request]) -> Vec<String> {
    let taken = requests.iter().filter(|r| (200..300).contains(&r.status));
    taken.map(|r| String::from_utf8(r.body.clone()).unwrap()).collect()
}

/// An address that refuses connections. No other test binds this one of the loopback addresses, so
/// that nobody takes the port meanwhile.
fn closed_address(last: u8) -> SocketAddr {
    Receiver::start_at(SocketAddr::from(([127, 0, 0, last], 0)), []).address
}

#[test]
fn batches_arrive_in_order_over_one_connection() {
    let receiver = Receiver::start([Answer::Status(200, "{}")]);
    let shipping = Shipping::start(format!("{}/", receiver.url()), None);
    (1..=5).for_each(|n| shipping.push(n));
    let requests = receiver.wait(|r| taken(r).len() == 5);
    assert_eq!(taken(&requests), ["1", "2", "3", "4", "5"]);
    assert_eq!(receiver.connections(), 1);
    let head = &requests[0].head;
    assert!(head.starts_with("post /v1/flows http/1.1"), "{head}");
    assert!(head.contains("content-type: application/vnd.apache.arrow.stream"), "{head}");
    assert!(!head.contains("authorization"), "{head}");
}

#[test]
fn a_server_that_reads_no_zstd_gets_the_bare_stream() {
    // A zstd frame that holds one raw block (RFC 8878).
    let whole = b"\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00hello".to_vec();
    let receiver = Receiver::start([
        Answer::Status(400, "not an Arrow IPC stream"),
        Answer::Status(200, "{}"),
        Answer::Status(200, "{}"),
    ]);
    let shipping = Shipping::start(receiver.url(), None);
    shipping.push_body(1, whole.clone());
    shipping.push_body(2, whole.clone());
    let requests = receiver.wait(|r| r.len() == 3);
    let bodies: Vec<_> = requests.iter().map(|r| r.body.as_slice()).collect();
    assert_eq!(bodies, [&whole[..], b"hello", &whole[..]]);
    let coded: Vec<_> =
        requests.iter().map(|r| r.head.contains("content-encoding: zstd")).collect();
    assert_eq!(coded, [true, false, true]);
}

#[test]
fn a_batch_that_cannot_be_decompressed_holds_up_nobody() {
    let receiver = Receiver::start([Answer::Status(415, "what is this")]);
    let shipping = Shipping::start(receiver.url(), None);
    // The magic of a zstd frame, and no frame.
    shipping.push_body(1, [&[0x28, 0xb5, 0x2f, 0xfd], "rows".as_bytes()].concat());
    shipping.push(2);
    assert_eq!(taken(&receiver.wait(|all| all.len() == 2)), ["2"]);
    assert_eq!(fs::read_dir(shipping.directory.path().join("refused")).unwrap().count(), 1);
}

#[test]
fn an_outage_delays_batches_and_loses_none() {
    // An address at which nobody listens until later.
    let address = closed_address(77);
    let shipping = Shipping::start(format!("http://{address}"), None);
    (1..=4).for_each(|n| shipping.push(n));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(shipping.spool.len(), 4);
    let answers = [Answer::Status(503, "starting"), Answer::HangUp, Answer::Status(500, "")];
    let receiver = Receiver::start_at(address, answers);
    let requests = receiver.wait(|r| taken(r).len() == 4);
    assert_eq!(taken(&requests), ["1", "2", "3", "4"]);
    // One batch under way at a time: the first is repeated until it is taken.
    assert!(requests[..3].iter().all(|r| r.body == b"1"));
}

#[test]
fn a_busy_server_is_given_the_time_it_asks_for() {
    let receiver = Receiver::start([Answer::Busy(1)]);
    let shipping = Shipping::start(receiver.url(), None);
    shipping.push(1);
    let requests = receiver.wait(|r| r.len() == 2);
    assert!(requests[1].at - requests[0].at >= Duration::from_millis(1000));
    assert_eq!(requests[1].body, b"1");
}

#[test]
fn a_refused_batch_is_set_aside_and_the_next_one_goes_on() {
    let receiver = Receiver::start([Answer::Status(400, "column `node` is missing")]);
    let shipping = Shipping::start(receiver.url(), None);
    shipping.push(1);
    shipping.push(2);
    let requests = receiver.wait(|r| r.len() == 2);
    assert_eq!(taken(&requests), ["2"]);
    assert_eq!(shipping.spool.undeclared_losses(), BTreeMap::from([("refused_batches".into(), 1)]));
    let kept = fs::read_dir(shipping.directory.path().join("refused")).unwrap();
    assert_eq!(kept.count(), 1);
}

#[test]
fn a_wrong_token_keeps_batches_until_it_is_put_right() {
    let receiver = Receiver::start([Answer::Status(401, "unknown token")]);
    let tokens = tempfile::tempdir().unwrap();
    let token_file = tokens.path().join("token");
    let shipping = Shipping::start(receiver.url(), Some(token_file.clone()));
    // Without its file nothing is sent.
    shipping.push(1);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(receiver.requests().len(), 0);
    fs::write(&token_file, "old\n").unwrap();
    receiver.wait(|r| r.len() == 1);
    fs::write(&token_file, "new\n").unwrap();
    let requests = receiver.wait(|r| taken(r).len() == 1);
    assert!(requests[0].head.contains("authorization: bearer old\r\n"));
    assert!(requests.last().unwrap().head.contains("authorization: bearer new\r\n"));
    assert!(shipping.spool.undeclared_losses().is_empty());
}

#[test]
fn a_stop_while_an_answer_is_under_way_is_followed_by_one_more_attempt() {
    let answered = Arc::new(Barrier::new(2));
    let receiver = Receiver::start([Answer::BusyAt(answered.clone(), 200)]);
    let mut shipping = Shipping::start(receiver.url(), None);
    shipping.push(1);
    receiver.wait(|r| r.len() == 1);
    shipping.stop.by(Instant::now() + Duration::from_secs(10), &shipping.spool);
    answered.wait();
    shipping.thread.take().unwrap().join().unwrap();
    assert_eq!(taken(&receiver.requests()), ["1"]);
}

#[test]
fn stopping_delivers_what_it_can_and_ends_in_time() {
    let receiver = Receiver::start([Answer::Busy(200)]);
    let mut shipping = Shipping::start(receiver.url(), None);
    shipping.push(1);
    receiver.wait(|r| r.len() == 1);
    shipping.push(2);
    // The wait of 200 s that the server asked for is cut short.
    shipping.end(Duration::from_secs(10));
    assert_eq!(taken(&receiver.requests()), ["1", "2"]);

    let address = closed_address(78);
    let mut shipping = Shipping::start(format!("http://{address}"), None);
    shipping.push(1);
    shipping.end(Duration::from_millis(300));
    assert_eq!(shipping.spool.len(), 1);
}
