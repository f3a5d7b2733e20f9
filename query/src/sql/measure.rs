//! Refuses statements whose plan would be too deep to walk.
//!
//! Chains of operators, set operations and joins are read in a loop and make a tree as deep as the
//! chain is long. Not all walks of such a tree guard their stack (clone, drop and evaluation do not),
//! and an overflow ends the process. Tokens are counted before there is a tree; counting whole classes
//! of them, rather than those known to nest, needs no knowledge of the grammar.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::Error;

/// Longest statement, bytes.
pub(super) const MAX_LENGTH: usize = 64 * 1024;
/// Most operators that are symbols. Each can be a level of an expression, and evaluation in an
/// unoptimized build takes more than 10 KiB of stack for each level.
pub(super) const MAX_OPERATORS: usize = 80;
/// Most keywords and qualified names.
pub(super) const MAX_WORDS: usize = 300;
/// Most tables and sets that a statement brings together by JOIN, UNION, INTERSECT and EXCEPT: each
/// is a level of the plan, which takes more stack than an expression does.
pub(super) const MAX_JOINS: usize = 50;
/// Deepest nesting of brackets.
pub(super) const MAX_DEPTH: usize = 40;

/// Counts what makes a plan deep.
///
/// # Errors
/// [`crate::ErrorKind::BadData`] for a statement over a limit, or one with an unfinished token.
pub(super) fn measure(text: &str) -> Result<(), Error> {
    if text.len() > MAX_LENGTH {
        return Err(Error::bad(format!("statement is longer than {MAX_LENGTH} bytes")));
    }
    let tokens = Tokenizer::new(&GenericDialect {}, text)
        .tokenize()
        .map_err(|e| Error::bad(format!("statement cannot be read: {e}")))?;
    let (mut operators, mut words, mut joins, mut depth) = (0_usize, 0_usize, 0_usize, 0_usize);
    for token in &tokens {
        if is_composite(token) {
            return Err(Error::bad(
                "structs and maps cannot be made here; select their parts as columns",
            ));
        }
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            _ => {}
        }
        match class(token) {
            Class::Operator => operators += 1,
            Class::Word => words += 1,
            Class::Operand => {}
        }
        if is_join(token) {
            joins += 1;
        }
        if depth > MAX_DEPTH {
            return Err(Error::bad(format!("statement is nested deeper than {MAX_DEPTH} levels")));
        }
        if operators > MAX_OPERATORS {
            return Err(Error::bad(format!(
                "statement has more than {MAX_OPERATORS} operators; a list of values is shorter as \
                 column IN (...)"
            )));
        }
        if words > MAX_WORDS {
            return Err(Error::bad(format!(
                "statement has more than {MAX_WORDS} keywords and qualified names"
            )));
        }
        if joins > MAX_JOINS {
            return Err(Error::bad(format!(
                "statement has more than {MAX_JOINS} joins and set operations"
            )));
        }
    }
    Ok(())
}

/// What a token may do to the depth of a plan.
enum Class {
    /// Nothing: literals, names and lists.
    Operand,
    /// A level for each keyword, or part of a name.
    Word,
    /// A level for each symbol.
    Operator,
}

fn class(token: &Token) -> Class {
    match token {
        Token::Word(word) if word.keyword != Keyword::NoKeyword => Class::Word,
        Token::Period => Class::Word,
        Token::Word(_)
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::Comma
        | Token::Whitespace(_)
        | Token::LParen
        | Token::RParen
        | Token::RBracket
        | Token::RBrace
        | Token::EOF => Class::Operand,
        _ => Class::Operator,
    }
}

/// Whether a token begins a struct or a map. Their types have a field for each value: the type alone
/// would double with each nesting, before anything runs.
fn is_composite(token: &Token) -> bool {
    match token {
        Token::LBrace => true,
        Token::Word(word) => word.keyword == Keyword::STRUCT,
        _ => false,
    }
}

fn is_join(token: &Token) -> bool {
    matches!(token, Token::Word(word) if matches!(
        word.keyword,
        Keyword::JOIN | Keyword::APPLY | Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT
            | Keyword::MINUS | Keyword::LATERAL
    ))
}

#[cfg(test)]
mod tests;
