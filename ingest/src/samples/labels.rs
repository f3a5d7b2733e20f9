//! Canonical bytes of a label set.
//!
//! ```text
//! labels  label, label, ...     sorted by name (bytes), `__name__` among them; no name twice,
//!                               no empty name, no empty value
//! label   length, name, length, value       lengths in bytes, LEB128 in as few bytes as they need;
//!                                           name and value UTF-8
//! ```
//!
//! Equal bytes are equal label sets.

use std::fmt::Write;

use super::protobuf::Reader;
use super::refusals::LabelsError;

/// The label that holds the metric name.
pub(crate) const NAME: &[u8] = b"__name__";
/// Longest text of a label set in a message, bytes.
const DESCRIBED: usize = 300;

/// Writes one text with its length.
#[inline]
pub(crate) fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len();
    while length >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "seven bits")]
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "less than 128")]
    out.push(length as u8);
    out.extend_from_slice(text);
}

/// The labels that bytes hold, in their order. Ends early at bytes that hold none.
pub(crate) fn labels(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut reader = Reader::new(bytes);
    std::iter::from_fn(move || {
        let name = reader.bytes().ok()?;
        Some((name, reader.bytes().ok()?))
    })
}

/// Brings labels, each written as above, into canonical order.
pub(crate) fn sort(bytes: &[u8]) -> Result<Vec<u8>, LabelsError> {
    let mut sorted: Vec<_> = labels(bytes).collect();
    sorted.sort_unstable();
    let pairs = sorted.iter().zip(sorted.iter().skip(1));
    if let Some(((name, _), _)) = pairs.into_iter().find(|((a, _), (b, _))| a == b) {
        return Err(LabelsError::Twice(String::from_utf8_lossy(name).into_owned()));
    }
    let mut out = Vec::with_capacity(bytes.len());
    for (name, value) in sorted {
        write_text(&mut out, name);
        write_text(&mut out, value);
    }
    Ok(out)
}

/// Whether all names and values are UTF-8.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    // Lengths below 128 are ASCII as well: nearly always one look at all bytes together will do.
    bytes.is_ascii()
        || labels(bytes).all(|(name, value)| {
            std::str::from_utf8(name).is_ok() && std::str::from_utf8(value).is_ok()
        })
}

/// A label set as PromQL writes it, for messages: `up{job="a"}`, cut when it is long.
pub(crate) fn describe(bytes: &[u8]) -> String {
    let mut out = String::new();
    if let Some((_, name)) = labels(bytes).find(|(name, _)| *name == NAME) {
        out.push_str(&String::from_utf8_lossy(name));
    }
    out.push('{');
    let mut first = true;
    for (name, value) in labels(bytes).filter(|(name, _)| *name != NAME) {
        let comma = if std::mem::take(&mut first) { "" } else { "," };
        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        let _ = write!(out, "{comma}{name}={value:?}");
        if out.len() > DESCRIBED {
            break;
        }
    }
    if out.len() > DESCRIBED {
        out.truncate(out.floor_char_boundary(DESCRIBED));
        out.push_str("...");
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(labels: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in labels {
            write_text(&mut out, name.as_bytes());
            write_text(&mut out, value.as_bytes());
        }
        out
    }

    #[test]
    fn the_form_never_changes() {
        assert_eq!(written(&[("__name__", "up"), ("job", "a")]), b"\x08__name__\x02up\x03job\x01a");
        let long = "x".repeat(300);
        assert_eq!(written(&[("a", &long)]).get(..4), Some(&b"\x01a\xac\x02"[..]));
    }

    #[test]
    fn a_label_set_is_described_as_promql_writes_it() {
        assert_eq!(
            describe(&written(&[("__name__", "up"), ("a", "x\"y"), ("job", "é")])),
            r#"up{a="x\"y",job="é"}"#
        );
        let long = describe(&written(&[("a", &"é".repeat(1000))]));
        assert!(long.len() < 320 && long.ends_with("...}"), "{long}");
    }

    proptest! {
        #[test]
        fn sorting_gives_the_set(set: std::collections::BTreeMap<String, String>, seed: u64) {
            let mut shuffled: Vec<_> =
                set.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            let n = shuffled.len().max(1);
            shuffled.rotate_left((seed % n as u64) as usize);
            let sorted = sort(&written(&shuffled)).unwrap();
            let expected: Vec<_> = set.iter().map(|(a, b)| (a.as_bytes(), b.as_bytes())).collect();
            prop_assert_eq!(labels(&sorted).collect::<Vec<_>>(), expected);
        }
    }
}
