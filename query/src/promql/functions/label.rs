//! `label_replace` and `label_join`.

use super::Charge;
use crate::promql::error::Error;
use crate::promql::parse::pattern;
use crate::promql::source::StepSeries;
use crate::promql::vector;

/// Longest value that is made, bytes. Calls nest, and each can repeat its source many times over.
const MAX_VALUE: usize = 64 * 1024;
/// Bytes of labels that weigh as much as one value of a series.
const BYTES_OF_A_VALUE: usize = 16;

/// `label_replace(v, target, replacement, source, pattern)`: where the whole value of `source`
/// matches, sets `target` to `replacement` with `$1` and `${name}` filled in.
///
/// # Errors
/// [`Error::Execution`] for a bad pattern or label name, for values longer than 64 KiB, or if two series become equal.
pub(super) fn replace(
    mut series: Vec<StepSeries>,
    texts: &[String],
    charge: Charge<'_>,
) -> Result<Vec<StepSeries>, Error> {
    let [target, replacement, source, regex] = texts else { return Err(missing("label_replace")) };
    let regex = pattern(regex).map_err(|_| {
        Error::Execution(format!("invalid regular expression in label_replace(): {regex}"))
    })?;
    if target.is_empty() {
        return Err(Error::Execution(format!(
            "invalid destination label name in label_replace(): {target}"
        )));
    }
    let references = replacement.matches('$').count();
    for one in &mut series {
        let source = one.labels.get(source).unwrap_or_default();
        let Some(captures) = regex.captures(source) else { continue };
        // No group is longer than the value that it is a part of.
        let most = references.saturating_mul(source.len()).saturating_add(replacement.len());
        let mut value = String::new();
        if most > MAX_VALUE {
            return Err(too_long("label_replace", target));
        }
        captures.expand(replacement, &mut value);
        charge(value.len() / BYTES_OF_A_VALUE)?;
        one.labels.set(target, &value);
    }
    vector::unique(series.iter().map(|one| &one.labels))?;
    Ok(series)
}

/// `label_join(v, target, separator, source...)`.
///
/// # Errors
/// [`Error::Execution`] for a bad label name, for values longer than 64 KiB, or if two series become equal.
pub(super) fn join(
    mut series: Vec<StepSeries>,
    texts: &[String],
    charge: Charge<'_>,
) -> Result<Vec<StepSeries>, Error> {
    let [target, separator, sources @ ..] = texts else { return Err(missing("label_join")) };
    if sources.iter().any(String::is_empty) {
        return Err(Error::Execution("invalid source label name in label_join(): ".to_owned()));
    }
    if target.is_empty() {
        return Err(Error::Execution(format!(
            "invalid destination label name in label_join(): {target}"
        )));
    }
    for one in &mut series {
        let values: Vec<&str> =
            sources.iter().map(|source| one.labels.get(source).unwrap_or_default()).collect();
        let separators = separator.len().saturating_mul(values.len().saturating_sub(1));
        let length = values.iter().map(|value| value.len()).fold(separators, usize::saturating_add);
        if length > MAX_VALUE {
            return Err(too_long("label_join", target));
        }
        charge(length / BYTES_OF_A_VALUE)?;
        let value = values.join(separator);
        one.labels.set(target, &value);
    }
    vector::unique(series.iter().map(|one| &one.labels))?;
    Ok(series)
}

fn too_long(function: &str, target: &str) -> Error {
    Error::Execution(format!(
        "{function}() could make a value of label \"{target}\" longer than {MAX_VALUE} bytes"
    ))
}

fn missing(function: &str) -> Error {
    Error::BadData(format!("missing arguments for {function}()"))
}
