//! The service map: workloads as nodes, conversations as edges.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use super::answer::{Number, measures_schema, text};
use super::gather::Gather;
use super::groups::{Group, Total};
use super::measure::{Input, Measure, Sums, named};
use super::question::{Question, View};
use super::table::{Order, Table};
use crate::error::Error;
use crate::flows::catalog::Period;
use crate::flows::tiers::Span;
use crate::promql::source::Selector;

/// What a node of the map is at most as small as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Namespace,
    Workload,
    Pod,
}

impl Level {
    /// All of them, by name.
    pub(crate) const ALL: [(&'static str, Self); 3] =
        [("namespace", Self::Namespace), ("workload", Self::Workload), ("pod", Self::Pod)];
}

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct MapQuestion {
    pub(crate) period: Period,
    pub(crate) selectors: Vec<Selector>,
    pub(crate) level: Level,
    /// Workloads, as `namespace/workload`, that are shown pod by pod.
    pub(crate) expand: BTreeSet<String>,
    /// Edges that are given, the largest first.
    pub(crate) limit: usize,
}

/// Measures of an edge. Quantiles come for the edges that are given.
const MEASURES: &str = "bytes,tx_bytes,rx_bytes,tx_packets,rx_packets,retransmits,retransmit_ratio,timeouts,connects,connect_failures,\
    resets,drops,rtt_avg,rtt_p50,rtt_p95,server_tx_packets,server_rx_packets,server_retransmits,server_timeouts,server_drops,server_tx_bytes,server_rx_bytes,lost_tx,lost_rx";

/// One end of an edge, and a node once it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Node<T = String> {
    kind: &'static str,
    /// Namespace, workload, kind of workload and pod; or service and region; or network.
    texts: [T; 4],
}

/// Number of a node.
type At = u32;

/// All nodes, each once.
#[derive(Default)]
struct Nodes {
    all: Vec<Node>,
    table: HashTable<At>,
    hasher: RandomState,
}

impl Nodes {
    fn number(&mut self, node: &Node<&str>) -> At {
        let (all, hasher) = (&self.all, &self.hasher);
        let hash_of = |kind: &str, texts: [&str; 4]| hasher.hash_one((kind, texts));
        let hash = hash_of(node.kind, node.texts);
        let get = |at: &At| all.get(*at as usize);
        let is = |at: &At| {
            get(at).is_some_and(|known| known.kind == node.kind && known.texts == node.texts)
        };
        if let Some(at) = self.table.find(hash, is) {
            return *at;
        }
        let at = At::try_from(all.len()).unwrap_or(At::MAX);
        let again = |at: &At| {
            get(at)
                .map_or(0, |known| hash_of(known.kind, known.texts.each_ref().map(String::as_str)))
        };
        self.table.insert_unique(hash, at, again);
        self.all.push(Node { kind: node.kind, texts: node.texts.map(str::to_owned) });
        at
    }

    fn get(&self, at: At) -> Option<&Node> {
        self.all.get(at as usize)
    }
}

impl Node {
    fn id(&self) -> String {
        let parts = self.texts.iter().filter(|text| !text.is_empty());
        let parts: Vec<&str> = parts.map(String::as_str).collect();
        format!("{}:{}", self.kind, parts.join("/"))
    }

    fn label(&self) -> &str {
        let [namespace, workload, _, pod] = &self.texts;
        let nonempty = [pod, workload, namespace].into_iter().find(|text| !text.is_empty());
        match self.kind {
            "external" if namespace.is_empty() => "internet",
            "cloud" => namespace,
            _ => nonempty.map_or("unknown", String::as_str),
        }
    }
}

/// Places of the labels that an edge is grouped by.
const BY: &str = "namespace,workload,workload_kind,peer_namespace,peer_workload,peer_workload_kind,peer_scope,protocol,crossing";
const OUTSIDE: &str = "namespace,workload,workload_kind,role,peer_scope,peer_cloud_service,peer_region,peer_network,protocol,crossing";

/// Groups of one pair of nodes.
#[derive(Default)]
struct Edge {
    groups: Vec<usize>,
    protocols: BTreeSet<String>,
    crossing: BTreeMap<String, i64>,
    bytes: i64,
}

/// A node of the map: a namespace, a workload, a pod, a host, a service of a cloud or a network.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MapNode {
    pub(super) id: String,
    pub(super) kind: &'static str,
    pub(super) label: String,
    pub(super) namespace: Option<String>,
    workload: Option<String>,
    workload_kind: Option<String>,
    pod: Option<String>,
    cloud_service: Option<String>,
    pub(super) region: Option<String>,
    network: Option<String>,
    /// That it sent over the edges that are given.
    pub(super) tx_bytes: i64,
    /// That it received over the edges that are given.
    pub(super) rx_bytes: i64,
    /// Edges of it that are given.
    pub(super) edges: usize,
}

/// The measures of an edge, by name; null where they are not known.
#[derive(Debug, Serialize)]
pub(crate) struct EdgeMeasures(BTreeMap<&'static str, Option<Number>>);

impl PartialSchema for EdgeMeasures {
    fn schema() -> RefOr<Schema> {
        measures_schema(MEASURES.split(',').filter_map(named))
    }
}

impl ToSchema for EdgeMeasures {}

impl EdgeMeasures {
    pub(super) fn get(&self, name: &str) -> Option<Number> {
        self.0.get(name).copied().flatten()
    }
}

/// An edge of the map. Its bytes are told from the end that is measured.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MapEdge {
    pub(super) id: String,
    /// The node of the client.
    pub(super) source: String,
    /// The node of the server.
    pub(super) target: String,
    /// Bytes by how far they went: `same-zone`, `cross-zone` and so on.
    crossing: BTreeMap<String, i64>,
    protocols: BTreeSet<String>,
    #[serde(flatten)]
    pub(super) measures: EdgeMeasures,
}

/// Edges beyond the limit.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Hidden {
    edges: usize,
    bytes: i64,
}

/// The service map as the API gives it, without what it stands on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServiceMap {
    pub(super) nodes: Vec<MapNode>,
    /// The largest first.
    pub(super) edges: Vec<MapEdge>,
    hidden: Hidden,
}

/// The map of a period.
pub(crate) struct Map {
    pub(crate) answer: ServiceMap,
    pub(crate) spans: Vec<Span>,
    pub(crate) notes: BTreeSet<String>,
}

/// Asks, and puts groups together to edges.
///
/// # Errors
/// A query fails.
pub(crate) async fn map(gather: &Gather<'_>, asked: &MapQuestion) -> Result<Map, Error> {
    let pods = asked.level == Level::Pod || !asked.expand.is_empty();
    let by =
        |usual: &str, own: &str| if pods { format!("{usual},{own}") } else { usual.to_owned() };
    let ask = |view: View, by: String| -> Result<Question, Error> {
        let selectors = asked.selectors.clone();
        let measures = match view {
            View::Cluster => MEASURES.to_owned(),
            _ => MEASURES.split(',').filter(|name| !is_of_both(name)).collect::<Vec<_>>().join(","),
        };
        Question::new(view, asked.period, selectors, Some(&by), Some(&measures))
    };
    let inside = ask(View::Cluster, by(BY, "pod,peer_pod"))?;
    let mut tables = vec![table(gather, inside).await?];
    for view in [View::Cloud, View::External] {
        tables.push(table(gather, ask(view, by(OUTSIDE, "pod"))?).await?);
    }
    // Largest first: edges of all tables, of which so many are given.
    let mut found = Nodes::default();
    let mut edges: HashMap<(usize, At, At), Edge, RandomState> = HashMap::default();
    let bytes = named("bytes");
    for (number, table) in tables.iter().enumerate() {
        gather.stop.check()?;
        let place = |name: &str| table.question.by.iter().position(|label| *label == name);
        let (protocol, crossing) = (place("protocol"), place("crossing"));
        for group in table.groups().all() {
            let (source, target) = ends(&table.question, group, asked);
            let (source, target) = (found.number(&source), found.number(&target));
            let edge = edges.entry((number, source, target)).or_default();
            let of = |place: Option<usize>| place.map_or("", |place| group.label(place));
            let sent = bytes.and_then(|bytes| bytes.whole(&group)).unwrap_or(0);
            edge.groups.push(group.number());
            edge.bytes = edge.bytes.saturating_add(sent);
            if !edge.protocols.contains(of(protocol)) {
                edge.protocols.insert(of(protocol).to_owned());
            }
            match (of(crossing), edge.crossing.get_mut(of(crossing))) {
                ("", _) => {}
                (_, Some(sum)) => *sum = sum.saturating_add(sent),
                (new, None) => {
                    edge.crossing.insert(new.to_owned(), sent);
                }
            }
        }
    }
    let mut edges: Vec<_> = edges.into_iter().collect();
    let ends_of =
        |(number, source, target): (usize, At, At)| (number, found.get(source), found.get(target));
    edges.sort_by(|a, b| b.1.bytes.cmp(&a.1.bytes).then_with(|| ends_of(a.0).cmp(&ends_of(b.0))));
    let hidden = edges.split_off(asked.limit.min(edges.len()));
    // Histograms are large, and wanted for the edges that are given alone.
    for (number, table) in tables.iter_mut().enumerate() {
        let of_table = || edges.iter().filter(|((of, ..), _)| *of == number).map(|(_, edge)| edge);
        let groups: Vec<usize> = of_table().flat_map(|edge| &edge.groups).copied().collect();
        // Those of an edge are added up in its first group.
        let first = |edge: &Edge| edge.groups.first().copied().unwrap_or(0);
        let of_edge =
            |edge: &'_ Edge| edge.groups.iter().map(|g| (*g, first(edge))).collect::<Vec<_>>();
        let into = of_table().flat_map(of_edge).collect();
        table.count(gather, &groups, into).await?;
    }
    let mut nodes: BTreeMap<&Node, (i64, i64, usize)> = BTreeMap::new();
    let mut given = Vec::with_capacity(edges.len());
    for ((number, source, target), edge) in &edges {
        let ends = found.get(*source).zip(found.get(*target));
        let Some((table, (source, target))) = tables.get(*number).zip(ends) else { continue };
        gather.stop.check()?;
        let total = table.groups().total_of(edge.groups.iter().copied());
        let sum = |name| total.get(Input::Sum(name)).unwrap_or(0);
        let (sent, received) = (sum("tx_bytes"), sum("rx_bytes"));
        // Bytes are told from the row's own end, which is the target of an edge that comes from outside.
        let is_inward = source.kind == "external" || source.kind == "cloud";
        let (out, back) = if is_inward { (received, sent) } else { (sent, received) };
        for (node, out, back) in [(source, out, back), (target, back, out)] {
            let entry = nodes.entry(node).or_default();
            entry.0 = entry.0.saturating_add(out);
            entry.1 = entry.1.saturating_add(back);
            entry.2 += 1;
        }
        given.push(edge_answer(&table.question.measures, source, target, edge, &total));
    }
    let nodes = nodes.iter().map(|(node, sums)| node_answer(node, *sums)).collect();
    let hidden_bytes: i64 = hidden.iter().map(|(_, edge)| edge.bytes).sum();
    let mut notes = BTreeSet::new();
    let mut spans = Vec::new();
    for table in tables {
        notes.extend(table.notes);
        for span in table.spans {
            if !spans.contains(&span) {
                spans.push(span);
            }
        }
    }
    let hidden = Hidden { edges: hidden.len(), bytes: hidden_bytes };
    let answer = ServiceMap { nodes, edges: given, hidden };
    Ok(Map { answer, spans, notes })
}

fn is_of_both(name: &str) -> bool {
    named(name).is_some_and(Measure::is_of_both)
}

/// All groups: edges are put together from several.
async fn table(gather: &Gather<'_>, question: Question) -> Result<Table, Error> {
    let order = Order::usual(&question);
    Table::sums(gather, question, order, &[]).await
}

fn label<'a>(question: &Question, group: Group<'a>, name: &str) -> &'a str {
    let at = question.by.iter().position(|label| *label == name);
    at.map_or("", |at| group.label(at))
}

/// The node of an end that is a workload, as large as it is asked for.
fn workload<'a>(texts: [&'a str; 4], asked: &MapQuestion) -> Node<&'a str> {
    let [namespace, workload, kind, pod] = texts;
    if asked.level == Level::Namespace && !namespace.is_empty() {
        return Node { kind: "namespace", texts: [namespace, "", "", ""] };
    }
    let is_expanded = || asked.expand.contains(&format!("{namespace}/{workload}"));
    if !pod.is_empty() && (asked.level == Level::Pod || is_expanded()) {
        return Node { kind: "pod", texts };
    }
    let is_node = kind == "Node";
    Node { kind: if is_node { "node" } else { "workload" }, texts: [namespace, workload, kind, ""] }
}

/// Client and server of a group.
fn ends<'a>(
    question: &Question,
    group: Group<'a>,
    asked: &MapQuestion,
) -> (Node<&'a str>, Node<&'a str>) {
    let of = |name: &str| label(question, group, name);
    let own = workload([of("namespace"), of("workload"), of("workload_kind"), of("pod")], asked);
    let peer = match question.view {
        View::Cloud => {
            Node { kind: "cloud", texts: [of("peer_cloud_service"), of("peer_region"), "", ""] }
        }
        View::External => Node { kind: "external", texts: [of("peer_network"), "", "", ""] },
        _ => workload(
            [of("peer_namespace"), of("peer_workload"), of("peer_workload_kind"), of("peer_pod")],
            asked,
        ),
    };
    if of("role") == "server" { (peer, own) } else { (own, peer) }
}

fn node_answer(node: &Node, (sent, received, edges): (i64, i64, usize)) -> MapNode {
    let [first, second, third, pod] = &node.texts;
    let is_cloud = node.kind == "cloud";
    let is_external = node.kind == "external";
    let only = |wanted: bool, part: &str| if wanted { text(part) } else { None };
    let of_workload = |part: &str| only(!is_cloud && !is_external, part);
    MapNode {
        id: node.id(),
        kind: node.kind,
        label: node.label().to_owned(),
        namespace: of_workload(first),
        workload: of_workload(second),
        workload_kind: of_workload(third),
        pod: of_workload(pod),
        cloud_service: only(is_cloud, first),
        region: only(is_cloud, second),
        network: only(is_external, first),
        tx_bytes: sent,
        rx_bytes: received,
        edges,
    }
}

fn edge_answer(
    measures: &[&'static Measure],
    source: &Node,
    target: &Node,
    edge: &Edge,
    total: &Total,
) -> MapEdge {
    let (source, target) = (source.id(), target.id());
    let none = MEASURES.split(',').map(|name| (name, None));
    let known = measures.iter().map(|measure| (measure.name, measure.number(total)));
    let mut measures: BTreeMap<_, _> = none.chain(known).collect();
    // Nothing where the server's end alone has told of it; its own numbers stand beside.
    measures.insert("bytes", Some(Number::Whole(edge.bytes)));
    MapEdge {
        id: format!("{source}>{target}"),
        source,
        target,
        crossing: edge.crossing.clone(),
        protocols: edge.protocols.clone(),
        measures: EdgeMeasures(measures),
    }
}
