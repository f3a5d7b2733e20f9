//! Shapes of answers that are written as text rather than by a type: Prometheus' own.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Description;
use crate::openapi::Shape;

/// A time and a value, which is text so that it may be `NaN` or `+Inf`.
fn sample() -> Value {
    json!({
        "type": "array",
        "description": "The time, seconds since 1970, and the value.",
        "items": { "type": ["number", "string"] },
        "minItems": 2,
        "maxItems": 2,
    })
}

fn labels() -> Value {
    json!({ "type": "object", "additionalProperties": { "type": "string" } })
}

/// Series that have a sample, or samples, under `name`.
fn series(name: &str, values: &Value) -> Value {
    json!({ "type": "array", "items": {
        "type": "object",
        "required": ["metric", name],
        "properties": { "metric": labels(), name: values },
    } })
}

/// What an expression amounts to.
pub(super) fn evaluated() -> Shape {
    let one = |kinds: Value, result: Value| {
        json!({
            "type": "object",
            "required": ["resultType", "result"],
            "properties": {
                "resultType": { "type": "string", "enum": kinds },
                "result": result,
                "stats": stats(),
            },
        })
    };
    let samples = json!({ "type": "array", "items": sample() });
    Shape::json(json!({ "oneOf": [
        one(json!(["vector"]), series("value", &sample())),
        one(json!(["matrix"]), series("values", &samples)),
        one(json!(["scalar", "string"]), sample()),
    ] }))
}

/// With `stats`.
fn stats() -> Value {
    let numbers = |names: &[&str]| {
        let properties: BTreeMap<_, _> =
            names.iter().map(|name| (*name, json!({ "type": "number" }))).collect();
        json!({ "type": "object", "required": names, "properties": properties })
    };
    json!({
        "type": "object",
        "required": ["timings", "samples", "tiers"],
        "properties": {
            "timings": numbers(&[
                "evalTotalTime", "resultSortTime", "queryPreparationTime", "innerEvalTime",
                "execQueueTime", "execTotalTime",
            ]),
            "samples": numbers(&["totalQueryableSamples", "peakSamples"]),
            "tiers": {
                "type": "array",
                "description": "Tables of flows that answered.",
                "items": { "type": "string", "enum": ["raw", "5m", "1h"] },
            },
        },
    })
}

/// A list that is always empty.
pub(super) fn empty_list() -> Shape {
    Shape::json(json!({ "type": "array", "maxItems": 0 }))
}

/// A node of a syntax tree.
pub(super) fn syntax_tree() -> Shape {
    Shape::json(json!({
        "type": "object",
        "required": ["type"],
        "properties": { "type": { "type": "string" } },
    }))
}

/// Label sets.
pub(super) fn label_sets() -> Shape {
    Shape::json(json!({ "type": "array", "items": labels() }))
}

/// Texts by names.
pub(super) fn texts_by_name() -> Shape {
    Shape::inline::<BTreeMap<String, String>>()
}

/// Descriptions by metric.
pub(super) fn metadata() -> Shape {
    Shape::inline::<BTreeMap<String, Vec<Description>>>()
}

/// Rows in a format.
pub(super) fn rows(media: &str) -> Shape {
    let column = json!({
        "type": "object",
        "required": ["name", "type"],
        "properties": { "name": { "type": "string" }, "type": { "type": "string" } },
    });
    match media {
        "application/json" => Shape::json(json!({
            "type": "object",
            "required": ["columns", "rows"],
            "properties": {
                "columns": { "type": "array", "items": column },
                "rows": { "type": "array", "items": { "type": "array" } },
            },
        })),
        "text/csv" => Shape::text(),
        _ => Shape::bytes(),
    }
}
