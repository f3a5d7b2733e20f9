/** The flow table and its comparison with another period (`/api/v1/flows`, `/api/v1/compare`). */
import { ask, form, send, type Params } from "./client.ts";
import type { Unit } from "../format/numbers.ts";
import type { Range } from "../state/time.ts";

export type FlowView = "cluster" | "cloud" | "external" | "all";

export interface Column {
  name: string;
  kind: "label" | "measure";
  unit: Unit;
}

export type Cell = string | number | null;

export interface Tier {
  table: string;
  /** `(start, end]` in Unix seconds. */
  start: number;
  end: number;
}

/** How much of what was to be measured an answer stands on. */
export interface ShortCompleteness {
  /** 0..1; null if nothing is known. */
  ratio: number | null;
  agents: number;
  silent: number;
}

export interface FlowTable {
  view: FlowView;
  start: number;
  end: number;
  seconds: number;
  columns: Column[];
  /** Aligned with the columns; an absent label is null. */
  rows: Cell[][];
  /** Over all groups; labels are null. */
  total: Cell[];
  /** Groups that are not among the rows; null if there are none. */
  other: Cell[] | null;
  groups: number;
  spark: {
    measure: string;
    step: number;
    start: number;
    values: (number | null)[][];
    total: (number | null)[];
  } | null;
  promql: string | null;
  sql: string | null;
  notes: string[];
  tiers: Tier[];
  completeness: ShortCompleteness;
}

export interface FlowQuestion {
  view: FlowView;
  range: Range;
  match: readonly string[];
  by: readonly string[];
  measures: readonly string[];
  /** A column, `-` before it for descending. */
  order: string;
  limit: number;
  points?: number;
  /** Measure of the sparklines. */
  spark?: string;
}

function params(question: FlowQuestion): Params {
  const { view, range, match, by, measures, order, limit, points, spark } = question;
  return {
    view,
    start: range.start,
    end: range.end,
    "match[]": match,
    by: by.join(","),
    measures: measures.join(","),
    order,
    limit,
    points: points ?? 0,
    spark,
  };
}

export async function flows(question: FlowQuestion, signal: AbortSignal): Promise<FlowTable> {
  return (await ask<FlowTable>("/api/v1/flows", params(question), signal)).data;
}

/** All rows up to the server's limit, as a file. */
export async function flowsFile(
  question: FlowQuestion,
  format: "csv" | "parquet",
  signal: AbortSignal,
): Promise<Blob> {
  const response = await send("/api/v1/flows", { ...params(question), limit: MOST_ROWS, format }, signal);
  return response.blob();
}

/** Most rows that one answer has. */
export const MOST_ROWS = 10_000;

/** Address of an answer, for whoever asks it without this page. */
export function flowsUrl(question: FlowQuestion): string {
  return `${window.location.origin}/api/v1/flows?${form(params(question)).toString()}`;
}

export interface Comparison {
  start: number;
  end: number;
  before_start: number;
  before_end: number;
  columns: Column[];
  rows: { labels: Cell[]; now: Cell[]; before: Cell[]; change: Cell[] }[];
  total: { now: Cell[]; before: Cell[]; change: Cell[] };
  groups: number;
  notes: string[];
  tiers: Tier[];
  completeness: ShortCompleteness;
}

/** What changed most between the range and the one before it. */
export async function compare(
  question: Omit<FlowQuestion, "points" | "spark">,
  signal: AbortSignal,
): Promise<Comparison> {
  return (await ask<Comparison>("/api/v1/compare", { ...params(question), points: null }, signal)).data;
}
