import { describe, expect, it } from "vitest";
import type { MapAnswer, MapEdge, MapNode } from "./answer.ts";
import { edgeBetween, graphOf, hottest, within } from "./graph.ts";
import { MEASURES, crossing, grade, retransmitRatio } from "./measures.ts";
import { rowsOf } from "./panel/ends.ts";
import { finding, pairsOf } from "../flows/verdict/pods.ts";
import { changed } from "../state/location.ts";
import { readState, writeState, type MapState } from "./state.ts";

const node = (id: string, more: Partial<MapNode> = {}): MapNode => ({
  id,
  kind: "workload",
  namespace: "shop",
  workload: id,
  workload_kind: "Deployment",
  pod: null,
  cloud_service: null,
  region: null,
  network: null,
  label: id,
  tx_bytes: 1,
  rx_bytes: 1,
  edges: 1,
  ...more,
});
const edge = (source: string, target: string, bytes: number, more: Partial<MapEdge> = {}): MapEdge => ({
  id: `${source} ${target}`,
  source,
  target,
  bytes,
  tx_bytes: bytes,
  rx_bytes: 0,
  tx_packets: 1000,
  rx_packets: 1000,
  retransmits: 0,
  retransmit_ratio: 0,
  server_tx_packets: null,
  server_rx_packets: null,
  server_retransmits: null,
  timeouts: 0,
  server_timeouts: null,
  drops: 0,
  server_drops: null,
  resets: 0,
  connects: 10,
  connect_failures: 0,
  lost_tx: null,
  lost_rx: null,
  rtt_p50: 0.001,
  rtt_p95: 0.002,
  crossing: {},
  protocols: ["tcp"],
  ...more,
});
const net = node("internet", { kind: "external", namespace: null, workload: null });
const answer: MapAnswer = {
  start: 0,
  end: 3600,
  seconds: 3600,
  nodes: [node("a"), node("b"), node("c"), node("d", { namespace: "ops" }), net],
  edges: [
    edge("a", "b", 9000),
    edge("b", "c", 990, { retransmits: 0, server_retransmits: 30, server_tx_packets: 1000 }),
    edge("d", "a", 1),
    edge("internet", "a", 9),
  ],
  hidden: { edges: 0, bytes: 0 },
  notes: [],
  tiers: [],
  completeness: null,
};
const plain = readState(new URLSearchParams());

describe("links", () => {
  it("keep all of the state", () => {
    const all: MapState = {
      measure: MEASURES[2]!,
      focus: "workload:shop/orders",
      hops: 3,
      expand: ["shop/orders", "shop/a b&c"],
      hide: ["kube-system"],
      share: 0.0012,
      selection: { kind: "edge", source: "workload:shop/a", target: "external:x y" },
      find: "ord",
      show: "list",
    };
    expect(readState(changed(new URLSearchParams("from=now-6h"), writeState(all)))).toEqual(all);
    expect(readState(changed(changed(new URLSearchParams(), writeState(all)), writeState(plain)))).toEqual(
      plain,
    );
  });

  it("leave out what is as usual, and ignore what makes no sense", () => {
    expect(changed(new URLSearchParams(), writeState(plain)).toString()).toBe("");
    expect(readState(new URLSearchParams("hops=99&share=x&colour=no&edge=a&show=no"))).toEqual(plain);
  });
});

describe("graph", () => {
  it("is the same whatever the order of the answer", () => {
    const turned = { ...answer, nodes: [...answer.nodes].reverse(), edges: [...answer.edges].reverse() };
    expect(graphOf(turned, plain)).toEqual(graphOf(answer, plain));
  });

  it("leaves out small edges, but none that is raised", () => {
    const graph = graphOf(answer, { ...plain, share: 0.5 });
    expect(graph.edges.filter((one) => one.drawn).map((one) => one.at.id)).toEqual(["a b", "b c"]);
    expect(graph.drawn).toEqual({ edges: 2, bytes: 9990 });
  });

  it("keeps within hops of the focus, and hides namespaces", () => {
    const ids = (state: Partial<MapState>) =>
      graphOf(answer, { ...plain, ...state }).nodes.map((one) => one.at.id);
    expect(ids({ focus: "c" })).toEqual(["b", "c"]);
    expect(ids({ focus: "c", hops: 2 })).toEqual(["a", "b", "c"]);
    expect(ids({ hide: ["ops"] })).toEqual(["a", "b", "c", "internet"]);
    expect([...within(answer.edges, ["d"], 1)].sort()).toEqual(["a", "d"]);
  });

  it("draws as many edges of a large map as can be read", () => {
    const nodes = Array.from({ length: 40 }, (_, i) => node(`n${i}`));
    const edges = nodes.flatMap((a, i) =>
      nodes.filter((b) => a !== b).map((b, j) => edge(a.id, b.id, 1 + i * 40 + j)),
    );
    const graph = graphOf({ ...answer, nodes, edges }, plain);
    expect(graph.drawn.edges).toBe(300);
    expect(graphOf({ ...answer, nodes, edges }, { ...plain, share: 0 }).drawn.edges).toBe(edges.length);
  });

  it("names the worst first", () => {
    const graph = graphOf(answer, plain);
    expect(hottest(graph, 5).map((one) => one.at.id)).toEqual(["b c"]);
    expect(edgeBetween(graph, "b", "c")?.grade).toBe("high");
    expect(edgeBetween(graph, "c", "b")).toBeNull();
  });
});

describe("measures", () => {
  it("take the worse end", () => {
    expect(retransmitRatio(answer.edges[1]!)).toBe(0.03);
    expect(retransmitRatio(edge("a", "b", 1, { retransmit_ratio: null }))).toBeNull();
  });

  it("call nothing raised on a handful of segments", () => {
    const few = edge("a", "b", 1, { tx_packets: 20, retransmits: 1, retransmit_ratio: 0.05 });
    expect(grade(MEASURES[0]!, few, 60, false)).toBe("calm");
    expect(grade(MEASURES[0]!, edge("a", "b", 1, { retransmit_ratio: null }), 60, false)).toBe("unknown");
  });

  it("tell the farthest crossing", () => {
    expect(crossing(edge("a", "b", 100, { crossing: { "same-zone": 60, "cross-zone": 40 } }))).toEqual({
      kind: "zone",
      share: 0.4,
    });
    expect(crossing(edge("a", "b", 100, { crossing: { "cross-zone": 5 } }))).toBeNull();
  });
});

describe("panel", () => {
  it("asks the end that was measured", () => {
    expect(rowsOf(node("a"), net)).toMatchObject({ view: "external", turned: false });
    const inward = rowsOf(net, node("a"));
    expect(inward).toMatchObject({ view: "external", turned: true });
    expect(inward.filters).toContainEqual({ field: "workload", operator: "=", value: "a" });
    expect(inward.filters).toContainEqual({ field: "role", operator: "=", value: "server" });
  });

  it("finds the pod that the trouble is about", () => {
    const columns = ["pod", "peer_pod", "tx_packets", "retransmits"].map((name) => ({
      name,
      kind: "measure" as const,
      unit: "" as const,
    }));
    const row = (client: string, server: string, again: number) => [client, server, 1000, again];
    const rows = [row("o1", "p1", 0), row("o1", "p2", 40), row("o2", "p1", 1), row("o2", "p2", 38)];
    const table = { columns, rows } as unknown as Parameters<typeof pairsOf>[0];
    expect(finding(pairsOf(table, false))).toMatchObject({ end: "server", pod: "p2", traffic: 0.5 });
    expect(finding(pairsOf(table, true))).toMatchObject({ end: "client", pod: "p2" });
    const even = { columns, rows: rows.map((one) => row(String(one[0]), String(one[1]), 20)) };
    expect(finding(pairsOf(even as unknown as Parameters<typeof pairsOf>[0], false))).toBeNull();
  });
});
