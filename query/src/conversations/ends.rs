//! Which rows count, and how those of the server's end are turned round.

use std::sync::Arc;

use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::prelude::{ident, lit};
use weir_wire::chosen::chosen;
use weir_wire::schema::flow_column;

use super::question::{Question, View, all_labels};
use crate::error::Error;
use crate::flows::filter::{Rows, is_label, rows};
use crate::promql::source::{MatchOp, Matcher, Selector};

/// Labels that both ends have; those of the peer have `peer_` before them.
const ENDS: [&str; 10] = [
    "node",
    "zone",
    "region",
    "namespace",
    "workload",
    "workload_kind",
    "pod",
    "container",
    "address",
    "port",
];
/// Labels that are the same seen from either end.
const SHARED: [&str; 4] = ["cluster", "protocol", "crossing", "peer_scope"];
/// Before the name of a label in a filter that either end may match.
pub(super) const EITHER: &str = "either_";

fn of_ends() -> impl Iterator<Item = &'static str> {
    ENDS.into_iter().chain(chosen().iter().map(|chosen| chosen.column))
}

/// A label as the other end has it; nothing for what only one end knows.
pub(super) fn turned(name: &str) -> Option<&'static str> {
    if let Some(shared) = SHARED.into_iter().find(|shared| *shared == name) {
        return Some(shared);
    }
    let (own, is_peer) = match name.strip_prefix("peer_") {
        Some(own) => (own, true),
        None => (name, false),
    };
    let own = of_ends().find(|end| *end == own)?;
    if is_peer { Some(own) } else { flow_column(&format!("peer_{own}")).map(|column| column.name) }
}

/// A filter may name it.
pub(super) fn is_label_name(name: &str) -> bool {
    match name.strip_prefix(EITHER) {
        Some(own) => of_ends().any(|end| end == own),
        None => flow_column(name).is_some_and(is_label),
    }
}

/// Refuses a name.
pub(super) fn not_a_label(parameter: &str, name: &str) -> Error {
    Error::bad(format!(
        "invalid parameter \"{parameter}\": flows have no label `{name}`; they have {}",
        all_labels().join(", ")
    ))
}

fn one(name: &str, op: &MatchOp) -> Expr {
    let matchers = vec![Matcher { name: Arc::from(name), op: op.clone() }];
    match rows(&Selector { metric: None, name_matchers: Vec::new(), matchers }, None) {
        Rows::None => lit(false),
        Rows::Where(filters) => conjunction(filters).unwrap_or_else(|| lit(true)),
    }
}

/// A matcher's names at the two ends, if it is for either, and if one end is enough.
pub(super) fn either(matcher: &Matcher) -> Option<(String, String, bool)> {
    let own = matcher.name.strip_prefix(EITHER)?;
    let is_positive = matches!(matcher.op, MatchOp::Equal(_) | MatchOp::Matches(_));
    Some((own.to_owned(), format!("peer_{own}"), is_positive))
}

fn matcher(matcher: &Matcher, turn: bool) -> Option<Expr> {
    if let Some((own, peer, is_positive)) = either(matcher) {
        let (own, peer) = (one(&own, &matcher.op), one(&peer, &matcher.op));
        return Some(if is_positive { own.or(peer) } else { own.and(peer) });
    }
    let name = if turn { turned(&matcher.name)? } else { &*matcher.name };
    Some(one(name, &matcher.op))
}

/// The rows that the selectors want, told from the other end with `turn`; nothing if that end does not know a label.
fn selected(selectors: &[Selector], turn: bool) -> Option<Option<Expr>> {
    let mut alternatives = Vec::new();
    for selector in selectors {
        let all: Option<Vec<Expr>> = selector.matchers.iter().map(|m| matcher(m, turn)).collect();
        alternatives.push(conjunction(all?).unwrap_or_else(|| lit(true)));
    }
    Some(disjunction(alternatives))
}

fn outside() -> Expr {
    ident("peer_scope").in_list(vec![lit("external"), lit("cloud")], false)
}

/// The row is the word of the end that was called.
fn of_server() -> Expr {
    let unknown = ident("role").eq(lit("unknown")).and(ident("port").gt(lit(0i32)));
    let no_peer_port = ident("peer_port").is_null().or(ident("peer_port").eq(lit(0i32)));
    ident("role").eq(lit("server")).or(unknown.and(no_peer_port))
}

/// Filters of the rows that count.
pub(super) fn counted(question: &Question) -> Vec<Expr> {
    let mut filters = Vec::new();
    match question.view {
        View::All => filters.push(outside().is_true().or(of_server().is_not_true())),
        View::Cluster => {
            filters.push(outside().is_not_true());
            filters.push(of_server().is_not_true());
        }
        View::Cloud => filters.push(ident("peer_scope").eq(lit("cloud"))),
        View::External => filters.push(ident("peer_scope").eq(lit("external"))),
    }
    filters.extend(selected(&question.selectors, false).flatten());
    filters
}

/// Filters of the server's rows for the same conversations, and what they are grouped by; nothing if that end does not
/// know them by these labels.
pub(super) fn of_the_other_end(question: &Question) -> Option<(Vec<Expr>, Vec<&'static str>)> {
    // Peers outside are measured at one end.
    if matches!(question.view, View::Cloud | View::External) {
        return None;
    }
    let by = question.by.iter().map(|name| turned(name)).collect::<Option<Vec<_>>>()?;
    let mut filters = vec![outside().is_not_true(), of_server().is_true()];
    filters.extend(selected(&question.selectors, true)?);
    Some((filters, by))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_the_labels_of_the_other() {
        for (name, other) in [
            ("workload", Some("peer_workload")),
            ("peer_pod", Some("pod")),
            ("peer_port", Some("port")),
            ("protocol", Some("protocol")),
            ("peer_service", None),
            ("role", None),
            ("peer_domain", None),
        ] {
            assert_eq!(turned(name), other, "{name}");
        }
        assert!(is_label_name("either_workload") && !is_label_name("either_role"));
    }
}
