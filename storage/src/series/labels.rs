//! The labels of a series, as bytes and as text.
//!
//! ```text
//! canonical  for each label: length of the name | name | length of the value | value
//! length     unsigned LEB128, as short as it can be
//! text       {a="b",c="d"}    without the metric's name, which has a column of its own
//! ```
//!
//! In both, labels are in ascending byte order of their names, each name comes once, and no value is
//! empty: a label with an empty value is the same as none. So two series are the same if and only if
//! their canonical bytes are equal. The metric's name is the label `__name__`, in its place by that
//! order. A name in the text that is not `[a-zA-Z_][a-zA-Z0-9_]*` is quoted like a value
//! (Prometheus 3, "UTF-8 support"): backslash, double quote and line feed are escaped in both.

use thiserror::Error;

mod text;

pub use text::{TextLabels, from_text, text_labels, write_text};
pub(crate) use text::{quote, unquote};

/// The label that the metric's name is.
pub const METRIC_NAME: &str = "__name__";

/// Why labels cannot be those of a series.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum LabelsError {
    /// A label has no name.
    #[error("a label with the value {value:?} has no name")]
    NoName {
        /// Its value.
        value: String,
    },
    /// A name comes twice.
    #[error("label `{name}` comes twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// Bytes that no writer makes.
    #[error("labels are damaged at byte {at}")]
    Damaged {
        /// Where.
        at: usize,
    },
}

/// Appends the canonical form of some labels, the metric's name among them, to `out`.
///
/// Labels that come in ascending order, as senders should have them, are written as they come. After
/// an error `out` is as it was.
///
/// # Errors
/// [`LabelsError::NoName`] and [`LabelsError::Twice`]. Labels with an empty value are left out, and
/// may come twice beside one with a value.
pub fn write_canonical<'a>(
    labels: impl IntoIterator<Item = (&'a str, &'a str), IntoIter: Clone>,
    out: &mut Vec<u8>,
) -> Result<(), LabelsError> {
    let labels = labels.into_iter();
    let start = out.len();
    let mut last = "";
    for (name, value) in labels.clone() {
        if value.is_empty() {
            continue;
        }
        if name <= last {
            out.truncate(start);
            return write_unsorted(labels, out);
        }
        last = name;
        write_label(name, value, out);
    }
    Ok(())
}

#[cold]
fn write_unsorted<'a>(
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    out: &mut Vec<u8>,
) -> Result<(), LabelsError> {
    let mut labels: Vec<_> = labels.filter(|(_, value)| !value.is_empty()).collect();
    labels.sort_unstable();
    if let Some(("", value)) = labels.first() {
        return Err(LabelsError::NoName { value: (*value).to_owned() });
    }
    let twice = labels.windows(2).find_map(|pair| match pair {
        [(a, _), (b, _)] if a == b => Some(*a),
        _ => None,
    });
    if let Some(name) = twice {
        return Err(LabelsError::Twice { name: name.to_owned() });
    }
    for (name, value) in labels {
        write_label(name, value, out);
    }
    Ok(())
}

fn write_label(name: &str, value: &str, out: &mut Vec<u8>) {
    for text in [name, value] {
        write_length(text.len(), out);
        out.extend_from_slice(text.as_bytes());
    }
}

fn write_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or_default());
}

/// The labels in canonical bytes, in their order. Stops where bytes are none: see [`check`].
#[must_use]
pub fn iter(canonical: &[u8]) -> Labels<'_> {
    Labels { rest: canonical }
}

/// Labels in canonical bytes. See [`iter`].
#[derive(Debug, Clone)]
pub struct Labels<'a> {
    rest: &'a [u8],
}

impl<'a> Labels<'a> {
    fn text(&mut self) -> Option<&'a str> {
        let (text, rest) = match *self.rest {
            // Nearly every length is one byte.
            [length @ ..0x80, ref rest @ ..] => rest.split_at_checked(usize::from(length))?,
            _ => {
                let (length, rest) = read_length(self.rest)?;
                rest.split_at_checked(length)?
            }
        };
        self.rest = rest;
        str::from_utf8(text).ok()
    }
}

impl<'a> Iterator for Labels<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let before = self.rest;
        let label = self.text().and_then(|name| Some((name, self.text()?)));
        if label.is_none() {
            self.rest = before;
        }
        label
    }
}

/// A length, and what follows it; `None` if it is not written as short as it can be.
fn read_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut length = 0usize;
    let mut shift = 0u32;
    let mut rest = bytes;
    loop {
        let (byte, after) = rest.split_first()?;
        rest = after;
        // No text is as long as four of these allow.
        if shift > 21 {
            return None;
        }
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return (*byte != 0 || shift == 7).then_some((length, rest));
        }
    }
}

/// Whether bytes are canonical labels.
///
/// # Errors
/// [`LabelsError::Damaged`] where they are none.
pub fn check(canonical: &[u8]) -> Result<(), LabelsError> {
    let mut labels = iter(canonical);
    let mut last = "";
    loop {
        let at = canonical.len() - labels.rest.len();
        match labels.next() {
            Some((name, value)) if name > last && !value.is_empty() => last = name,
            None if labels.rest.is_empty() => return Ok(()),
            _ => return Err(LabelsError::Damaged { at }),
        }
    }
}

/// The value of one label; the empty text if there is none.
#[must_use]
pub fn value<'a>(canonical: &'a [u8], name: &str) -> &'a str {
    iter(canonical).find(|(n, _)| *n == name).map_or("", |(_, value)| value)
}

/// The metric's name; the empty text if there is none.
#[must_use]
pub fn metric_name(canonical: &[u8]) -> &str {
    value(canonical, METRIC_NAME)
}

#[cfg(test)]
mod tests;
