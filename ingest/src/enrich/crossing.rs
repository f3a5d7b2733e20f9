//! How far apart the two ends of a row are, which is what traffic costs by.
//!
//! ```text
//! same-zone      both on one node, or in one zone
//! cross-zone     in two zones of one region
//! same-region    a provider's service in the region of the node (its zone is not published)
//! cross-region   in two regions
//! internet       an address that is nobody's that is known, or a provider's whose region the node is not in
//! ```
//!
//! Nothing where a zone or region is not known, and for external addresses in a named network (`private` included):
//! how those are reached, nobody has said.

use std::collections::HashMap;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::error::ArrowError;
use foldhash::fast::RandomState;

use super::column::{Column, Number, Over, replace};
use crate::places::Places;

const SAME_ZONE: &str = "same-zone";
const CROSS_ZONE: &str = "cross-zone";
const SAME_REGION: &str = "same-region";
const CROSS_REGION: &str = "cross-region";
const INTERNET: &str = "internet";

/// The columns that it depends on, and itself.
const COLUMNS: [&str; 7] =
    ["zone", "region", "peer_zone", "peer_region", "peer_scope", "peer_network", "crossing"];

/// Writes the column `crossing`, anew where a name has come since. What a sender says stays where it is not known better.
pub(super) fn enrich(batch: RecordBatch, places: &Places) -> Result<RecordBatch, ArrowError> {
    if Column::of(&batch, "peer_scope").is_none_or(|scope| scope.is_empty()) {
        return Ok(batch);
    }
    let column = column(&batch, places)?;
    replace(batch, vec![("crossing", column)])
}

fn column(batch: &RecordBatch, places: &Places) -> Result<ArrayRef, ArrowError> {
    let columns = COLUMNS.map(|name| Column::of(batch, name).filter(|c| !c.is_empty()));
    let mut over = Over::nothing();
    let mut known: HashMap<[usize; 7], Number, RandomState> = HashMap::default();
    let mut last: Option<([usize; 7], Number)> = None;
    let mut numbers = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let key = columns.map(|c| c.and_then(|c| c.key(row)).unwrap_or(usize::MAX));
        let number = match last {
            Some((before, number)) if before == key => number,
            _ => *known.entry(key).or_insert_with(|| {
                let [zone, region, peer_zone, peer_region, scope, network, said] =
                    columns.map(|c| c.and_then(|c| c.get(row)).unwrap_or(""));
                let found =
                    crossing([zone, region, peer_zone, peer_region, scope, network], places);
                // Said before the peer had a name.
                let is_stale = said == INTERNET && scope == "cluster";
                over.number(found.unwrap_or(if is_stale { "" } else { said }))
            }),
        };
        last = Some((key, number));
        numbers.push(number);
    }
    over.write(batch.num_rows(), |row| numbers.get(row).copied().unwrap_or(Number::NOTHING))
}

/// Of one row's texts, in the order of [`COLUMNS`] without the last; empty ones are not known.
fn crossing(
    [zone, region, peer_zone, peer_region, scope, network]: [&str; 6],
    places: &Places,
) -> Option<&'static str> {
    match scope {
        "node" => Some(SAME_ZONE),
        "cluster" => {
            let regions = !region.is_empty() && !peer_region.is_empty();
            if regions && region != peer_region {
                return Some(CROSS_REGION);
            }
            if zone.is_empty() || peer_zone.is_empty() {
                return regions.then_some(SAME_REGION);
            }
            Some(if zone == peer_zone { SAME_ZONE } else { CROSS_ZONE })
        }
        "cloud" if region.is_empty() => None,
        "cloud" if region == peer_region => Some(SAME_REGION),
        "cloud" if places.have_one_provider(region, peer_region) => Some(CROSS_REGION),
        "cloud" => Some(INTERNET),
        "external" if network.is_empty() => Some(INTERNET),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_said() {
        let places = Places::shipped();
        let at = |texts| crossing(texts, &places);
        assert_eq!(at(["", "", "", "", "node", ""]), Some("same-zone"));
        assert_eq!(at(["a", "r", "a", "r", "cluster", ""]), Some("same-zone"));
        assert_eq!(at(["a", "r", "b", "r", "cluster", ""]), Some("cross-zone"));
        assert_eq!(
            at(["a", "", "b", "", "cluster", ""]),
            Some("cross-zone"),
            "hosts with zones alone"
        );
        assert_eq!(
            at(["a", "r", "a", "s", "cluster", ""]),
            Some("cross-region"),
            "zones may be named alike"
        );
        assert_eq!(at(["a", "r", "", "r", "cluster", ""]), Some("same-region"));
        assert_eq!(at(["a", "r", "", "", "cluster", ""]), None);
        assert_eq!(at(["", "eu-west-1", "", "eu-west-1", "cloud", ""]), Some("same-region"));
        assert_eq!(at(["", "eu-west-1", "", "us-east-1", "cloud", ""]), Some("cross-region"));
        assert_eq!(
            at(["", "eu-west-1", "", "westeurope", "cloud", ""]),
            Some("internet"),
            "another provider"
        );
        assert_eq!(at(["", "eu-west-1", "", "GLOBAL", "cloud", ""]), Some("internet"));
        assert_eq!(at(["", "", "", "eu-west-1", "cloud", ""]), None);
        assert_eq!(at(["a", "r", "", "", "external", ""]), Some("internet"));
        assert_eq!(at(["a", "r", "", "", "external", "private"]), None);
        assert_eq!(at(["a", "r", "", "", "", ""]), None);
    }
}
