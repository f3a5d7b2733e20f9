/** The part of an answer that the state of the map shows: pure, so that the picture and the list agree. */
import type { MapAnswer, MapEdge, MapNode } from "./answer.ts";
import { crossing, grade, type Grade } from "./measures.ts";
import type { MapState } from "./state.ts";

/** Name of the box of what runs on hosts outside of any namespace. */
export const HOSTS = "hosts";

/** Above this many edges the small ones are left out unless the user says otherwise. */
const READABLE = 300;

export interface Node {
  at: MapNode;
  /** Namespace that it is drawn in; null for cloud and external peers. */
  box: string | null;
  /** `namespace/workload`: pods of one workload stay together. */
  cell: string;
  /** Edges of it, shown or not, by index. */
  edges: number[];
}

export interface Edge {
  at: MapEdge;
  source: number;
  target: number;
  value: number | null;
  grade: Grade;
  crossing: { kind: "zone" | "region"; share: number } | null;
  /** Of the bytes of all edges of the graph. */
  share: number;
  /** Whether it is drawn: large enough, or of a grade above calm. */
  drawn: boolean;
}

export interface Graph {
  nodes: Node[];
  edges: Edge[];
  seconds: number;
  byId: Map<string, number>;
  /** All namespaces of the answer, hidden or not. */
  namespaces: string[];
  bytes: number;
  /** Share of bytes below which edges are not drawn. */
  threshold: number;
  drawn: { edges: number; bytes: number };
}

export function isOutside(node: MapNode): boolean {
  return node.kind === "cloud" || node.kind === "external";
}

export function boxOf(node: MapNode): string | null {
  return isOutside(node) ? null : (node.namespace ?? HOSTS);
}

/** What `expand` takes; null for what has no pods. */
export function expandable(node: MapNode): string | null {
  if (node.kind !== "workload" && node.kind !== "pod") return null;
  return node.namespace === null || node.workload === null ? null : `${node.namespace}/${node.workload}`;
}

export function graphOf(answer: MapAnswer, state: MapState): Graph {
  const known = new Map(answer.nodes.map((node) => [node.id, node]));
  const hidden = new Set(state.hide);
  const left = new Set(answer.nodes.filter((n) => !hidden.has(boxOf(n) ?? "")).map((n) => n.id));
  let links = answer.edges.filter((edge) => left.has(edge.source) && left.has(edge.target));
  // What only talks to what is hidden has nothing to say.
  let wanted = touched(links);
  if (hidden.size === 0) for (const id of left) wanted.add(id);

  const center = state.focus === null ? [] : centers(answer, state.focus).filter((id) => left.has(id));
  if (center.length > 0) {
    wanted = within(links, center, state.hops);
    links = links.filter((edge) => wanted.has(edge.source) && wanted.has(edge.target));
  }

  // By id: the picture may not depend on the order of the answer, which is by bytes.
  const ids = [...wanted].filter((id) => known.has(id)).sort();
  const byId = new Map(ids.map((id, i) => [id, i]));
  const nodes = ids.map((id): Node => {
    const at = known.get(id)!;
    return { at, box: boxOf(at), cell: expandable(at) ?? id, edges: [] };
  });
  const bytes = links.reduce((sum, edge) => sum + edge.bytes, 0);
  const threshold = state.share ?? readable(links, bytes);
  const drawn = { edges: 0, bytes: 0 };
  const edges = links
    .filter((edge) => byId.has(edge.source) && byId.has(edge.target))
    .sort((a, b) => compare(a.source, b.source) || compare(a.target, b.target))
    .map((at, i): Edge => {
      const source = byId.get(at.source)!;
      const target = byId.get(at.target)!;
      nodes[source]!.edges.push(i);
      if (source !== target) nodes[target]!.edges.push(i);
      const outside = nodes[source]!.box === null || nodes[target]!.box === null;
      const share = bytes > 0 ? at.bytes / bytes : 0;
      const graded = grade(state.measure, at, answer.seconds, outside);
      const edge: Edge = {
        at,
        source,
        target,
        value: state.measure.value(at, answer.seconds),
        grade: graded,
        crossing: crossing(at),
        share,
        drawn: share >= threshold || graded === "raised" || graded === "high",
      };
      if (edge.drawn) {
        drawn.edges += 1;
        drawn.bytes += at.bytes;
      }
      return edge;
    });
  const namespaces = [...new Set(answer.nodes.flatMap((node) => boxOf(node) ?? []))].sort(compare);
  return { nodes, edges, seconds: answer.seconds, byId, namespaces, bytes, threshold, drawn };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function touched(links: readonly MapEdge[]): Set<string> {
  return new Set(links.flatMap((edge) => [edge.source, edge.target]));
}

/** The node, or the pods of the workload that the focus is on once that is expanded. */
function centers(answer: MapAnswer, focus: string): string[] {
  if (answer.nodes.some((node) => node.id === focus)) return [focus];
  return answer.nodes.filter((node) => expandable(node) === focus).map((node) => node.id);
}

/** Nodes that are at most so many edges away, whichever way those lead. */
export function within(links: readonly MapEdge[], from: readonly string[], hops: number): Set<string> {
  const next = new Map<string, string[]>();
  const join = (a: string, b: string) => {
    const known = next.get(a);
    if (known) known.push(b);
    else next.set(a, [b]);
  };
  for (const { source, target } of links) {
    join(source, target);
    join(target, source);
  }
  const reached = new Set(from);
  let edge = [...from];
  for (let hop = 0; hop < hops; hop++) {
    edge = edge.flatMap((id) => next.get(id) ?? []).filter((id) => !reached.has(id) && reached.add(id));
  }
  return reached;
}

/** The share at which about as many edges remain as can be told apart. */
function readable(links: readonly MapEdge[], bytes: number): number {
  if (links.length <= READABLE || bytes <= 0) return 0;
  const sizes = links.map((edge) => edge.bytes).sort((a, b) => b - a);
  return (sizes[READABLE - 1] ?? 0) / bytes;
}

/** Edges whose measure is raised or high, the worst first; then by bytes. */
export function hottest(graph: Graph, most: number): Edge[] {
  const rank = { high: 3, raised: 2, calm: 1, unknown: 0 };
  return graph.edges
    .filter((edge) => (edge.value ?? 0) > 0)
    .sort(
      (a, b) => rank[b.grade] - rank[a.grade] || (b.value ?? 0) - (a.value ?? 0) || b.at.bytes - a.at.bytes,
    )
    .slice(0, most);
}

export function edgeBetween(graph: Graph, source: string, target: string): Edge | null {
  const from = graph.byId.get(source);
  const to = graph.byId.get(target);
  if (from === undefined || to === undefined) return null;
  const found = graph.nodes[from]!.edges.find(
    (i) => graph.edges[i]!.source === from && graph.edges[i]!.target === to,
  );
  return found === undefined ? null : graph.edges[found]!;
}

/** Whether a node is what was searched for. */
export function matches(node: MapNode, find: string): boolean {
  const text = `${node.namespace ?? ""}/${node.label} ${node.pod ?? ""}`.toLowerCase();
  return find
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}
