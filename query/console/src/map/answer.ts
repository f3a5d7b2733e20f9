/** What the server knows of who talks to whom (`/api/v1/service-map`). */
import { ask } from "../api/client.ts";
import type { Range } from "../state/time.ts";

export type NodeKind = "namespace" | "workload" | "pod" | "node" | "cloud" | "external";

export interface MapNode {
  id: string;
  kind: NodeKind;
  namespace: string | null;
  workload: string | null;
  workload_kind: string | null;
  pod: string | null;
  cloud_service: string | null;
  region: string | null;
  /** Name that the user gave to the network of an external peer. */
  network: string | null;
  label: string;
  tx_bytes: number;
  rx_bytes: number;
  edges: number;
}

/** The client is the source. What only one end can know is null where that end is not measured. */
export interface MapEdge {
  id: string;
  source: string;
  target: string;
  bytes: number;
  tx_bytes: number;
  rx_bytes: number;
  tx_packets: number | null;
  rx_packets: number | null;
  retransmits: number | null;
  retransmit_ratio: number | null;
  server_tx_packets: number | null;
  server_rx_packets: number | null;
  server_retransmits: number | null;
  timeouts: number | null;
  server_timeouts: number | null;
  /** Packets that the kernel of the client's, of the server's node dropped. */
  drops: number | null;
  server_drops: number | null;
  resets: number | null;
  connects: number | null;
  connect_failures: number | null;
  lost_tx: number | null;
  lost_rx: number | null;
  /** Seconds. */
  rtt_p50: number | null;
  rtt_p95: number | null;
  /** Bytes by how far apart the ends are. */
  crossing: Record<string, number>;
  protocols: string[];
}

export interface MapAnswer {
  start: number;
  end: number;
  seconds: number;
  nodes: MapNode[];
  edges: MapEdge[];
  /** What the limit on edges left out. */
  hidden: { edges: number; bytes: number };
  notes: string[];
  tiers: { table: string; start: number; end: number }[];
  completeness: { ratio: number | null; agents: number; silent: number } | null;
}

export async function serviceMap(
  range: Range,
  match: readonly string[],
  expand: readonly string[],
  signal: AbortSignal,
): Promise<MapAnswer> {
  const params = { start: range.start, end: range.end, "match[]": match, expand };
  return (await ask<MapAnswer>("/api/v1/service-map", params, signal)).data;
}
