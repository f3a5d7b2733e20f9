//! The server's own `/metrics`, in the Prometheus text format.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use weir_ingest::names::{Kind, Names};
use weir_ingest::{Metrics, SampleMetrics};
use weir_query::Database;
use weir_storage::Store;

use crate::sources::Status;

/// The Prometheus text format.
pub(crate) const MEDIA: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Counters of what comes in.
#[derive(Debug, Clone)]
pub(crate) struct IngestMetrics {
    /// Of flows.
    pub(crate) flows: Arc<Metrics>,
    /// Of samples.
    pub(crate) samples: Arc<SampleMetrics>,
    /// Names of both ends.
    pub(crate) names: Arc<Names>,
    /// Files and lists that are read again.
    pub(crate) sources: Arc<Status>,
}

/// Routes of the server's own health: `/metrics`, `/-/healthy`, `/-/ready`.
pub(crate) fn router(store: Arc<Store>, ingest: IngestMetrics, database: Database) -> Router {
    Router::new()
        .route(
            "/metrics",
            get(move || async move {
                let text = render(&store, &ingest, &database);
                ([(header::CONTENT_TYPE, MEDIA)], text).into_response()
            }),
        )
        // The listener opens after the store has recovered, so whoever connects finds it ready.
        .route("/-/healthy", get(async || "Weir is healthy.\n"))
        .route("/-/ready", get(async || "Weir is ready.\n"))
}

fn render(store: &Store, ingest: &IngestMetrics, database: &Database) -> String {
    let mut out = String::new();
    let version = env!("CARGO_PKG_VERSION");
    family(&mut out, "weir_build_info", "gauge", "Version of this server.");
    let _ = writeln!(out, "weir_build_info{{version=\"{version}\"}} 1");
    for (name, help, value) in ingest.flows.read() {
        family(&mut out, name, "counter", help);
        let _ = writeln!(out, "{name} {value}");
    }
    for counter in ingest.samples.read() {
        let name = counter.name;
        family(&mut out, name, "counter", counter.help);
        for (labels, value) in counter.values {
            let braced = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
            let _ = writeln!(out, "{name}{braced} {value}");
        }
    }
    names(&mut out, &ingest.names);
    ingest.sources.render(&mut out);
    let name = "weir_index_failures_total";
    family(&mut out, name, "counter", "Label indexes of files that could not be used.");
    let _ = writeln!(out, "{name} {}", database.index_failures());
    let stats = store.stats();
    for (name, help, value) in [
        ("weir_wal_bytes", "Bytes of the log that commits do not cover yet.", stats.wal_bytes),
        ("weir_memtable_bytes", "Bytes of rows in memory.", stats.memory_bytes),
        ("weir_memtable_rows", "Rows in memory.", stats.memory_rows),
    ] {
        family(&mut out, name, "gauge", help);
        let _ = writeln!(out, "{name} {value}");
    }
    let compaction = &stats.compaction;
    for (name, help, value) in [
        ("weir_compaction_jobs_total", "Times that files were put together.", compaction.jobs),
        ("weir_compaction_failures_total", "Times that this failed.", compaction.failures),
        (
            "weir_compaction_read_bytes_total",
            "Bytes of files that were replaced by larger ones.",
            compaction.bytes_read,
        ),
        (
            "weir_compaction_written_bytes_total",
            "Bytes of the files that replaced them.",
            compaction.bytes_written,
        ),
        ("weir_compaction_rows_total", "Rows that were rewritten.", compaction.rows),
    ] {
        family(&mut out, name, "counter", help);
        let _ = writeln!(out, "{name} {value}");
    }
    if let Some(cache) = stats.cache {
        let name = "weir_cache_bytes";
        family(&mut out, name, "gauge", "Bytes of the object store that are on local disk.");
        let _ = writeln!(out, "{name} {}", cache.bytes);
        for (name, help, value) in [
            ("weir_cache_hits_total", "Blocks that were read from the cache.", cache.hits),
            ("weir_cache_misses_total", "Blocks fetched from the object store.", cache.misses),
        ] {
            family(&mut out, name, "counter", help);
            let _ = writeln!(out, "{name} {value}");
        }
    }
    for (name, help, index) in [
        ("weir_table_files", "Parquet files of a table.", 0),
        ("weir_table_bytes", "Bytes of the Parquet files of a table.", 1),
        ("weir_table_rows", "Rows in the Parquet files of a table.", 2),
    ] {
        family(&mut out, name, "gauge", help);
        for (table, files, bytes, rows) in &stats.tables {
            let value = [files, bytes, rows][index];
            let _ = writeln!(out, "{name}{{table=\"{table}\"}} {value}");
        }
    }
    out
}

fn names(out: &mut String, names: &Names) {
    let status = names.status();
    let name = "weir_names_pods";
    family(out, name, "gauge", "Pods that are known, those that are gone and remembered included.");
    let _ = writeln!(out, "{name} {}", names.pods());
    let listed = Kind::ALL.into_iter().filter(|kind| status.is_listed(*kind)).count();
    let name = "weir_names_listed";
    family(out, name, "gauge", "Kinds of objects of the cluster that have been listed, of six.");
    let _ = writeln!(out, "{name} {listed}");
    for (name, help, of) in [
        ("weir_names_lists_total", "Times that objects of the cluster were listed.", true),
        ("weir_names_failures_total", "Requests about objects of the cluster that failed.", false),
    ] {
        family(out, name, "counter", help);
        for kind in Kind::ALL {
            let value = if of { status.lists(kind) } else { status.failures(kind) };
            let _ = writeln!(out, "{name}{{kind=\"{}\"}} {value}", kind.name());
        }
    }
}

pub(crate) fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
