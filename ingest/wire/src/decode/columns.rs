//! Which column types a batch may have, read from its schema message.
//!
//! A view, a run or a nested type can stand for far more values than it has bytes, and Arrow
//! validates each of them. The types here take time and memory in proportion to their buffers.

use arrow_ipc::{Field, Schema, Type};

use super::DecodeError;

/// Refuses a schema with a column of another type; returns the dictionary's id of each column that
/// has one.
pub(super) fn check(schema: &Schema<'_>) -> Result<Vec<i64>, DecodeError> {
    let mut dictionaries = Vec::new();
    for field in schema.fields().iter().flatten() {
        let kind = field.type_type();
        let nested = field.children().is_some_and(|c| !c.is_empty());
        let accepted = match field.dictionary() {
            // The field's own type is that of the dictionary's values.
            Some(dictionary) => {
                dictionaries.push(dictionary.id());
                !nested && matches!(kind, Type::Utf8 | Type::LargeUtf8)
            }
            None if matches!(kind, Type::List | Type::LargeList) => list_of_numbers(&field),
            None => !nested && is_plain(kind),
        };
        if !accepted {
            return Err(DecodeError::Column {
                column: field.name().unwrap_or_default().to_owned(),
                found: describe(&field),
            });
        }
    }
    Ok(dictionaries)
}

fn is_number(kind: Type) -> bool {
    matches!(kind, Type::Null | Type::Int | Type::FloatingPoint | Type::Decimal | Type::Bool)
}

fn is_plain(kind: Type) -> bool {
    is_number(kind)
        || matches!(
            kind,
            Type::Date
                | Type::Time
                | Type::Timestamp
                | Type::Duration
                | Type::Interval
                | Type::Utf8
                | Type::LargeUtf8
                | Type::Binary
                | Type::LargeBinary
                | Type::FixedSizeBinary
        )
}

fn list_of_numbers(field: &Field<'_>) -> bool {
    let mut children = field.children().into_iter().flatten();
    let (Some(item), None) = (children.next(), children.next()) else { return false };
    let nested = item.children().is_some_and(|c| !c.is_empty());
    !nested && item.dictionary().is_none() && is_number(item.type_type())
}

fn describe(field: &Field<'_>) -> String {
    let name = |field: &Field<'_>| {
        let kind = field.type_type().variant_name().unwrap_or("an unknown type");
        match field.dictionary() {
            Some(_) => format!("a dictionary of {kind}"),
            None => kind.to_owned(),
        }
    };
    let mut out = name(field);
    if let Some(child) = field.children().into_iter().flatten().next() {
        out.push_str(" of ");
        out.push_str(&name(&child));
    }
    out
}
