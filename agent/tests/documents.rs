//! The documents name what the code has.

use weir_wire::Loss;
use weir_wire::schema::{COUNTERS, HISTOGRAMS};

const AGENT: &str = include_str!("../../docs/agent.md");

#[test]
fn every_number_and_loss_is_explained() {
    let losses = Loss::ALL.iter().map(|loss| loss.name());
    for name in COUNTERS.into_iter().chain(HISTOGRAMS).chain(losses).chain(["active"]) {
        assert!(AGENT.contains(&format!("`{name}`")), "docs/agent.md does not explain {name}");
    }
}

#[test]
fn every_metric_is_in_the_list_and_nothing_else() {
    let metrics = weir_agent::metrics::catalog();
    for (name, _) in &metrics {
        assert!(AGENT.contains(&format!("`{name}`")), "docs/agent.md does not have {name}");
    }
    let begins = |word: &&str| {
        [
            "weir_agent_",
            "weir_dns_",
            "weir_workload_",
            "weir_interface_",
            "weir_tcp_",
            "weir_conntrack_",
            "weir_node_",
            "weir_nic_",
            "weir_efa_",
        ]
        .iter()
        .any(|prefix| word.starts_with(prefix))
    };
    for word in AGENT.split('`').filter(begins) {
        let name = word.split('{').next().unwrap_or_default();
        assert!(
            metrics.iter().any(|(known, _)| known == name),
            "{name} in docs/agent.md is no metric"
        );
    }
}
