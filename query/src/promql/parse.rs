//! From text to the engine's syntax tree.
//!
//! ```text
//! text -> lex: tokens -> grammar: syntax tree with places -> lower: names resolved, types checked
//! ```
//!
//! Grammar and messages are those of Prometheus 3.5 with its default flags (so without arithmetic on
//! durations), down to the place at the start of a message.

use super::error::Error;
use super::expr::Expr;
use super::source::Selector;

mod grammar;
mod layout;
mod lex;
mod lower;
mod pattern;
mod selector;
mod syntax;
mod text;
mod tree;

pub(crate) use pattern::pattern;

/// Longest expression that is read, bytes.
const MAX_LENGTH: usize = 256 * 1024;
/// Deepest nesting that is read. It bounds the stack of every recursive walk.
const MAX_DEPTH: usize = 128;
/// Most operators that are read. A chain of left-associative operators is as deep as it is long.
const MAX_OPERATORS: usize = 256;

/// What is wrong with a text, and where.
#[derive(Debug)]
struct Failure {
    /// Bytes from the start of the text.
    start: usize,
    message: String,
}

impl Failure {
    fn new(start: usize, message: impl Into<String>) -> Self {
        Self { start, message: message.into() }
    }

    fn of(self, text: &str) -> Error {
        Error::BadData(format!("{}: parse error: {}", place(text, self.start), self.message))
    }
}

/// A place as `line:column`, both counted from 1, columns in bytes.
pub(crate) fn place(text: &str, start: usize) -> String {
    let before = text.as_bytes().get(..start).unwrap_or_default();
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = match before.iter().rposition(|byte| *byte == b'\n') {
        Some(newline) => start - newline,
        None => start + 1,
    };
    format!("{line}:{column}")
}

/// Parses an expression.
///
/// # Errors
/// [`Error::BadData`], starting with `1:5: parse error: ` as Prometheus' do.
pub(crate) fn parse(text: &str) -> Result<Expr, Error> {
    read(text).and_then(|tree| lower::lower(&tree)).map_err(|failure| failure.of(text))
}

/// Parses a selector without time modifiers, as `match[]` parameters hold it.
///
/// # Errors
/// [`Error::BadData`] when `text` is anything else.
pub fn parse_selector(text: &str) -> Result<Selector, Error> {
    match parse(text)? {
        Expr::Instant(pick) if pick.when.offset == 0 && pick.when.at.is_none() => Ok(pick.selector),
        _ => {
            let message = format!("expected a vector selector without modifiers, got \"{text}\"");
            Err(Failure::new(0, message).of(text))
        }
    }
}

/// Parses a selector without a metric's name or modifiers, which may match everything: `{namespace!="dev"}`.
///
/// # Errors
/// [`Error::BadData`] when `text` is anything else.
pub(crate) fn parse_labels(text: &str) -> Result<Selector, Error> {
    let failed = |failure: Failure| failure.of(text);
    let node = read(text).map_err(failed)?;
    let syntax::Body::Selector(labels) = &node.body else {
        let message = format!("expected matchers of labels in braces, got \"{text}\"");
        return Err(Failure::new(0, message).of(text));
    };
    let pick = selector::info_labels(node.start, labels).map_err(failed)?;
    if pick.when.offset != 0 || pick.when.at.is_some() {
        let message = format!("expected matchers of labels without modifiers, got \"{text}\"");
        return Err(Failure::new(0, message).of(text));
    }
    Ok(pick.selector)
}

/// The syntax tree of an expression, as JSON in the form of Prometheus' `/api/v1/parse_query`.
///
/// # Errors
/// As [`parse`].
pub fn syntax_tree(text: &str) -> Result<serde_json::Value, Error> {
    parse(text)?;
    Ok(tree::tree(&read(text).map_err(|failure| failure.of(text))?))
}

/// An expression laid out as `/api/v1/format_query` does: long ones over several lines.
///
/// # Errors
/// As [`parse`].
pub fn formatted(text: &str) -> Result<String, Error> {
    parse(text)?;
    Ok(layout::layout(&read(text).map_err(|failure| failure.of(text))?))
}

fn read(text: &str) -> Result<syntax::Node, Failure> {
    if text.len() > MAX_LENGTH {
        return Err(Failure::new(0, format!("expression is longer than {MAX_LENGTH} bytes")));
    }
    grammar::read(text)
}

#[cfg(test)]
mod tests;
