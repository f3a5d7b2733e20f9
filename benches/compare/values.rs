//! How the values of a series go on.

use super::random::Random;

/// Bounds of the buckets of a request's duration, as client libraries have them by default.
pub(crate) const BUCKETS: [&str; 12] =
    ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];
/// Share of the requests in each bucket.
const SHARES: [f64; 12] = [0.02, 0.05, 0.2, 0.3, 0.2, 0.1, 0.06, 0.04, 0.015, 0.01, 0.004, 0.001];

/// What a series measures.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Constant,
    /// Seconds that were spent, rounded: `rate` a second.
    Seconds {
        rate: f64,
        scale: f64,
    },
    /// Things that were counted, or bytes: whole numbers.
    Count {
        rate: f64,
        noise: f64,
    },
    /// A counter or state that seldom changes: once in so many samples.
    Seldom {
        one_in: u64,
        is_state: bool,
    },
    /// A level that wanders, in steps of `unit`.
    Level {
        step: f64,
        unit: f64,
    },
    /// A measured duration: noise to the nanosecond.
    Measured {
        around: f64,
    },
    /// Requests of a histogram up to one of its bounds. All buckets of `group` agree.
    Bucket {
        group: u64,
        upto: usize,
        rate: f64,
    },
    /// Seconds of all requests of a histogram.
    Sum {
        group: u64,
        rate: f64,
    },
}

/// Values of one series, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    kind: Kind,
    random: Random,
    value: f64,
    /// Samples so far.
    count: u64,
    /// A counter begins anew at this sample.
    reset: u64,
    /// Seconds between two samples.
    interval: f64,
}

impl Values {
    pub(crate) fn new(kind: Kind, first: f64, random: Random, interval: f64, reset: u64) -> Self {
        Self { kind, random, value: first, count: 0, reset, interval }
    }

    pub(crate) fn next(&mut self) -> f64 {
        let (seconds, random) = (self.interval, &mut self.random);
        let is_level = matches!(
            self.kind,
            Kind::Constant
                | Kind::Level { .. }
                | Kind::Measured { .. }
                | Kind::Seldom { is_state: true, .. }
        );
        if self.count == self.reset && !is_level {
            self.value = 0.0;
        }
        match self.kind {
            Kind::Constant => {}
            Kind::Seconds { rate, scale } => {
                let spent = rate * seconds * (1.0 + 0.1 * random.normal()).max(0.0);
                self.value = ((self.value + spent) * scale).round() / scale;
            }
            Kind::Count { rate, noise } => {
                self.value += (rate * seconds * (1.0 + noise * random.normal())).max(0.0).round();
            }
            Kind::Seldom { one_in, is_state } => {
                if random.one_in(one_in) {
                    self.value = if is_state { 1.0 - self.value } else { self.value + 1.0 };
                }
            }
            Kind::Level { step, unit } => {
                let moved = (step * random.normal()).round();
                self.value = (self.value / unit).round() + moved;
                self.value = if unit >= 1.0 {
                    self.value.abs() * unit
                } else {
                    // A decimal as it is written, not a multiple of an inexact unit.
                    self.value.abs() / (1.0 / unit).round()
                };
            }
            Kind::Measured { around } => {
                let measured = around * (1.0 + 0.1 * random.normal().abs());
                self.value = (measured * 1e9).round() / 1e9;
            }
            Kind::Bucket { group, upto, rate } => {
                let mut requests = 0.0;
                for (bucket, share) in SHARES.iter().enumerate().take(upto + 1) {
                    let mut random = Random::of(&[group, self.count, bucket as u64]);
                    requests +=
                        (share * rate * seconds * 2.0 * random.unit() + random.unit()).floor();
                }
                self.value += requests;
            }
            Kind::Sum { group, rate } => {
                let mut random = Random::of(&[group, self.count]);
                self.value += rate * seconds * 0.08 * (0.5 + random.unit());
            }
        }
        self.count += 1;
        self.value
    }
}
