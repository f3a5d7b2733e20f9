//! A stand-in for Google's and Azure's object stores: as much of their protocols as a store needs.
//!
//! It keeps whole objects by path, and a generation of each. It checks no signatures.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What was asked for, in order, and what is kept.
#[derive(Debug, Default)]
struct Kept {
    requests: Vec<String>,
    objects: BTreeMap<String, (u64, Vec<u8>)>,
    generation: u64,
}

/// A server on a port of its own, for as long as the runtime of its test lives.
#[derive(Debug, Clone)]
pub(super) struct Fake {
    pub(super) url: String,
    kept: Arc<Mutex<Kept>>,
}

impl Fake {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fake = Self { url, kept: Arc::default() };
        let kept = fake.kept.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, kept.clone()));
            }
        });
        fake
    }

    /// Method and path of each request.
    pub(super) fn requests(&self) -> Vec<String> {
        self.kept.lock().requests.clone()
    }
}

/// One request of a connection, or none when it ends.
async fn serve(stream: TcpStream, kept: Arc<Mutex<Kept>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|n| *n > 0)?;
        let mut words = line.split_whitespace();
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let answer = kept.lock().answer(&method, &target, &headers, body);
        stream.write_all(&answer).await.ok()?;
    }
}

impl Kept {
    fn answer(
        &mut self,
        method: &str,
        target: &str,
        headers: &BTreeMap<String, String>,
        body: Vec<u8>,
    ) -> Vec<u8> {
        let path = target.split('?').next().unwrap_or_default().to_owned();
        self.requests.push(format!("{method} {path}"));
        let found = self.objects.get(&path).map_or(0, |(generation, _)| *generation);
        let header = |name: &str| headers.get(name).map(String::as_str);
        let (status, generation, body) = match method {
            "PUT"
                if header("x-goog-if-generation-match").is_some_and(|g| g != found.to_string()) =>
            {
                ("412 Precondition Failed", found, Vec::new())
            }
            "PUT" if header("if-none-match") == Some("*") && found > 0 => {
                ("409 Conflict", found, Vec::new())
            }
            "PUT" if header("if-match").is_some_and(|tag| tag != format!("\"{found}\"")) => {
                ("412 Precondition Failed", found, Vec::new())
            }
            "PUT" => {
                self.generation += 1;
                self.objects.insert(path, (self.generation, body));
                ("201 Created", self.generation, Vec::new())
            }
            "GET" => match self.objects.get(&path) {
                Some((generation, body)) => ("200 OK", *generation, body.clone()),
                None => ("404 Not Found", 0, Vec::new()),
            },
            _ => ("400 Bad Request", 0, Vec::new()),
        };
        let length = body.len();
        let mut answer = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\netag: \"{generation}\"\r\nx-goog-generation: {generation}\r\nlast-modified: Sun, 22 Nov 2026 00:00:00 GMT\r\n\r\n"
        )
        .into_bytes();
        answer.extend(body);
        answer
    }
}
