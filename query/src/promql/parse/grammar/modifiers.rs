//! What stands behind an expression: windows, `offset`, `@`.

use super::{Parser, duration, number};
use crate::promql::expr::{At, BinaryOp};
use crate::promql::number::integer;
use crate::promql::parse::Failure;
use crate::promql::parse::lex::{Kind, Token, Word};
use crate::promql::parse::syntax::{Body, Modifiers, Node};

impl Parser<'_> {
    /// `[5m]`, `[1h:5m]`, `[1h:]`
    pub(super) fn window(&mut self, expr: Node) -> Result<Node, Failure> {
        let bracket = self.take()?.start;
        let range = self.bracketed("subquery selector", "number or duration")?;
        if self.eat(Kind::RightBracket)? {
            let problem = match expr.body {
                Body::Selector(selector) => {
                    if selector.when.offset != 0 {
                        "no offset modifiers allowed before range"
                    } else if matches!(selector.when.at, Some(At::Time(_))) {
                        "no @ modifiers allowed before range"
                    } else {
                        return Ok(Node { start: expr.start, body: Body::Range(selector, range) });
                    }
                }
                _ => "ranges only allowed for vector selectors",
            };
            return Err(Failure::new(bracket, problem));
        }
        if !self.eat(Kind::Colon)? {
            return Err(self.unexpected("subquery or range", "\":\" or \"]\""));
        }
        // A subquery is a level above its operand, like an operator.
        self.count_operator()?;
        let mut step = None;
        if self.token.kind != Kind::RightBracket {
            let expected = "number or duration or \"]\"";
            step = Some(self.bracketed("subquery selector", expected)?);
        }
        if !self.eat(Kind::RightBracket)? {
            return Err(self.unexpected("subquery selector", "\"]\""));
        }
        let (start, when) = (expr.start, Modifiers::default());
        Ok(Node { start, body: Body::Subquery { expr: Box::new(expr), range, step, when } })
    }

    /// A positive duration within brackets, in milliseconds.
    fn bracketed(&mut self, place: &str, expected: &str) -> Result<i64, Failure> {
        let start = self.token.start;
        let seconds = self.duration(place, expected)?;
        if matches!(self.token.kind, Kind::Operator(_)) {
            return Err(no_arithmetic(start));
        }
        if seconds <= 0.0 {
            return Err(Failure::new(start, "duration must be greater than 0"));
        }
        Ok(milliseconds(seconds))
    }

    /// A duration with signs, in seconds.
    fn duration(&mut self, place: &str, expected: &str) -> Result<f64, Failure> {
        let start = self.token.start;
        let mut sign = 1.0;
        while let Kind::Operator(op @ (BinaryOp::Add | BinaryOp::Sub)) = self.token.kind {
            self.count_operator()?;
            self.take()?;
            if op == BinaryOp::Sub {
                sign = -sign;
            }
        }
        let Token { kind, start: at, text } = self.token;
        let seconds = match kind {
            Kind::Number => number(at, text)?,
            Kind::Duration => duration(at, text)?,
            Kind::LeftParen => return Err(no_arithmetic(at)),
            _ => return Err(self.unexpected(place, expected)),
        };
        self.take()?;
        // The range of Prometheus' own durations: nanoseconds in 63 bits.
        if seconds.is_nan() || seconds.abs() > 9_223_372_036.854_776 {
            return Err(Failure::new(start, "duration out of range"));
        }
        Ok(sign * seconds)
    }

    pub(super) fn offset(&mut self, expr: &mut Node) -> Result<(), Failure> {
        self.take()?;
        let offset = milliseconds(self.duration("offset", "number or duration")?);
        let start = expr.start;
        let Some(when) = modifiers(expr) else {
            return Err(Failure::new(
                start,
                "offset modifier must be preceded by an instant vector selector or range vector \
                 selector or a subquery",
            ));
        };
        if when.offset != 0 {
            return Err(Failure::new(start, "offset may not be set multiple times"));
        }
        when.offset = offset;
        Ok(())
    }

    pub(super) fn at(&mut self, expr: &mut Node) -> Result<(), Failure> {
        self.take()?;
        let at = match self.token.kind {
            Kind::Word(word @ (Word::Start | Word::End)) => {
                self.take()?;
                if !self.eat(Kind::LeftParen)? || !self.eat(Kind::RightParen)? {
                    return Err(self.unexpected("@", "timestamp"));
                }
                if word == Word::Start { At::Start } else { At::End }
            }
            _ => At::Time(self.timestamp(expr.start)?),
        };
        let start = expr.start;
        let Some(when) = modifiers(expr) else {
            return Err(Failure::new(
                start,
                "@ modifier must be preceded by an instant vector selector or range vector selector \
                 or a subquery",
            ));
        };
        if when.at.is_some() {
            return Err(Failure::new(start, "@ <timestamp> may not be set multiple times"));
        }
        when.at = Some(at);
        Ok(())
    }

    /// Seconds since the epoch as milliseconds.
    fn timestamp(&mut self, place: usize) -> Result<i64, Failure> {
        let mut sign = 1.0;
        if let Kind::Operator(op @ (BinaryOp::Add | BinaryOp::Sub)) = self.token.kind {
            self.take()?;
            if op == BinaryOp::Sub {
                sign = -1.0;
            }
        }
        let Token { kind, start, text } = self.token;
        let seconds = sign
            * match kind {
                Kind::Number => number(start, text)?,
                Kind::Duration => duration(start, text)?,
                _ => return Err(self.unexpected("@", "timestamp")),
            };
        self.take()?;
        // Further away than any duration can reach; sums of what an expression names stay in 63 bits.
        if !(-9e15..9e15).contains(&(seconds * 1000.0)) {
            return Err(Failure::new(
                place,
                format!("timestamp out of bounds for @ modifier: {seconds:.6}"),
            ));
        }
        Ok(integer((seconds * 1000.0).round()))
    }
}

/// Where an expression keeps its `offset` and `@`, if it can have them.
fn modifiers(expr: &mut Node) -> Option<&mut Modifiers> {
    match &mut expr.body {
        Body::Selector(selector) | Body::Range(selector, _) => Some(&mut selector.when),
        Body::Subquery { when, .. } => Some(when),
        _ => None,
    }
}

fn no_arithmetic(start: usize) -> Failure {
    Failure::new(start, "experimental duration expression is not enabled")
}

/// Whole milliseconds; a finer rest is cut off.
fn milliseconds(seconds: f64) -> i64 {
    // By way of nanoseconds, as there: 0.29 s are 290 ms although 0.29 * 1000 is less.
    integer((seconds * 1e9).round()) / 1_000_000
}
