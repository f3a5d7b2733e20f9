//! Lowering of selectors and their time modifiers.

use super::pattern::pattern;
use super::syntax::{self, LabelOp};
use super::{Failure, syntax::Modifiers};
use crate::promql::expr::{Pick, When};
use crate::promql::labels::METRIC_NAME;
use crate::promql::source::{MatchOp, Matcher, Selector};

/// Lowers a selector with its modifiers. `start` is its place.
pub(super) fn pick(start: usize, syntax: &syntax::Selector) -> Result<Pick, Failure> {
    let (selector, selective) = lower(start, syntax)?;
    if !selective {
        return Err(Failure::new(
            start,
            "vector selector must contain at least one non-empty matcher",
        ));
    }
    Ok(Pick { selector, when: when(syntax.when) })
}

/// Lowers the second argument of `info`: matchers of labels, which may match everything.
pub(super) fn info_labels(start: usize, syntax: &syntax::Selector) -> Result<Pick, Failure> {
    if syntax.name.is_some() {
        return Err(Failure::new(
            start,
            "expected label selectors only, got vector selector instead",
        ));
    }
    Ok(Pick { selector: lower(start, syntax)?.0, when: when(syntax.when) })
}

/// A selector, and whether it leaves out series without any label.
fn lower(start: usize, syntax: &syntax::Selector) -> Result<(Selector, bool), Failure> {
    let mut selector = Selector {
        metric: syntax.name.as_deref().map(Into::into),
        name_matchers: Vec::new(),
        matchers: Vec::new(),
    };
    let mut selective = selector.metric.is_some();
    for matcher in &syntax.matchers {
        let value = matcher.value.as_str();
        let compiled =
            || pattern(value).map_err(|error| Failure::new(matcher.start, error.to_string()));
        let op = match matcher.op {
            LabelOp::Equal => MatchOp::Equal(value.into()),
            LabelOp::NotEqual => MatchOp::NotEqual(value.into()),
            LabelOp::Matches => MatchOp::Matches(compiled()?),
            LabelOp::NotMatches => MatchOp::NotMatches(compiled()?),
        };
        selective |= !op.accepts("");
        if matcher.name == METRIC_NAME
            && let Some(name) = &syntax.name
        {
            return Err(Failure::new(
                start,
                format!("metric name must not be set twice: {name:?} or {value:?}"),
            ));
        }
        match op {
            MatchOp::Equal(name) if matcher.name == METRIC_NAME && selector.metric.is_none() => {
                selector.metric = Some(name);
            }
            op if matcher.name == METRIC_NAME => selector.name_matchers.push(op),
            op => selector.matchers.push(Matcher { name: matcher.name.as_str().into(), op }),
        }
    }
    Ok((selector, selective))
}

/// Lowers `offset` and `@`.
pub(super) fn when(modifiers: Modifiers) -> When {
    When { offset: modifiers.offset, at: modifiers.at }
}
