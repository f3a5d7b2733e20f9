//! `label_replace` and `label_join`.

use crate::promql::error::Error;
use crate::promql::parse::pattern;
use crate::promql::source::StepSeries;
use crate::promql::vector;

/// `label_replace(v, target, replacement, source, pattern)`: where the whole value of `source`
/// matches, sets `target` to `replacement` with `$1` and `${name}` filled in.
///
/// # Errors
/// [`Error::Execution`] for a bad pattern or label name, or if two series become equal.
pub(super) fn replace(
    mut series: Vec<StepSeries>,
    texts: &[String],
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
    for one in &mut series {
        let mut value = String::new();
        match regex.captures(one.labels.get(source).unwrap_or_default()) {
            Some(captures) => captures.expand(replacement, &mut value),
            None => continue,
        }
        one.labels.set(target, &value);
    }
    vector::joined(series)
}

/// `label_join(v, target, separator, source...)`.
///
/// # Errors
/// [`Error::Execution`] for a bad label name, or if two series become equal.
pub(super) fn join(
    mut series: Vec<StepSeries>,
    texts: &[String],
) -> Result<Vec<StepSeries>, Error> {
    let [target, separator, sources @ ..] = texts else { return Err(missing("label_join")) };
    if target.is_empty() {
        return Err(Error::Execution(format!(
            "invalid destination label name in label_join(): {target}"
        )));
    }
    for one in &mut series {
        let values: Vec<&str> =
            sources.iter().map(|source| one.labels.get(source).unwrap_or_default()).collect();
        let value = values.join(separator);
        one.labels.set(target, &value);
    }
    vector::joined(series)
}

fn missing(function: &str) -> Error {
    Error::BadData(format!("missing arguments for {function}()"))
}
