//! Lowering of selectors and their time modifiers.

use std::time::{Duration, SystemTime};

use promql_parser::label as syntax_label;
use promql_parser::parser as syntax;
use regex::{Regex, RegexBuilder};

use crate::promql::error::Error;
use crate::promql::expr::{At, Pick, When};
use crate::promql::labels::METRIC_NAME;
use crate::promql::source::{MatchOp, Matcher, Selector};

/// Compiled patterns larger than this are refused, bytes.
const MAX_PATTERN_SIZE: usize = 10 * 1024 * 1024;
/// Durations and times further from the epoch than this are refused, milliseconds: about 292 years,
/// the range of Prometheus' own durations. Any sum that an expression makes of them stays in 63 bits.
const MAX_DURATION: i64 = 9_223_372_036_854;

/// Compiles a pattern as Prometheus does: matching the whole value, `.` matching newlines too.
pub(crate) fn pattern(text: &str) -> Result<Regex, Error> {
    let compile = |text: &str| {
        RegexBuilder::new(&format!("^(?s:{text})$")).size_limit(MAX_PATTERN_SIZE).build()
    };
    // Go takes a brace that starts no repetition literally.
    compile(text).or_else(|error| compile(&literal_braces(text)).map_err(|_| error)).map_err(
        |error| match error {
            regex::Error::CompiledTooBig(_) => {
                Error::BadData(format!("regular expression \"{text}\" is too large"))
            }
            _ => Error::BadData(format!("error parsing regexp: \"{text}\"")),
        },
    )
}

/// Escapes every `{` that does not start a repetition such as `{2}`, `{2,}` or `{2,3}`.
fn literal_braces(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == '{' && !escaped {
            let inner = text.get(at + 1..).and_then(|rest| rest.split_once('}')).map(|(i, _)| i);
            let is_repetition = inner.is_some_and(|inner| {
                inner.starts_with(|c: char| c.is_ascii_digit())
                    && inner.chars().all(|c| c.is_ascii_digit() || c == ',')
            });
            if !is_repetition {
                out.push('\\');
            }
        }
        escaped = c == '\\' && !escaped;
        out.push(c);
    }
    out
}

/// Lowers a selector with its modifiers.
pub(super) fn pick(selector: &syntax::VectorSelector) -> Result<Pick, Error> {
    Ok(Pick {
        selector: lower(selector)?,
        when: when(selector.offset.as_ref(), selector.at.as_ref())?,
    })
}

fn lower(syntax: &syntax::VectorSelector) -> Result<Selector, Error> {
    if !syntax.matchers.or_matchers.is_empty() {
        return Err(Error::BadData("unexpected <op:or> in label matching".to_owned()));
    }
    let mut selector = Selector {
        metric: syntax.name.as_deref().map(Into::into),
        name_matchers: Vec::new(),
        matchers: Vec::new(),
    };
    let mut selective = selector.metric.is_some();
    for matcher in &syntax.matchers.matchers {
        let value = matcher.value.as_str();
        let op = match &matcher.op {
            syntax_label::MatchOp::Equal => MatchOp::Equal(value.into()),
            syntax_label::MatchOp::NotEqual => MatchOp::NotEqual(value.into()),
            syntax_label::MatchOp::Re(_) => MatchOp::Matches(pattern(value)?),
            syntax_label::MatchOp::NotRe(_) => MatchOp::NotMatches(pattern(value)?),
        };
        selective |= !op.accepts("");
        match op {
            MatchOp::Equal(name) if matcher.name == METRIC_NAME && selector.metric.is_none() => {
                selector.metric = Some(name);
            }
            op if matcher.name == METRIC_NAME => selector.name_matchers.push(op),
            op => selector.matchers.push(Matcher { name: matcher.name.as_str().into(), op }),
        }
    }
    if !selective {
        return Err(Error::BadData(
            "vector selector must contain at least one non-empty matcher".to_owned(),
        ));
    }
    Ok(selector)
}

/// Lowers `offset` and `@`.
pub(super) fn when(
    offset: Option<&syntax::Offset>,
    at: Option<&syntax::AtModifier>,
) -> Result<When, Error> {
    let offset = match offset {
        None => 0,
        Some(syntax::Offset::Pos(duration)) => milliseconds(*duration)?,
        Some(syntax::Offset::Neg(duration)) => -milliseconds(*duration)?,
    };
    let at = match at {
        None => None,
        Some(syntax::AtModifier::Start) => Some(At::Start),
        Some(syntax::AtModifier::End) => Some(At::End),
        Some(syntax::AtModifier::At(time)) => Some(At::Time(since_epoch(*time)?)),
    };
    Ok(When { offset, at })
}

fn since_epoch(time: SystemTime) -> Result<i64, Error> {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => milliseconds(after),
        Err(before) => Ok(-milliseconds(before.duration())?),
    }
}

/// A duration of the syntax tree in milliseconds.
pub(super) fn milliseconds(duration: Duration) -> Result<i64, Error> {
    i64::try_from(duration.as_millis())
        .ok()
        .filter(|ms| *ms <= MAX_DURATION)
        .ok_or_else(|| Error::BadData("duration or time out of range".to_owned()))
}
