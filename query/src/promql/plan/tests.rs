use super::*;
use crate::promql::parse::parse;

fn grouping(expr: &str) -> Option<(Grouping, bool)> {
    sums(&parse(expr).unwrap()).map(|sums| (sums.grouping, sums.per_second))
}

fn by(names: &[&str]) -> Grouping {
    Grouping::By(names.iter().map(|name| (*name).into()).collect())
}

fn without(names: &[&str]) -> Grouping {
    Grouping::Without(names.iter().map(|name| (*name).into()).collect())
}

#[test]
fn sums_of_rates_and_increases_are_found() {
    for (expr, expected, per_second) in [
        ("rate(m[5m])", Grouping::Every, true),
        ("increase((m{a=\"b\"}[5m] offset 1m))", Grouping::Every, false),
        ("sum(rate(m[5m]))", by(&[]), true),
        ("sum by (a, b) (rate(m[5m]))", by(&["a", "b"]), true),
        ("(sum((increase(m[5m]))) without (a))", without(&["a"]), false),
        ("sum by (le, a) (rate(m_bucket[5m]))", by(&["le", "a"]), true),
        ("sum by (__name__, a) (rate(m[5m]))", by(&["a"]), true),
        ("sum without (__name__, a) (rate(m[5m]))", without(&["a"]), true),
        ("sum by (a) (sum by (b, a) (rate(m[5m])))", by(&["a"]), true),
        ("sum without (a) (sum by (b, a) (rate(m[5m])))", by(&["b"]), true),
        ("sum by (a, b) (sum without (a) (rate(m[5m])))", by(&["b"]), true),
        ("sum without (a, b) (sum without (a, c) (rate(m[5m])))", without(&["a", "c", "b"]), true),
    ] {
        assert_eq!(grouping(expr), Some((expected, per_second)), "{expr}");
    }
}

#[test]
fn nothing_else_is_taken_for_a_sum() {
    for expr in [
        "m",
        "sum(m)",
        "irate(m[5m])",
        "avg(rate(m[5m]))",
        "count by (a) (rate(m[5m]))",
        "sum(rate(m[5m:1m]))",
        "sum(rate(m[5m]) * 8)",
        "sum(-rate(m[5m]))",
        "topk(5, rate(m[5m]))",
    ] {
        assert_eq!(grouping(expr), None, "{expr}");
    }
}
