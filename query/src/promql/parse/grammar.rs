//! From tokens to the syntax tree, by recursive descent with precedences.
//!
//! ```text
//! or  <  and unless  <  == != < <= > >=  <  + -  <  * / % atan2, sign  <  ^  <  offset @ [..]
//! ```
//!
//! All operators are left-associative but `^`.

use super::lex::{Kind, Lexer, Token, Word};
use super::syntax::{Binary, Body, LabelMatcher, LabelOp, Modifiers, Node, Selector};
use super::{Failure, MAX_DEPTH, MAX_OPERATORS, text};
use crate::promql::expr::{BinaryOp, Many, Matching};

mod modifiers;

/// Reads a whole expression.
///
/// # Errors
/// [`Failure`] where the text is no expression, or one too deep to be handled.
pub(super) fn read(input: &str) -> Result<Node, Failure> {
    let mut parser = Parser::new(input)?;
    if parser.token.kind == Kind::End {
        return Err(Failure::new(0, "no expression found in input"));
    }
    let expr = parser.expression(0)?;
    match parser.token.kind {
        Kind::End => Ok(expr),
        _ => Err(parser.unexpected("", "")),
    }
}

/// The level of the sign; an operator must bind more tightly to become part of what a sign stands before.
const SIGN: u8 = 5;

/// How tightly an operator binds.
fn precedence(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And | BinaryOp::Unless => 2,
        BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::Less
        | BinaryOp::LessOrEqual
        | BinaryOp::Greater
        | BinaryOp::GreaterOrEqual => 3,
        BinaryOp::Add | BinaryOp::Sub => 4,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => SIGN,
        BinaryOp::Pow => 6,
    }
}

#[derive(Debug)]
struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token<'a>,
    depth: usize,
    operators: usize,
    /// How many aggregations are open.
    aggregations: usize,
}

impl<'a> Parser<'a> {
    fn new(input: &'a str) -> Result<Self, Failure> {
        let mut lexer = Lexer::new(input);
        let token = lexer.next()?;
        Ok(Self { lexer, token, depth: 0, operators: 0, aggregations: 0 })
    }

    /// The current token; the next one becomes current.
    fn take(&mut self) -> Result<Token<'a>, Failure> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn eat(&mut self, kind: Kind) -> Result<bool, Failure> {
        let found = self.token.kind == kind;
        if found {
            self.take()?;
        }
        Ok(found)
    }

    fn unexpected(&self, place: &str, expected: &str) -> Failure {
        let place = if place.is_empty() && self.aggregations > 0 { "aggregation" } else { place };
        let mut message = format!("unexpected {}", self.token.describe());
        for (word, what) in [(" in ", place), (", expected ", expected)] {
            if !what.is_empty() {
                message.push_str(word);
                message.push_str(what);
            }
        }
        Failure::new(self.token.start, message)
    }

    /// Counts an operator: each makes the tree a level deeper, also in a chain.
    fn count_operator(&mut self) -> Result<(), Failure> {
        self.operators += 1;
        if self.operators > MAX_OPERATORS {
            return Err(Failure::new(
                self.token.start,
                format!("expression has more than {MAX_OPERATORS} operators"),
            ));
        }
        Ok(())
    }

    fn enter(&mut self) -> Result<(), Failure> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Failure::new(
                self.token.start,
                format!("expression is nested deeper than {MAX_DEPTH} levels"),
            ));
        }
        Ok(())
    }

    /// An expression of operators that bind more tightly than `above`.
    fn expression(&mut self, above: u8) -> Result<Node, Failure> {
        let mut lhs = self.signed()?;
        while let Kind::Operator(op) = self.token.kind {
            let level = precedence(op);
            if level <= above {
                break;
            }
            self.count_operator()?;
            let at = self.take()?.start;
            let (returns_bool, matching) = self.binary_modifiers()?;
            let rhs = self.expression(if op == BinaryOp::Pow { level - 1 } else { level })?;
            let start = lhs.start;
            let binary = Binary { op, at, lhs, rhs, returns_bool, matching };
            lhs = Node { start, body: Body::Binary(Box::new(binary)) };
        }
        Ok(lhs)
    }

    fn signed(&mut self) -> Result<Node, Failure> {
        let negative = match self.token.kind {
            Kind::Operator(BinaryOp::Add) => false,
            Kind::Operator(BinaryOp::Sub) => true,
            _ => return self.postfix(),
        };
        self.count_operator()?;
        let start = self.take()?.start;
        let expr = self.expression(SIGN)?;
        Ok(match expr.body {
            Body::Number(value) => {
                Node { start, body: Body::Number(if negative { -value } else { value }) }
            }
            _ => Node { start, body: Body::Unary { negative, expr: Box::new(expr) } },
        })
    }

    fn binary_modifiers(&mut self) -> Result<(bool, Matching), Failure> {
        let mut matching =
            Matching { on: false, labels: Vec::new(), many: Many::Neither, include: Vec::new() };
        let returns_bool = self.eat(Kind::Word(Word::Bool))?;
        matching.on = match self.token.kind {
            Kind::Word(Word::On) => true,
            Kind::Word(Word::Ignoring) => false,
            _ => return Ok((returns_bool, matching)),
        };
        self.take()?;
        matching.labels = names(self.label_list()?);
        matching.many = match self.token.kind {
            Kind::Word(Word::GroupLeft) => Many::Left,
            Kind::Word(Word::GroupRight) => Many::Right,
            _ => return Ok((returns_bool, matching)),
        };
        self.take()?;
        if self.token.kind == Kind::LeftParen {
            matching.include = names(self.label_list()?);
        }
        Ok((returns_bool, matching))
    }

    /// `(a, "b", c)`, also empty and with a comma at its end.
    fn label_list(&mut self) -> Result<Vec<String>, Failure> {
        if !self.eat(Kind::LeftParen)? {
            return Err(self.unexpected("grouping opts", "\"(\""));
        }
        let mut labels = Vec::new();
        while !self.eat(Kind::RightParen)? {
            let Token { kind, start, text } = self.token;
            let label = match kind {
                Kind::Text => unquoted(start, text)?,
                Kind::Name | Kind::MetricName | Kind::Aggregator(_) => text.to_owned(),
                Kind::Word(word) if word != Word::Without => text.to_owned(),
                Kind::Operator(
                    BinaryOp::And | BinaryOp::Or | BinaryOp::Unless | BinaryOp::Atan2,
                ) => text.to_owned(),
                _ => return Err(self.unexpected("grouping opts", "label")),
            };
            if label.is_empty() {
                return Err(Failure::new(start, "invalid label name for grouping: \"\""));
            }
            self.take()?;
            labels.push(label);
            if !self.eat(Kind::Comma)? && self.token.kind != Kind::RightParen {
                return Err(self.unexpected("grouping opts", "\",\" or \")\""));
            }
        }
        Ok(labels)
    }

    /// An expression without operators, and the modifiers behind it.
    fn postfix(&mut self) -> Result<Node, Failure> {
        let mut expr = self.primary()?;
        loop {
            match self.token.kind {
                Kind::LeftBracket => expr = self.window(expr)?,
                Kind::Word(Word::Offset) => self.offset(&mut expr)?,
                Kind::At => self.at(&mut expr)?,
                _ => return Ok(expr),
            }
        }
    }

    fn primary(&mut self) -> Result<Node, Failure> {
        let Token { kind, start, text } = self.token;
        let body = match kind {
            Kind::Number => {
                let value = number(start, text)?;
                self.take()?;
                Body::Number(value)
            }
            Kind::Duration => {
                let value = duration(start, text)?;
                self.take()?;
                Body::Number(value)
            }
            Kind::Text => {
                let value = unquoted(start, text)?;
                self.take()?;
                Body::Text(value)
            }
            Kind::LeftParen => {
                self.enter()?;
                self.take()?;
                let inner = self.expression(0)?;
                self.close()?;
                Body::Paren(Box::new(inner))
            }
            Kind::LeftBrace => {
                let matchers = self.matchers()?;
                Body::Selector(Selector { name: None, matchers, when: Modifiers::default() })
            }
            Kind::Aggregator(op) => {
                self.take()?;
                match self.token.kind {
                    Kind::LeftParen | Kind::Word(Word::By | Word::Without) => {
                        let mut grouping = self.grouping()?;
                        if self.token.kind != Kind::LeftParen {
                            return Err(self.unexpected("aggregation", ""));
                        }
                        self.aggregations += 1;
                        let (args, end) = self.arguments()?;
                        self.aggregations -= 1;
                        if grouping.is_none() {
                            grouping = self.grouping()?;
                        }
                        Body::Aggregate { op, grouping, args, end }
                    }
                    Kind::Name | Kind::MetricName | Kind::Number | Kind::Text => {
                        return Err(self.unexpected("aggregation", ""));
                    }
                    _ => self.named(text)?,
                }
            }
            Kind::Name => {
                self.take()?;
                if self.token.kind == Kind::LeftParen {
                    let (args, end) = self.arguments()?;
                    Body::Call { name: text.to_owned(), args, end }
                } else {
                    self.named(text)?
                }
            }
            Kind::MetricName
            | Kind::Word(Word::By | Word::Offset | Word::Without | Word::Start | Word::End)
            | Kind::Operator(BinaryOp::And | BinaryOp::Or | BinaryOp::Unless) => {
                self.take()?;
                self.named(text)?
            }
            _ => return Err(self.unexpected("", "")),
        };
        Ok(Node { start, body })
    }

    fn named(&mut self, name: &str) -> Result<Body, Failure> {
        let braces = self.token.kind == Kind::LeftBrace;
        let matchers = if braces { self.matchers()? } else { Vec::new() };
        let when = Modifiers::default();
        Ok(Body::Selector(Selector { name: Some(name.to_owned()), matchers, when }))
    }

    fn close(&mut self) -> Result<(), Failure> {
        if !self.eat(Kind::RightParen)? {
            return Err(self.unexpected("", ""));
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }

    fn grouping(&mut self) -> Result<Option<(bool, Vec<String>)>, Failure> {
        let without = match self.token.kind {
            Kind::Word(Word::By) => false,
            Kind::Word(Word::Without) => true,
            _ => return Ok(None),
        };
        self.take()?;
        Ok(Some((without, self.label_list()?)))
    }

    /// Arguments and where their parenthesis closes.
    fn arguments(&mut self) -> Result<(Vec<Node>, usize), Failure> {
        self.enter()?;
        self.take()?;
        let mut args = Vec::new();
        if self.token.kind != Kind::RightParen {
            loop {
                args.push(self.expression(0)?);
                let comma = self.token.start;
                if !self.eat(Kind::Comma)? {
                    break;
                }
                if self.token.kind == Kind::RightParen {
                    return Err(Failure::new(
                        comma,
                        "trailing commas not allowed in function call args",
                    ));
                }
            }
        }
        let end = self.token.start;
        self.close()?;
        Ok((args, end))
    }

    /// `{a="b", "metric name", "c d"=~"e"}`
    fn matchers(&mut self) -> Result<Vec<LabelMatcher>, Failure> {
        self.take()?;
        let mut matchers = Vec::new();
        while !self.eat(Kind::RightBrace)? {
            matchers.push(self.matcher()?);
            if !self.eat(Kind::Comma)? && self.token.kind != Kind::RightBrace {
                return Err(self.unexpected("label matching", "\",\" or \"}\""));
            }
        }
        Ok(matchers)
    }

    fn matcher(&mut self) -> Result<LabelMatcher, Failure> {
        let Token { kind, start, text } = self.token;
        let name = match kind {
            Kind::Name => text.to_owned(),
            Kind::Text => unquoted(start, text)?,
            _ => return Err(self.unexpected("label matching", "identifier or \"}\"")),
        };
        self.take()?;
        let op = match self.token.kind {
            Kind::Equal => LabelOp::Equal,
            Kind::Operator(BinaryOp::NotEqual) => LabelOp::NotEqual,
            Kind::Matches => LabelOp::Matches,
            Kind::NotMatches => LabelOp::NotMatches,
            _ if kind == Kind::Text => {
                let metric = crate::promql::labels::METRIC_NAME.to_owned();
                return Ok(LabelMatcher { start, name: metric, op: LabelOp::Equal, value: name });
            }
            _ => return Err(self.unexpected("label matching", "label matching operator")),
        };
        self.take()?;
        if self.token.kind != Kind::Text {
            return Err(self.unexpected("label matching", "string"));
        }
        let value = unquoted(self.token.start, self.token.text)?;
        self.take()?;
        Ok(LabelMatcher { start, name, op, value })
    }
}

fn names(labels: Vec<String>) -> Vec<std::sync::Arc<str>> {
    labels.into_iter().map(Into::into).collect()
}

fn number(start: usize, text: &str) -> Result<f64, Failure> {
    text::number(text).ok_or_else(|| {
        Failure::new(
            start,
            format!("error parsing number: {text:?}: invalid syntax or out of range"),
        )
    })
}

fn duration(start: usize, text: &str) -> Result<f64, Failure> {
    text::duration(text)
        .map_err(|_| Failure::new(start, format!("not a valid duration string: {text:?}")))
}

fn unquoted(start: usize, text: &str) -> Result<String, Failure> {
    text::unquote(text).ok_or_else(|| {
        Failure::new(start, format!("error unquoting string {text:?}: invalid syntax"))
    })
}
