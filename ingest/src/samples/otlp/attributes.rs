//! Attributes of OpenTelemetry and the labels that they become.
//!
//! ```text
//! message KeyValue     { string key = 1; AnyValue value = 2; }
//! message AnyValue     { oneof { string = 1; bool = 2; int64 = 3; double = 4;
//!                                ArrayValue = 5; KeyValueList = 6; bytes = 7; } }
//! message ArrayValue   { repeated AnyValue values = 1; }
//! message KeyValueList { repeated KeyValue values = 1; }
//! ```
//!
//! A value that is no text becomes the text that the collector's `AsString` gives: JSON for lists and
//! maps, base64 for bytes. Attributes whose names become one label are joined by semicolons, in the
//! order of their names.

use std::collections::BTreeMap;

use serde_json::Value;

use super::names::label_name;
use crate::samples::decode::BodyError;
use crate::samples::points::TooMany;
use crate::samples::protobuf::{Field, Reader, WireError};

/// Lists within lists are read to this depth.
const DEPTH: usize = 16;

/// Labels by name.
pub(super) type Labels = BTreeMap<String, String>;

/// What `field` of a message says, for as many of them as there are, at most `limit`.
pub(super) fn read(
    message: &[u8],
    field: u32,
    limit: usize,
) -> Result<Vec<(&str, String)>, BodyError> {
    let mut attributes = Vec::new();
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.field()? {
        if number == field {
            TooMany::check("attributes at one place", attributes.len() + 1, limit)?;
            attributes.push(key_value(value.bytes(number)?)?);
        }
    }
    Ok(attributes)
}

/// The labels of attributes.
pub(super) fn labels(mut attributes: Vec<(&str, String)>) -> Labels {
    attributes.sort_by_key(|(key, _)| *key);
    let mut labels = Labels::new();
    for (key, value) in attributes {
        let Some(name) = label_name(key) else { continue };
        labels
            .entry(name)
            .and_modify(|joined| {
                joined.push(';');
                joined.push_str(&value);
            })
            .or_insert(value);
    }
    labels
}

fn key_value(message: &[u8]) -> Result<(&str, String), WireError> {
    let (mut key, mut text) = ("", String::new());
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => key = value.text(1)?,
            2 => text = text_of(any_value(value.bytes(2)?, DEPTH)?),
            _ => {}
        }
    }
    Ok((key, text))
}

fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn any_value(message: &[u8], depth: usize) -> Result<Value, WireError> {
    let mut found = Value::Null;
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.field()? {
        found = match number {
            1 => Value::String(value.text(1)?.to_owned()),
            2 => Value::Bool(value.varint(2)? != 0),
            3 => Value::from(value.int64(3)?),
            4 => double(value.double(4)?),
            5 => Value::Array(array(value.bytes(5)?, depth)?),
            6 => Value::Object(map(value.bytes(6)?, depth)?),
            7 => Value::String(base64(value.bytes(7)?)),
            _ => continue,
        };
    }
    Ok(found)
}

fn array(message: &[u8], depth: usize) -> Result<Vec<Value>, WireError> {
    let mut values = Vec::new();
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.field()? {
        if number == 1
            && let Some(depth) = depth.checked_sub(1)
        {
            values.push(any_value(value.bytes(1)?, depth)?);
        }
    }
    Ok(values)
}

fn map(message: &[u8], depth: usize) -> Result<serde_json::Map<String, Value>, WireError> {
    let mut values = serde_json::Map::new();
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.field()? {
        let (1, Field::Bytes(entry), Some(depth)) = (number, value, depth.checked_sub(1)) else {
            continue;
        };
        let (mut key, mut found) = (String::new(), Value::Null);
        let mut entry = Reader::new(entry);
        while let Some((number, value)) = entry.field()? {
            match number {
                1 => key = value.text(1)?.to_owned(),
                2 => found = any_value(value.bytes(2)?, depth)?,
                _ => {}
            }
        }
        values.insert(key, found);
    }
    Ok(values)
}

/// A number as JSON of ECMAScript has it: without a fraction if there is none.
fn double(value: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53")]
        return Value::from(value as i64);
    }
    serde_json::Number::from_f64(value).map_or_else(
        || {
            let infinite = if value > 0.0 { "+Inf" } else { "-Inf" };
            Value::String(if value.is_nan() { "NaN" } else { infinite }.to_owned())
        },
        Value::Number,
    )
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let index = (bits >> (18 - 6 * i)) & 63;
            let letter = usize::try_from(index).ok().and_then(|i| ALPHABET.get(i));
            match letter {
                Some(letter) if i <= chunk.len() => out.push(char::from(*letter)),
                _ => out.push('='),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_become_labels_in_the_order_of_their_keys() {
        let given = [("http.method", "b"), ("a", "x"), ("http-method", "a"), ("..", "gone")];
        let given = given.map(|(key, value)| (key, value.to_owned())).to_vec();
        let expected = [("a", "x"), ("http_method", "a;b")];
        assert_eq!(
            labels(given).iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn bytes_become_base64() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        for (value, text) in [(1.0, "1"), (1.5, "1.5"), (-0.25, "-0.25"), (f64::INFINITY, "+Inf")] {
            assert_eq!(text_of(double(value)), text);
        }
    }
}
