//! The pages that describe the API and the metrics, against the code.

use std::collections::BTreeSet;

use axum::routing::MethodFilter;
use weir_wire::schema::{FLOW_COLUMNS, Kind};

use super::routes;
use crate::flows::metrics::{FAMILIES, METRICS, Virtual};

const API: &str = include_str!("../../../../docs/api.md");
const METRICS_PAGE: &str = include_str!("../../../../docs/metrics.md");

/// Methods and paths of the headings `### GET, POST /path`.
fn headings() -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for heading in API.lines().filter_map(|line| line.strip_prefix("### ")) {
        let Some((methods, path)) = heading.split_once(" `/") else { continue };
        let path = format!("/{}", path.trim_end_matches('`'));
        for method in methods.split(", ") {
            assert!(found.insert((method.to_owned(), path.clone())), "{method} {path} comes twice");
        }
    }
    found
}

/// Paths that other parts of the server answer; the server's own tests ask them.
const ELSEWHERE: [&str; 10] = [
    "/v1/flows",
    "/api/v1/write",
    "/api/v1/otlp/v1/metrics",
    "/api/v1/admin/delete",
    "/api/v1/admin/clean",
    "/api/v1/admin/tsdb/delete_series",
    "/api/v1/admin/tsdb/clean_tombstones",
    "/metrics",
    "/-/healthy",
    "/-/ready",
];

fn filter(method: &str) -> MethodFilter {
    if method == "GET" { MethodFilter::GET } else { MethodFilter::POST }
}

#[test]
fn the_page_of_the_api_has_each_path_and_no_other() {
    let mut described = headings();
    described.retain(|(_, path)| !ELSEWHERE.contains(&path.as_str()));
    let there: BTreeSet<_> = routes()
        .into_iter()
        .flat_map(|r| {
            let methods = r.methods;
            let has = move |m: &&str| methods.or(filter(m)) == methods;
            ["GET", "POST"].into_iter().filter(has).map(|m| (m.to_owned(), r.path.to_owned()))
        })
        .collect();
    assert_eq!(described, there);
}

/// First cells of the rows of the table below a heading.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, section) = page.split_once(heading).unwrap_or_else(|| panic!("no `{heading}`"));
    let rows =
        section.lines().skip_while(|l| !l.starts_with('|')).take_while(|l| l.starts_with('|'));
    let cells = |row: &str| {
        row.trim_matches('|').split('|').map(|c| c.trim().trim_matches('`').to_owned()).collect()
    };
    rows.skip(2).map(cells).collect()
}

#[test]
fn the_page_of_metrics_has_each_family_and_its_unit() {
    let described: Vec<_> = table(METRICS_PAGE, "## Metrics")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone(), row[2].clone()))
        .collect();
    let there: Vec<_> = FAMILIES
        .iter()
        .map(|f| (f.name.to_owned(), f.kind.to_owned(), f.unit.to_owned()))
        .collect();
    assert_eq!(described, there);
    for metric in METRICS {
        assert!(METRICS_PAGE.contains(&format!("`{}`", metric.name)), "{}", metric.name);
    }
}

#[test]
fn the_page_of_metrics_rates_each_label() {
    let rows = table(METRICS_PAGE, "## Labels");
    let described: BTreeSet<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(described.len(), rows.len(), "a label comes twice");
    let is_label =
        |c: &&weir_wire::schema::Column| matches!(c.kind, Kind::Label | Kind::NumericLabel);
    let own = METRICS.iter().filter_map(|m| m.virtual_label()).map(Virtual::name);
    let there: BTreeSet<&str> =
        FLOW_COLUMNS.iter().filter(is_label).map(|c| c.name).chain(own).collect();
    assert_eq!(described, there);
    for row in &rows {
        assert!(["fine", "careful", "avoid"].contains(&row[1].as_str()), "{row:?}");
    }
}
