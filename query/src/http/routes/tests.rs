//! The pages that describe the API and the metrics, against the code.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;
use weir_wire::schema::{FLOW_COLUMNS, Kind};

use crate::flows::metrics::{FAMILIES, METRICS, Virtual};
use crate::http::params::{Params, Taken};
use crate::http::{admin_operations, operations, parameter};
use crate::openapi::Document;

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

/// Paths that other parts of the server answer; the server's own tests compare those (`src/openapi.rs`).
fn is_elsewhere(path: &str) -> bool {
    let beside = ["/v1/", "/api/v1/write", "/api/v1/otlp/", "/api/v1/admin/", "/metrics", "/-/"];
    path == "/api/v1/openapi.json" || beside.iter().any(|start| path.starts_with(start))
}

#[test]
fn the_page_of_the_api_has_each_path_and_no_other() {
    let mut described = headings();
    described.retain(|(_, path)| !is_elsewhere(path));
    let there: BTreeSet<_> = operations()
        .into_iter()
        .flat_map(|operation| {
            let path = operation.path().to_owned();
            let methods = operation.methods().to_vec();
            methods.into_iter().map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    assert_eq!(described, there);
}

/// All shapes, by the paths of the document.
fn document() -> Value {
    Document::new([operations(), admin_operations()].concat(), true).json()
}

/// Every `$ref` of a value.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(to) = fields.get("$ref").and_then(Value::as_str) {
                found.insert(to.to_owned());
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_document_has_each_schema_that_it_refers_to_and_no_other() {
    let document = document();
    let mut referred = BTreeSet::new();
    references(&document, &mut referred);
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let there: BTreeSet<_> =
        schemas.keys().map(|name| format!("#/components/schemas/{name}")).collect();
    assert_eq!(referred, there);
}

#[test]
fn names_of_operations_are_unique() {
    let document = document();
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            let name = operation["operationId"].as_str().expect("a name");
            assert!(names.insert(name), "{method} {path}: {name}");
        }
    }
}

#[test]
fn a_handler_gets_the_parameters_of_its_route_and_no_others() {
    let taken = Taken(["limit"].into());
    let mut request = Request::get("/?limit=1&start=2").body(Body::empty()).expect("a request");
    request.extensions_mut().insert(taken);
    let params = Params::of_query(&request);
    assert_eq!(params.given(&parameter::LIMIT), Some("1"));
    assert_eq!(params.given(&parameter::START), None);
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
