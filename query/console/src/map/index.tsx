/** The service map: who talks to whom, how much, and where it hurts. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useAnswer } from "../api/useAnswer.ts";
import { FilterBar } from "../filters/FilterBar.tsx";
import { selectors } from "../state/filters.ts";
import type { Shared } from "../state/shared.ts";
import { Empty, Failure, Loading } from "../ui/Pending.tsx";
import { Provenance } from "../ui/Provenance.tsx";
import { useTitle } from "../ui/useTitle.ts";
import { serviceMap } from "./answer.ts";
import { edgeBetween, graphOf } from "./graph.ts";
import { useLayout } from "./layout/useLayout.ts";
import "./map.css";
import { MapCanvas } from "./MapCanvas.tsx";
import { MapList } from "./MapList.tsx";
import { EdgePanel } from "./panel/EdgePanel.tsx";
import { HotEdges } from "./panel/HotEdges.tsx";
import { NodePanel } from "./panel/NodePanel.tsx";
import { readState, writeState, type MapState } from "./state.ts";
import { Legend, Toolbar } from "./Toolbar.tsx";

/** Below this width the list comes first. */
const NARROW = "(max-width: 700px)";

export function ServiceMap(shared: Shared) {
  useTitle("Map");
  const { params, range } = shared;
  const state = useMemo(() => readState(params), [params]);
  const narrow = useMedia(NARROW);
  const list = state.show === null ? narrow : state.show === "list";
  const match = selectors(shared.filters);
  const answer = useAnswer(JSON.stringify([range, match, state.expand]), (signal) =>
    serviceMap(range, match, state.expand, signal),
  );
  const { data } = answer;
  const shown = JSON.stringify([state.measure.id, state.focus, state.hops, state.hide, state.share]);
  const graph = useMemo(() => (data ? graphOf(data, state) : null), [data, shown]);
  const [again, setAgain] = useState(0);
  // What the user chose is another picture; other numbers are not.
  const context = JSON.stringify([match, state.expand, state.focus, state.hops, state.hide]);
  const laid = useLayout(graph, context, again);

  const change = (next: Partial<MapState>, replace = false) => shared.setParams(writeState(next), replace);
  const main = useRef<HTMLDivElement>(null);
  /** A panel that goes away leaves the focus to the map, or to what was chosen in the list. */
  const leave = (to: string) => main.current?.querySelector<HTMLElement>(`canvas, ${to}`)?.focus();
  const select = (selection: MapState["selection"]) => {
    if (selection === null) leave("[aria-current]");
    change({ selection });
  };
  const expand = (workload: string) => {
    leave(".map-list");
    change({
      expand: state.expand.includes(workload)
        ? state.expand.filter((one) => one !== workload)
        : [...state.expand, workload],
    });
  };

  const chosen = state.selection;
  const edge = graph && chosen?.kind === "edge" ? edgeBetween(graph, chosen.source, chosen.target) : null;
  const node = graph && chosen?.kind === "node" ? graph.byId.get(chosen.id) : undefined;
  const empty = data !== null && data.nodes.length === 0;

  return (
    <div class="map">
      <h1 class="hidden">Map</h1>
      <FilterBar shared={shared} />
      <Toolbar graph={graph} state={state} list={list} change={change} />
      {answer.error && <Failure error={answer.error} retry={answer.retry} outdated={data !== null} />}
      {empty ? (
        <Empty title="No flows in this time range">
          <p>
            Choose another time range, take filters out, or start an agent that measures:{" "}
            <code>weir-agent --server {window.location.origin}</code>.
          </p>
        </Empty>
      ) : (
        <div class="map-and-panel" aria-busy={answer.loading}>
          <div ref={main} class={`map-main pending ${answer.error ? "outdated" : ""}`}>
            <Loading on={answer.loading} what="map" />
            {graph === null ? (
              <div class="placeholder map-place waits">Asking who talks to whom…</div>
            ) : list ? (
              <MapList
                graph={graph}
                measure={state.measure}
                find={state.find}
                selection={chosen}
                select={select}
              />
            ) : laid === null ? (
              <div class="placeholder map-place waits">Placing {graph.nodes.length} nodes…</div>
            ) : (
              <MapCanvas
                laid={laid}
                measure={state.measure}
                selection={chosen}
                find={state.find}
                select={select}
                expand={expand}
                focus={(id) => change({ focus: id, selection: { kind: "node", id } })}
                arrange={() => setAgain(again + 1)}
              />
            )}
            {graph && <Legend graph={graph} state={state} />}
          </div>
          {graph === null ? (
            <div class="placeholder" />
          ) : edge ? (
            <EdgePanel shared={shared} graph={graph} edge={edge} measure={state.measure} select={select} />
          ) : node !== undefined ? (
            <NodePanel
              shared={shared}
              graph={graph}
              node={node}
              state={state}
              change={change}
              select={select}
              expand={expand}
            />
          ) : (
            <HotEdges graph={graph} measure={state.measure} select={select} />
          )}
        </div>
      )}
      {data && (
        <Provenance
          tiers={data.tiers}
          completeness={data.completeness}
          notes={[
            ...data.notes,
            ...(data.hidden.edges > 0
              ? [`${data.hidden.edges} smaller connections are left out: filter for them`]
              : []),
          ]}
        />
      )}
    </div>
  );
}

function useMedia(query: string): boolean {
  const [is, setIs] = useState(() => window.matchMedia(query).matches);
  useEffect(() => {
    const media = window.matchMedia(query);
    const changed = () => setIs(media.matches);
    media.addEventListener("change", changed);
    return () => media.removeEventListener("change", changed);
  }, [query]);
  return is;
}
