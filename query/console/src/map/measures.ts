/** What edges are coloured by, and from which value on one deserves a look. */
import { quantity, type Unit } from "../format/numbers.ts";
import type { MapEdge } from "./answer.ts";

/** `unknown`: nobody measured it. */
export type Grade = "unknown" | "calm" | "raised" | "high";

export interface Measure {
  id: string;
  name: string;
  /** What one value says, for the legend. */
  meaning: string;
  unit: Unit;
  value(edge: MapEdge, seconds: number): number | null;
  /** The end whose value it is; null where that says nothing. */
  end(edge: MapEdge): "client" | "server" | null;
  /** From the first on raised, from the second on high; `outside`: the peer is a cloud or external one. */
  steps(outside: boolean): readonly [number, number];
  /** Whether there is enough behind a value to call it anything but calm. */
  backed(edge: MapEdge): boolean;
}

function ratio(part: number | null, whole: number | null): number | null {
  return part === null || whole === null || whole <= 0 ? null : part / whole;
}

function worse(a: number | null, b: number | null): number | null {
  return a === null ? b : b === null ? a : Math.max(a, b);
}

/** Share of retransmitted segments of the end for which it is larger: loss on the way to the other one. */
export function retransmitRatio(edge: MapEdge): number | null {
  return worse(edge.retransmit_ratio, serverRatio(edge));
}

function timeoutsOf(edge: MapEdge): number | null {
  if (edge.timeouts === null && edge.server_timeouts === null) return null;
  return (edge.timeouts ?? 0) + (edge.server_timeouts ?? 0);
}

function serverRatio(edge: MapEdge): number | null {
  return ratio(edge.server_retransmits, edge.server_tx_packets);
}

/** The end with the larger share of retransmits; null if one alone is measured. */
export function worseEnd(edge: MapEdge): "client" | "server" | null {
  const server = serverRatio(edge);
  if (edge.retransmit_ratio === null || server === null) return null;
  return server > edge.retransmit_ratio ? "server" : "client";
}

export const MEASURES: readonly Measure[] = [
  {
    id: "retransmits",
    name: "Retransmit rate",
    meaning: "retransmits of an end, of the segments that it sent; of the two ends the worse one",
    unit: "ratio",
    value: retransmitRatio,
    end: worseEnd,
    steps: () => [0.001, 0.01],
    // One lost segment of a hundred is no incident.
    backed: (edge) => Math.max(edge.retransmits ?? 0, edge.server_retransmits ?? 0) >= 5,
  },
  {
    id: "timeouts",
    name: "Timeouts",
    meaning: "retransmission timeouts a second, of both ends",
    unit: "per second",
    value: (edge, seconds) => {
      const count = timeoutsOf(edge);
      return count === null || seconds <= 0 ? null : count / seconds;
    },
    end: () => null,
    steps: () => [1 / 60, 10 / 60],
    backed: (edge) => (timeoutsOf(edge) ?? 0) >= 3,
  },
  {
    id: "rtt",
    name: "RTT p95",
    meaning: "round-trip time that 95 of 100 measurements stay below, at the client",
    unit: "seconds",
    value: (edge) => edge.rtt_p95,
    end: () => null,
    steps: (outside) => (outside ? [0.1, 0.3] : [0.01, 0.05]),
    backed: () => true,
  },
  {
    id: "failures",
    name: "Failed connects",
    meaning: "connections that could not be opened, of those tried",
    unit: "ratio",
    value: (edge) =>
      edge.connects === null || edge.connect_failures === null
        ? null
        : ratio(edge.connect_failures, edge.connects + edge.connect_failures),
    end: () => null,
    steps: () => [0.001, 0.02],
    backed: (edge) => (edge.connect_failures ?? 0) >= 2,
  },
];

export const DEFAULT_MEASURE = MEASURES[0]!;

export function measureOf(id: string | null): Measure {
  return MEASURES.find((one) => one.id === id) ?? DEFAULT_MEASURE;
}

export function grade(measure: Measure, edge: MapEdge, seconds: number, outside: boolean): Grade {
  const value = measure.value(edge, seconds);
  if (value === null || !Number.isFinite(value)) return "unknown";
  const [raised, high] = measure.steps(outside);
  if (value < raised || !measure.backed(edge)) return "calm";
  return value < high ? "raised" : "high";
}

export function written(measure: Measure, value: number | null): string {
  return quantity(value, measure.unit);
}

/** The farthest crossing that carries a tenth of an edge's bytes, and its share; null within a zone. */
export function crossing(edge: MapEdge): { kind: "zone" | "region"; share: number } | null {
  if (edge.bytes <= 0) return null;
  const zone = (edge.crossing["cross-zone"] ?? 0) / edge.bytes;
  const region = (edge.crossing["cross-region"] ?? 0) / edge.bytes;
  if (region >= 0.1) return { kind: "region", share: region };
  return zone >= 0.1 ? { kind: "zone", share: zone } : null;
}
