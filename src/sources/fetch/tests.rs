//! Servers that answer, and servers that lie.

use std::thread;
use std::time::Instant;

use super::*;

#[path = "../../../tests/support/answers.rs"]
mod answers;
use answers::{Answers, ok, text};

const LIMITS: Limits = Limits { bytes: 10_000, time: Duration::from_secs(10) };

fn client() -> Client {
    Client::new(None, LIMITS).unwrap()
}

fn validators(etag: &str, last_modified: &str) -> Validators {
    Validators { etag: Some(etag.into()), last_modified: Some(last_modified.into()) }
}

#[tokio::test]
async fn what_is_unchanged_is_not_fetched_again() {
    let server = Answers::start(0, false);
    let day = "Wed, 21 Oct 2026 07:28:00 GMT";
    server.say(ok("{}", &["ETag: \"a\"", &format!("Last-Modified: {day}")]));
    let url = server.url("/ip-ranges.json");
    let known = validators("\"a\"", day);
    let first = client().fetch(&url, None).await.unwrap();
    assert_eq!(first, Answer::New(b"{}".to_vec(), known.clone()));
    server.say(text("HTTP/1.1 304 Not Modified\r\n\r\n"));
    assert_eq!(client().fetch(&url, Some(&known)).await.unwrap(), Answer::Unchanged);
    let heads = server.heads();
    let (first, second) = (heads[0].to_lowercase(), heads[1].to_lowercase());
    assert!(first.starts_with("get /ip-ranges.json http/1.1") && !first.contains("if-"), "{first}");
    assert!(second.contains("if-none-match: \"a\""), "{second}");
    assert!(second.contains(&format!("if-modified-since: {}", day.to_lowercase())), "{second}");
    // Nobody asked whether anything has changed.
    assert!(matches!(client().fetch(&url, None).await, Err(FetchError::Status(304))));
}

#[tokio::test]
async fn no_answer_takes_more_than_it_may() {
    let server = Answers::start(0, false);
    let url = server.url("/");
    server.say(text("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}"));
    assert!(matches!(client().fetch(&url, None).await, Err(FetchError::Status(500))));
    // Announced, and not.
    server.say(ok(&" ".repeat(10_001), &[]));
    assert!(matches!(client().fetch(&url, None).await, Err(FetchError::Size(10_000))));
    server.say(|_, to| {
        let _ = to.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while to.write_all(&[b' '; 1000]).is_ok() {}
    });
    assert!(matches!(client().fetch(&url, None).await, Err(FetchError::Size(10_000))));
    // Less than was announced.
    server.say(text("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}"));
    assert!(matches!(client().fetch(&url, None).await, Err(FetchError::Http(_))));
    // A byte now and then, for ever.
    server.say(|_, to| {
        let _ = to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n");
        while to.write_all(b" ").and_then(|()| to.flush()).is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let short = Client::new(None, Limits { time: Duration::from_secs(1), ..LIMITS }).unwrap();
    let begun = Instant::now();
    assert!(matches!(
        short.fetch(&url, None).await,
        Err(FetchError::Http(ureq::Error::Timeout(_)))
    ));
    assert!(begun.elapsed() < LIMITS.time, "given up before the server does");
    // Round and round.
    let to = url.clone();
    server.say(move |_, out| {
        let head = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        let _ = out.write_all(head.as_bytes());
    });
    let before = server.heads().len();
    let error = client().fetch(&url, None).await.unwrap_err();
    assert!(matches!(error, FetchError::Http(ureq::Error::TooManyRedirects)), "{error}");
    assert_eq!(server.heads().len() - before, 1 + REDIRECTS as usize);
    // And after all of that.
    server.say(ok("{}", &[]));
    assert!(matches!(client().fetch(&url, None).await, Ok(Answer::New(..))));
    drop(server);
    assert!(matches!(client().fetch(&url, None).await, Err(FetchError::Http(_))));
}

#[tokio::test]
async fn encrypted_servers_are_known_by_their_certificates_and_stay_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    let (server, plain) = (Answers::start(0, true), Answers::start(0, false));
    let (own, other) = (folder.path().join("own.pem"), folder.path().join("other.pem"));
    std::fs::write(&own, &server.certificate).unwrap();
    std::fs::write(&other, &plain.certificate).unwrap();
    server.say(ok("{}", &[]));
    plain.say(ok("{}", &[]));
    let trusting = Client::new(Some(&own), LIMITS).unwrap();
    let url = server.url("/");
    assert!(matches!(trusting.fetch(&url, None).await, Ok(Answer::New(..))));
    for stranger in [client(), Client::new(Some(&other), LIMITS).unwrap()] {
        assert!(matches!(stranger.fetch(&url, None).await, Err(FetchError::Http(_))));
    }
    let away =
        format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", plain.url("/"));
    server.say(text(away));
    assert!(matches!(trusting.fetch(&url, None).await, Err(FetchError::Downgrade)));
    assert!(plain.heads().is_empty());
    std::fs::write(&own, "no certificate").unwrap();
    let error = Client::new(Some(&own), LIMITS).unwrap_err().to_string();
    assert!(error.contains("own.pem has no certificate"), "{error}");
}
