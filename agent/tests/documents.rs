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
