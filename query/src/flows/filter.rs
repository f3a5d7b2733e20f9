//! Label matchers as filters on columns.
//!
//! In Prometheus a label that is missing equals the empty string; in a row it is null or empty. Every
//! filter here has to treat null and `''` alike, and as `""`.

use arrow::datatypes::DataType;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, cast};
use datafusion::prelude::{ident, lit};
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Hir, HirKind};
use weir_wire::schema::{Column, Kind, flow_column};

use crate::promql::source::{MatchOp, Matcher, Selector};

/// Alternatives up to which a regex becomes a list of values.
const MAX_LISTED: usize = 256;

/// Whether a column is a label in PromQL.
pub(crate) fn is_label(column: &Column) -> bool {
    matches!(column.kind, Kind::Label | Kind::NumericLabel)
}

/// What the matchers of a selector ask of the columns.
#[derive(Debug)]
pub(crate) enum Rows {
    /// No row can match.
    None,
    /// Rows that pass all of these.
    Where(Vec<Expr>),
}

/// Filters for the matchers on columns; `own` is the metric's own label, which is no column.
pub(crate) fn rows(selector: &Selector, own: Option<&str>) -> Rows {
    let mut filters = Vec::new();
    for Matcher { name, op } in &selector.matchers {
        if own == Some(&**name) {
            continue;
        }
        match flow_column(name).filter(|c| is_label(c)) {
            Some(column) if column.kind == Kind::Label => filters.push(text(column.name, op)),
            Some(column) => match number(column, op) {
                Some(filter) => filters.push(filter),
                None => return Rows::None,
            },
            None if op.accepts("") => {}
            None => return Rows::None,
        }
    }
    Rows::Where(filters)
}

/// `column` is null or empty.
fn absent(column: &str) -> Expr {
    ident(column).is_null().or(ident(column).eq(lit("")))
}

fn text(column: &str, op: &MatchOp) -> Expr {
    let or_null = |filter: Expr| ident(column).is_null().or(filter);
    match op {
        MatchOp::Equal(value) if value.is_empty() => absent(column),
        MatchOp::Equal(value) => ident(column).eq(lit(&**value)),
        MatchOp::NotEqual(value) if value.is_empty() => ident(column).not_eq(lit("")),
        MatchOp::NotEqual(value) => or_null(ident(column).not_eq(lit(&**value))),
        MatchOp::Matches(regex) => {
            let filter = matches(ident(column), regex.as_str(), false);
            if regex.is_match("") { or_null(filter) } else { filter }
        }
        MatchOp::NotMatches(regex) => {
            let filter = matches(ident(column), regex.as_str(), true);
            if regex.is_match("") { filter } else { or_null(filter) }
        }
    }
}

/// A filter on a number that PromQL shows as text; nothing when no number can match.
fn number(column: &Column, op: &MatchOp) -> Option<Expr> {
    let this = || ident(column.name);
    // Only the canonical form of a number is a value of the label: `080` matches nothing.
    let parsed = |value: &str| value.parse::<i64>().ok().filter(|n| n.to_string() == value);
    Some(match op {
        MatchOp::Equal(value) if value.is_empty() => this().is_null(),
        MatchOp::Equal(value) => this().eq(lit(parsed(value)?)),
        MatchOp::NotEqual(value) if value.is_empty() => this().is_not_null(),
        MatchOp::NotEqual(value) => match parsed(value) {
            Some(n) => this().is_null().or(this().not_eq(lit(n))),
            None => lit(true),
        },
        MatchOp::Matches(regex) => {
            let filter = matches(cast(this(), DataType::Utf8), regex.as_str(), false);
            if regex.is_match("") { this().is_null().or(filter) } else { filter }
        }
        MatchOp::NotMatches(regex) => {
            let filter = matches(cast(this(), DataType::Utf8), regex.as_str(), true);
            if regex.is_match("") { filter } else { this().is_null().or(filter) }
        }
    })
}

/// `value` matches the anchored pattern, or with `negated` does not; null where `value` is null.
fn matches(value: Expr, pattern: &str, negated: bool) -> Expr {
    match simplify(pattern) {
        Some(Simple::Listed(values)) => {
            value.in_list(values.into_iter().map(lit).collect(), negated)
        }
        Some(Simple::Prefix(prefix)) => {
            let like = lit(format!("{}%", escape_like(&prefix)));
            if negated { value.not_like(like) } else { value.like(like) }
        }
        None => {
            let operator = if negated { Operator::RegexNotMatch } else { Operator::RegexMatch };
            Expr::BinaryExpr(BinaryExpr::new(
                Box::new(value),
                operator,
                Box::new(lit(pattern.to_owned())),
            ))
        }
    }
}

fn escape_like(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// An anchored pattern that needs no regex engine.
#[derive(Debug, PartialEq, Eq)]
enum Simple {
    /// It matches exactly these values.
    Listed(Vec<String>),
    /// It matches whatever begins with this.
    Prefix(String),
}

fn simplify(pattern: &str) -> Option<Simple> {
    let body = pattern.strip_prefix("^(?s:")?.strip_suffix(")$")?;
    let hir =
        regex_syntax::ParserBuilder::new().dot_matches_new_line(true).build().parse(body).ok()?;
    // A look-around inside the body counts as empty for what follows: leave it to the engine.
    if !hir.properties().look_set().is_empty() {
        return None;
    }
    if let Some(prefix) = prefix_of(&hir) {
        return Some(Simple::Prefix(prefix));
    }
    let literals = Extractor::new()
        .kind(ExtractKind::Prefix)
        .limit_total(MAX_LISTED)
        .limit_class(16)
        .limit_repeat(16)
        .extract(&hir);
    if !literals.is_exact() {
        return None;
    }
    let values = literals
        .literals()?
        .iter()
        .map(|l| String::from_utf8(l.as_bytes().to_vec()).ok())
        .collect::<Option<Vec<_>>>()?;
    if values.is_empty() { None } else { Some(Simple::Listed(values)) }
}

/// The literal of a pattern of the form `literal.*`.
fn prefix_of(hir: &Hir) -> Option<String> {
    let HirKind::Concat(parts) = hir.kind() else { return None };
    let [first, rest] = parts.as_slice() else { return None };
    let HirKind::Literal(literal) = first.kind() else { return None };
    let HirKind::Repetition(repetition) = rest.kind() else { return None };
    let anything = repetition.sub.kind() == Hir::dot(regex_syntax::hir::Dot::AnyChar).kind();
    (repetition.min == 0 && repetition.max.is_none() && anything)
        .then(|| String::from_utf8(literal.0.to_vec()).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simple(body: &str) -> Option<Simple> {
        simplify(&format!("^(?s:{body})$"))
    }

    fn listed(values: &[&str]) -> Option<Simple> {
        Some(Simple::Listed(values.iter().map(|v| (*v).to_owned()).collect()))
    }

    #[test]
    fn sets_and_prefixes_need_no_regex() {
        assert_eq!(simple("api|web"), listed(&["api", "web"]));
        assert_eq!(simple("(api|web)-1"), listed(&["api-1", "web-1"]));
        assert_eq!(simple(r"a\.b"), listed(&["a.b"]));
        assert_eq!(simple("api|"), listed(&["api", ""]));
        assert_eq!(simple("a[bc]?"), listed(&["ab", "ac", "a"]));
        assert_eq!(simple("api.*"), Some(Simple::Prefix("api".into())));
        for body in ["api.+", ".*api", "a*", r"\bapi", "(?i)api.*", ".*", "[a-z]"] {
            assert_eq!(simple(body), None, "{body}");
        }
    }

    #[test]
    fn like_wildcards_are_escaped() {
        assert_eq!(escape_like(r"a_b%c\"), r"a\_b\%c\\");
    }
}
