//! A bound on bytes per second. No I/O, no sleeping.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// Work of this long may come at once after a pause.
const BURST: Duration = Duration::from_millis(100);

/// Tells how long to wait after each piece of work, so that the rate holds over time.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// Bytes per second.
    rate: Option<NonZeroU64>,
    /// When all work so far would be done at exactly the rate.
    paid_until: Option<Instant>,
}

impl Throttle {
    /// `None` for no bound.
    pub(crate) fn new(rate: Option<NonZeroU64>) -> Self {
        Self { rate, paid_until: None }
    }

    /// Notes work done at `now`; returns how long to wait before the next.
    pub(crate) fn pay(&mut self, bytes: u64, now: Instant) -> Duration {
        let Some(rate) = self.rate else { return Duration::ZERO };
        let cost = Duration::from_nanos(
            u64::try_from(u128::from(bytes) * 1_000_000_000 / u128::from(rate.get()))
                .unwrap_or(u64::MAX),
        );
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let until = self.paid_until.map_or(earliest, |at| at.max(earliest)) + cost;
        self.paid_until = Some(until);
        until.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_and_pauses_are_not_saved_up() {
        let start = Instant::now() + Duration::from_secs(1000);
        let mut throttle = Throttle::new(NonZeroU64::new(1_000_000));
        assert_eq!(throttle.pay(50_000, start), Duration::ZERO, "the burst");
        let mut now = start;
        for _ in 0..100 {
            now += throttle.pay(100_000, now);
        }
        let took = now - start;
        assert!(took >= Duration::from_millis(9900) && took <= Duration::from_millis(10_100));
        now += Duration::from_secs(3600);
        assert_eq!(throttle.pay(1_100_000, now), Duration::from_secs(1));
        assert_eq!(Throttle::new(None).pay(u64::MAX, now), Duration::ZERO);
    }
}
