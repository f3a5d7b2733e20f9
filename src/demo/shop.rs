//! The shop: what runs where, and who calls whom.
//!
//! ```text
//!   visitors ──▶ frontend ──▶ graphql ──┬─────────────▶ products ──┬──▶ database
//!   (outside)                           └──▶ orders ──▶    ▲       └──▶ S3 (outside)
//!                                              ├────────────┘
//!                                              ├──▶ database
//!                                              └──▶ payment provider (outside)
//!   report (at night) ──▶ database, S3
//! ```
//!
//! Three nodes in two zones. Pods are called at their own addresses, turn by turn, as clients of headless services do.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::rhythm::Rhythm;
use super::service::{Call, Driver, Service};

/// The region that the nodes say they are in.
pub(super) const REGION: &str = "eu-central-1";
/// Where agents deliver to: the way in to the server, in the network between the nodes.
pub(super) const WAY_IN: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 254);
/// Port of that way in.
pub(super) const WAY_IN_PORT: u16 = 9470;
/// An address of S3 in that region, as AWS publishes its ranges. Within the demo's namespaces it leads to a process of
/// the demo, and nothing else.
pub(super) const S3: Ipv4Addr = Ipv4Addr::new(3, 5, 134, 20);
/// The payment provider, in a range that is kept for documentation (RFC 5737).
pub(super) const PAYMENTS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);
/// The cluster's name server, which is outside as well: nobody measures it.
pub(super) const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 53);
/// Port of DNS.
pub(super) const DNS_PORT: u16 = 53;
/// Visitors and an office, in the other two such ranges.
pub(super) const VISITORS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(198, 51, 100, 7),
    Ipv4Addr::new(198, 51, 100, 23),
    Ipv4Addr::new(198, 51, 100, 61),
    Ipv4Addr::new(192, 0, 2, 10),
];
/// Names of ranges, as the server's option `--network` takes them.
pub(super) const NETWORKS: [&str; 2] = ["payment-provider=203.0.113.0/24", "office=192.0.2.0/24"];
/// Who outside has a name in DNS: as calls name it, the name, and its address.
pub(super) const NAMES: [(&str, &str, Ipv4Addr); 2] = [
    ("payments", "api.payments.example", PAYMENTS),
    ("s3", "shop-pictures.s3.eu-central-1.amazonaws.com", S3),
];
/// Port of everything outside.
const OUTSIDE_PORT: u16 = 443;

/// A node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) name: &'static str,
    pub(super) zone: &'static str,
    /// From 1; the last part of its address, and the third of those of its pods.
    pub(super) number: u8,
}

impl Node {
    pub(super) fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(172, 30, 0, self.number)
    }
}

/// All nodes.
pub(super) const NODES: [Node; 3] = [
    Node { name: "node-a1", zone: "eu-central-1a", number: 1 },
    Node { name: "node-a2", zone: "eu-central-1a", number: 2 },
    Node { name: "node-b1", zone: "eu-central-1b", number: 3 },
];

/// A controller, as Kubernetes has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
    CronJob,
}

/// A workload: where its pods run, by the index of the node, and where they listen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Workload {
    pub(super) namespace: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What Kubernetes appends to the names of its pods, but for those of a StatefulSet.
    pub(super) hash: &'static str,
    pub(super) port: Option<u16>,
    pub(super) on: &'static [usize],
    think_ms: u64,
    calls: &'static [Calls],
}

/// What a workload does for each request that it gets.
#[derive(Debug, Clone, Copy)]
struct Calls {
    to: &'static str,
    per_request: f64,
    /// Bytes of the answer.
    bytes: usize,
    /// Bytes that are sent.
    sent: usize,
}

const fn ask(to: &'static str, per_request: f64, bytes: usize) -> Calls {
    Calls { to, per_request, bytes, sent: 0 }
}

/// The agents: in the network of their nodes.
pub(super) const AGENT: &str = "weir-agent";

/// All workloads.
pub(super) static WORKLOADS: [Workload; 7] = [
    Workload {
        namespace: "shop",
        name: "frontend",
        kind: Kind::Deployment,
        hash: "6d5f8c9b74",
        port: Some(8080),
        on: &[0, 1, 2],
        think_ms: 2,
        calls: &[ask("graphql", 1.0, 14_000)],
    },
    Workload {
        namespace: "shop",
        name: "graphql",
        kind: Kind::Deployment,
        hash: "7b9f4d5c68",
        port: Some(4000),
        on: &[0, 2],
        think_ms: 3,
        calls: &[ask("products", 1.5, 6_000), ask("orders", 0.5, 2_500)],
    },
    Workload {
        namespace: "shop",
        name: "products",
        kind: Kind::Deployment,
        hash: "58c7f6d94b",
        port: Some(8081),
        on: &[0, 1, 2],
        think_ms: 3,
        calls: &[ask("database", 0.5, 3_000), ask("s3", 0.2, 60_000)],
    },
    Workload {
        namespace: "shop",
        name: "orders",
        kind: Kind::Deployment,
        hash: "66f8b7c5d9",
        port: Some(8082),
        on: &[1, 2],
        think_ms: 5,
        calls: &[
            ask("products", 2.0, 4_000),
            ask("database", 1.5, 1_500),
            ask("payments", 0.4, 900),
        ],
    },
    Workload {
        namespace: "shop",
        name: "database",
        kind: Kind::StatefulSet,
        hash: "",
        port: Some(5432),
        on: &[1],
        think_ms: 1,
        calls: &[],
    },
    Workload {
        namespace: "analytics",
        name: "report",
        kind: Kind::CronJob,
        hash: "29391840",
        port: None,
        on: &[0],
        think_ms: 0,
        calls: &[
            ask("database", 4.0, 30_000),
            Calls { to: "s3", per_request: 1.0, bytes: 200, sent: 150_000 },
        ],
    },
    Workload {
        namespace: "weir",
        name: AGENT,
        kind: Kind::DaemonSet,
        hash: "",
        port: None,
        on: &[0, 1, 2],
        think_ms: 0,
        calls: &[],
    },
];

/// What tells the pods of a workload apart.
const SUFFIXES: [&str; 3] = ["q2x4v", "8mzkd", "t7h5w"];

/// A pod.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub(super) of: &'static Workload,
    pub(super) name: String,
    /// Index of its node.
    pub(super) node: usize,
    /// Its own address, or that of its node.
    pub(super) address: Ipv4Addr,
    /// It is in the network of its node.
    pub(super) in_host: bool,
    pub(super) uid: String,
    /// 64 hexadecimal digits.
    pub(super) container: String,
}

/// All pods, the same in each run.
pub(super) fn pods() -> Vec<Pod> {
    let mut pods = Vec::new();
    for (number, of) in WORKLOADS.iter().enumerate() {
        for ((at, node), suffix) in of.on.iter().enumerate().zip(SUFFIXES) {
            let name = match of.kind {
                Kind::StatefulSet => format!("{}-{at}", of.name),
                Kind::DaemonSet => format!("{}-{suffix}", of.name),
                Kind::Deployment | Kind::CronJob => format!("{}-{}-{suffix}", of.name, of.hash),
            };
            let in_host = of.kind == Kind::DaemonSet;
            let Some(on) = NODES.get(*node) else { continue };
            let last = u8::try_from(10 + number).unwrap_or(u8::MAX);
            let address =
                if in_host { on.address() } else { Ipv4Addr::new(10, 244, on.number, last) };
            let id = pods.len() + 1;
            pods.push(Pod {
                of,
                name,
                node: *node,
                address,
                in_host,
                uid: format!("7ea0f0de-0000-4000-8000-{id:012x}"),
                container: format!("{:012x}{:052x}", 0x7ea0_0000_0000_u64 + id as u64, id),
            });
        }
    }
    pods
}

/// Where a workload, or somebody outside, listens.
fn places(pods: &[Pod], name: &str) -> Vec<SocketAddr> {
    let outside = |address: Ipv4Addr| vec![SocketAddr::from((address, OUTSIDE_PORT))];
    match name {
        "s3" => outside(S3),
        "payments" => outside(PAYMENTS),
        name => {
            let of = pods.iter().filter(|pod| pod.of.name == name);
            of.filter_map(|pod| Some(SocketAddr::from((pod.address, pod.of.port?)))).collect()
        }
    }
}

fn call(pods: &[Pod], calls: &Calls) -> Call {
    let Calls { to, per_request, bytes, sent } = *calls;
    let name = NAMES.iter().find(|(of, ..)| *of == to).map(|(_, name, _)| (*name).to_owned());
    Call { to: places(pods, to), name, from: Vec::new(), per_request, bytes, sent }
}

/// What a pod does. A job does it by itself; `pages` a second are asked for at the busiest hour.
pub(super) fn service_of(pods: &[Pod], pod: &Pod, pages: u32) -> Service {
    let of = pod.of;
    let job = Driver { peak: f64::from(pages) / 8.0, rhythm: Rhythm::Jobs };
    Service {
        listen: of.port.map(|port| SocketAddr::from((pod.address, port))).into_iter().collect(),
        think_ms: of.think_ms,
        calls: of.calls.iter().map(|calls| call(pods, calls)).collect(),
        driver: (of.kind == Kind::CronJob).then_some(job),
    }
}

/// What is outside: the payment provider, S3, and visitors.
pub(super) fn outside(pods: &[Pod], pages: u32) -> Vec<Service> {
    let serve = |name: &str, think_ms| Service {
        listen: places(pods, name),
        think_ms,
        calls: Vec::new(),
        driver: None,
    };
    let from = VISITORS.map(IpAddr::from).to_vec();
    let page = Call { from, ..call(pods, &ask("frontend", 1.0, 40_000)) };
    let visitors = Service {
        listen: Vec::new(),
        think_ms: 0,
        calls: vec![page],
        driver: Some(Driver { peak: pages.into(), rhythm: Rhythm::Visitors }),
    };
    vec![serve("payments", 40), serve("s3", 8), visitors]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn pods_are_told_apart_and_calls_lead_somewhere() {
        let pods = pods();
        assert_eq!(pods.len(), 15);
        let texts: [fn(&Pod) -> String; 4] = [
            |pod| pod.name.clone(),
            |pod| pod.uid.clone(),
            |pod| pod.container.clone(),
            |pod| pod.address.to_string(),
        ];
        for text in texts {
            assert_eq!(pods.iter().map(text).collect::<HashSet<_>>().len(), 15);
        }
        assert!(pods.iter().all(|pod| pod.container.len() == 64 && pod.uid.len() == 36));
        let services = pods.iter().map(|pod| service_of(&pods, pod, 20));
        let calls = services.chain(outside(&pods, 20)).flat_map(|service| service.calls);
        let mut empty = calls.filter(|call| call.to.is_empty());
        assert!(empty.next().is_none());
    }
}
