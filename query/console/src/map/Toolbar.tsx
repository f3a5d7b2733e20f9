/** What the map is coloured by, and how much of it is shown. */
import { percent } from "../format/numbers.ts";
import { Popover } from "../ui/Popover.tsx";
import type { Graph } from "./graph.ts";
import { MEASURES, measureOf, written } from "./measures.ts";
import { MOST_HOPS, type MapState } from "./state.ts";
import { nodeName } from "./words.ts";

/** Positions of the slider: none, then thousandths of a percent to a tenth of all bytes, ten a decade. */
const STEPS = 41;

function shareAt(step: number): number {
  return step <= 0 ? 0 : Number((10 ** (-5 + (step - 1) / 10)).toPrecision(3));
}

function stepAt(share: number): number {
  return share <= 0 ? 0 : Math.min(STEPS, Math.max(1, Math.round((Math.log10(share) + 5) * 10) + 1));
}

export function Toolbar(props: {
  graph: Graph | null;
  state: MapState;
  list: boolean;
  change(next: Partial<MapState>, replace?: boolean): void;
}) {
  const { graph, state, change } = props;
  const focus = graph && state.focus !== null ? graph.byId.get(state.focus) : undefined;
  return (
    <div class="map-tools">
      <label>
        Colour by{" "}
        <select
          value={state.measure.id}
          onChange={(event) => change({ measure: measureOf(event.currentTarget.value) })}
        >
          {MEASURES.map((one) => (
            <option key={one.id} value={one.id}>
              {one.name}
            </option>
          ))}
        </select>
      </label>
      <input
        type="search"
        aria-label="Find workloads"
        placeholder="Find"
        value={state.find}
        disabled={graph === null}
        onInput={(event) => change({ find: event.currentTarget.value }, true)}
      />
      <label
        class="small-edges"
        title="Edges with a smaller share of all bytes are not drawn, unless they are raised"
      >
        Hide below{" "}
        <input
          type="range"
          min="0"
          disabled={graph === null}
          max={String(STEPS)}
          value={String(stepAt(state.share ?? graph?.threshold ?? 0))}
          aria-valuetext={`${percent(state.share ?? graph?.threshold ?? 0)} of bytes`}
          onInput={(event) => change({ share: shareAt(Number(event.currentTarget.value)) }, true)}
        />{" "}
        <output>{percent(state.share ?? graph?.threshold ?? 0)}</output>
      </label>
      <Popover
        name="Namespaces"
        label={state.hide.length === 0 ? "Namespaces" : `Namespaces (${state.hide.length} hidden)`}
      >
        {() => (
          <div class="namespaces">
            {(graph?.namespaces ?? []).map((name) => (
              <label key={name}>
                <input
                  type="checkbox"
                  checked={!state.hide.includes(name)}
                  onChange={(event) =>
                    change({
                      hide: event.currentTarget.checked
                        ? state.hide.filter((one) => one !== name)
                        : [...state.hide, name],
                    })
                  }
                />{" "}
                {name}
              </label>
            ))}
            <button type="button" disabled={state.hide.length === 0} onClick={() => change({ hide: [] })}>
              Show all
            </button>
          </div>
        )}
      </Popover>
      {state.focus !== null && (
        <span class="focus-chip">
          Near <strong>{focus === undefined ? state.focus : nodeName(graph!.nodes[focus]!.at)}</strong>{" "}
          <button
            type="button"
            aria-label="One hop less"
            disabled={state.hops <= 1}
            onClick={() => change({ hops: state.hops - 1 })}
          >
            −
          </button>{" "}
          {state.hops} {state.hops === 1 ? "hop" : "hops"}{" "}
          <button
            type="button"
            aria-label="One hop more"
            disabled={state.hops >= MOST_HOPS}
            onClick={() => change({ hops: state.hops + 1 })}
          >
            +
          </button>{" "}
          <button type="button" aria-label="Show everything" onClick={() => change({ focus: null, hops: 1 })}>
            ×
          </button>
        </span>
      )}
      <div class="map-show" role="group" aria-label="Shown as">
        <button
          type="button"
          aria-pressed={!props.list}
          disabled={graph === null}
          onClick={() => change({ show: "map" })}
        >
          Map
        </button>
        <button
          type="button"
          aria-pressed={props.list}
          disabled={graph === null}
          onClick={() => change({ show: "list" })}
        >
          List
        </button>
      </div>
    </div>
  );
}

export function Legend({ graph, state }: { graph: Graph; state: MapState }) {
  const [raised, high] = state.measure.steps(false);
  const value = (of: number) => written(state.measure, of);
  return (
    <div class="map-legend">
      <span title={state.measure.meaning}>
        <i class="calm" /> below {value(raised)}
      </span>
      <span>
        <i class="raised" /> from {value(raised)}
      </span>
      <span>
        <i class="high" /> ▲ from {value(high)}
      </span>
      <span>
        <b>||</b> other zone <b>|||</b> other region
      </span>
      <span class="muted">
        {graph.drawn.edges} of {graph.edges.length} connections drawn,{" "}
        {percent(graph.bytes > 0 ? graph.drawn.bytes / graph.bytes : 1)} of bytes; width by bytes
      </span>
    </div>
  );
}
