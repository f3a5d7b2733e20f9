/** One edge: what happened, both ends of it, its pods, and its course. */
import { useRef } from "preact/hooks";
import { BothEnds } from "../../flows/BothEnds.tsx";
import { ConversationCharts } from "../../flows/ConversationCharts.tsx";
import { usePods } from "../../flows/verdict/usePods.ts";
import { Verdict } from "../../flows/verdict/Verdict.tsx";
import { exact, quantity, type Unit } from "../../format/numbers.ts";
import { follow } from "../../shell/Header.tsx";
import type { Shared } from "../../state/shared.ts";
import { Pending } from "../../ui/Pending.tsx";
import type { MapEdge } from "../answer.ts";
import type { Edge, Graph } from "../graph.ts";
import { retransmitRatio, worseEnd, written, type Measure } from "../measures.ts";
import type { Selection } from "../state.ts";
import { nodeName } from "../words.ts";
import "../../flows/flows.css";
import { rowsOf } from "./ends.ts";
import { PodByPod } from "./PodByPod.tsx";
import { useArrival } from "./useArrival.ts";

export function EdgePanel(props: {
  shared: Shared;
  graph: Graph;
  edge: Edge;
  measure: Measure;
  select(selection: Selection | null): void;
}) {
  const { shared, graph, edge, measure, select } = props;
  const source = graph.nodes[edge.source]!.at;
  const target = graph.nodes[edge.target]!.at;
  const { view, filters: own, turned } = rowsOf(source, target);
  const filters = [...shared.filters, ...own];
  const order = orderBy(measure, edge.at);
  const pods = usePods(shared, view, filters, view === "cluster" ? order : undefined);
  const heading = useRef<HTMLHeadingElement>(null);
  useArrival(heading, `${edge.at.source} ${edge.at.target}`);
  const end = measure.end(edge.at);
  return (
    <aside
      class="card map-panel"
      aria-labelledby="map-edge"
      onKeyDown={(event) => {
        if (event.key === "Escape") select(null);
      }}
    >
      <header class="row">
        <h2 id="map-edge" ref={heading} tabIndex={-1}>
          <button type="button" class="link" onClick={() => select({ kind: "node", id: source.id })}>
            {nodeName(source)}
          </button>{" "}
          <span aria-label="to">→</span>{" "}
          <button type="button" class="link" onClick={() => select({ kind: "node", id: target.id })}>
            {nodeName(target)}
          </button>
        </h2>
        <button type="button" class="quiet push" aria-label="Close" onClick={() => select(null)}>
          ×
        </button>
      </header>
      <p class={`edge-value grade ${edge.grade}`} title={measure.meaning}>
        <strong>{written(measure, edge.value)}</strong>{" "}
        {measure.id === "rtt" ? measure.name : measure.name.toLowerCase()}
        {end === null ? "" : ` of the ${end}`}
        {edge.grade === "high" ? " · high" : edge.grade === "raised" ? " · raised" : ""}
      </p>
      <Pending of={pods} what="verdict" height={84}>
        {(table) => (
          <Verdict
            shared={shared}
            view={view}
            filters={filters}
            ends={turned ? { near: "server", far: "client" } : { near: "client", far: "server" }}
            turned={turned}
            pods={table}
          />
        )}
      </Pending>
      <BothEnds of={countsOf(edge.at, turned)} id="edge-ends" />
      <Pending of={pods} what="pods" height={120}>
        {(table) => <PodByPod table={table} turned={turned} workloads={[source.workload, target.workload]} />}
      </Pending>
      <p>
        <a href={shared.href("flows", flowsParams(view, order), filters)} onClick={follow}>
          All rows in the flow table
        </a>
      </p>
      <Numbers at={edge.at} />
      <ConversationCharts shared={shared} view={view} filters={filters} />
    </aside>
  );
}

/** The column of the flow table that the measure's trouble is in, the end that has more of it. */
function orderBy(measure: Measure, edge: MapEdge): string {
  switch (measure.id) {
    case "timeouts":
      return (edge.server_timeouts ?? 0) > (edge.timeouts ?? 0) ? "-server_timeouts" : "-timeouts";
    case "rtt":
      return "-rtt_p95";
    case "failures":
      return "-connect_failures";
    default:
      return worseEnd(edge) === "server" ? "-server_retransmits" : "-retransmits";
  }
}

function flowsParams(view: string, order: string): Record<string, string> {
  return view === "cluster"
    ? { by: "pod,peer_pod", order }
    : { view, by: "pod", order: order.replace("server_", "") };
}

/** Where the server alone is measured (`turned`), what it counted is the edge's. */
function countsOf(at: MapEdge, turned: boolean): (name: keyof MapEdge) => number | null {
  const of = (name: string) => {
    const value = (at as unknown as Record<string, unknown>)[name];
    return typeof value === "number" ? value : null;
  };
  if (!turned) return of;
  const other: Record<string, string | null> = {
    tx_packets: null,
    retransmits: null,
    timeouts: null,
    drops: null,
    rx_packets: null,
    server_tx_packets: "tx_packets",
    server_rx_packets: "rx_packets",
    server_retransmits: "retransmits",
    server_timeouts: "timeouts",
    server_drops: "drops",
  };
  return (name) => {
    const to = other[name];
    return to === undefined ? of(name) : to === null ? null : of(to);
  };
}

/** The rest of what the API says of the edge. */
function Numbers({ at }: { at: MapEdge }) {
  const rows: [name: string, key: keyof MapEdge, unit: Unit][] = [
    ["Bytes", "bytes", "bytes"],
    ["RTT p50", "rtt_p50", "seconds"],
    ["Client to server", "tx_bytes", "bytes"],
    ["RTT p95", "rtt_p95", "seconds"],
    ["Server to client", "rx_bytes", "bytes"],
    ["Failed connects", "connect_failures", ""],
    ["Connects", "connects", ""],
    ["Resets", "resets", ""],
  ];
  const crossings = Object.entries(at.crossing).sort((a, b) => b[1] - a[1]);
  return (
    <>
      <dl class="edge-numbers" data-ratio={retransmitRatio(at) ?? ""}>
        {rows.map(([name, key, unit]) => (
          <div key={key}>
            <dt>{name}</dt>
            <dd class="number" title={exact(at[key] as number | null, unit)} data-measure={key}>
              {quantity(at[key] as number | null, unit)}
            </dd>
          </div>
        ))}
      </dl>
      <p class="muted">
        {at.protocols.join(", ")}
        {crossings.map(
          ([kind, bytes]) => ` · ${kind} ${quantity(at.bytes > 0 ? bytes / at.bytes : 0, "ratio")}`,
        )}
      </p>
    </>
  );
}
