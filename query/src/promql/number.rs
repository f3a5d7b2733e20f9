//! Numbers as Prometheus writes them.

mod decimal;
pub(crate) mod go;

/// A sample value as the Prometheus HTTP API writes it: the shortest decimal that reads back as the
/// same number, with an exponent below 1e-6 and from 1e21 on; `NaN`, `+Inf`, `-Inf`.
#[must_use]
pub fn format_value(value: f64) -> String {
    text(|out| write_value(value, out))
}

/// Appends what [`format_value`] gives.
pub(crate) fn write_value(value: f64, out: &mut Vec<u8>) {
    let size = value.abs();
    if (1e-6..1e21).contains(&size) || size == 0.0 {
        decimal::write_plain(value, out);
    } else if value.is_finite() {
        decimal::write_scientific(value, out);
    } else {
        out.extend_from_slice(not_finite(value).as_bytes());
    }
}

/// Like [`format_value`] but never with an exponent: the form of label values made from numbers
/// (`count_values`).
pub(crate) fn format_plain(value: f64) -> String {
    if !value.is_finite() {
        return not_finite(value).to_owned();
    }
    text(|out| decimal::write_plain(value, out))
}

/// Scientific notation with a signed exponent of at least two digits.
fn with_exponent(value: f64) -> String {
    text(|out| decimal::write_scientific(value, out))
}

fn not_finite(value: f64) -> &'static str {
    match (value.is_nan(), value > 0.0) {
        (true, _) => "NaN",
        (false, true) => "+Inf",
        (false, false) => "-Inf",
    }
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::with_capacity(24);
    write(&mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// Reads a number as PromQL's `le` labels hold it: decimal or scientific, `Inf` with any sign, `NaN`.
pub(crate) fn parse_bound(text: &str) -> Option<f64> {
    // Rust reads numbers that are too large as infinite.
    let named = text.to_ascii_lowercase().contains("inf");
    text.parse().ok().filter(|value: &f64| named || !value.is_infinite())
}

/// One step of Neumaier's compensated summation: adds `increment` to `sum`, whose running error is
/// `compensation`.
pub(crate) fn compensated_add(increment: f64, sum: f64, compensation: f64) -> (f64, f64) {
    let total = sum + increment;
    let compensation = if total.is_infinite() {
        0.0
    } else if sum.abs() >= increment.abs() {
        compensation + ((sum - total) + increment)
    } else {
        compensation + ((increment - total) + sum)
    };
    (total, compensation)
}

/// A compensated running sum.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum {
    total: f64,
    compensation: f64,
}

impl Sum {
    /// Adds one value.
    pub(crate) fn add(&mut self, value: f64) {
        (self.total, self.compensation) = compensated_add(value, self.total, self.compensation);
    }

    /// The sum so far.
    pub(crate) fn value(self) -> f64 {
        self.total + self.compensation
    }
}

/// A compensated running mean. It sums while the sum is finite and goes over to an incremental mean
/// where the sum would overflow.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mean {
    count: f64,
    value: f64,
    compensation: f64,
    incremental: bool,
}

impl Mean {
    /// Adds one value.
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.incremental {
            let (total, compensation) = compensated_add(value, self.value, self.compensation);
            if self.count <= 1.0 || !total.is_infinite() {
                (self.value, self.compensation) = (total, compensation);
                return;
            }
            self.incremental = true;
            self.value /= self.count - 1.0;
            self.compensation /= self.count - 1.0;
        }
        let kept = (self.count - 1.0) / self.count;
        (self.value, self.compensation) =
            compensated_add(value / self.count, kept * self.value, kept * self.compensation);
    }

    /// The mean so far; NaN without values.
    pub(crate) fn value(self) -> f64 {
        if self.incremental {
            self.value + self.compensation
        } else {
            self.value / self.count + self.compensation / self.count
        }
    }
}

/// A running population variance (Welford's method, compensated).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Variance {
    count: f64,
    mean: (f64, f64),
    squares: (f64, f64),
}

impl Variance {
    /// Adds one value.
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - (self.mean.0 + self.mean.1);
        self.mean = compensated_add(delta / self.count, self.mean.0, self.mean.1);
        let rest = value - (self.mean.0 + self.mean.1);
        self.squares = compensated_add(delta * rest, self.squares.0, self.squares.1);
    }

    /// The variance so far; NaN without values.
    pub(crate) fn value(self) -> f64 {
        (self.squares.0 + self.squares.1) / self.count
    }
}

/// The `q`-quantile of `values`, interpolated between ranks; sorts them. Infinite for `q` outside
/// 0 to 1, NaN without values.
pub(crate) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| nan_first(*a, *b));
    let last = values.len() - 1;
    let rank = q * to_f64(last);
    let lower = index(rank.floor()).min(last);
    let upper = (lower + 1).min(last);
    let weight = rank - rank.floor();
    match (values.get(lower), values.get(upper)) {
        (Some(low), Some(high)) => low * (1.0 - weight) + high * weight,
        _ => f64::NAN,
    }
}

/// Ascending order with NaN before everything.
pub(crate) fn nan_first(a: f64, b: f64) -> std::cmp::Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal),
    }
}

/// A count as a sample value; exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of samples stay far below 2^53")]
pub(crate) fn to_f64(count: usize) -> f64 {
    count as f64
}

/// Milliseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "times are exact up to 2^53 ms, year 287396")]
pub(crate) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// The integer part of a number as an index, saturating; 0 for NaN.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float casts saturate, and the caller bounds the index"
)]
pub(crate) fn index(value: f64) -> usize {
    value as usize
}

/// The integer part of a number, saturating; 0 for NaN.
#[expect(clippy::cast_possible_truncation, reason = "float casts saturate")]
pub(crate) fn integer(value: f64) -> i64 {
    value as i64
}

#[cfg(test)]
mod tests;
