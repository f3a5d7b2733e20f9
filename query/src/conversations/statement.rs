//! A question in PromQL and SQL, for whoever takes it elsewhere.

use jiff::Timestamp;
use weir_wire::schema::flow_column;

use super::ends::either;
use super::question::{Column, Question, View};
use super::table::Order;
use crate::promql::source::{MatchOp, Matcher};

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn body(pattern: &str) -> &str {
    let inner = pattern.strip_prefix("^(?s:").and_then(|rest| rest.strip_suffix(")$"));
    inner.unwrap_or(pattern)
}

fn promql_matcher(name: &str, op: &MatchOp) -> String {
    let (sign, value) = match op {
        MatchOp::Equal(value) => ("=", value.as_ref()),
        MatchOp::NotEqual(value) => ("!=", value.as_ref()),
        MatchOp::Matches(regex) => ("=~", body(regex.as_str())),
        MatchOp::NotMatches(regex) => ("!~", body(regex.as_str())),
    };
    format!("{name}{sign}{}", quoted(value))
}

/// Sets of matchers that one expression may have: each matcher of either end doubles them.
const MAX_SETS: usize = 64;

/// Sets of matchers, of which a row fulfils one: each way to fulfil what either end may. Nothing if there are too many.
fn alternatives(question: &Question) -> Option<Vec<Vec<String>>> {
    let selectors: Vec<&[Matcher]> = match question.selectors.as_slice() {
        [] => vec![&[]],
        all => all.iter().map(|selector| selector.matchers.as_slice()).collect(),
    };
    let mut sets: Vec<Vec<String>> = Vec::new();
    for matchers in selectors {
        let mut own: Vec<Vec<String>> = vec![Vec::new()];
        for matcher in matchers {
            let ways: Vec<Vec<String>> = match either(matcher) {
                None => vec![vec![promql_matcher(&matcher.name, &matcher.op)]],
                Some((a, b, true)) => {
                    vec![
                        vec![promql_matcher(&a, &matcher.op)],
                        vec![promql_matcher(&b, &matcher.op)],
                    ]
                }
                Some((a, b, false)) => {
                    vec![vec![promql_matcher(&a, &matcher.op), promql_matcher(&b, &matcher.op)]]
                }
            };
            let with = |set: &Vec<String>, way: &Vec<String>| [set.clone(), way.clone()].concat();
            if own.len() * ways.len() > MAX_SETS {
                return None;
            }
            own = own.iter().flat_map(|set| ways.iter().map(move |way| with(set, way))).collect();
        }
        sets.extend(own);
        if sets.len() > MAX_SETS {
            return None;
        }
    }
    let words: &[&[&str]] = match question.view {
        View::Cluster => &[
            &[r#"peer_scope!~"external|cloud""#, r#"role!~"server|unknown""#],
            &[r#"peer_scope!~"external|cloud""#, r#"role="unknown""#, r#"port=~"0|""#],
            &[
                r#"peer_scope!~"external|cloud""#,
                r#"role="unknown""#,
                r#"port!~"0|""#,
                r#"peer_port!~"0|""#,
            ],
        ],
        View::Cloud => &[&[r#"peer_scope="cloud""#]],
        View::External => &[&[r#"peer_scope="external""#]],
        View::All => &[
            &[r#"role!~"server|unknown""#],
            &[r#"role="unknown""#, r#"port=~"0|""#],
            &[r#"role="unknown""#, r#"port!~"0|""#, r#"peer_port!~"0|""#],
            &[r#"role=~"server|unknown""#, r#"peer_scope=~"external|cloud""#],
        ],
    };
    let with = |set: &Vec<String>, words: &[&str]| -> Vec<String> {
        set.iter().cloned().chain(words.iter().map(|word| (*word).to_owned())).collect()
    };
    Some(sets.iter().flat_map(|set| words.iter().map(move |words| with(set, words))).collect())
}

/// The first rows, by the measure that orders them, evaluated at the end of the period; nothing for an order that is not by a
/// metric, or for an expression that would be too long.
pub(super) fn promql(question: &Question, order: Order, limit: usize) -> Option<String> {
    let measure = order.measure()?;
    let length = question.period.until.saturating_sub(question.period.after) / 1_000;
    let sets = alternatives(question)?;
    let of = |metric: &str, by_le: bool| {
        let (name, own) = match metric.split_once('{') {
            Some((name, own)) => (name, own.trim_end_matches('}')),
            None => (metric, ""),
        };
        let selector = |set: &Vec<String>| {
            let matchers: Vec<&str> = std::iter::once(own)
                .filter(|own| !own.is_empty())
                .chain(set.iter().map(String::as_str))
                .collect();
            format!("increase({name}{{{}}}[{length}ms])", matchers.join(","))
        };
        let mut by = question.by.clone();
        if by_le {
            by.push("le");
        }
        let union: Vec<String> = sets.iter().map(selector).collect();
        format!("sum by ({}) ({})", by.join(", "), union.join(" or "))
    };
    let expression = measure.promql(&of)?;
    let function = if order.descending { "topk" } else { "bottomk" };
    Some(format!("{function}({limit}, {expression})"))
}

fn sql_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn sql_matcher(name: &str, op: &MatchOp) -> String {
    let column = format!("coalesce(CAST({name} AS VARCHAR), '')");
    match op {
        MatchOp::Equal(value) => format!("{column} = {}", sql_text(value)),
        MatchOp::NotEqual(value) => format!("{column} <> {}", sql_text(value)),
        MatchOp::Matches(regex) => format!("{column} ~ {}", sql_text(regex.as_str())),
        MatchOp::NotMatches(regex) => format!("{column} !~ {}", sql_text(regex.as_str())),
    }
}

fn sql_condition(matcher: &Matcher) -> String {
    match either(matcher) {
        None => sql_matcher(&matcher.name, &matcher.op),
        Some((own, peer, is_positive)) => {
            let word = if is_positive { "OR" } else { "AND" };
            let (own, peer) = (sql_matcher(&own, &matcher.op), sql_matcher(&peer, &matcher.op));
            format!("({own} {word} {peer})")
        }
    }
}

/// The rows that are shown, from the table `flows`. Measures that SQL has no function for are left out.
pub(super) fn sql(
    question: &Question,
    order: Order,
    limit: usize,
    offset: usize,
) -> Option<String> {
    let time = |micros: i64| {
        let time = Timestamp::from_microsecond(micros).ok()?;
        Some(format!("TIMESTAMP '{time}'"))
    };
    const OUTSIDE: &str = "coalesce(peer_scope, '') IN ('external', 'cloud')";
    const OF_SERVER: &str = "(role = 'server' OR (role = 'unknown' AND coalesce(port, 0) > 0 AND coalesce(peer_port, 0) = 0))";
    let mut conditions = vec![
        format!("\"end\" > {}", time(question.period.after)?),
        format!("\"end\" <= {}", time(question.period.until)?),
    ];
    conditions.push(match question.view {
        View::All => format!("({OUTSIDE} OR NOT {OF_SERVER})"),
        View::Cluster => format!("NOT {OUTSIDE} AND NOT {OF_SERVER}"),
        View::Cloud => "peer_scope = 'cloud'".into(),
        View::External => "peer_scope = 'external'".into(),
    });
    if !question.selectors.is_empty() {
        let one = |matchers: &[Matcher]| {
            let all: Vec<String> = matchers.iter().map(sql_condition).collect();
            format!("({})", all.join(" AND "))
        };
        let any: Vec<String> =
            question.selectors.iter().map(|selector| one(&selector.matchers)).collect();
        conditions.push(format!("({})", any.join(" OR ")));
    }
    let mut columns: Vec<String> = question
        .by
        .iter()
        .map(|name| match flow_column(name).map(|column| column.kind) {
            Some(weir_wire::schema::Kind::NumericLabel) => (*name).to_owned(),
            _ => format!("nullif(CAST({name} AS VARCHAR), '') AS {name}"),
        })
        .collect();
    let measures =
        question.measures.iter().filter_map(|measure| Some((measure.name, measure.sql()?)));
    let measures: Vec<(&str, String)> = measures.collect();
    columns.extend(measures.iter().map(|(name, sql)| format!("{sql} AS {name}")));
    if columns.is_empty() {
        return None;
    }
    let by: Vec<String> = (1..=question.by.len()).map(|at| at.to_string()).collect();
    let group = if by.is_empty() { String::new() } else { format!(" GROUP BY {}", by.join(", ")) };
    let name = match order.by {
        Column::Label(name) => Some(name),
        Column::Measure(measure) => {
            measures.iter().any(|(name, _)| *name == measure.name).then_some(measure.name)
        }
    };
    let direction = if order.descending { "DESC" } else { "ASC" };
    let order =
        name.map_or(String::new(), |name| format!(" ORDER BY {name} {direction} NULLS LAST"));
    let skip = if offset > 0 { format!(" OFFSET {offset}") } else { String::new() };
    Some(format!(
        "SELECT {} FROM flows WHERE {}{group}{order} LIMIT {limit}{skip}",
        columns.join(", "),
        conditions.join(" AND "),
    ))
}
