//! The tables that ingestion fills, as the store must know them.

use weir_storage::{TableSpec, Window};
use weir_wire::schema;

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
    }
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
    }
}

/// Every table of a server's data directory.
#[must_use]
pub fn tables() -> Vec<TableSpec> {
    vec![flows_table(), agent_loss_table()]
}
