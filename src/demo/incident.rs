//! What goes wrong: packets between orders and one pod of products are dropped, by rules of nftables on that pod's node.

use super::rhythm::Day;
use super::shop::Pod;

/// Between which hours of the day: as long as what has been of the day before, to compare with.
pub(super) const HOURS: (f64, f64) = (10.0, 13.0);
/// Percent of the packets, either way.
const PERCENT: u32 = 12;
const FROM: &str = "orders";
const TO: &str = "products";

/// An incident.
#[derive(Debug)]
pub(super) struct Incident {
    /// The pod, and its node.
    pub(super) pod: Pod,
    begin: String,
}

/// Takes the rules away.
pub(super) const END: &str = "delete table ip weir_demo\n";

impl Incident {
    /// Among these pods; `None` if the shop has no such.
    pub(super) fn among(pods: &[Pod]) -> Option<Self> {
        // In the zone in which there is one of them.
        let pod = pods.iter().rfind(|pod| pod.of.name == TO)?.clone();
        let others = pods.iter().filter(|other| other.of.name == FROM);
        let others: Vec<String> = others.map(|other| other.address.to_string()).collect();
        let (others, address) = (others.join(", "), pod.address);
        let chance = format!("numgen random mod 100 < {PERCENT} counter drop");
        // Where the node passes packets on to its pods: what they do not get, it counts.
        let begin = format!(
            "table ip weir_demo {{\n  chain incident {{\n    type filter hook forward priority 0;\n    \
             ip saddr {{ {others} }} ip daddr {address} meta l4proto tcp {chance}\n    \
             ip saddr {address} ip daddr {{ {others} }} meta l4proto tcp {chance}\n  }}\n}}\n"
        );
        Some(Self { pod, begin })
    }

    /// Rules that make it happen.
    pub(super) fn begin(&self) -> &str {
        &self.begin
    }
}

/// It happens at this time, in microseconds since the Unix epoch.
pub(super) fn happens(day: Day, now_us: i64) -> bool {
    day.since_began(now_us) >= 0.0 && (HOURS.0..HOURS.1).contains(&day.hour(now_us))
}

#[cfg(test)]
mod tests {
    use super::super::shop;
    use super::*;

    #[test]
    fn it_is_between_orders_and_one_pod() {
        let incident = Incident::among(&shop::pods()).unwrap();
        assert_eq!((incident.pod.node, incident.pod.of.name), (2, "products"));
        assert_eq!(incident.begin().matches("10.244.3.12").count(), 2, "{}", incident.begin());
        assert_eq!(incident.begin().matches("{ 10.244.2.13, 10.244.3.13 }").count(), 2);
        let day = Day { began_us: 0, seconds: 240.0 };
        let at = |seconds: i64| happens(day, seconds * 1_000_000);
        assert!(!at(29) && at(30) && at(59) && !at(60) && at(270) && !at(-210));
    }
}
