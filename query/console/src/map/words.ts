/** The map in words. */
import { quantity } from "../format/numbers.ts";
import type { MapNode } from "./answer.ts";
import { hottest, type Edge, type Graph } from "./graph.ts";
import { written, type Measure } from "./measures.ts";

export function nodeName(node: MapNode): string {
  const own = node.kind === "cloud" && node.region !== null ? `${node.label} ${node.region}` : node.label;
  return node.namespace === null || node.kind === "namespace" ? own : `${node.namespace}/${own}`;
}

export function onNode(graph: Graph, node: number): string {
  const { at, edges } = graph.nodes[node]!;
  const calls = edges.filter((i) => graph.edges[i]!.source === node).length;
  return (
    `${nodeName(at)}, ${at.workload_kind ?? at.kind}: sent ${quantity(at.tx_bytes, "bytes")}, received ` +
    `${quantity(at.rx_bytes, "bytes")}, client of ${calls}, server of ${edges.length - calls}`
  );
}

export function onEdge(graph: Graph, edge: Edge): string {
  return `${nodeName(graph.nodes[edge.source]!.at)} → ${nodeName(graph.nodes[edge.target]!.at)}`;
}

export function summaryOf(graph: Graph, measure: Measure): string {
  const high = graph.edges.filter((edge) => edge.grade === "high").length;
  const worst = hottest(graph, 1)[0];
  const told =
    worst && worst.grade !== "calm"
      ? `; ${high} with a high ${measure.name.toLowerCase()}, worst ${onEdge(graph, worst)} with ${written(measure, worst.value)}`
      : `; none with a raised ${measure.name.toLowerCase()}`;
  return `Service map: ${graph.nodes.length} nodes, ${graph.edges.length} connections, ${graph.drawn.edges} drawn${told}`;
}
