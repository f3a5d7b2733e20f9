//! What a resource is called, and the series `target_info` that tells the rest of it.

use super::TranslateError;
use super::attributes::{self, Labels};
use super::points::Writer;

const NAME: &str = "service.name";
const NAMESPACE: &str = "service.namespace";
const INSTANCE: &str = "service.instance.id";

/// `target_info` has a sample this often, milliseconds: within half of PromQL's lookback.
const INTERVAL_MS: i64 = 150_000;
/// A request whose points span more of these than that has one sample, the last.
const MOST: i64 = 100;

/// The labels `job` and `instance` of a resource.
pub(super) fn identity(attributes: &[(&str, String)]) -> Labels {
    let get = |key| attributes.iter().find(|(k, _)| *k == key).map(|(_, value)| value);
    let mut labels = Labels::new();
    if let Some(name) = get(NAME) {
        let job = match get(NAMESPACE) {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.clone(),
        };
        labels.insert("job".into(), job);
    }
    if let Some(instance) = get(INSTANCE) {
        labels.insert("instance".into(), instance.clone());
    }
    labels
}

/// Writes `target_info`, if there is something to tell and somebody to tell it of.
pub(super) fn write_info(
    mut attributes: Vec<(&str, String)>,
    writer: &mut Writer<'_, '_, '_>,
) -> Result<(), TranslateError> {
    attributes.retain(|(key, _)| ![NAME, NAMESPACE, INSTANCE].contains(key));
    let Some((first, last)) = writer.times() else { return Ok(()) };
    if attributes.is_empty() || writer.identity().is_empty() {
        return Ok(());
    }
    let mut labels = attributes::labels(attributes);
    labels.extend(writer.identity().clone());
    let mut time = first;
    if last.saturating_sub(first) / INTERVAL_MS > MOST {
        time = last;
    }
    while time < last {
        writer.sample("target_info", &labels, None, time, 1.0)?;
        time += INTERVAL_MS;
    }
    Ok(writer.sample("target_info", &labels, None, last, 1.0)?)
}
