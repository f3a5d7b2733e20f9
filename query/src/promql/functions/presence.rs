//! `absent` and `absent_over_time`: 1 where there is nothing.

use std::collections::HashSet;

use super::Args;
use crate::promql::expr::{Call, Expr};
use crate::promql::source::{Labels, MatchOp, Matcher, StepSeries, Steps};

/// One series, with a value where the argument has none.
pub(super) fn absent(call: &Call, args: &Args, steps: &Steps) -> Vec<StepSeries> {
    let mut values = vec![Some(1.0); steps.len()];
    let mut occupy = |step: usize| {
        if let Some(value) = values.get_mut(step) {
            *value = None;
        }
    };
    for series in args.vector.iter().flatten() {
        series.values.present().for_each(|(step, _)| occupy(step));
    }
    if let Some(windows) = &args.windows {
        for series in &windows.series {
            windows.each(series, steps, |step, _| occupy(step));
        }
    }
    if values.iter().all(Option::is_none) {
        return Vec::new();
    }
    vec![StepSeries { labels: labels(call.args.first()), values: values.as_slice().into() }]
}

/// The labels that a selector demands by a single equality matcher each: the first sets a label, every
/// other matcher of the label removes it. Prometheus looks at them in the order in which its store has put
/// them: those that series are taken by, then those that only leave series out.
fn labels(arg: Option<&Expr>) -> Labels {
    let mut labels = Labels::default();
    let Some(Expr::Instant(pick) | Expr::Range(pick, _)) = arg else { return labels };
    let matchers = &pick.selector.matchers;
    let is_set = |name: &str| {
        matchers.iter().any(|matcher| &*matcher.name == name && !matcher.op.accepts(""))
    };
    let leaves_out = |matcher: &Matcher| {
        let negative = matches!(matcher.op, MatchOp::NotEqual(_) | MatchOp::NotMatches(_));
        !is_set(&matcher.name) || (negative && matcher.op.accepts(""))
    };
    let (last, first): (Vec<_>, Vec<_>) = matchers.iter().partition(|m| leaves_out(m));
    let mut seen = HashSet::new();
    for matcher in first.into_iter().chain(last) {
        match &matcher.op {
            MatchOp::Equal(value) if seen.insert(&matcher.name) => {
                labels.set(&matcher.name, value);
            }
            _ => {
                labels.set(&matcher.name, "");
            }
        }
    }
    labels
}
