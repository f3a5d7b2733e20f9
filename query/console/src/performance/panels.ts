/** Charts of what agents measure of nodes and workloads (docs/agent.md, "Metrics of node and workloads"). */
import type { Unit } from "../format/numbers.ts";
import { matcher, type Filter } from "../state/filters.ts";
import { span } from "../promql/build.ts";

export interface Panel {
  title: string;
  what: string;
  unit: Unit;
  /** Metrics that the expression needs; without any of them the panel says `missing`. */
  metrics: readonly string[];
  missing: string;
  /** Labels of a line's name, those that are there. */
  name: readonly string[];
  expression(of: Selection, window: number): string;
}

export interface Section {
  key: string;
  title: string;
  panels: readonly Panel[];
}

/** What the user narrowed the view to. */
export interface Selection {
  node: readonly Filter[];
  /** Of workloads. */
  workload: readonly Filter[];
}

/** Samples come once an interval of the agent, 10 s unless set otherwise: a window has several of them. */
export const LEAST_WINDOW = 60;

function selector(metric: string, filters: readonly Filter[], more = ""): string {
  const all = [...filters.map(matcher), ...(more === "" ? [] : [more])];
  return all.length === 0 ? metric : `${metric}{${all.join(",")}}`;
}

function rate(
  metric: string,
  by: readonly string[],
  filters: readonly Filter[],
  window: number,
  more = "",
): string {
  return `sum by (${by.join(", ")}) (rate(${selector(metric, filters, more)}[${span(window)}]))`;
}

const HOST = 'netns="host"';

const ofNode =
  (metric: string, times = "") =>
  (of: Selection, window: number) =>
    `${times}${rate(metric, ["node"], of.node, window)}`;

const ofWorkload =
  (metric: string, times = "") =>
  (of: Selection, window: number) =>
    `${times}${rate(metric, ["workload", "pod"], [...of.node, ...of.workload], window)}`;

/** Two directions of one thing as lines of one chart. */
const directions =
  (received: string, sent: string, times = "") =>
  (of: Selection, window: number) =>
    [
      ["received", received],
      ["sent", sent],
    ]
      .map(
        ([name, metric]) =>
          `label_replace(${times}${rate(metric!, ["node"], of.node, window, HOST)}, "direction", "${name}", "", "")`,
      )
      .join(" or ");

const AGENTS = "No agent sent it in this range.";
const ENA = "Only network cards with the ENA driver (AWS) count it; no node here has sent it.";

const allowance = (name: string, title: string, what: string): Panel => ({
  title,
  what,
  unit: "per second",
  metrics: [`weir_nic_${name}_allowance_exceeded_total`],
  missing: ENA,
  name: ["node", "device"],
  expression: (of, window) =>
    rate(`weir_nic_${name}_allowance_exceeded_total`, ["node", "device"], of.node, window),
});

export const SECTIONS: readonly Section[] = [
  {
    key: "nodes",
    title: "Nodes",
    panels: [
      {
        title: "Throughput",
        what: "All packets of the host's interfaces, headers included",
        unit: "bits/s",
        metrics: ["weir_interface_rx_bytes_total", "weir_interface_tx_bytes_total"],
        missing: AGENTS,
        name: ["node", "direction"],
        expression: directions("weir_interface_rx_bytes_total", "weir_interface_tx_bytes_total", "8 * "),
      },
      {
        title: "Packets",
        what: "All packets of the host's interfaces",
        unit: "per second",
        metrics: ["weir_interface_rx_packets_total", "weir_interface_tx_packets_total"],
        missing: AGENTS,
        name: ["node", "direction"],
        expression: directions("weir_interface_rx_packets_total", "weir_interface_tx_packets_total"),
      },
      {
        title: "Interface errors and drops",
        what: "Errors and drops that the host's interfaces count",
        unit: "per second",
        metrics: ["weir_interface_rx_dropped_total"],
        missing: AGENTS,
        name: ["node", "device"],
        expression: (of, window) =>
          ["rx_errors", "tx_errors", "rx_dropped", "tx_dropped"]
            .map((kind) => rate(`weir_interface_${kind}_total`, ["node", "device"], of.node, window, HOST))
            .join(" + "),
      },
      {
        title: "Retransmitted segments",
        what: "The kernel's own count (RetransSegs) in all network namespaces of the node",
        unit: "per second",
        metrics: ["weir_tcp_retransmitted_segments_total"],
        missing: AGENTS,
        name: ["node"],
        expression: ofNode("weir_tcp_retransmitted_segments_total"),
      },
      {
        title: "TCP timeouts",
        what: "The kernel's own count (TCPTimeouts), a minute",
        unit: "timeouts",
        metrics: ["weir_tcp_timeouts_total"],
        missing: AGENTS,
        name: ["node"],
        expression: ofNode("weir_tcp_timeouts_total", "60 * "),
      },
      {
        title: "Packets dropped by the kernel",
        what: "By its own reason",
        unit: "per second",
        metrics: ["weir_node_drops_total"],
        missing: "No agent counted drops in this range; without BPF they are not counted.",
        name: ["reason"],
        expression: (of, window) => rate("weir_node_drops_total", ["reason"], of.node, window),
      },
    ],
  },
  {
    key: "allowances",
    title: "Allowances and connection tracking",
    panels: [
      {
        title: "Connection tracking in use",
        what: "Entries of the host's table, of its limit",
        unit: "ratio",
        metrics: ["weir_conntrack_entries", "weir_conntrack_entries_limit"],
        missing:
          "No agent read connection tracking; its module is loaded where a firewall or a service needs it.",
        name: ["node"],
        expression: (of) =>
          `max by (node) (${selector("weir_conntrack_entries", of.node)}) / max by (node) (${selector("weir_conntrack_entries_limit", of.node)})`,
      },
      {
        title: "Connection tracking left on the card",
        what: "Connections that the network card can still track",
        unit: "connections",
        metrics: ["weir_nic_conntrack_allowance_available"],
        missing: ENA,
        name: ["node", "device"],
        expression: (of) =>
          `min by (node, device) (${selector("weir_nic_conntrack_allowance_available", of.node)})`,
      },
      allowance(
        "bw_in",
        "Bandwidth in, exceeded",
        "Packets queued or dropped: more came in than the machine's allowance",
      ),
      allowance(
        "bw_out",
        "Bandwidth out, exceeded",
        "Packets queued or dropped: more went out than the machine's allowance",
      ),
      allowance(
        "pps",
        "Packet rate, exceeded",
        "Packets queued or dropped: more a second than the machine's allowance",
      ),
      allowance(
        "conntrack",
        "Tracked connections, exceeded",
        "Packets dropped: more connections than the machine's allowance",
      ),
      allowance(
        "linklocal",
        "Link-local services, exceeded",
        "Packets dropped: more to DNS, time and metadata services than allowed",
      ),
    ],
  },
  {
    key: "workloads",
    title: "Workloads and pods",
    panels: [
      {
        title: "Bytes sent",
        what: "Payload",
        unit: "bits/s",
        metrics: ["weir_workload_tx_bytes_total"],
        missing: AGENTS,
        name: ["workload", "pod"],
        expression: ofWorkload("weir_workload_tx_bytes_total", "8 * "),
      },
      {
        title: "Bytes received",
        what: "Payload",
        unit: "bits/s",
        metrics: ["weir_workload_rx_bytes_total"],
        missing: AGENTS,
        name: ["workload", "pod"],
        expression: ofWorkload("weir_workload_rx_bytes_total", "8 * "),
      },
      {
        title: "Connections opened and accepted",
        what: "TCP, a minute",
        unit: "connections",
        metrics: ["weir_workload_flows_opened_total"],
        missing: AGENTS,
        name: ["workload", "pod"],
        expression: ofWorkload("weir_workload_flows_opened_total", "60 * "),
      },
      {
        title: "Open connections",
        what: "Established now",
        unit: "connections",
        metrics: ["weir_workload_active_connections"],
        missing: AGENTS,
        name: ["workload", "pod"],
        expression: (of) =>
          `sum by (workload, pod) (${selector("weir_workload_active_connections", [...of.node, ...of.workload])})`,
      },
      {
        title: "Retransmits",
        what: "TCP segments that were sent once more",
        unit: "per second",
        metrics: ["weir_workload_retransmits_total"],
        missing: AGENTS,
        name: ["workload", "pod"],
        expression: ofWorkload("weir_workload_retransmits_total"),
      },
      {
        title: "Failed connects",
        what: "A minute",
        unit: "connections",
        metrics: ["weir_workload_connect_failures_total"],
        missing: AGENTS,
        name: ["workload", "pod"],
        expression: ofWorkload("weir_workload_connect_failures_total", "60 * "),
      },
    ],
  },
  {
    key: "dns",
    title: "DNS",
    panels: [
      {
        title: "Answers by code",
        what: "NXDOMAIN: the name does not exist; SERVFAIL: the server could not tell",
        unit: "per second",
        metrics: ["weir_dns_answers_total"],
        missing: "No agent saw DNS over UDP; agents started with --no-dns do not look.",
        name: ["code"],
        expression: (of, window) => rate("weir_dns_answers_total", ["code"], of.node, window),
      },
      {
        title: "Failures",
        what: "Answers that are neither NOERROR nor NXDOMAIN, and questions without an answer within 5 s; a minute",
        unit: "",
        metrics: ["weir_dns_questions_total"],
        missing: "No agent saw DNS over UDP; agents started with --no-dns do not look.",
        name: ["failure"],
        expression: (of, window) =>
          `60 * (label_replace(${rate("weir_dns_answers_total", ["code"], of.node, window, 'code!~"NOERROR|NXDOMAIN"')}, "failure", "$1", "code", "(.*)")` +
          ` or label_replace(sum (rate(${selector("weir_dns_timeouts_total", of.node)}[${span(window)}])), "failure", "no answer", "", ""))`,
      },
      {
        title: "Latency",
        what: "From question to answer",
        unit: "seconds",
        metrics: ["weir_dns_latency_seconds_bucket"],
        missing: "No answer of DNS was measured in this range.",
        name: ["quantile"],
        expression: (of, window) =>
          ["0.5", "0.95", "0.99"]
            .map(
              (quantile) =>
                `label_replace(histogram_quantile(${quantile}, ${rate("weir_dns_latency_seconds_bucket", ["le"], of.node, window)}), "quantile", "p${quantile.slice(2).padEnd(2, "0")}", "", "")`,
            )
            .join(" or "),
      },
    ],
  },
];
