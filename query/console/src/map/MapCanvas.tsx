/** The picture of the map, and what pointer and keys do on it. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { quantity } from "../format/numbers.ts";
import { useColours } from "../shell/theme.ts";
import { expandable, matches, type Graph } from "./graph.ts";
import { onEdge, onNode, summaryOf } from "./words.ts";
import type { LaidOut } from "./layout/useLayout.ts";
import { written, type Measure } from "./measures.ts";
import { paletteNow } from "./paint/colours.ts";
import { collapser, expander, rectOf } from "./paint/nodes.ts";
import { Painter } from "./paint/painter.ts";
import type { Selection } from "./state.ts";
import { nextNode, type Direction } from "./walk.ts";

/** From the pointer to an edge that it means, in pixels. */
const REACH = 7;

const ARROWS: Record<string, Direction> = {
  ArrowLeft: "left",
  ArrowRight: "right",
  ArrowUp: "up",
  ArrowDown: "down",
};

interface Hovered {
  node: number | null;
  edge: number | null;
  x: number;
  y: number;
}

export function MapCanvas(props: {
  laid: LaidOut;
  measure: Measure;
  selection: Selection | null;
  find: string;
  select(selection: Selection | null): void;
  expand(workload: string): void;
  focus(id: string): void;
  arrange(): void;
}) {
  const { laid, measure, selection } = props;
  const { graph } = laid;
  const canvas = useRef<HTMLCanvasElement>(null);
  const place = useRef<HTMLDivElement>(null);
  const painter = useRef<Painter | null>(null);
  const [hovered, setHovered] = useState<Hovered | null>(null);
  const [cursor, setCursor] = useState<string | null>(null);
  const [said, setSaid] = useState("");
  const colours = useColours();

  useEffect(() => {
    const element = canvas.current;
    const around = place.current;
    if (!element || !around) return;
    const made = new Painter(element);
    painter.current = made;
    const size = () =>
      made.resize(
        { w: around.clientWidth, h: around.clientHeight },
        Math.min(2, window.devicePixelRatio || 1),
      );
    size();
    const observer = new ResizeObserver(size);
    observer.observe(around);
    // A wheel over the map zooms it; only a listener that is not passive may keep the page from scrolling.
    const wheel = (event: WheelEvent) => {
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 24 : 1;
      const by = Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0016));
      made.zoom(by, inside(element, event));
    };
    element.addEventListener("wheel", wheel, { passive: false });
    return () => {
      observer.disconnect();
      element.removeEventListener("wheel", wheel);
      made.end();
      painter.current = null;
    };
  }, []);

  useEffect(() => {
    painter.current?.show(laid, measure, paletteNow());
  }, [laid, measure, colours]);

  const selected = useMemo(() => chosenOf(graph, selection), [graph, selection]);
  const found = useMemo(
    () =>
      new Set(
        props.find === "" ? [] : graph.nodes.flatMap((node, i) => (matches(node.at, props.find) ? [i] : [])),
      ),
    [graph, props.find],
  );
  const at = cursor === null ? null : (graph.byId.get(cursor) ?? null);

  useEffect(() => {
    const node = selected.node ?? hovered?.node ?? null;
    const own =
      node !== null
        ? graph.nodes[node]!.edges.filter((i) => graph.edges[i]!.drawn || selected.node === node)
        : selected.edge !== null
          ? [selected.edge]
          : hovered?.edge !== null && hovered?.edge !== undefined
            ? [hovered.edge]
            : [];
    const ends = own.flatMap((i) => [graph.edges[i]!.source, graph.edges[i]!.target]);
    const lit =
      own.length > 0 ? new Set(node === null ? ends : [...ends, node]) : found.size > 0 ? found : null;
    painter.current?.choose({
      selected: selected.node,
      cursor: at,
      hovered: hovered?.node ?? null,
      edges: own,
      lit,
      found,
    });
  }, [graph, laid, selected, hovered, at, found]);

  const say = (id: string) => {
    const node = graph.byId.get(id);
    if (node === undefined) return;
    setCursor(id);
    setSaid(onNode(graph, node));
    painter.current?.reveal(node);
  };

  const key = (event: KeyboardEvent) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const direction = ARROWS[event.key];
    const node = at === null ? null : graph.nodes[at]!;
    if (direction) {
      const next = nextNode(laid, at ?? selected.node, direction);
      if (next !== null) say(graph.nodes[next]!.at.id);
    } else if (event.key === "Enter" && node) {
      props.select({ kind: "node", id: node.at.id });
    } else if (event.key === "Escape") {
      if (selection !== null) props.select(null);
      else setCursor(null);
    } else if (event.key === "+" || event.key === "=") {
      painter.current?.zoom(1.25);
    } else if (event.key === "-") {
      painter.current?.zoom(0.8);
    } else if (event.key === "0") {
      painter.current?.fit();
    } else if (event.key === "f" && node) {
      props.focus(node.at.id);
    } else if (event.key === "e" && node) {
      const workload = expandable(node.at);
      if (workload !== null) props.expand(workload);
    } else {
      return;
    }
    event.preventDefault();
  };

  const pointers = useRef(new Map<number, { x: number; y: number }>());
  const moved = useRef(0);

  const down = (event: PointerEvent) => {
    if (event.button !== 0) return;
    pointers.current.set(event.pointerId, inside(canvas.current!, event));
    canvas.current?.setPointerCapture(event.pointerId);
    moved.current = 0;
  };
  const move = (event: PointerEvent) => {
    const to = inside(canvas.current!, event);
    const from = pointers.current.get(event.pointerId);
    const by = painter.current;
    if (!by) return;
    if (from) {
      const other = [...pointers.current].find(([id]) => id !== event.pointerId)?.[1];
      if (other) {
        const middle = { x: (to.x + other.x) / 2, y: (to.y + other.y) / 2 };
        by.zoom(apart(to, other) / Math.max(1, apart(from, other)), middle);
        by.pan((to.x - from.x) / 2, (to.y - from.y) / 2);
      } else {
        by.pan(to.x - from.x, to.y - from.y);
      }
      moved.current += apart(from, to);
      pointers.current.set(event.pointerId, to);
      if (hovered !== null && moved.current > 4) setHovered(null);
      return;
    }
    if (event.pointerType === "touch") return;
    const node = by.nodeAt(to);
    const edge = node === null ? by.edgeAt(to, REACH) : null;
    if (node === null && edge === null) setHovered(null);
    else setHovered({ node, edge, ...to });
  };
  const up = (event: PointerEvent) => {
    const by = painter.current;
    if (!pointers.current.delete(event.pointerId) || !by || moved.current > 4) return;
    const to = inside(canvas.current!, event);
    const point = by.point(to);
    const folded = foldAt(laid, point);
    if (folded !== null) return props.expand(folded);
    const node = by.nodeAt(to);
    if (node !== null) {
      const workload = expandable(graph.nodes[node]!.at);
      const rect = rectOf(laid, node);
      if (workload !== null && graph.nodes[node]!.at.kind === "workload" && isIn(expander(rect), point, 3)) {
        return props.expand(workload);
      }
      return props.select({ kind: "node", id: graph.nodes[node]!.at.id });
    }
    const edge = by.edgeAt(to, event.pointerType === "touch" ? 2 * REACH : REACH);
    props.select(edge === null ? null : selectionOf(graph, edge));
  };

  return (
    <div class="map-place" ref={place}>
      <canvas
        ref={canvas}
        class={hovered ? "pointing" : undefined}
        tabIndex={0}
        role="application"
        aria-roledescription="map"
        aria-label={summaryOf(graph, measure)}
        aria-describedby="map-keys"
        onPointerDown={down}
        onPointerMove={move}
        onPointerUp={up}
        onPointerCancel={(event) => pointers.current.delete(event.pointerId)}
        onPointerLeave={() => setHovered(null)}
        onDblClick={(event) => {
          const node = painter.current?.nodeAt(inside(canvas.current!, event)) ?? null;
          if (node !== null) props.focus(graph.nodes[node]!.at.id);
        }}
        onFocus={() => {
          if (at === null && selected.node !== null) setCursor(graph.nodes[selected.node]!.at.id);
        }}
        onBlur={() => setCursor(null)}
        onKeyDown={key}
      />
      <p id="map-keys" class="hidden">
        Arrow keys go from workload to workload, left and right along connections. Enter opens, Escape closes,
        F shows the neighbours alone, E shows pods, plus, minus and 0 zoom. The list beside the map has the
        same.
      </p>
      <p class="hidden" role="status" aria-live="polite">
        {said}
      </p>
      {hovered && <Tip graph={graph} measure={measure} hovered={hovered} />}
      <div class="map-zoom" role="group" aria-label="Zoom">
        <button
          type="button"
          aria-label="Zoom in"
          title="Zoom in (+)"
          onClick={() => painter.current?.zoom(1.3)}
        >
          +
        </button>
        <button
          type="button"
          aria-label="Zoom out"
          title="Zoom out (−)"
          onClick={() => painter.current?.zoom(0.77)}
        >
          −
        </button>
        <button
          type="button"
          aria-label="Show all"
          title="Show all (0)"
          onClick={() => painter.current?.fit()}
        >
          ⤢
        </button>
        <button type="button" aria-label="Arrange anew" title="Arrange anew" onClick={props.arrange}>
          ⟲
        </button>
      </div>
    </div>
  );
}

function Tip({ graph, measure, hovered }: { graph: Graph; measure: Measure; hovered: Hovered }) {
  const style = { left: `${hovered.x + 14}px`, top: `${hovered.y + 14}px` };
  if (hovered.node !== null && graph.nodes[hovered.node]) {
    const { at, edges } = graph.nodes[hovered.node]!;
    return (
      <div class="map-tip" style={style} aria-hidden="true">
        <strong>{at.label}</strong>
        {at.namespace !== null && <span class="muted"> in {at.namespace}</span>}
        <div>
          sent {quantity(at.tx_bytes, "bytes")} · received {quantity(at.rx_bytes, "bytes")}
        </div>
        <div class="muted">{edges.length} connections · click opens, double click shows neighbours alone</div>
      </div>
    );
  }
  const edge = hovered.edge === null ? undefined : graph.edges[hovered.edge];
  if (!edge) return null;
  return (
    <div class="map-tip" style={style} aria-hidden="true">
      <strong>{onEdge(graph, edge)}</strong>
      <div class={`grade ${edge.grade}`}>
        {measure.name} {written(measure, edge.value)}
      </div>
      <div class="muted">
        {quantity(edge.at.bytes, "bytes")}
        {edge.crossing &&
          ` · crosses ${edge.crossing.kind}s with ${quantity(edge.crossing.share, "ratio")} of it`}
      </div>
    </div>
  );
}

function chosenOf(graph: Graph, selection: Selection | null): { node: number | null; edge: number | null } {
  if (selection === null) return { node: null, edge: null };
  if (selection.kind === "node") return { node: graph.byId.get(selection.id) ?? null, edge: null };
  const source = graph.byId.get(selection.source);
  const target = graph.byId.get(selection.target);
  const edge = graph.edges.findIndex((one) => one.source === source && one.target === target);
  return { node: null, edge: edge === -1 ? null : edge };
}

export function selectionOf(graph: Graph, edge: number): Selection {
  const { source, target } = graph.edges[edge]!.at;
  return { kind: "edge", source, target };
}

/** The expanded workload whose sign is at a point of the map. */
function foldAt(laid: LaidOut, point: { x: number; y: number }): string | null {
  const cells = new Set(laid.graph.nodes.filter(({ at }) => at.kind === "pod").map((node) => node.cell));
  for (const cell of cells) {
    const rect = laid.layout.placement.cells[cell];
    if (rect && isIn(collapser(rect), point, 3)) return cell;
  }
  return null;
}

function isIn(
  rect: { x: number; y: number; w: number; h: number },
  at: { x: number; y: number },
  pad: number,
): boolean {
  return (
    at.x >= rect.x - pad &&
    at.x <= rect.x + rect.w + pad &&
    at.y >= rect.y - pad &&
    at.y <= rect.y + rect.h + pad
  );
}

function inside(element: HTMLElement, event: MouseEvent): { x: number; y: number } {
  const box = element.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

function apart(a: { x: number; y: number }, b: { x: number; y: number }): number {
  return Math.hypot(a.x - b.x, a.y - b.y);
}
