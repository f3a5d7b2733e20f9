//! Endpoints whose answers do not depend on the stored rows.

use axum::http::Uri;
use serde_json::json;

use super::envelope::{Failure, Success};
use super::params::Params;
use crate::flows::metrics::FAMILIES;

/// Types and help texts of the flow metrics: `metric` for one of them, `limit`.
pub(super) async fn metadata(params: Params) -> Result<Success, Failure> {
    let wanted = params.get("metric");
    let limit = params.limit()?.unwrap_or(usize::MAX);
    let families = FAMILIES.iter().filter(|f| wanted.is_none_or(|name| name == f.name));
    let metadata: serde_json::Map<String, serde_json::Value> = families
        .take(limit)
        .map(|f| (f.name.to_owned(), json!([{"type": f.kind, "help": f.help, "unit": f.unit}])))
        .collect();
    Success::of(&metadata)
}

/// What answers here: the fields that clients look at to learn Prometheus' version.
pub(super) async fn build_info() -> Result<Success, Failure> {
    Success::of(&json!({
        // The version of the semantics, which is what clients compare.
        "version": "3.5.0",
        "revision": "",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
        "application": "weir",
        "weirVersion": env!("CARGO_PKG_VERSION"),
    }))
}

/// Nothing, as a list.
pub(super) async fn empty_list(_uri: Uri) -> Result<Success, Failure> {
    Success::of(&json!([]))
}

/// No rules.
pub(super) async fn rules() -> Result<Success, Failure> {
    Success::of(&json!({"groups": []}))
}

/// No alerts.
pub(super) async fn alerts() -> Result<Success, Failure> {
    Success::of(&json!({"alerts": []}))
}

/// No scrape targets: agents send on their own.
pub(super) async fn targets() -> Result<Success, Failure> {
    Success::of(&json!({"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {}}))
}
