//! Answers of HTTP/1.1 over a connection that stays.

use std::io::BufRead;

/// Status and body of the next answer.
pub(crate) fn answer(from: &mut impl BufRead) -> (u16, String) {
    let mut line = String::new();
    let mut status = 0;
    let mut length = 0;
    loop {
        line.clear();
        from.read_line(&mut line).expect("the server answers");
        assert!(!line.is_empty(), "the server hung up");
        let text = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = text.strip_prefix("http/1.1 ") {
            status = rest.get(..3).and_then(|s| s.parse().ok()).expect("a status");
        } else if let Some(n) = text.strip_prefix("content-length: ") {
            length = n.parse().expect("a length");
        } else if text.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).expect("the whole answer");
    (status, String::from_utf8_lossy(&body).into_owned())
}
