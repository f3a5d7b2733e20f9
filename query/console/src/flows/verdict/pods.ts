/** Which pod of either end has more of a trouble than of the traffic. */
import type { Cell, FlowTable } from "../../api/flows.ts";

export interface Pair {
  client: string | null;
  server: string | null;
  clientNode: string | null;
  serverNode: string | null;
  of(measure: string): number | null;
}

export function pairsOf(table: FlowTable, turned: boolean): Pair[] {
  const at = new Map(table.columns.map((column, i) => [column.name, i]));
  const cell = (row: Cell[], name: string): Cell => row[at.get(name) ?? -1] ?? null;
  const text = (value: Cell) => (value === null || value === "" ? null : String(value));
  return table.rows.map((row) => {
    const near = text(cell(row, "pod"));
    const far = text(cell(row, "peer_pod"));
    const nearNode = text(cell(row, "node"));
    const farNode = text(cell(row, "peer_node"));
    return {
      client: turned ? far : near,
      server: turned ? near : far,
      clientNode: turned ? farNode : nearNode,
      serverNode: turned ? nearNode : farNode,
      of: (measure) => {
        const value = cell(row, measure);
        return typeof value === "number" ? value : null;
      },
    };
  });
}

/** Retransmits of both ends. */
export function again(pair: Pair): number {
  return (pair.of("retransmits") ?? 0) + (pair.of("server_retransmits") ?? 0);
}

export function sent(pair: Pair): number {
  return (pair.of("tx_packets") ?? 0) + (pair.of("server_tx_packets") ?? 0);
}

/** Of the two ends the worse one's. */
export function pairRatio(pair: Pair): number | null {
  const part = (count: number | null, of: number | null) =>
    count === null || of === null || of <= 0 ? null : count / of;
  const client = part(pair.of("retransmits"), pair.of("tx_packets"));
  const server = part(pair.of("server_retransmits"), pair.of("server_tx_packets"));
  return client === null ? server : server === null ? client : Math.max(client, server);
}

export interface Finding {
  end: "client" | "server";
  pod: string;
  /** Where it runs. */
  node: string | null;
  /** Of all retransmits, and of all segments sent. */
  trouble: number;
  traffic: number;
}

/** Fewer retransmits than this say nothing about any pod. */
const ENOUGH = 20;

/** The pod whose share of the trouble is most beyond its share of the traffic: half as much again, and half of all. */
export function finding(pairs: readonly Pair[]): Finding | null {
  const whole = pairs.reduce((sum, pair) => sum + again(pair), 0);
  const packets = pairs.reduce((sum, pair) => sum + sent(pair), 0);
  if (whole < ENOUGH || packets === 0) return null;
  let best: Finding | null = null;
  for (const end of ["server", "client"] as const) {
    const pods = new Set(pairs.flatMap((pair) => pair[end] ?? []));
    if (pods.size < 2) continue;
    for (const pod of pods) {
      const own = pairs.filter((pair) => pair[end] === pod);
      const trouble = own.reduce((sum, pair) => sum + again(pair), 0) / whole;
      const traffic = own.reduce((sum, pair) => sum + sent(pair), 0) / packets;
      if (trouble < 0.5 || trouble < 1.5 * traffic) continue;
      if (best === null || trouble - traffic > best.trouble - best.traffic)
        best = { end, pod, node: own[0]?.[`${end}Node`] ?? null, trouble, traffic };
    }
  }
  return best;
}

/** Drops by the node whose kernel they were counted at, the most first: those of what an end sent are its node's. */
export function dropsByNode(pairs: readonly Pair[]): [string, number][] {
  const by = new Map<string, number>();
  for (const pair of pairs) {
    for (const [node, measure] of [
      [pair.clientNode, "drops"],
      [pair.serverNode, "server_drops"],
    ] as const) {
      const drops = pair.of(measure) ?? 0;
      if (node !== null && drops > 0) by.set(node, (by.get(node) ?? 0) + drops);
    }
  }
  return [...by].sort((a, b) => b[1] - a[1]);
}
