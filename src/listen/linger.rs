//! A stream that lets its peer finish before it is closed.
//!
//! 1. Shut down: no more bytes to the peer, which tells it that the answer is all there.
//! 2. Read and throw away what comes, until the peer closes its side, sends nothing for [`IDLE`], or
//!    [`LONGEST`] is over. Most peers close theirs at once.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// A peer that has more to say says it within this time.
const IDLE: Duration = Duration::from_secs(1);
/// After this the connection is closed whatever the peer does.
const LONGEST: Duration = Duration::from_secs(10);
/// Bytes that are thrown away at a time.
const SCRATCH: usize = 16 << 10;

/// A stream that lingers when it is shut down.
#[derive(Debug)]
pub(super) struct Lingering {
    stream: TcpStream,
    end: Option<End>,
}

/// The end of a connection, under way.
#[derive(Debug)]
struct End {
    /// At this time at the latest.
    latest: Instant,
    idle: Pin<Box<Sleep>>,
}

impl Lingering {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, end: None }
    }
}

impl End {
    fn new() -> Self {
        Self { latest: Instant::now() + LONGEST, idle: Box::pin(sleep(IDLE)) }
    }

    /// Throws away what comes.
    fn poll(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; SCRATCH];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    let next = (Instant::now() + IDLE).min(self.latest);
                    self.idle.as_mut().reset(next);
                    if Instant::now() >= self.latest {
                        return Poll::Ready(());
                    }
                }
                // The peer has closed its side, or is gone.
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.idle.as_mut().poll(cx),
            }
        }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, end } = &mut *self;
        if end.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
        }
        end.get_or_insert_with(End::new).poll(stream, cx).map(Ok)
    }
}
