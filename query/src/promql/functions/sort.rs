//! Order of instant query results; range queries are always sorted by labels.

use std::cmp::Ordering;

use crate::promql::source::StepSeries;

/// `sort`, `sort_desc`: by the value at the last evaluation time, NaN last.
pub(super) fn by_value(mut series: Vec<StepSeries>, descending: bool) -> Vec<StepSeries> {
    series.sort_by(|a, b| {
        let [a, b] = [a, b].map(|one| one.values.last().unwrap_or(f64::NAN));
        let order = if descending { b.partial_cmp(&a) } else { a.partial_cmp(&b) };
        order.unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
    });
    series
}

/// `sort_by_label`, `sort_by_label_desc`: naturally (`a2` before `a10`), then by all labels.
pub(super) fn by_label(
    mut series: Vec<StepSeries>,
    names: &[String],
    descending: bool,
) -> Vec<StepSeries> {
    series.sort_by(|a, b| {
        let by_names = names
            .iter()
            .map(|name| {
                let [a, b] = [a, b].map(|one| one.labels.get(name).unwrap_or_default());
                natural(a, b)
            })
            .find(|order| order.is_ne())
            .unwrap_or_else(|| a.labels.cmp(&b.labels));
        if descending { by_names.reverse() } else { by_names }
    });
    series
}

/// Compares runs of digits by their number and everything else by its bytes.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let ((run_a, rest_a), (run_b, rest_b)) = (run(a), run(b));
        if run_a.is_empty() || run_b.is_empty() {
            return run_a.cmp(run_b);
        }
        let is_number = |run: &str| run.starts_with(|c: char| c.is_ascii_digit());
        let order = if is_number(run_a) && is_number(run_b) {
            let [x, y] = [run_a, run_b].map(|run| run.trim_start_matches('0'));
            x.len().cmp(&y.len()).then_with(|| x.cmp(y)).then_with(|| run_a.len().cmp(&run_b.len()))
        } else {
            run_a.cmp(run_b)
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// The leading run of digits or of other characters, and the rest.
fn run(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_sort_by_size() {
        let mut names = ["pod-10", "pod-9", "pod-1", "pod", "2", "10", "pod-9a"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["2", "10", "pod", "pod-1", "pod-9", "pod-9a", "pod-10"]);
    }
}
