use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::*;
use crate::socket::Collected;

/// What the log says.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts where the kernel refuses BPF: the outcome, and the lines of the log.
fn start_refused(choice: Choice) -> (Result<Source, SourceError>, Vec<String>) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let source = tracing::subscriber::with_default(subscriber, || {
        Source::start_with(choice, || {
            let source = io::Error::from_raw_os_error(libc::EPERM);
            Err(BpfError::Cgroup { path: "/sys/fs/cgroup".into(), source })
        })
    });
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    (source, text.lines().map(str::to_owned).collect())
}

#[test]
fn where_bpf_is_refused_sock_diag_takes_over_and_one_line_says_so() {
    let (source, log) = start_refused(Choice::Auto);
    assert!(matches!(source, Ok(Source::SockDiag(_))), "{source:?}");
    assert_eq!(log.len(), 1, "{log:?}");
    for part in [
        "WARN",
        "BPF is not available; measuring through sock_diag",
        "connections shorter than that",
        "cannot open cgroup /sys/fs/cgroup",
        "Operation not permitted",
    ] {
        assert!(log[0].contains(part), "{part}: {log:?}");
    }
    let mut source = source.unwrap();
    let mut collected = Collected::default();
    source.poll(&mut collected);
    source.collect(&mut collected).unwrap();
}

#[test]
fn who_wants_bpf_alone_gets_the_refusal() {
    let (source, log) = start_refused(Choice::Bpf);
    assert!(matches!(source, Err(SourceError::Bpf(BpfError::Cgroup { .. }))), "{source:?}");
    assert!(log.is_empty(), "the caller tells it: {log:?}");
    let (source, log) = start_refused(Choice::SockDiag);
    assert!(matches!(source, Ok(Source::SockDiag(_))), "{source:?}");
    assert!(log.len() == 1 && log[0].contains("INFO"), "{log:?}");
}
