//! A server that takes everything, counts it, and keeps nothing.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

#[derive(Default)]
struct Counts {
    rows: AtomicU64,
    bytes: AtomicU64,
}

pub(crate) struct Sink {
    address: SocketAddr,
    counts: Arc<Counts>,
}

impl Sink {
    /// It ends with the process.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let counts = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &counts));
            }
        });
        Self { address, counts }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Flow rows so far.
    pub(crate) fn rows(&self) -> u64 {
        self.counts.rows.load(Ordering::Relaxed)
    }

    /// Bytes of the bodies that had them.
    pub(crate) fn bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::Relaxed)
    }
}

fn serve(stream: TcpStream, counts: &Counts) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let (mut path, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().ok()?;
            } else if let Some(rest) = line.strip_prefix("post ") {
                path = rest.split(' ').next()?.to_owned();
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        if path == "/v1/flows" {
            let limits = weir_wire::Limits::default();
            let stream = match weir_wire::frame::is_compressed(&body) {
                true => weir_wire::frame::inflate(&body, limits.decompressed_bytes).ok()?,
                false => body.clone(),
            };
            let message = weir_wire::decode(&stream, &limits).expect("a batch of the agent");
            let rows: usize = message.batches.iter().map(|batch| batch.num_rows()).sum();
            counts.rows.fetch_add(rows as u64, Ordering::Relaxed);
            counts.bytes.fetch_add(length as u64, Ordering::Relaxed);
        }
        writer.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").ok()?;
    }
}
