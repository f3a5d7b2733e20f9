//! When to try again, and what an answer means: decisions without I/O.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);
/// A server that asks for more than this is asked again sooner.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

/// What an answer of the server means for the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The server has it, durably.
    Delivered,
    /// Try again later.
    Retry,
    /// Repeating it cannot help.
    Refused,
}

/// Reads a status (RFC 9110, section 15).
///
/// Refused for good is only what speaks of this very batch. A wrong token, path or proxy (401, 403,
/// 404, 405, 407, 421, every redirection) is mended by the operator, and the batches measured until
/// then are as good as any: they wait.
pub(super) fn verdict(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Delivered,
        401 | 403 | 404 | 405 | 407 | 408 | 421 | 425 | 429 => Verdict::Retry,
        400..=499 => Verdict::Refused,
        _ => Verdict::Retry,
    }
}

/// Exponential backoff with jitter.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It worked: the next failure waits little again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after one more failure. `jitter` is from 0 to 1 and spreads agents that
    /// failed together over half of the wait; `asked` is the server's `Retry-After`.
    pub(super) fn failed(&mut self, jitter: f64, asked: Option<Duration>) -> Duration {
        let doubled = FIRST.saturating_mul(1u32.checked_shl(self.failures.min(16)).unwrap_or(1));
        self.failures = self.failures.saturating_add(1);
        let wait = doubled.min(LONGEST).mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0));
        match asked {
            Some(asked) => asked.min(LONGEST_ASKED).max(wait),
            None => wait,
        }
    }
}

/// `Retry-After` in seconds; its other form, a date, is left to the backoff.
pub(super) fn retry_after(value: &str) -> Option<Duration> {
    value.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..12).map(|_| backoff.failed(1.0, None).as_millis()).collect();
        assert_eq!(waits[..4], [200, 400, 800, 1600]);
        assert_eq!(waits[11], 30_000);
        backoff.reset();
        assert_eq!(backoff.failed(0.0, None).as_millis(), 100);
    }

    #[test]
    fn the_server_may_ask_for_more_but_not_for_ever() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.failed(0.0, retry_after("7")).as_secs(), 7);
        assert_eq!(backoff.failed(0.0, retry_after("999999")), LONGEST_ASKED);
        assert_eq!(retry_after("Fri, 31 Dec 1999 23:59:59 GMT"), None);
    }

    #[test]
    fn only_what_speaks_of_the_batch_refuses_it() {
        for status in [400, 409, 413, 415, 422] {
            assert_eq!(verdict(status), Verdict::Refused, "{status}");
        }
        for status in [301, 401, 403, 404, 408, 425, 429, 500, 502, 503, 507] {
            assert_eq!(verdict(status), Verdict::Retry, "{status}");
        }
        assert_eq!(verdict(204), Verdict::Delivered);
    }
}
