//! The API's document (`/api/v1/openapi.json`): what all parts of the server answer.
//!
//! The query API describes itself (`query/src/http/routes.rs`). Receivers and the server's own state, which know nothing of
//! documents, are described here.

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::routing::get;
use serde_json::json;
use weir_query::openapi::{Access, Document, Operation, Shape};

/// Where the document is.
const PATH: &str = "/api/v1/openapi.json";
const TEXT: &str = "text/plain; charset=utf-8";
const PROTOBUF: &str = "application/x-protobuf";

/// The document of a server that asks for tokens or not, and that deletes or not.
pub(crate) fn document(has_tokens: bool, deletes: bool) -> Document {
    let mut operations = weir_query::operations();
    operations.extend(receivers(has_tokens));
    operations.extend(own());
    if deletes {
        operations.extend(weir_query::admin_operations());
    }
    Document::new(operations, has_tokens)
}

/// The route of a document.
pub(crate) fn router(document: &Document) -> Router {
    let text = Bytes::from(document.json().to_string());
    let answer = async move || ([(header::CONTENT_TYPE, "application/json")], text.clone());
    Router::new().route(PATH, get(answer))
}

/// What senders send (`ingest/src/http.rs`, `ingest/src/samples/http.rs`).
fn receivers(has_tokens: bool) -> Vec<Operation> {
    let receiver = |path, id, about| {
        Operation::new(path, &["post"], id, about).of("Sending").open_to(Access::Agent)
    };
    let refused = Shape::json(json!({
        "type": "object",
        "required": ["error"],
        "properties": { "error": { "type": "string" } },
    }));
    let stored = Shape::json(json!({
        "type": "object",
        "required": ["status", "sequence", "rows"],
        "properties": {
            "status": { "type": "string", "enum": ["stored", "repeated"] },
            "sequence": { "type": "integer" },
            "rows": { "type": "integer", "minimum": 0 },
        },
    }));
    let mut all = vec![
        receiver("/v1/flows", "send_flows", "Stores flows of an agent.")
            .reads(
                "An Arrow IPC stream, plain or as zstd (`Content-Encoding`).",
                [("application/vnd.apache.arrow.stream", Shape::bytes())],
            )
            .answers(200, "Durable.", [("application/json", stored)])
            .refuses_by("application/json", refused)
            .refuses(&[400, 408, 413, 415, 425, 429, 500, 503]),
        receiver("/api/v1/write", "remote_write", "Stores samples by Prometheus remote write.")
            .reads(
                "`prometheus.WriteRequest`, or with `proto=io.prometheus.write.v2.Request` in its type version 2.0; snappy \
                 or zstd.",
                [(PROTOBUF, Shape::bytes())],
            )
            .answers(204, "Durable.", [])
            .refuses_by(TEXT, Shape::text())
            .refuses(&[400, 408, 413, 415, 500, 503]),
        receiver("/api/v1/otlp/v1/metrics", "otlp_metrics", "Stores samples by OTLP over HTTP.")
            .reads("`ExportMetricsServiceRequest`, plain or as gzip or zstd.", [(
                PROTOBUF,
                Shape::bytes(),
            )])
            .answers(200, "Durable: `ExportMetricsServiceResponse`.", [(PROTOBUF, Shape::bytes())])
            .refuses_by(PROTOBUF, Shape::bytes())
            .refuses(&[400, 408, 413, 415, 500, 503]),
    ];
    if !has_tokens {
        let refusal = || [("application/json", Shape::of::<weir_query::Refusal>())];
        let about = "A page in a browser may not write, on a server without tokens.";
        all = all.into_iter().map(|operation| operation.answers(403, about, refusal())).collect();
    }
    all
}

/// What the server says of itself (`own_metrics.rs`), and this.
fn own() -> Vec<Operation> {
    let plain = |path, id, about, media| {
        let operation = Operation::new(path, &["get"], id, about);
        operation.answers(200, "The answer.", [(media, Shape::text())])
    };
    let metrics = "The server's own metrics, in the Prometheus text format.";
    vec![
        plain("/metrics", "metrics", metrics, crate::own_metrics::MEDIA),
        plain("/-/healthy", "healthy", "Whether the server listens.", TEXT).open_to(Access::All),
        plain("/-/ready", "ready", "Whether the server answers.", TEXT).open_to(Access::All),
        Operation::new(PATH, &["get"], "openapi", "This document.").answers(
            200,
            "OpenAPI 3.1.",
            [("application/json", Shape::json(json!({ "type": "object" })))],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Methods and paths of the headings `### GET, POST /path` of the API's page.
    fn headings() -> BTreeSet<(String, String)> {
        let page = include_str!("../docs/api.md");
        let heading = |line: &'static str| line.strip_prefix("### ")?.split_once(" `");
        page.lines()
            .filter_map(heading)
            .flat_map(|(methods, path)| {
                let path = path.trim_end_matches('`');
                methods.split(", ").map(move |method| (method.to_lowercase(), path.to_owned()))
            })
            .collect()
    }

    #[test]
    fn the_document_has_each_path_of_the_page_and_no_other() {
        let document = document(true, true);
        let there: BTreeSet<_> = document
            .operations()
            .iter()
            .flat_map(|operation| {
                let of = |method: &&str| ((*method).to_owned(), operation.path().to_owned());
                operation.methods().iter().map(of).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(headings(), there);
    }
}
