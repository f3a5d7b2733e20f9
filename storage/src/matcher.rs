//! Label matchers: which rows a retention rule, a deletion or a selector means.
//!
//! A matcher looks at the text of one label, as in PromQL: a label that is null or that a table does
//! not have is the empty text, numbers are matched in their decimal form, and a regular expression
//! has to match the whole text (`^(?s:...)$`).

mod rows;

use std::fmt;

use regex::{Regex, RegexBuilder};
use thiserror::Error;

pub(crate) use self::rows::all_match;

/// Compiled patterns larger than this are refused, bytes.
const MAX_PATTERN_SIZE: usize = 10 * 1024 * 1024;

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// The operator as PromQL writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// Why there is no such matcher.
#[derive(Debug, Error)]
pub enum MatcherError {
    /// The pattern is none.
    #[error("label `{label}`: \"{pattern}\" is not a regular expression: {source}")]
    Pattern {
        /// The label.
        label: String,
        /// The pattern as it was given.
        pattern: String,
        /// What is wrong with it.
        source: Box<regex::Error>,
    },
}

/// A condition on one label.
#[derive(Clone)]
pub struct Matcher {
    label: String,
    op: MatchOp,
    value: String,
    /// For the two operators that take one.
    regex: Option<Regex>,
}

impl Matcher {
    /// A matcher; `value` is a pattern where the operator takes one.
    ///
    /// # Errors
    /// [`MatcherError::Pattern`] when the pattern does not compile.
    pub fn new(
        label: impl Into<String>,
        op: MatchOp,
        value: impl Into<String>,
    ) -> Result<Self, MatcherError> {
        let (label, value) = (label.into(), value.into());
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(
                RegexBuilder::new(&format!("^(?s:{value})$"))
                    .size_limit(MAX_PATTERN_SIZE)
                    .build()
                    .map_err(|source| MatcherError::Pattern {
                        label: label.clone(),
                        pattern: value.clone(),
                        source: Box::new(source),
                    })?,
            ),
        };
        Ok(Self { label, op, value, regex })
    }

    /// The same condition on another label.
    pub(crate) fn on(&self, label: String) -> Self {
        Self { label, ..self.clone() }
    }

    /// The label, which is the name of a column.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// How it compares.
    #[must_use]
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// What it compares with: a text or a pattern.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a label with this text passes; `None` is a label that is absent.
    #[must_use]
    pub fn matches(&self, text: Option<&str>) -> bool {
        let text = text.unwrap_or_default();
        let found = match &self.regex {
            Some(regex) => regex.is_match(text),
            None => text == self.value,
        };
        match self.op {
            MatchOp::Equal | MatchOp::Regex => found,
            MatchOp::NotEqual | MatchOp::NotRegex => !found,
        }
    }

    /// Whether any text from `min` to `max` (inclusive, by bytes) may pass. `true` when that cannot
    /// be told.
    #[must_use]
    pub fn may_match_between(&self, min: &str, max: &str) -> bool {
        match self.op {
            MatchOp::Equal => min <= self.value.as_str() && self.value.as_str() <= max,
            _ => min != max || self.matches(Some(min)),
        }
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.label, self.op, &self.value) == (&other.label, other.op, &other.value)
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.label, self.op.as_str(), self.value)
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(op: MatchOp, value: &str) -> Matcher {
        Matcher::new("namespace", op, value).unwrap()
    }

    #[test]
    fn absent_is_empty_and_patterns_match_the_whole_text() {
        for (op, value, passes, fails) in [
            (MatchOp::Equal, "dev", vec![Some("dev")], vec![Some("dev2"), Some(""), None]),
            (MatchOp::Equal, "", vec![Some(""), None], vec![Some("dev")]),
            (MatchOp::NotEqual, "dev", vec![Some("prod"), Some(""), None], vec![Some("dev")]),
            (MatchOp::NotEqual, "", vec![Some("dev")], vec![Some(""), None]),
            (MatchOp::Regex, "dev|qa", vec![Some("dev"), Some("qa")], vec![Some("dev2"), None]),
            (MatchOp::Regex, "d.*", vec![Some("d\nv")], vec![Some("od")]),
            (MatchOp::Regex, "(dev)?", vec![None, Some("dev")], vec![Some("x")]),
            (MatchOp::NotRegex, "dev|qa", vec![Some("dev2"), None], vec![Some("qa")]),
        ] {
            let matcher = matcher(op, value);
            for text in passes {
                assert!(matcher.matches(text), "{matcher} {text:?}");
            }
            for text in fails {
                assert!(!matcher.matches(text), "{matcher} {text:?}");
            }
        }
    }

    #[test]
    fn bounds_rule_out_only_what_cannot_match() {
        let dev = matcher(MatchOp::Equal, "dev");
        assert!(dev.may_match_between("a", "dev") && dev.may_match_between("dev", "x"));
        assert!(!dev.may_match_between("a", "deu") && !dev.may_match_between("dex", "x"));
        let not_dev = matcher(MatchOp::NotEqual, "dev");
        assert!(!not_dev.may_match_between("dev", "dev") && not_dev.may_match_between("a", "dev"));
        let pattern = matcher(MatchOp::Regex, "d.*");
        assert!(!pattern.may_match_between("x", "x") && pattern.may_match_between("a", "b"));
    }

    #[test]
    fn a_pattern_that_is_none_is_named() {
        let error = Matcher::new("pod", MatchOp::Regex, "a(").unwrap_err().to_string();
        assert!(error.starts_with("label `pod`: \"a(\" is not a regular expression"), "{error}");
        assert_eq!(matcher(MatchOp::NotRegex, "a\"b").to_string(), r#"namespace!~"a\"b""#);
    }
}
