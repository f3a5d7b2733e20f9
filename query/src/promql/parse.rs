//! From text to the engine's syntax tree.
//!
//! The grammar is that of the `promql-parser` crate. Lowering its tree checks what that crate lets
//! through: patterns are compiled as Prometheus compiles them, durations are read exactly, unknown
//! and not yet supported constructs are refused by name.

use std::panic::{AssertUnwindSafe, catch_unwind};

use promql_parser::parser as syntax;

use super::error::Error;
use super::expr::Expr;
use super::source::Selector;

mod lower;
mod selector;

pub(crate) use selector::pattern;

/// Longest expression that is read, bytes.
const MAX_LENGTH: usize = 256 * 1024;
/// Deepest nesting that is read. It bounds the stack of every recursive walk.
const MAX_DEPTH: usize = 128;
/// Most operators that are read. A chain of left-associative operators is as deep as it is long.
const MAX_OPERATORS: usize = 256;

/// Parses an expression.
///
/// # Errors
/// [`Error::BadData`], starting with `parse error: ` as Prometheus' do.
pub(crate) fn parse(text: &str) -> Result<Expr, Error> {
    lower::lower(&read(text)?).map_err(|error| match error {
        Error::BadData(message) => bad(message),
        other => other,
    })
}

/// Parses a selector without time modifiers, as `match[]` parameters hold it.
///
/// # Errors
/// [`Error::BadData`] when `text` is anything else.
pub fn parse_selector(text: &str) -> Result<Selector, Error> {
    match parse(text)? {
        Expr::Instant(pick) if pick.when.offset == 0 && pick.when.at.is_none() => Ok(pick.selector),
        _ => Err(bad(format!("expected a vector selector without modifiers, got \"{text}\""))),
    }
}

fn read(text: &str) -> Result<syntax::Expr, Error> {
    if text.trim().is_empty() {
        return Err(bad("no expression found in input"));
    }
    measure(text)?;
    // The crate unwraps in places (durations out of range); its state dies with the call.
    match catch_unwind(AssertUnwindSafe(|| syntax::parse(text))) {
        Ok(Ok(expr)) => Ok(expr),
        Ok(Err(message)) => Err(bad(message.trim())),
        Err(_) => Err(bad("a number or duration is out of range")),
    }
}

/// Refuses what would recurse too deeply: parser, lowering, evaluation and the drop of both trees are
/// recursive. It reads strings and comments exactly as the crate's lexer does, or operators could hide
/// in what only one of the two takes for text; what that lexer refuses never becomes a tree.
fn measure(text: &str) -> Result<(), Error> {
    if text.len() > MAX_LENGTH {
        return Err(bad(format!("expression is longer than {MAX_LENGTH} bytes")));
    }
    let (mut depth, mut operators) = (0_usize, 0_usize);
    let mut quote = None;
    let mut in_braces = false;
    let mut word = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if let Some(open) = quote {
            // The lexer knows escapes in raw strings too.
            if c == '\\' {
                chars.next();
            } else if c == open {
                quote = None;
            }
            continue;
        }
        if c.is_ascii_alphanumeric() || c == '_' {
            word.push(c.to_ascii_lowercase());
            continue;
        }
        if matches!(word.as_str(), "and" | "or" | "unless" | "atan2") && !in_braces {
            operators += 1;
        }
        word.clear();
        match c {
            '"' | '\'' | '`' => quote = Some(c),
            '#' => drop(chars.find(|c| matches!(c, '\r' | '\n'))),
            '{' => in_braces = true,
            '}' => in_braces = false,
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            // A subquery is a level above its operand, like an operator.
            '[' => operators += 1,
            '+' | '-' | '*' | '/' | '%' | '^' | '<' | '>' | '=' | '!' if !in_braces => {
                operators += 1;
            }
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(bad(format!("expression is nested deeper than {MAX_DEPTH} levels")));
        }
        if operators > MAX_OPERATORS {
            return Err(bad(format!("expression has more than {MAX_OPERATORS} operators")));
        }
    }
    Ok(())
}

fn bad(message: impl Into<String>) -> Error {
    Error::BadData(format!("parse error: {}", message.into()))
}

#[cfg(test)]
mod tests;
