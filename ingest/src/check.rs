//! Checks on the values of a batch that has the right columns.
//!
//! Labels, addresses among them, are checked once per distinct value, not per row.

use std::net::{IpAddr, Ipv4Addr};

use arrow::array::{
    Array, ArrayAccessor, AsArray, DictionaryArray, ListArray, PrimitiveArray, RecordBatch,
};
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type, TimestampMicrosecondType};
use thiserror::Error;
use weir_wire::Header;
use weir_wire::histogram::{FIRST_INDEX, LAST_INDEX};
use weir_wire::schema::{FLOW_COLUMNS, FLOWS, HISTOGRAMS, Kind};

/// A batch may be dated this far ahead of the server's clock, microseconds: 5 minutes.
const MAX_AHEAD_US: i64 = 300_000_000;
/// A batch dated this far ahead and more is not worth waiting for, seconds: an hour.
const MAX_WAIT_S: i64 = 3600;
/// Longest interval of a row, microseconds: a day.
const MAX_INTERVAL_US: i64 = 86_400_000_000;
/// Longest label value, bytes.
const MAX_LABEL: usize = 1024;
/// Most reasons of losses in one batch, each of which is a row: agents know fewer than twenty.
const MAX_LOSSES: usize = 64;
/// Largest counter value of one row: sums of a thousand of them still fit into 64 bits, and every
/// value is exact as a float.
const MAX_COUNT: i64 = 1 << 53;

/// Why the rows of a batch were refused. Rows are numbered from 0 within their record batch.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CheckError {
    /// Dated in the future. Not for good: see [`CheckError::good_in`].
    #[error(
        "`end` of row {row} is {seconds} s ahead of this server's clock, more than the 300 s that \
         are allowed; set the clock of the sending host (or of this one)"
    )]
    Future {
        /// The row that is farthest ahead.
        row: usize,
        /// How far ahead, whole seconds.
        seconds: i64,
    },
    /// Ends before it starts, lasts longer than a day, or lies before 1970.
    #[error(
        "row {row} spans [{start}, {end}) microseconds: not an interval of 0 to 86400 s after 1970"
    )]
    Interval {
        /// The row.
        row: usize,
        /// Its start, microseconds since the Unix epoch.
        start: i64,
        /// Its end.
        end: i64,
    },
    /// A label value that no one could select or read.
    #[error(
        "column `{column}` holds a value of over 1024 bytes or with control characters: `{value}`"
    )]
    Label {
        /// The column.
        column: &'static str,
        /// The value, cut and escaped.
        value: String,
    },
    /// Not an IP address in its canonical text form.
    #[error(
        "column `{column}` holds `{value}`, not an address in canonical form (RFC 5952; IPv4 as \
         dotted decimal, IPv4-mapped as IPv4)"
    )]
    Address {
        /// The column.
        column: &'static str,
        /// The value, cut and escaped.
        value: String,
    },
    /// A value that is not one of a fixed set.
    #[error("column `{column}` holds `{value}`; it must be one of {allowed}")]
    Choice {
        /// The column.
        column: &'static str,
        /// The value, cut and escaped.
        value: String,
        /// What may stand there.
        allowed: &'static str,
    },
    /// A number out of its range.
    #[error("column `{column}` holds {value} in row {row}; it must lie from {min} to {max}")]
    Range {
        /// The column.
        column: &'static str,
        /// The row.
        row: usize,
        /// The value.
        value: i64,
        /// Smallest allowed value.
        min: i64,
        /// Largest allowed value.
        max: i64,
    },
    /// More reasons of losses than an agent has.
    #[error(
        "batch names {found} reasons of losses (weir.loss.*), more than the {MAX_LOSSES} that are allowed"
    )]
    Losses {
        /// How many there are.
        found: usize,
    },
    /// Histogram columns of one row that do not fit together.
    #[error("histogram `{histogram}` of row {row} is inconsistent: {what}")]
    Histogram {
        /// Its name.
        histogram: &'static str,
        /// The row.
        row: usize,
        /// What is wrong.
        what: &'static str,
    },
}

impl CheckError {
    /// Seconds until the same batch would be accepted, where waiting for that makes sense: it is dated
    /// less than an hour ahead. Beyond, the date is not one that a clock shows, and whoever waits for it
    /// delivers nothing else meanwhile.
    #[must_use]
    pub fn good_in(&self) -> Option<u64> {
        match self {
            Self::Future { seconds, .. } if *seconds < MAX_WAIT_S => {
                u64::try_from(seconds - MAX_AHEAD_US / 1_000_000 + 1).ok()
            }
            _ => None,
        }
    }
}

/// Checks what a batch says of itself.
///
/// # Errors
/// [`CheckError::Losses`]. What is in the log has passed, and is not checked again when it is replayed.
pub(crate) fn check_header(header: &Header) -> Result<(), CheckError> {
    let found = header.losses.len();
    if found > MAX_LOSSES { Err(CheckError::Losses { found }) } else { Ok(()) }
}

/// Checks a conformed batch of flows against the server's clock (`now`, microseconds since the Unix
/// epoch).
///
/// # Errors
/// The first violation, by column and row; repeating cannot help, but for [`CheckError::good_in`].
pub(crate) fn check_flows(batch: &RecordBatch, now: i64) -> Result<(), CheckError> {
    check_times(batch, now)?;
    debug_assert_eq!(batch.schema_ref(), &*FLOWS, "the batch is conformed");
    for (column, array) in FLOW_COLUMNS.iter().zip(batch.columns()) {
        match column.kind {
            Kind::Label => {
                if let Some(values) = array.as_dictionary_opt::<Int32Type>() {
                    check_label(column.name, values)?;
                }
            }
            Kind::NumericLabel if column.name.ends_with("port") => {
                within::<Int32Type>(column.name, array, 0, 65_535)?;
            }
            Kind::NumericLabel => within::<Int64Type>(column.name, array, 0, u32::MAX.into())?,
            Kind::Counter | Kind::Level => within::<Int64Type>(column.name, array, 0, MAX_COUNT)?,
            Kind::Sampling => within::<Int32Type>(column.name, array, 1, i32::MAX.into())?,
            Kind::Time | Kind::Histogram => {}
        }
    }
    HISTOGRAMS.iter().try_for_each(|name| check_histogram(batch, name))
}

fn check_times(batch: &RecordBatch, now: i64) -> Result<(), CheckError> {
    let time = |name| {
        batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>())
    };
    let (Some(starts), Some(ends)) = (time("start"), time("end")) else { return Ok(()) };
    // The one farthest ahead says if waiting helps.
    if let Some((row, end)) = ends.values().iter().enumerate().max_by_key(|(_, end)| **end) {
        let ahead = end.saturating_sub(now);
        if ahead > MAX_AHEAD_US {
            return Err(CheckError::Future { row, seconds: ahead / 1_000_000 });
        }
    }
    for (row, (&start, &end)) in starts.values().iter().zip(ends.values()).enumerate() {
        if start < 0 || !(0..=MAX_INTERVAL_US).contains(&end.saturating_sub(start)) {
            return Err(CheckError::Interval { row, start, end });
        }
    }
    Ok(())
}

fn check_label(column: &'static str, array: &DictionaryArray<Int32Type>) -> Result<(), CheckError> {
    let Some(values) = array.values().as_string_opt::<i32>() else { return Ok(()) };
    let is_address = column.ends_with("address");
    for value in values.iter().flatten().filter(|v| !v.is_empty()) {
        // Bytes are looked at faster than characters.
        let control = if value.is_ascii() {
            value.bytes().any(|b| b.is_ascii_control())
        } else {
            value.chars().any(char::is_control)
        };
        if value.len() > MAX_LABEL || control {
            return Err(CheckError::Label { column, value: shorten(value) });
        }
        if is_address && !is_canonical_address(value) {
            return Err(CheckError::Address { column, value: shorten(value) });
        }
        let allowed = match column {
            "protocol" => "tcp, udp, icmp, sctp",
            "role" => "client, server, unknown",
            "peer_scope" => "cluster, node, cloud, external",
            _ => continue,
        };
        if !allowed.split(", ").any(|a| a == value) {
            return Err(CheckError::Choice { column, value: shorten(value), allowed });
        }
    }
    Ok(())
}

/// Whether a text is the one spelling under which an address is stored.
fn is_canonical_address(text: &str) -> bool {
    // Most are IPv4. Its parser takes no leading zeros, so what it takes is canonical.
    if text.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    text.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().to_string() == text)
}

fn within<T: ArrowPrimitiveType>(
    column: &'static str,
    array: &dyn Array,
    min: i64,
    max: i64,
) -> Result<(), CheckError>
where
    T::Native: Into<i64>,
{
    let Some(array) = array.as_primitive_opt::<T>() else { return Ok(()) };
    // Slots under a null hold anything, so the fast test runs over the values and a miss is looked
    // at again with the nulls in mind.
    let good = |v: &T::Native| (min..=max).contains(&(*v).into());
    if array.values().iter().all(good) {
        return Ok(());
    }
    match array.iter().enumerate().find_map(|(row, v)| Some((row, v.filter(|v| !good(v))?))) {
        None => Ok(()),
        Some((row, value)) => Err(CheckError::Range { column, row, value: value.into(), min, max }),
    }
}

fn check_histogram(batch: &RecordBatch, histogram: &'static str) -> Result<(), CheckError> {
    let column = |part: &str| batch.column_by_name(&format!("{histogram}_{part}"));
    let numbers = |part: &str| column(part).and_then(|c| c.as_primitive_opt::<Int64Type>());
    let offsets = column("offset").and_then(|c| c.as_primitive_opt::<Int32Type>());
    let buckets = column("buckets").and_then(|c| c.as_list_opt::<i32>());
    let (Some(counts), Some(sums), Some(mins), Some(maxs), Some(offsets), Some(buckets)) = (
        numbers("count"),
        numbers("sum_us"),
        numbers("min_us"),
        numbers("max_us"),
        offsets,
        buckets,
    ) else {
        return Ok(());
    };
    let wrong = |row, what| Err(CheckError::Histogram { histogram, row, what });
    for row in 0..batch.num_rows() {
        let [count, sum, min, max] = [counts, sums, mins, maxs].map(|a| value(a, row));
        let total = match bucket_total(buckets, row) {
            Some(total) => total,
            None => return wrong(row, "a bucket count is null, negative or too large"),
        };
        if total.count != count.unwrap_or(0) {
            return wrong(row, "`count` is not the sum of `buckets`");
        }
        if count.unwrap_or(0) == 0 {
            continue;
        }
        let offset = value(offsets, row).map_or(i64::MIN, i64::from);
        let last = offset.saturating_add(total.buckets).saturating_sub(1);
        if offset < FIRST_INDEX.into() || last > LAST_INDEX.into() {
            return wrong(row, "`offset` and `buckets` reach outside of the indices -1 to 62");
        }
        match (sum, min, max) {
            // The kernel adds to sum and counts one after the other, so that a reader may see the
            // sum of one duration less: only what no reader can see is refused.
            (Some(sum), Some(min), Some(max))
                if (0..=MAX_COUNT).contains(&sum) && 0 <= min && min <= max && max <= MAX_COUNT => {
            }
            _ => return wrong(row, "`sum_us`, `min_us` and `max_us` contradict each other"),
        }
    }
    Ok(())
}

struct Total {
    count: i64,
    buckets: i64,
}

/// Sum and number of a row's bucket counts; `None` if one of them is out of range.
fn bucket_total(lists: &ListArray, row: usize) -> Option<Total> {
    if lists.is_null(row) {
        return Some(Total { count: 0, buckets: 0 });
    }
    let offsets = lists.value_offsets();
    let (start, end) = (*offsets.get(row)?, *offsets.get(row + 1)?);
    let range = usize::try_from(start).ok()?..usize::try_from(end).ok()?;
    let values = lists.values().as_primitive_opt::<Int64Type>()?;
    if values.null_count() > 0 && range.clone().any(|i| values.is_null(i)) {
        return None;
    }
    let slots = values.values().get(range)?;
    let mut count = 0i64;
    for &n in slots {
        if !(0..=MAX_COUNT).contains(&n) {
            return None;
        }
        count = count.checked_add(n)?;
    }
    Some(Total { count, buckets: i64::try_from(slots.len()).ok()? })
}

fn value<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    array.is_valid(row).then(|| ArrayAccessor::value(&array, row))
}

fn shorten(value: &str) -> String {
    value.chars().take(60).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests;
