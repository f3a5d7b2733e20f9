//! `/api/v1/admin`: deleting rows. Mounted only where the operator asked for it.
//!
//! Rows whose `end` lies in `(start, end]` and that match any `match[]` are deleted, in `flows` and in
//! its tiers, or in the tables that `table` names; in `samples` for a `match[]` with a metric's name. Prometheus' `delete_series` is the same thing.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use weir_storage::{Deletion, ErrorKind as StoreError, Store};

use super::MAX_BODY;
use super::envelope::{Failure, Success};
use super::parameter::{END, Parameter, Parameters, START, Selectors, Texts};
use super::params::Params;
use super::routes::{POST, POST_PUT, Route};
use crate::database::FLOWS;
use crate::error::{Error, ErrorKind};
use crate::matchers::{is_of_samples, of_selector};
use crate::openapi::{Access, Operation, Shape};

/// The table of series that are no flows.
const SAMPLES: &str = "samples";

const MATCHES: Parameter<Selectors> =
    Parameter::new("match[]", Selectors, "Selectors of what is deleted; several are alternatives.")
        .required()
        .example("{workload=\"gone\"}");
const TABLE: Parameter<Texts> = Parameter::new(
    "table",
    Texts,
    "Tables in which it is deleted; those of flows, or `samples` for a metric's name, without it.",
);
const TAKES: Parameters = &[&MATCHES, &START, &END, &TABLE];

/// The admin API over a store. Whoever reaches it can delete history: put authorization in front.
pub fn admin_router(store: Arc<Store>) -> Router {
    let mut router = Router::new();
    for route in routes() {
        router = router.route(route.operation.path, route.router());
    }
    router.layer(DefaultBodyLimit::max(MAX_BODY)).with_state(store)
}

/// The admin API, for the document of a server that has it.
pub fn admin_operations() -> Vec<Operation> {
    routes().into_iter().map(|route| route.operation).collect()
}

fn routes() -> Vec<Route<Arc<Store>>> {
    let deletes = |path, methods, id| {
        let about = "Deletes rows whose time lies in (start, end].";
        Route::new(path, methods, id, about, delete)
            .of("Deleting")
            .takes(TAKES)
            .with(|o| o.open_to(Access::Admin).gives(Shape::of::<Answer>()))
            .with(|o| o.refuses(&[400, 413, 500, 503]))
    };
    let cleans = |path, methods, id| {
        Route::new(path, methods, id, "Removes from disk what was deleted.", clean)
            .of("Deleting")
            .with(|o| o.open_to(Access::Admin).gives(Shape::json(json!({ "type": "null" }))))
            .with(|o| o.refuses(&[500, 503]))
    };
    vec![
        deletes("/api/v1/admin/delete", POST, "delete"),
        deletes("/api/v1/admin/tsdb/delete_series", POST_PUT, "delete_series"),
        cleans("/api/v1/admin/clean", POST, "clean"),
        cleans("/api/v1/admin/tsdb/clean_tombstones", POST_PUT, "clean_tombstones"),
    ]
}

/// What was deleted.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = Deleted)]
struct Answer {
    /// Files that are to be rewritten because they may hold such rows.
    files: usize,
    /// The tables.
    tables: BTreeSet<String>,
    /// Tiers that still count the rows in their sums.
    untouched: BTreeSet<&'static str>,
}

async fn delete(State(store): State<Arc<Store>>, params: Params) -> Result<Success, Failure> {
    let selectors = params.selectors(&MATCHES)?;
    if selectors.is_empty() {
        return Err(Error::bad("no match[] parameter provided").into());
    }
    let after = params.time(&START)?.map_or(i64::MIN, micros);
    let until = params.time(&END)?.map_or(i64::MAX, micros);
    if after >= until {
        return Err(Error::bad("end has to be later than start").into());
    }
    let named: Vec<String> = params.texts(&TABLE).map(str::to_owned).collect();
    // All of them are read before the first counts.
    let mut deletions = Vec::new();
    for selector in &selectors {
        let tables = match (named.is_empty(), is_of_samples(selector)) {
            (false, _) => named.clone(),
            (true, true) => vec![SAMPLES.to_owned()],
            (true, false) => of_flows(&store),
        };
        deletions.push(Deletion { tables, matchers: of_selector(selector)?, after, until });
    }
    let mut answer = Answer::default();
    for deletion in deletions {
        answer.tables.extend(deletion.tables.iter().cloned());
        let deleted = store.delete(deletion).await.map_err(refused)?;
        answer.files += deleted.files;
        answer.untouched.extend(deleted.untouched);
    }
    Success::of(&answer)
}

async fn clean(State(store): State<Arc<Store>>) -> Result<Success, Failure> {
    store.clean().await.map_err(refused)?;
    Ok(Success::new("null".to_owned()))
}

/// The table of flows and its tiers.
fn of_flows(store: &Store) -> Vec<String> {
    let snapshots = store.snapshots();
    let of_flows = snapshots.iter().map(|s| &s.spec).filter(|spec| {
        spec.name == FLOWS || spec.rollup.as_ref().is_some_and(|r| r.source == FLOWS)
    });
    let mut names: Vec<_> = of_flows.map(|spec| spec.name.to_owned()).collect();
    names.sort_unstable();
    names
}

fn micros(millis: i64) -> i64 {
    millis.saturating_mul(1000)
}

fn refused(error: weir_storage::Error) -> Failure {
    let kind = match error.kind() {
        StoreError::Invalid => ErrorKind::BadData,
        StoreError::Busy => ErrorKind::Busy,
        StoreError::Unavailable | StoreError::Closed => ErrorKind::Unavailable,
        StoreError::Directory => ErrorKind::Internal,
    };
    Error::new(kind, error.to_string()).into()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use http_body_util::BodyExt;
    use tower::ServiceExt;
    use weir_storage::{Options, Store};

    use super::*;
    use crate::testing::{Row, flow_batch, specs};

    async fn ask(store: &Arc<Store>, query: &str) -> (StatusCode, String) {
        let uri = format!("/api/v1/admin/delete?{query}");
        let request = Request::post(uri).body(Body::empty()).expect("a request");
        let answer = admin_router(store.clone()).oneshot(request).await.expect("an answer");
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_disk_that_refuses_a_deletion_is_unavailable() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(Options::new(dir.path(), specs())).await.expect("a store");
        let batch = flow_batch(&[Row { end: 1, ..Row::default() }]);
        let losses = std::collections::BTreeMap::default();
        let header = weir_wire::Header { agent: "a".into(), boot: "b".into(), sequence: 0, losses };
        let ipc = weir_wire::encode(&header, &batch).expect("IPC").into();
        let part = weir_storage::Part { table: "flows", ipc, batches: vec![batch] };
        let entry = weir_storage::Entry { source: None, parts: vec![part] };
        store.append(entry).await.expect("a row is stored");
        // Rows have to be in files before they can be deleted, and there is no folder for files.
        let tables = dir.path().join("tables");
        std::fs::remove_dir_all(&tables).expect("removed");
        std::fs::write(&tables, "").expect("a file in its place");
        let (status, body) = ask(&store, "match[]=%7Bpod%3D%22x%22%7D").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        assert!(body.contains(r#""errorType":"unavailable""#), "{body}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_not_meant_for_deletion_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(Options::new(dir.path(), specs())).await.expect("a store");
        for (query, why) in [
            ("", "no match[]"),
            ("match[]=flow_tx_bytes_total", "columns of one row"),
            ("match[]={__name__=\"node_load1\"}", "no table `samples`"),
            ("match[]={pod=\"x\"}&start=5&end=5", "later than start"),
            ("match[]={nonesuch=\"x\"}", "has no label `nonesuch`"),
            ("match[]={pod=\"x\"}&table=gone", "no table `gone`"),
        ] {
            let query = query.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
            let (status, body) = ask(&store, &query).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {body}");
            assert!(body.contains(why), "{query}: {body}");
        }
        let (status, body) = ask(&store, "match[]=%7Bpod%3D%22x%22%7D").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            body,
            r#"{"status":"success","data":{"files":0,"tables":["flows"],"untouched":[]}}"#
        );
    }
}
