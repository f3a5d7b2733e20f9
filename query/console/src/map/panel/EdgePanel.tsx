/** One edge: its numbers from both ends, its pods, and its course. */
import { useEffect, useRef } from "preact/hooks";
import { ConversationCharts } from "../../flows/ConversationCharts.tsx";
import { exact, quantity, type Unit } from "../../format/numbers.ts";
import { follow } from "../../shell/Header.tsx";
import type { Shared } from "../../state/shared.ts";
import type { Edge, Graph } from "../graph.ts";
import { retransmitRatio, written, type Measure } from "../measures.ts";
import type { Selection } from "../state.ts";
import { nodeName } from "../words.ts";
import { rowsOf } from "./ends.ts";
import { PodByPod } from "./PodByPod.tsx";

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
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus({ preventScroll: true }), [edge.at.source, edge.at.target]);
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
      <p class={`edge-value grade ${edge.grade}`}>
        <strong>{written(measure, edge.value)}</strong> {measure.name.toLowerCase()}
        {edge.grade === "high" ? " · high" : edge.grade === "raised" ? " · raised" : ""}
      </p>
      <PodByPod
        shared={shared}
        view={view}
        filters={filters}
        turned={turned}
        workloads={[source.workload, target.workload]}
      />
      <Numbers edge={edge} />
      <ConversationCharts shared={shared} view={view} filters={filters} />
      <p>
        <a href={shared.href("flows", flowsParams(view), filters)} onClick={follow}>
          All rows in the flow table
        </a>
      </p>
    </aside>
  );
}

function flowsParams(view: string): Record<string, string> {
  return view === "cluster" ? { by: "pod,peer_pod" } : { view, by: "pod" };
}

/** What the API says of the edge, the client's count beside the server's. */
function Numbers({ edge }: { edge: Edge }) {
  const { at } = edge;
  const rows: { name: string; key: string; unit: Unit; client: number | null; server?: number | null }[] = [
    { name: "Bytes", key: "bytes", unit: "bytes", client: at.bytes },
    { name: "Request bytes", key: "tx_bytes", unit: "bytes", client: at.tx_bytes },
    { name: "Answer bytes", key: "rx_bytes", unit: "bytes", client: at.rx_bytes },
    {
      name: "Segments sent",
      key: "tx_packets",
      unit: "",
      client: at.tx_packets,
      server: at.server_tx_packets,
    },
    {
      name: "Sent again",
      key: "retransmits",
      unit: "",
      client: at.retransmits,
      server: at.server_retransmits,
    },
    {
      name: "Sent again, share",
      key: "retransmit_ratio",
      unit: "ratio",
      client: at.retransmit_ratio,
      server:
        at.server_tx_packets !== null && at.server_retransmits !== null && at.server_tx_packets > 0
          ? at.server_retransmits / at.server_tx_packets
          : null,
    },
    { name: "Lost on the way", key: "lost", unit: "", client: at.lost_tx, server: at.lost_rx },
    { name: "Timeouts", key: "timeouts", unit: "", client: at.timeouts },
    { name: "Connections opened", key: "connects", unit: "", client: at.connects },
    { name: "Failed connects", key: "connect_failures", unit: "", client: at.connect_failures },
    { name: "RTT p50", key: "rtt_p50", unit: "seconds", client: at.rtt_p50 },
    { name: "RTT p95", key: "rtt_p95", unit: "seconds", client: at.rtt_p95 },
  ];
  const crossings = Object.entries(at.crossing).sort((a, b) => b[1] - a[1]);
  return (
    <>
      <table class="edge-numbers" data-ratio={retransmitRatio(at) ?? ""}>
        <thead>
          <tr>
            <th scope="col">
              <span class="hidden">Measure</span>
            </th>
            <th scope="col" class="number">
              client
            </th>
            <th scope="col" class="number">
              server
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.key} data-measure={row.key}>
              <th scope="row">{row.name}</th>
              <td class="number" title={exact(row.client, row.unit)}>
                {quantity(row.client, row.unit)}
              </td>
              <td class="number" title={row.server === undefined ? undefined : exact(row.server, row.unit)}>
                {row.server === undefined ? "" : quantity(row.server, row.unit)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <p class="muted">
        {at.protocols.join(", ")}
        {crossings.map(
          ([kind, bytes]) => ` · ${kind} ${quantity(at.bytes > 0 ? bytes / at.bytes : 0, "ratio")}`,
        )}
      </p>
    </>
  );
}
