/** The state of the map, all of which is in the link. */
import type { Changes } from "../state/location.ts";
import { DEFAULT_MEASURE, measureOf, type Measure } from "./measures.ts";

export type Selection = { kind: "node"; id: string } | { kind: "edge"; source: string; target: string };

export interface MapState {
  measure: Measure;
  /** Node whose neighbours alone are shown. */
  focus: string | null;
  /** How far from it. */
  hops: number;
  /** `namespace/workload` that are shown pod by pod. */
  expand: readonly string[];
  /** Namespaces that are not shown. */
  hide: readonly string[];
  /** Edges with a smaller share of all bytes are not drawn; null: as many as can be read. */
  share: number | null;
  selection: Selection | null;
  /** Text that nodes are searched by. */
  find: string;
  /** What is shown; null: the list on narrow screens, the map on others. */
  show: "map" | "list" | null;
}

export const MOST_HOPS = 4;

/** Between the ids of an edge's ends in links: no label has it. */
const TO = "→";

export function readState(params: URLSearchParams): MapState {
  const hops = Number(params.get("hops") ?? "1");
  const share = params.get("share");
  const show = params.get("show");
  return {
    measure: measureOf(params.get("colour")),
    focus: params.get("focus"),
    hops: Number.isInteger(hops) && hops >= 1 && hops <= MOST_HOPS ? hops : 1,
    expand: params.getAll("expand"),
    hide: params.getAll("hide"),
    share: share === null || !(Number(share) >= 0) || share === "" ? null : Number(share),
    selection: readSelection(params),
    find: params.get("find") ?? "",
    show: show === "map" || show === "list" ? show : null,
  };
}

function readSelection(params: URLSearchParams): Selection | null {
  const node = params.get("node");
  if (node !== null) return { kind: "node", id: node };
  const [source, target, ...more] = (params.get("edge") ?? "").split(TO);
  return source && target && more.length === 0 ? { kind: "edge", source, target } : null;
}

/** Parameters of what is to change; everything at its default is left out of links. */
export function writeState(next: Partial<MapState>): Changes {
  const out: Changes = {};
  if (next.measure) out["colour"] = next.measure === DEFAULT_MEASURE ? null : next.measure.id;
  if (next.focus !== undefined) out["focus"] = next.focus;
  if (next.hops !== undefined) out["hops"] = next.hops === 1 ? null : String(next.hops);
  if (next.expand) out["expand"] = next.expand;
  if (next.hide) out["hide"] = next.hide;
  if (next.share !== undefined) out["share"] = next.share === null ? null : String(next.share);
  if (next.selection !== undefined) {
    const chosen = next.selection;
    out["node"] = chosen?.kind === "node" ? chosen.id : null;
    out["edge"] = chosen?.kind === "edge" ? `${chosen.source}${TO}${chosen.target}` : null;
  }
  if (next.find !== undefined) out["find"] = next.find === "" ? null : next.find;
  if (next.show !== undefined) out["show"] = next.show;
  return out;
}
