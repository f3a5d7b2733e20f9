/** Which pod of either end has more of a trouble than of the traffic. */
import type { Cell, FlowTable } from "../../api/flows.ts";

export interface Pair {
  client: string | null;
  server: string | null;
  of(measure: string): number | null;
}

export function pairsOf(table: FlowTable, turned: boolean): Pair[] {
  const at = new Map(table.columns.map((column, i) => [column.name, i]));
  const cell = (row: Cell[], name: string): Cell => row[at.get(name) ?? -1] ?? null;
  const text = (value: Cell) => (value === null || value === "" ? null : String(value));
  return table.rows.map((row) => {
    const near = text(cell(row, "pod"));
    const far = text(cell(row, "peer_pod"));
    return {
      client: turned ? far : near,
      server: turned ? near : far,
      of: (measure) => {
        const value = cell(row, measure);
        return typeof value === "number" ? value : null;
      },
    };
  });
}

/** Segments sent again by both ends. */
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
  /** Of all segments sent again, and of all segments sent. */
  trouble: number;
  traffic: number;
}

/** Fewer segments sent again than this say nothing about any pod. */
const ENOUGH = 20;

/** The pod whose share of the trouble is most beyond its share of the traffic: at least twice, and half of all. */
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
        best = { end, pod, trouble, traffic };
    }
  }
  return best;
}
