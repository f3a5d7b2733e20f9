/**
 * Measures of the flow table: their names for people, and which of them a view begins with.
 *
 * In the view of the cluster a row's near end is the client, and the server's counts stand beside it; in the others
 * the near end is the one that is measured. `measureName` says which.
 */
import type { FlowView } from "../api/flows.ts";

export interface MeasureName {
  short: string;
  title: string;
}

export const MEASURES: Readonly<Record<string, MeasureName>> = {
  bytes: { short: "Bytes", title: "Payload in both directions" },
  tx_bytes: { short: "Sent", title: "Payload that the {end} sent" },
  rx_bytes: { short: "Received", title: "Payload that the {end} received" },
  tx_packets: { short: "Packets sent", title: "TCP segments with data, or datagrams, that the {end} sent" },
  rx_packets: {
    short: "Packets received",
    title: "TCP segments with data, or datagrams, that the {end} received",
  },
  retransmits: { short: "Retransmits", title: "TCP segments that the {end} sent once more" },
  retransmit_ratio: {
    short: "Retransmit rate",
    title: "Retransmits of the {end}, of the segments that it sent",
  },
  retransmits_syn: { short: "Retransmits, SYN", title: "Those of the handshake" },
  timeouts: { short: "Timeouts", title: "Retransmission timeouts (RTO) of the {end}: it waited in vain" },
  timeouts_syn: { short: "Timeouts, SYN", title: "Those of the handshake" },
  connects: { short: "Connects", title: "Connections that the {end} opened" },
  connect_failures: { short: "Failed connects", title: "Connections that it tried to open in vain" },
  connect_failure_ratio: { short: "Failed share", title: "Failed connects, of connects" },
  connect_refused: { short: "Refused", title: "Failed connects: refused by the server" },
  connect_timed_out: { short: "Timed out", title: "Failed connects: no answer" },
  connect_unreachable: { short: "Unreachable", title: "Failed connects: no way to the server" },
  accepts: { short: "Accepts", title: "Connections that the {end} accepted" },
  closes: { short: "Closes", title: "Connections that ended" },
  resets: { short: "Resets", title: "Connections that ended otherwise than by an exchange of FINs" },
  drops: { short: "Drops", title: "Packets of the {end} that the kernel of its node dropped" },
  delivered_ce: { short: "CE marks", title: "Packets that arrived with a mark of congestion (ECN)" },
  active: { short: "Open", title: "Connections open at the end of the range" },
  rtt_avg: { short: "RTT mean", title: "Round-trip time, mean" },
  rtt_p50: { short: "RTT p50", title: "Round-trip time, median" },
  rtt_p95: { short: "RTT p95", title: "Round-trip time, 95th percentile" },
  rtt_p99: { short: "RTT p99", title: "Round-trip time, 99th percentile" },
  rtt_max: { short: "RTT max", title: "Round-trip time, highest" },
  connect_avg: { short: "Connect mean", title: "Time to establish a connection, mean" },
  connect_p50: { short: "Connect p50", title: "Time to establish a connection, median" },
  connect_p95: { short: "Connect p95", title: "Time to establish a connection, 95th percentile" },
  connect_p99: { short: "Connect p99", title: "Time to establish a connection, 99th percentile" },
  cost: { short: "Cost", title: "What the traffic costs, by the prices that the server was given" },
  server_tx_bytes: { short: "Server sent", title: "Payload that the server sent, as measured there" },
  server_rx_bytes: {
    short: "Server received",
    title: "Payload that the server received, as measured there",
  },
  server_tx_packets: {
    short: "Server packets sent",
    title: "TCP segments with data, or datagrams, that the server sent, as measured there",
  },
  server_rx_packets: {
    short: "Server packets received",
    title: "The same that the server received, as measured there",
  },
  server_retransmits: { short: "Server retransmits", title: "TCP segments that the server sent once more" },
  server_retransmit_ratio: {
    short: "Server retransmit rate",
    title: "Retransmits of the server, of the segments that it sent",
  },
  server_timeouts: {
    short: "Server timeouts",
    title: "Retransmission timeouts (RTO) of the server: it waited in vain",
  },
  server_drops: {
    short: "Server drops",
    title: "Packets of the server that the kernel of its node dropped",
  },
  lost_tx: { short: "Lost →", title: "Packets that the client sent and the server did not receive" },
  lost_rx: { short: "Lost ←", title: "Packets that the server sent and the client did not receive" },
};

/** Measures that each end has of its own. */
const OF_AN_END = new Set([
  "tx_packets",
  "rx_packets",
  "retransmits",
  "retransmit_ratio",
  "retransmits_syn",
  "timeouts",
  "timeouts_syn",
  "drops",
]);

/** What a measure is called in a view. */
export function measureName(measure: string, view: FlowView): MeasureName {
  const name = MEASURES[measure] ?? { short: measure, title: measure };
  const client = view === "cluster";
  const short =
    client && OF_AN_END.has(measure)
      ? `Client ${name.short[0]!.toLowerCase()}${name.short.slice(1)}`
      : name.short;
  return { short, title: name.title.replace("{end}", client ? "client" : "measured end") };
}

/** Whether the server gives a measure over time: quantiles and what needs both ends it does not. */
export function isOverTime(measure: string): boolean {
  return measure in MEASURES && !SERVER_SIDE(measure) && !/^(rtt|connect)_(avg|p\d+|max)$/.test(measure);
}

/** Measures that need both ends. */
const SERVER_SIDE = (measure: string) => measure.startsWith("server_") || measure.startsWith("lost_");

/** Measures that a view has. */
export function measuresOf(view: FlowView): string[] {
  return Object.keys(MEASURES).filter((measure) => view === "cluster" || !SERVER_SIDE(measure));
}

export interface ViewStart {
  label: string;
  title: string;
  by: readonly string[];
  measures: readonly string[];
}

export const FLOW_VIEWS: Readonly<Record<FlowView, ViewStart>> = {
  cluster: {
    label: "Cluster",
    title: "East-west: client to server, both ends measured where both have an agent",
    by: ["namespace", "workload", "peer_namespace", "peer_workload"],
    measures: [
      "bytes",
      "retransmit_ratio",
      "server_retransmit_ratio",
      "retransmits",
      "server_retransmits",
      "timeouts",
      "server_timeouts",
      "lost_tx",
      "lost_rx",
      "drops",
      "server_drops",
      "connect_failures",
      "rtt_p95",
    ],
  },
  cloud: {
    label: "Cloud services",
    title: "Which workload talks to which service of a cloud provider, and in which region",
    by: ["namespace", "workload", "peer_cloud_service", "peer_region"],
    measures: [
      "bytes",
      "tx_bytes",
      "rx_bytes",
      "retransmit_ratio",
      "timeouts",
      "connect_failures",
      "rtt_p50",
      "rtt_p95",
    ],
  },
  external: {
    label: "External",
    title: "Everything beyond the cluster and the cloud's services",
    by: ["namespace", "workload", "peer_domain", "peer_network", "peer_country"],
    measures: [
      "bytes",
      "tx_bytes",
      "rx_bytes",
      "retransmit_ratio",
      "timeouts",
      "connect_failures",
      "rtt_p50",
      "rtt_p95",
    ],
  },
  all: {
    label: "All",
    title: "Everything, each byte counted once",
    by: ["namespace", "workload", "peer_scope", "peer_namespace", "peer_workload"],
    measures: [
      "bytes",
      "tx_bytes",
      "rx_bytes",
      "retransmit_ratio",
      "timeouts",
      "connect_failures",
      "rtt_p95",
    ],
  },
};
