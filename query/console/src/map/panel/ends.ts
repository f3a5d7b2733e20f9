/** The rows of flows that an edge or a node stands for. */
import type { FlowView } from "../../api/flows.ts";
import type { Filter } from "../../state/filters.ts";
import type { MapNode } from "../answer.ts";
import { isOutside } from "../graph.ts";

const is = (field: string, value: string | null): Filter => ({ field, operator: "=", value: value ?? "" });

function inside(node: MapNode, prefix: "" | "peer_" | "either_"): Filter[] {
  const namespace = is(`${prefix}namespace`, node.namespace);
  if (node.kind === "namespace") return [namespace];
  const workload = [namespace, is(`${prefix}workload`, node.workload)];
  return node.kind === "pod" ? [...workload, is(`${prefix}pod`, node.pod)] : workload;
}

function outside(node: MapNode): Filter[] {
  if (node.kind === "external") return [is("peer_network", node.network)];
  return [is("peer_cloud_service", node.cloud_service), is("peer_region", node.region)];
}

/** How `/api/v1/flows` is asked for the conversations of an edge; the local end is the one that was measured. */
export function rowsOf(
  source: MapNode,
  target: MapNode,
): { view: FlowView; filters: Filter[]; turned: boolean } {
  if (isOutside(source)) {
    const filters = [...inside(target, ""), ...outside(source), is("role", "server")];
    return { view: source.kind === "cloud" ? "cloud" : "external", filters, turned: true };
  }
  if (isOutside(target)) {
    const role: Filter = { field: "role", operator: "!=", value: "server" };
    const filters = [...inside(source, ""), ...outside(target), role];
    return { view: target.kind === "cloud" ? "cloud" : "external", filters, turned: false };
  }
  return { view: "cluster", filters: [...inside(source, ""), ...inside(target, "peer_")], turned: false };
}

/** The table of all that a node has a part in. */
export function rowsOfNode(node: MapNode): { view: FlowView; filters: Filter[] } {
  if (node.kind === "cloud" || node.kind === "external") {
    return { view: node.kind, filters: outside(node) };
  }
  return { view: "all", filters: inside(node, "either_") };
}
