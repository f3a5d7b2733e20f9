//! The service map as Grafana's node graph takes it: two tables, for instance through the Infinity data source.

use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Number;
use super::map::{MapEdge, MapNode, ServiceMap};

/// A row of the table of nodes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GraphNode {
    id: String,
    title: String,
    subtitle: String,
    /// Bytes that it sent.
    mainstat: f64,
    /// Bytes that it received.
    secondarystat: f64,
    #[serde(rename = "detail__kind")]
    kind: &'static str,
    #[serde(rename = "detail__edges")]
    edges: usize,
}

/// A row of the table of edges.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GraphEdge {
    id: String,
    source: String,
    target: String,
    /// Bytes.
    mainstat: f64,
    /// Share of segments that were sent again.
    secondarystat: f64,
    /// How bad that is: `red`, `orange` or `gray`.
    color: &'static str,
    /// Of the line: by bytes.
    thickness: f64,
    #[serde(rename = "detail__timeouts")]
    timeouts: Option<Number>,
    #[serde(rename = "detail__rtt_p95_seconds")]
    rtt_p95: Option<Number>,
}

/// The service map for Grafana's node graph, without what it stands on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodeGraph {
    nodes: Vec<GraphNode>,
    edges: Vec<GraphEdge>,
}

impl NodeGraph {
    /// The same map.
    pub(crate) fn of(map: ServiceMap) -> Self {
        Self {
            nodes: map.nodes.into_iter().map(GraphNode::of).collect(),
            edges: map.edges.into_iter().map(GraphEdge::of).collect(),
        }
    }
}

impl GraphNode {
    fn of(node: MapNode) -> Self {
        let kind = || node.kind.to_owned();
        Self {
            subtitle: node.namespace.or(node.region).unwrap_or_else(kind),
            id: node.id,
            title: node.label,
            mainstat: node.tx_bytes as f64,
            secondarystat: node.rx_bytes as f64,
            kind: node.kind,
            edges: node.edges,
        }
    }
}

impl GraphEdge {
    fn of(edge: MapEdge) -> Self {
        let number = |name| edge.measures.get(name).map_or(0.0, Number::value);
        let (bytes, ratio) = (number("bytes"), number("retransmit_ratio"));
        Self {
            mainstat: bytes,
            secondarystat: ratio,
            color: if ratio >= 0.01 {
                "red"
            } else if ratio >= 0.001 {
                "orange"
            } else {
                "gray"
            },
            thickness: (1.0 + bytes.max(1.0).log10() / 3.0).round(),
            timeouts: edge.measures.get("timeouts"),
            rtt_p95: edge.measures.get("rtt_p95"),
            id: edge.id,
            source: edge.source,
            target: edge.target,
        }
    }
}
