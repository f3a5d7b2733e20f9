/** Measures of the flow table: their names for people, and which of them a view begins with. */
import type { FlowView } from "../api/flows.ts";

export interface MeasureName {
  short: string;
  title: string;
}

export const MEASURES: Readonly<Record<string, MeasureName>> = {
  bytes: { short: "Bytes", title: "Payload in both directions" },
  tx_bytes: { short: "Sent", title: "Payload that the local end sent" },
  rx_bytes: { short: "Received", title: "Payload that the local end received" },
  tx_packets: { short: "Packets sent", title: "Data segments or datagrams that the local end sent" },
  rx_packets: { short: "Packets received", title: "Data segments or datagrams that the local end received" },
  retransmits: { short: "Retransmits", title: "Segments that the local end sent again" },
  retransmit_ratio: {
    short: "Retransmit rate",
    title: "Segments sent again, of those that the local end sent",
  },
  retransmits_syn: { short: "Retransmits, SYN", title: "Those of the handshake" },
  timeouts: { short: "Timeouts", title: "Retransmission timeouts that fired at the local end" },
  timeouts_syn: { short: "Timeouts, SYN", title: "Those of the handshake" },
  connects: { short: "Connects", title: "Connections that the local end opened" },
  connect_failures: { short: "Failed connects", title: "Connections that it tried to open in vain" },
  connect_failure_ratio: { short: "Failed share", title: "Failed connects, of connects" },
  connect_refused: { short: "Refused", title: "Failed connects: refused by the peer" },
  connect_timed_out: { short: "Timed out", title: "Failed connects: no answer" },
  connect_unreachable: { short: "Unreachable", title: "Failed connects: no way to the peer" },
  accepts: { short: "Accepts", title: "Connections that the local end accepted" },
  closes: { short: "Closes", title: "Connections that ended" },
  resets: { short: "Resets", title: "Connections that ended otherwise than by an exchange of FINs" },
  drops: { short: "Drops", title: "Packets of the flow that the node's kernel dropped" },
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
  server_tx_bytes: { short: "Server sent", title: "Payload that the server's end sent, as measured there" },
  server_rx_bytes: {
    short: "Server received",
    title: "Payload that the server's end received, as measured there",
  },
  server_tx_packets: {
    short: "Server packets sent",
    title: "Segments that the server's end sent, as measured there",
  },
  server_rx_packets: {
    short: "Server packets received",
    title: "Segments that the server's end received, as measured there",
  },
  server_retransmits: { short: "Server retransmits", title: "Segments that the server's end sent again" },
  server_timeouts: {
    short: "Server timeouts",
    title: "Retransmission timeouts that fired at the server's end",
  },
  lost_tx: { short: "Lost →", title: "Packets that the client sent and the server did not receive" },
  lost_rx: { short: "Lost ←", title: "Packets that the server sent and the client did not receive" },
};

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
      "retransmits",
      "server_retransmits",
      "timeouts",
      "connect_failures",
      "rtt_p95",
      "lost_tx",
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
