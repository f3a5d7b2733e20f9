/** One node: its totals, whom it talks to, and ways to see more of it. */
import { useRef } from "preact/hooks";
import { exact, quantity } from "../../format/numbers.ts";
import { follow } from "../../shell/Header.tsx";
import type { Shared } from "../../state/shared.ts";
import { expandable, type Graph } from "../graph.ts";
import { written, type Measure } from "../measures.ts";
import { MOST_HOPS, type MapState, type Selection } from "../state.ts";
import { nodeName } from "../words.ts";
import { rowsOfNode } from "./ends.ts";
import { useArrival } from "./useArrival.ts";

export function NodePanel(props: {
  shared: Shared;
  graph: Graph;
  node: number;
  state: MapState;
  change(next: Partial<MapState>): void;
  select(selection: Selection | null): void;
  expand(workload: string): void;
}) {
  const { shared, graph, node, state, change, select } = props;
  const { at, edges } = graph.nodes[node]!;
  const workload = expandable(at);
  const heading = useRef<HTMLHeadingElement>(null);
  useArrival(heading, at.id);
  const { view, filters } = rowsOfNode(at);
  const focused = state.focus === at.id;
  const open = workload !== null && state.expand.includes(workload);
  const calls = edges.filter((i) => graph.edges[i]!.source === node);
  const called = edges.filter((i) => graph.edges[i]!.source !== node);
  return (
    <aside
      class="card map-panel"
      aria-labelledby="map-node"
      onKeyDown={(event) => {
        if (event.key === "Escape") select(null);
      }}
    >
      <header class="row">
        <h2 id="map-node" ref={heading} tabIndex={-1}>
          {nodeName(at)}
        </h2>
        <span class="muted">{at.workload_kind ?? at.kind}</span>
        <button type="button" class="quiet push" aria-label="Close" onClick={() => select(null)}>
          ×
        </button>
      </header>
      <dl class="totals">
        <div>
          <dt>Sent</dt>
          <dd title={exact(at.tx_bytes, "bytes")}>{quantity(at.tx_bytes, "bytes")}</dd>
        </div>
        <div>
          <dt>Received</dt>
          <dd title={exact(at.rx_bytes, "bytes")}>{quantity(at.rx_bytes, "bytes")}</dd>
        </div>
        <div>
          <dt>Connections</dt>
          <dd>{edges.length}</dd>
        </div>
      </dl>
      <div class="row wrap">
        <button
          type="button"
          aria-pressed={focused}
          onClick={() => change({ focus: focused ? null : at.id, hops: focused ? 1 : state.hops })}
        >
          Neighbours alone
        </button>
        {focused && (
          <label>
            within{" "}
            <select
              value={String(state.hops)}
              onChange={(event) => change({ hops: Number(event.currentTarget.value) })}
            >
              {Array.from({ length: MOST_HOPS }, (_, i) => (
                <option key={i} value={String(i + 1)}>
                  {i + 1} {i === 0 ? "hop" : "hops"}
                </option>
              ))}
            </select>
          </label>
        )}
        {workload !== null && (
          <button type="button" aria-pressed={open} onClick={() => props.expand(workload)}>
            {open ? "Fold pods" : "Show pods"}
          </button>
        )}
        <a
          href={shared.href("flows", view === "cluster" ? {} : { view }, [...shared.filters, ...filters])}
          onClick={follow}
        >
          Flow table
        </a>
      </div>
      <Peers title="Calls" graph={graph} edges={calls} far="target" measure={state.measure} select={select} />
      <Peers
        title="Called by"
        graph={graph}
        edges={called}
        far="source"
        measure={state.measure}
        select={select}
      />
    </aside>
  );
}

const MOST = 100;

function Peers(props: {
  title: string;
  graph: Graph;
  edges: readonly number[];
  far: "source" | "target";
  measure: Measure;
  select(selection: Selection): void;
}) {
  const { graph, far, measure } = props;
  if (props.edges.length === 0) return null;
  const edges = props.edges.map((i) => graph.edges[i]!).sort((a, b) => b.at.bytes - a.at.bytes);
  return (
    <section>
      <h3>
        {props.title} {edges.length}
      </h3>
      <ul class="edge-list">
        {edges.slice(0, MOST).map((edge) => (
          <li key={edge.at.id}>
            <button
              type="button"
              onClick={() => props.select({ kind: "edge", source: edge.at.source, target: edge.at.target })}
            >
              <span class="edge-name">{nodeName(graph.nodes[edge[far]]!.at)}</span>
              <span class="muted number">{quantity(edge.at.bytes, "bytes")}</span>
              <span class={`number grade ${edge.grade}`}>
                {edge.grade === "high" ? "▲ " : ""}
                {written(measure, edge.value)}
              </span>
            </button>
          </li>
        ))}
        {edges.length > MOST && <li class="hint">{edges.length - MOST} more, with fewer bytes</li>}
      </ul>
    </section>
  );
}
