//! Names of OpenTelemetry as Prometheus has them: its strategy `UnderscoreEscapingWithSuffixes`, the
//! default of Prometheus 3 (<https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>).

/// What a metric is, as far as its name depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    /// A sum that only grows.
    Counter,
    Other,
}

/// Units of UCUM, and the words for them.
const UNITS: [(&str, &str); 26] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("1", ""),
    ("%", "percent"),
];

/// Units that others are divided by.
const PER_UNITS: [(&str, &str); 7] = [
    ("s", "second"),
    ("m", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
];

/// The name of a metric: its words, its unit, and what it is. `None` if nothing of the name can be
/// part of one.
pub(super) fn metric_name(name: &str, unit: &str, kind: Kind) -> Option<String> {
    let mut words: Vec<String> = split(name).map(str::to_owned).collect();
    let (main, per) = unit_words(unit);
    for word in [main, per].into_iter().flatten() {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    let suffix = match kind {
        Kind::Counter => Some("total"),
        Kind::Gauge if unit == "1" => Some("ratio"),
        Kind::Gauge | Kind::Other => None,
    };
    if let Some(suffix) = suffix {
        words.retain(|word| word != suffix);
        words.push(suffix.to_owned());
    }
    let mut full = words.join("_");
    if full.starts_with(|c: char| c.is_ascii_digit()) {
        full.insert(0, '_');
    }
    (!full.is_empty()).then_some(full)
}

/// What of a text can be part of a name, in pieces.
fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == ':')).filter(|piece| !piece.is_empty())
}

/// The words for a unit and for what it is divided by.
fn unit_words(unit: &str) -> (Option<String>, Option<String>) {
    let (main, per) = match unit.split_once('/') {
        Some((main, per)) => (main.trim(), per.trim()),
        None => (unit.trim(), ""),
    };
    // In braces stands what is counted, which is no unit.
    let plain = |unit: &str| !unit.is_empty() && !unit.contains(['{', '}']);
    let word = |table: &[(&str, &str)], unit: &str| {
        let known = table.iter().find(|(symbol, _)| *symbol == unit).map(|(_, word)| *word);
        split(known.unwrap_or(unit)).collect::<Vec<_>>().join("_")
    };
    let main = plain(main).then(|| word(&UNITS, main)).filter(|word| !word.is_empty());
    let per = plain(per).then(|| word(&PER_UNITS, per)).filter(|word| !word.is_empty());
    (main, per.map(|word| format!("per_{word}")))
}

/// The name of a label. `None` if it would be empty or nothing but underscores.
pub(super) fn label_name(key: &str) -> Option<String> {
    let mut name: String =
        key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert_str(0, "key_");
    } else if name.starts_with('_') && !name.starts_with("__") {
        name.insert_str(0, "key");
    }
    name.contains(|c| c != '_').then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metric_names_are_those_of_prometheus() {
        use Kind::{Counter, Gauge, Other};
        for (name, unit, kind, expected) in [
            ("http.server.request.duration", "s", Other, "http_server_request_duration_seconds"),
            ("system.io", "foo/bar", Counter, "system_io_foo_per_bar_total"),
            ("system.filesystem.usage", "By", Other, "system_filesystem_usage_bytes"),
            ("system.network.dropped", "{packets}", Counter, "system_network_dropped_total"),
            ("system.cpu.utilization", "1", Gauge, "system_cpu_utilization_ratio"),
            ("ratio.of.ratio", "1", Gauge, "of_ratio"),
            ("counted", "1", Counter, "counted_total"),
            ("total.requests", "", Counter, "requests_total"),
            ("requests_total", "", Counter, "requests_total"),
            ("speed", "m/s", Gauge, "speed_meters_per_second"),
            ("hertz", "Hz", Gauge, "hertz"),
            ("io_bytes", "By", Other, "io_bytes"),
            ("fan.speed", "{rotations}/s", Gauge, "fan_speed_per_second"),
            ("a__b..c", "", Gauge, "a_b_c"),
            ("2xx", "", Gauge, "_2xx"),
            ("job:rate", "", Gauge, "job:rate"),
            ("active.users", "%", Gauge, "active_users_percent"),
        ] {
            assert_eq!(metric_name(name, unit, kind).as_deref(), Some(expected), "{name} {unit}");
        }
        assert_eq!(metric_name("°°", "", Gauge), None);
    }

    #[test]
    fn label_names_are_those_of_prometheus() {
        for (key, expected) in [
            ("http.method", Some("http_method")),
            ("0a", Some("key_0a")),
            ("_a", Some("key_a")),
            ("__a", Some("__a")),
            ("a-é", Some("a__")),
            ("", None),
            ("..", None),
        ] {
            assert_eq!(label_name(key).as_deref(), expected, "{key}");
        }
    }
}
