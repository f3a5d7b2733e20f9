/** A conversation pod by pod, and its totals: what the verdict and the panels are made of. */
import { flows, type FlowTable, type FlowView } from "../../api/flows.ts";
import { useAnswer, type Pending } from "../../api/useAnswer.ts";
import { selectors, type Filter } from "../../state/filters.ts";
import type { Shared } from "../../state/shared.ts";
import { COMPARED } from "../BothEnds.tsx";

const ONE_END = [
  "bytes",
  "tx_packets",
  "retransmits",
  "timeouts",
  "drops",
  "connect_failures",
  "connect_refused",
  "connect_timed_out",
  "connect_unreachable",
  "rtt_p95",
];
const BOTH_ENDS = [...new Set([...ONE_END, ...COMPARED])];
const MOST = 200;

/** `order`: which pairs are told if there are too many. */
export function usePods(
  shared: Shared,
  view: FlowView,
  filters: readonly Filter[],
  order = "-retransmits",
): Pending<FlowTable> {
  const asked = {
    view,
    range: shared.range,
    match: selectors(filters),
    by: view === "cluster" ? ["pod", "peer_pod", "node", "peer_node"] : ["pod", "node"],
    measures: view === "cluster" ? BOTH_ENDS : ONE_END,
    order,
    limit: MOST,
  };
  return useAnswer(JSON.stringify(asked), (signal) => flows(asked, signal));
}

/** A measure of the total. */
export function totalOf(table: FlowTable): (measure: string) => number | null {
  return (measure) => {
    const cell = table.total[table.columns.findIndex(({ name }) => name === measure)];
    return typeof cell === "number" ? cell : null;
  };
}
