//! The tables that ingestion fills, as the store must know them.
//!
//! ```text
//! flows      rows as agents send them
//! flows_5m   sums over windows of five minutes
//! flows_1h   sums over windows of an hour
//! ```
//!
//! The two tiers keep what says which workload talked to which: cluster, zone, region, namespace, workload
//! and its kind, container, chosen labels and port of both ends, service, scope, cloud service, country, network,
//! crossing, protocol and role. They fold nodes, pods, addresses and the address of a service, which come and
//! go with every deployment. Of peers that are no workload (scope external or cloud, or none
//! attributed) they keep address, domain and AS number: the hundred largest by bytes of each window
//! and set of other labels. Once the window is over, the rest becomes one row with the address
//! `other`. Deltas and histograms add up exactly; `sampling` is the coarsest that went in.
//!
//! `active` is a level and has no sum over time: it stays in `flows`.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::Schema;
use weir_storage::{Decode, Detail, Fold, Merge, Options, Rollup, TableSpec, Window};
use weir_wire::chosen::chosen;
use weir_wire::schema::{self, COUNTERS, HISTOGRAMS};

use crate::enrich::Enrichment;
use crate::names::HISTORY;
use crate::rows::decode_logged;

/// Columns of `flows` that the tiers lack.
const FOLDED_AWAY: [&str; 7] =
    ["node", "pod", "address", "peer_node", "peer_pod", "peer_service_address", "active"];

/// What the rows of a tier are sorted by: every key, so that rows of equal keys are neighbours; what is folded comes
/// last.
static TIER_SORT: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let mut columns = vec![
        "namespace",
        "workload",
        "peer_namespace",
        "peer_workload",
        "role",
        "protocol",
        "port",
        "peer_port",
        "cluster",
        "zone",
        "region",
        "workload_kind",
        "container",
        "peer_zone",
        "peer_workload_kind",
        "peer_container",
        "peer_service",
        "peer_service_port",
        "peer_scope",
        "peer_cloud_service",
        "peer_region",
        "peer_country",
        "peer_network",
        "crossing",
    ];
    columns.extend(chosen().iter().flat_map(|chosen| [chosen.column, chosen.peer_column]));
    columns.extend(["peer_asn", "peer_domain", "peer_address", "end"]);
    columns
});

/// `flows`: one row per flow key and interval.
#[must_use]
pub fn flows_table() -> TableSpec {
    TableSpec {
        name: "flows",
        schema: schema::FLOWS.clone(),
        time: "end",
        window: Window::TWO_HOURS,
        workload: &["namespace", "workload"],
        sort: &[
            "namespace",
            "workload",
            "peer_namespace",
            "peer_workload",
            "role",
            "protocol",
            "port",
            "peer_port",
            "pod",
            "address",
            "peer_pod",
            "peer_address",
            "end",
        ],
        rollup: None,
        series: false,
    }
}

/// `flows_5m`: sums of `flows` over windows of five minutes.
#[must_use]
pub fn flows_5m_table() -> TableSpec {
    tier("flows_5m", Window::FIVE_MINUTES, Window::DAY)
}

/// `flows_1h`: sums of `flows` over windows of an hour.
#[must_use]
pub fn flows_1h_table() -> TableSpec {
    tier("flows_1h", Window::HOUR, Window::THIRTY_DAYS)
}

fn tier(name: &'static str, width: Window, window: Window) -> TableSpec {
    let fields = schema::FLOWS.fields().iter();
    let kept: Vec<_> =
        fields.filter(|f| !FOLDED_AWAY.contains(&f.name().as_str())).cloned().collect();
    TableSpec {
        name,
        schema: Arc::new(Schema::new(kept)),
        time: "end",
        window,
        workload: &["namespace", "workload"],
        sort: &TIER_SORT,
        rollup: Some(Rollup {
            source: "flows",
            width,
            start: Some("start"),
            merge: merges(),
            detail: vec![Detail {
                column: "peer_address",
                when: &[("peer_scope", &["external", "cloud"]), ("peer_workload", &[""])],
            }],
            fold: Some(Fold {
                column: "peer_address",
                other: "other",
                about: &["peer_domain", "peer_asn"],
                largest: &["tx_bytes", "rx_bytes"],
                keep: 100,
            }),
        }),
        series: false,
    }
}

/// How the columns that are no keys become one value.
fn merges() -> Vec<(&'static str, Merge)> {
    let mut merges: Vec<_> = COUNTERS.into_iter().map(|name| (name, Merge::Sum)).collect();
    merges.push(("sampling", Merge::Max));
    for histogram in HISTOGRAMS {
        let [count, sum, min, max, offset, buckets] = match histogram {
            "rtt" => {
                ["rtt_count", "rtt_sum_us", "rtt_min_us", "rtt_max_us", "rtt_offset", "rtt_buckets"]
            }
            _ => [
                "connect_time_count",
                "connect_time_sum_us",
                "connect_time_min_us",
                "connect_time_max_us",
                "connect_time_offset",
                "connect_time_buckets",
            ],
        };
        merges.extend([
            (count, Merge::Sum),
            (sum, Merge::Sum),
            (min, Merge::Min),
            (max, Merge::Max),
            (offset, Merge::Offset),
            (buckets, Merge::Counts { offset }),
        ]);
    }
    merges
}

/// `agent_loss`: what each batch said to be missing from it.
#[must_use]
pub fn agent_loss_table() -> TableSpec {
    TableSpec {
        name: "agent_loss",
        schema: schema::AGENT_LOSS.clone(),
        time: "end",
        window: Window::TWO_HOURS,
        workload: &["agent"],
        sort: &["agent", "boot", "reason", "end"],
        rollup: None,
        series: false,
    }
}

/// `names`: who had which address when.
#[must_use]
pub fn names_table() -> TableSpec {
    TableSpec {
        name: "names",
        schema: HISTORY.clone(),
        time: "time",
        window: Window::DAY,
        workload: &["namespace", "workload"],
        sort: &["namespace", "workload", "kind", "name", "uid", "address", "time"],
        rollup: None,
        series: false,
    }
}

/// `samples`: series as Prometheus has them.
#[must_use]
pub fn samples_table() -> TableSpec {
    weir_storage::series::table("samples", Window::DAY)
}

/// Every table of a server's data directory.
#[must_use]
pub fn tables() -> Vec<TableSpec> {
    vec![
        flows_table(),
        flows_5m_table(),
        flows_1h_table(),
        agent_loss_table(),
        names_table(),
        samples_table(),
    ]
}

/// How to open the store of a server that knows the shipped places: the tables, and how their log is read.
#[must_use]
pub fn store_options(dir: impl Into<std::path::PathBuf>) -> Options {
    store_options_with(dir, Enrichment::shipped())
}

/// The same of a server that knows others.
#[must_use]
pub fn store_options_with(dir: impl Into<std::path::PathBuf>, enrichment: Enrichment) -> Options {
    let decode = move |table: &str, bytes: &[u8]| decode_logged(table, bytes, &enrichment);
    Options { decode: Decode::new(decode), ..Options::new(dir, tables()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_wire::schema::{FLOW_COLUMNS, Kind, flow_column};

    /// A column of a new kind has to be thought about here.
    #[test]
    fn every_column_of_a_tier_is_a_key_or_merges_by_its_kind() {
        for spec in [flows_5m_table(), flows_1h_table()] {
            let rollup = spec.rollup.as_ref().unwrap();
            for column in FLOW_COLUMNS.iter() {
                let name = column.name;
                let kept = spec.schema.field_with_name(name).is_ok();
                assert_ne!(kept, FOLDED_AWAY.contains(&name), "{name}");
                let merge = rollup.merge.iter().find(|(n, _)| *n == name).map(|(_, m)| *m);
                match column.kind {
                    Kind::Counter => assert_eq!(merge, Some(Merge::Sum), "{name}"),
                    Kind::Histogram => assert!(merge.is_some(), "{name}"),
                    Kind::Sampling => assert_eq!(merge, Some(Merge::Max)),
                    Kind::Level => assert!(!kept, "{name}"),
                    Kind::Time => assert_eq!(merge, None),
                    Kind::Label | Kind::NumericLabel => {
                        assert_eq!(merge, None, "{name}");
                        assert_eq!(kept, spec.sort.contains(&name), "{name}");
                    }
                }
            }
            let fold = rollup.fold.as_ref().unwrap();
            let folded: Vec<_> = fold.about.iter().rev().chain([&fold.column, &"end"]).collect();
            let last: Vec<_> = spec.sort.iter().skip(spec.sort.len() - folded.len()).collect();
            assert_eq!(folded, last, "what is folded comes last");
            assert!(flow_column(fold.column).is_some());
        }
    }
}
