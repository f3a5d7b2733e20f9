/** What the overview charts, as expressions over the flow metrics. */
import { cases, eachByteOnce, sum } from "../promql/build.ts";
import type { Unit } from "../format/numbers.ts";
import type { Filter } from "../state/filters.ts";

export interface Measure {
  key: string;
  title: string;
  /** What exactly is counted. */
  what: string;
  unit: Unit;
  lines: readonly { name: string; expression(filters: readonly Filter[], window: number): string }[];
  /** The number of a whole period, and its unit. */
  headline: { unit: Unit; expression(filters: readonly Filter[], window: number): string; note: string };
  /** Whether more is worse, for the colour of changes. */
  worse: boolean;
}

const perMinute = (metric: string) => (filters: readonly Filter[], window: number) =>
  `60 * ${sum(metric, cases(filters), window)}`;
const count = (metric: string) => (filters: readonly Filter[], window: number) =>
  sum(metric, cases(filters), window, [], "increase");

const bits = (filters: readonly Filter[], window: number) => {
  const rows = eachByteOnce(filters);
  return `8 * (${sum("flow_tx_bytes_total", rows, window)} + ${sum("flow_rx_bytes_total", rows, window)})`;
};
const retransmitted = (filters: readonly Filter[], window: number) => {
  const rows = cases(filters);
  return `${sum("flow_retransmits_total", rows, window)} / ${sum("flow_tx_packets_total", rows, window)}`;
};
const rtt = (quantile: number) => (filters: readonly Filter[], window: number) =>
  `histogram_quantile(${quantile}, ${sum("flow_rtt_seconds_bucket", cases(filters), window, ["le"])})`;

export const MEASURES: readonly Measure[] = [
  {
    key: "traffic",
    title: "Traffic",
    what: "Payload in both directions, each byte counted once",
    unit: "bits/s",
    lines: [{ name: "traffic", expression: bits }],
    headline: { unit: "bits/s", expression: bits, note: "on average" },
    worse: false,
  },
  {
    key: "retransmits",
    title: "Retransmit rate",
    what: "Retransmitted segments, of all data segments that were sent, at both ends",
    unit: "ratio",
    lines: [{ name: "retransmitted", expression: retransmitted }],
    headline: { unit: "ratio", expression: retransmitted, note: "of segments" },
    worse: true,
  },
  {
    key: "rtt",
    title: "Round-trip time",
    what: "As TCP measured it, at both ends",
    unit: "seconds",
    lines: [
      { name: "p50", expression: rtt(0.5) },
      { name: "p95", expression: rtt(0.95) },
      { name: "p99", expression: rtt(0.99) },
    ],
    headline: { unit: "seconds", expression: rtt(0.95), note: "p95" },
    worse: true,
  },
  {
    key: "timeouts",
    title: "Timeouts",
    what: "Retransmission timeouts that fired, a minute",
    unit: "timeouts",
    lines: [{ name: "per minute", expression: perMinute("flow_timeouts_total") }],
    headline: { unit: "timeouts", expression: count("flow_timeouts_total"), note: "in all" },
    worse: true,
  },
  {
    key: "failures",
    title: "Failed connects",
    what: "Connections that were tried in vain, a minute",
    unit: "connections",
    lines: [{ name: "per minute", expression: perMinute("flow_connect_failures_total") }],
    headline: { unit: "connections", expression: count("flow_connect_failures_total"), note: "in all" },
    worse: true,
  },
  {
    key: "connects",
    title: "Connections opened",
    what: "Connections that clients opened, a minute",
    unit: "connections",
    lines: [{ name: "per minute", expression: perMinute("flow_connects_total") }],
    headline: { unit: "connections", expression: count("flow_connects_total"), note: "in all" },
    worse: false,
  },
];
