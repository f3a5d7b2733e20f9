/** The flow table's part of the link. */
import type { FlowQuestion, FlowView } from "../api/flows.ts";
import { parseMatcher, selectors, type Filter } from "../state/filters.ts";
import type { Changes } from "../state/location.ts";
import type { Shared } from "../state/shared.ts";
import { FLOW_VIEWS, isOverTime, measuresOf } from "./measures.ts";

export interface TableState {
  view: FlowView;
  by: readonly string[];
  measures: readonly string[];
  /** A column, `-` before it for descending. */
  order: string;
  limit: number;
  /** Labels of the row whose details are shown; an absent label has the value "". */
  row: readonly Filter[] | null;
}

export const LIMITS = [25, 50, 100, 250, 1000];
const DEFAULT_LIMIT = 50;
/** Points of a sparkline. */
export const POINTS = 48;

const list = (text: string | null) => text?.split(",").filter((one) => one !== "") ?? null;

export function tableState(params: URLSearchParams): TableState {
  const named = params.get("view") ?? "cluster";
  const view = (named in FLOW_VIEWS ? named : "cluster") as FlowView;
  const known = measuresOf(view);
  const by = list(params.get("by")) ?? FLOW_VIEWS[view].by;
  const chosen = list(params.get("cols"))?.filter((one) => known.includes(one));
  const measures = chosen && chosen.length > 0 ? chosen : FLOW_VIEWS[view].measures;
  const order = params.get("order") ?? "-bytes";
  const column = order.replace(/^-/, "");
  const sortable = measures.includes(column) || by.includes(column);
  const limit = Number(params.get("limit") ?? DEFAULT_LIMIT);
  const row = params.getAll("row").flatMap((text) => parseMatcher(text) ?? []);
  return {
    view,
    by,
    measures,
    order: sortable ? order : `-${measures[0]}`,
    limit: LIMITS.includes(limit) ? limit : DEFAULT_LIMIT,
    row: row.length > 0 ? row : null,
  };
}

/** What to ask the server for. */
export function question(shared: Shared, state: TableState): FlowQuestion {
  const ordering = state.order.replace(/^-/, "");
  return {
    view: state.view,
    range: shared.range,
    match: selectors(shared.filters),
    by: state.by,
    measures: state.measures,
    order: state.order,
    limit: state.limit,
    points: POINTS,
    spark: isOverTime(ordering) ? ordering : (state.measures.find(isOverTime) ?? "bytes"),
  };
}

/** Another view begins with its own columns. */
export function toView(view: FlowView): Changes {
  return { view: view === "cluster" ? null : view, by: null, cols: null, order: null, row: null };
}
