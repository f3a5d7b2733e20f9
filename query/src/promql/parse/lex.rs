//! Tokens of PromQL, as Prometheus' own lexer tells them apart.
//!
//! What a character means depends on where it stands: between braces there are no keywords, between
//! brackets only durations, and `:` belongs to a name outside brackets.

use super::Failure;
use crate::promql::expr::{Aggregator, BinaryOp};

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    End,
    Comma,
    Colon,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    /// `=`
    Equal,
    /// `=~`
    Matches,
    /// `!~`
    NotMatches,
    At,
    Operator(BinaryOp),
    Aggregator(Aggregator),
    Word(Word),
    Number,
    Duration,
    /// Quotes included.
    Text,
    /// A name without colons.
    Name,
    /// A name with colons, which only metrics have.
    MetricName,
}

/// Words that mean something of their own outside braces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Bool,
    By,
    GroupLeft,
    GroupRight,
    Ignoring,
    Offset,
    On,
    Without,
    Start,
    End,
}

/// A token and where it begins, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) text: &'a str,
}

impl Token<'_> {
    /// The token in the words of Prometheus' messages.
    pub(super) fn describe(&self) -> String {
        let text = self.text;
        let shortened = || match text.char_indices().nth(10) {
            Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or(text)),
            None => format!("{text:?}"),
        };
        match self.kind {
            Kind::End => "end of input".to_owned(),
            Kind::Name => format!("identifier {text:?}"),
            Kind::MetricName => format!("metric identifier {text:?}"),
            Kind::Number => format!("number {}", shortened()),
            Kind::Duration => format!("duration {}", shortened()),
            Kind::Text => format!("string {}", shortened()),
            Kind::Operator(_) | Kind::Matches | Kind::NotMatches | Kind::At => {
                format!("<op:{text}>")
            }
            Kind::Aggregator(_) => format!("<aggr:{text}>"),
            Kind::Word(Word::Start | Word::End) => format!("{text:?}"),
            Kind::Word(_) => format!("<{text}>"),
            _ => format!("{text:?}"),
        }
    }
}

/// Reads one token after the other.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    input: &'a str,
    at: usize,
    in_braces: bool,
    in_brackets: bool,
    parens: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(input: &'a str) -> Self {
        Self { input, at: 0, in_braces: false, in_brackets: false, parens: 0 }
    }

    /// The next token; after the last one [`Kind::End`] for ever.
    ///
    /// # Errors
    /// [`Failure`] at what begins no token, and at the end of the text if something is still open.
    pub(super) fn next(&mut self) -> Result<Token<'a>, Failure> {
        self.skip();
        let start = self.at;
        let Some(c) = self.bump() else { return self.end(start) };
        let kind = if self.in_braces {
            self.inside_braces(c, start)?
        } else if self.in_brackets {
            self.inside_brackets(c, start)?
        } else {
            self.outside(c, start)?
        };
        Ok(Token { kind, start, text: self.since(start) })
    }

    fn end(&self, start: usize) -> Result<Token<'a>, Failure> {
        let open = if self.in_braces {
            "unexpected end of input inside braces"
        } else if self.in_brackets {
            "unclosed left bracket"
        } else if self.parens > 0 {
            "unclosed left parenthesis"
        } else {
            return Ok(Token { kind: Kind::End, start, text: "" });
        };
        Err(Failure::new(start, open))
    }

    fn outside(&mut self, c: char, start: usize) -> Result<Kind, Failure> {
        if let Some(kind) = self.arithmetic(c, start)? {
            return Ok(kind);
        }
        Ok(match c {
            ',' => Kind::Comma,
            '=' if self.eat('=') => Kind::Operator(BinaryOp::Equal),
            '=' if self.peek() == Some('~') => {
                return Err(Failure::new(start, "unexpected character after '=': '~'"));
            }
            '=' => Kind::Equal,
            '!' if self.eat('=') => Kind::Operator(BinaryOp::NotEqual),
            '!' => {
                let next = self.peek().map_or("EOF".to_owned(), |c| format!("{c:?}"));
                return Err(Failure::new(start, format!("unexpected character after '!': {next}")));
            }
            '<' if self.eat('=') => Kind::Operator(BinaryOp::LessOrEqual),
            '<' => Kind::Operator(BinaryOp::Less),
            '>' if self.eat('=') => Kind::Operator(BinaryOp::GreaterOrEqual),
            '>' => Kind::Operator(BinaryOp::Greater),
            '"' | '\'' | '`' => self.text(c, start)?,
            '{' => {
                self.in_braces = true;
                Kind::LeftBrace
            }
            '[' => {
                self.in_brackets = true;
                Kind::LeftBracket
            }
            ']' => return Err(Failure::new(start, "unexpected right bracket ']'")),
            '@' => Kind::At,
            c if is_alpha(c) || c == ':' => {
                self.run(|c| is_alpha(c) || c.is_ascii_digit() || c == ':');
                word(self.since(start))
            }
            c => return Err(Failure::new(start, format!("unexpected character: {c:?}"))),
        })
    }

    fn inside_brackets(&mut self, c: char, start: usize) -> Result<Kind, Failure> {
        if let Some(kind) = self.arithmetic(c, start)? {
            return Ok(kind);
        }
        match c {
            ':' => Ok(Kind::Colon),
            ']' => {
                self.in_brackets = false;
                Ok(Kind::RightBracket)
            }
            '[' => Err(Failure::new(start, "unexpected left bracket '['")),
            c => Err(Failure::new(
                start,
                format!("unexpected character in duration expression: {c:?}"),
            )),
        }
    }

    /// What may stand both outside of brackets and within.
    fn arithmetic(&mut self, c: char, start: usize) -> Result<Option<Kind>, Failure> {
        Ok(Some(match c {
            '*' => Kind::Operator(BinaryOp::Mul),
            '/' => Kind::Operator(BinaryOp::Div),
            '%' => Kind::Operator(BinaryOp::Mod),
            '+' => Kind::Operator(BinaryOp::Add),
            '-' => Kind::Operator(BinaryOp::Sub),
            '^' => Kind::Operator(BinaryOp::Pow),
            '(' => {
                self.parens += 1;
                Kind::LeftParen
            }
            ')' => {
                let unexpected = || Failure::new(start, "unexpected right parenthesis ')'");
                self.parens = self.parens.checked_sub(1).ok_or_else(unexpected)?;
                Kind::RightParen
            }
            c if c.is_ascii_digit()
                || (c == '.' && self.peek().is_some_and(|c| c.is_ascii_digit())) =>
            {
                self.at = start;
                self.number_or_duration(start)?
            }
            _ => return Ok(None),
        }))
    }

    fn inside_braces(&mut self, c: char, start: usize) -> Result<Kind, Failure> {
        Ok(match c {
            ',' => Kind::Comma,
            '"' | '\'' | '`' => self.text(c, start)?,
            '=' if self.eat('~') => Kind::Matches,
            '=' => Kind::Equal,
            '!' if self.eat('~') => Kind::NotMatches,
            '!' if self.eat('=') => Kind::Operator(BinaryOp::NotEqual),
            '!' => {
                let next = self.peek().map_or("EOF".to_owned(), |c| format!("{c:?}"));
                return Err(Failure::new(
                    start,
                    format!("unexpected character after '!' inside braces: {next}"),
                ));
            }
            '{' => return Err(Failure::new(start, "unexpected left brace '{'")),
            '}' => {
                self.in_braces = false;
                Kind::RightBrace
            }
            c if is_alpha(c) => {
                self.run(|c| is_alpha(c) || c.is_ascii_digit());
                Kind::Name
            }
            c => {
                return Err(Failure::new(
                    start,
                    format!("unexpected character inside braces: {c:?}"),
                ));
            }
        })
    }

    /// A string whose opening quote was read. What its escapes mean is for the parser.
    fn text(&mut self, quote: char, start: usize) -> Result<Kind, Failure> {
        loop {
            match self.bump() {
                Some(c) if c == quote => return Ok(Kind::Text),
                None if quote == '`' => {
                    return Err(Failure::new(start, "unterminated raw string"));
                }
                None => return Err(Failure::new(start, "unterminated quoted string")),
                Some('\n') if quote != '`' => {
                    return Err(Failure::new(start, "unterminated quoted string"));
                }
                // Raw strings know no escapes.
                Some('\\') if quote != '`' => {
                    self.bump();
                }
                Some(_) => {}
            }
        }
    }

    fn number_or_duration(&mut self, start: usize) -> Result<Kind, Failure> {
        if self.number() {
            return Ok(Kind::Number);
        }
        if self.rest_of_duration() {
            return Ok(Kind::Duration);
        }
        let text = self.since(start);
        Err(Failure::new(start, format!("bad number or duration syntax: {text:?}")))
    }

    /// Reads `1`, `.5`, `1_000.5e-3`, `0xff`; false where it goes wrong, which may be in front of the
    /// unit of a duration.
    fn number(&mut self) -> bool {
        let mut digits: fn(char) -> bool = |c| c.is_ascii_digit();
        let mut hexadecimal = false;
        if self.eat('0') && (self.eat('x') || self.eat('X')) {
            self.eat('_');
            digits = |c| c.is_ascii_hexdigit();
            hexadecimal = true;
        }
        self.eat('.');
        self.eat_if(digits);
        let (mut dot, mut exponent) = (false, false);
        while let Some(c) = self.peek() {
            let is_exponent = matches!(c, 'e' | 'E');
            if c == '.' && dot || is_exponent && exponent {
                self.bump();
                return false;
            }
            if c == '.' {
                self.bump();
                dot = true;
                if self.eat_if(|c| matches!(c, '_' | '.')) || hexadecimal {
                    return false;
                }
            } else if is_exponent {
                self.bump();
                exponent = true;
                self.eat_if(|c| matches!(c, '+' | '-'));
                if self.eat_if(|c| matches!(c, '.' | '_' | 'e' | 'E')) || self.peek().is_none() {
                    return false;
                }
            } else if c == '_' {
                self.bump();
                if self.eat_if(|c| matches!(c, '.' | '_' | 'e' | 'E')) || self.peek().is_none() {
                    return false;
                }
            } else if digits(c) {
                self.run(digits);
            } else {
                break;
            }
        }
        !self.peek().is_some_and(|c| is_alpha(c) || c.is_ascii_digit())
    }

    /// Reads the first unit of a duration and what follows.
    fn rest_of_duration(&mut self) -> bool {
        if !self.eat_if(|c| "smhdwy".contains(c)) {
            return false;
        }
        self.eat('s');
        while self.eat_if(|c| c.is_ascii_digit()) {
            self.run(|c| c.is_ascii_digit());
            if !self.eat_if(|c| "smhdw".contains(c)) {
                return false;
            }
            self.eat('s');
        }
        !self.peek().is_some_and(|c| is_alpha(c) || c.is_ascii_digit())
    }

    /// Skips spaces and comments.
    fn skip(&mut self) {
        loop {
            self.run(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
            if !self.eat('#') {
                return;
            }
            self.run(|c| !matches!(c, '\n' | '\r'));
        }
    }

    fn peek(&self) -> Option<char> {
        self.input.get(self.at..)?.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.eat_if(|c| c == wanted)
    }

    fn eat_if(&mut self, wanted: impl Fn(char) -> bool) -> bool {
        let found = self.peek().is_some_and(wanted);
        if found {
            self.bump();
        }
        found
    }

    fn run(&mut self, wanted: impl Fn(char) -> bool) {
        while self.eat_if(&wanted) {}
    }

    fn since(&self, start: usize) -> &'a str {
        self.input.get(start..self.at).unwrap_or_default()
    }
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

/// What a word outside braces is, whatever its case.
fn word(text: &str) -> Kind {
    match text.to_ascii_lowercase().as_str() {
        "and" => Kind::Operator(BinaryOp::And),
        "or" => Kind::Operator(BinaryOp::Or),
        "unless" => Kind::Operator(BinaryOp::Unless),
        "atan2" => Kind::Operator(BinaryOp::Atan2),
        "sum" => Kind::Aggregator(Aggregator::Sum),
        "avg" => Kind::Aggregator(Aggregator::Avg),
        "count" => Kind::Aggregator(Aggregator::Count),
        "min" => Kind::Aggregator(Aggregator::Min),
        "max" => Kind::Aggregator(Aggregator::Max),
        "group" => Kind::Aggregator(Aggregator::Group),
        "stddev" => Kind::Aggregator(Aggregator::Stddev),
        "stdvar" => Kind::Aggregator(Aggregator::Stdvar),
        "topk" => Kind::Aggregator(Aggregator::Topk),
        "bottomk" => Kind::Aggregator(Aggregator::Bottomk),
        "count_values" => Kind::Aggregator(Aggregator::CountValues),
        "quantile" => Kind::Aggregator(Aggregator::Quantile),
        "limitk" => Kind::Aggregator(Aggregator::Limitk),
        "limit_ratio" => Kind::Aggregator(Aggregator::LimitRatio),
        "offset" => Kind::Word(Word::Offset),
        "by" => Kind::Word(Word::By),
        "without" => Kind::Word(Word::Without),
        "on" => Kind::Word(Word::On),
        "ignoring" => Kind::Word(Word::Ignoring),
        "group_left" => Kind::Word(Word::GroupLeft),
        "group_right" => Kind::Word(Word::GroupRight),
        "bool" => Kind::Word(Word::Bool),
        "start" => Kind::Word(Word::Start),
        "end" => Kind::Word(Word::End),
        "inf" | "nan" => Kind::Number,
        _ if text.contains(':') => Kind::MetricName,
        _ => Kind::Name,
    }
}
