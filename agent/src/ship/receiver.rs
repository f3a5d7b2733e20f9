//! A server that tests ship to: HTTP/1.1 on loopback, one thread, answers as scripted.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// What a request gets.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Status(u16, &'static str),
    /// 429 with a Retry-After in seconds.
    Busy(u64),
    /// The same, once the test comes to the barrier.
    BusyAt(Arc<Barrier>, u64),
    /// The request is read, and the connection closed without an answer.
    HangUp,
    /// The request is read and not answered while the test runs.
    Silence,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) at: Instant,
    pub(crate) status: u16,
}

#[derive(Default)]
struct Shared {
    script: Mutex<VecDeque<Answer>>,
    requests: Mutex<Vec<Request>>,
    arrived: Condvar,
    connections: AtomicU64,
    stop: AtomicBool,
}

/// Stops when dropped.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Answers as scripted, then 204.
    pub(crate) fn start(script: impl IntoIterator<Item = Answer>) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), script)
    }

    pub(crate) fn start_at(address: SocketAddr, script: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Mutex::new(script.into_iter().collect()),
            ..Shared::default()
        });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if of_thread.stop.load(Ordering::SeqCst) {
                    return;
                }
                of_thread.connections.fetch_add(1, Ordering::SeqCst);
                let _ = serve(&of_thread, stream.unwrap());
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Waits until the requests satisfy `done`, and gives them.
    pub(crate) fn wait(&self, done: impl Fn(&[Request]) -> bool) -> Vec<Request> {
        let mut requests = self.shared.requests.lock();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !done(&requests) {
            let timed_out = self.shared.arrived.wait_until(&mut requests, deadline).timed_out();
            assert!(!timed_out, "only {} requests arrived", requests.len());
        }
        requests.clone()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn serve(shared: &Shared, stream: TcpStream) -> std::io::Result<()> {
    // Short, so that an idle keep-alive connection does not hold up the end of the test.
    stream.set_read_timeout(Some(Duration::from_millis(1500)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while !shared.stop.load(Ordering::SeqCst) {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line.to_ascii_lowercase());
        }
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("content-length: "))
            .map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let answer = shared.script.lock().pop_front().unwrap_or(Answer::Status(204, ""));
        let silent = matches!(answer, Answer::Silence);
        let gate = match &answer {
            Answer::BusyAt(gate, _) => Some(Arc::clone(gate)),
            _ => None,
        };
        let (status, extra, text) = match answer {
            Answer::Status(status, text) => (status, String::new(), text),
            Answer::Busy(seconds) | Answer::BusyAt(_, seconds) => {
                (429, format!("retry-after: {seconds}\r\n"), "busy")
            }
            Answer::HangUp | Answer::Silence => (0, String::new(), ""),
        };
        shared.requests.lock().push(Request { head, body, at: Instant::now(), status });
        if status == 0 {
            shared.arrived.notify_all();
            while silent && !shared.stop.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
            }
            return Ok(());
        }
        if let Some(gate) = gate {
            shared.arrived.notify_all();
            gate.wait();
        }
        let length = match status {
            204 => String::new(),
            _ => format!("content-length: {}\r\n", text.len()),
        };
        write!(writer, "HTTP/1.1 {status} x\r\n{length}{extra}\r\n{text}")?;
        writer.flush()?;
        shared.arrived.notify_all();
    }
    Ok(())
}
