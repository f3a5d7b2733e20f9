/** The endpoints that Prometheus has too, and SQL. */
import { ask, send, type Answer } from "./client.ts";
import type { Range } from "../state/time.ts";

export type Labels = Record<string, string>;

export interface Series {
  metric: Labels;
  /** Unix seconds and the value as text (`NaN`, `+Inf` too). */
  values: [number, string][];
}

export interface Sample {
  metric: Labels;
  value: [number, string];
}

export type Result =
  | { resultType: "matrix"; result: Series[] }
  | { resultType: "vector"; result: Sample[] }
  | { resultType: "scalar" | "string"; result: [number, string] };

export function queryRange(
  query: string,
  range: Range,
  step: number,
  signal: AbortSignal,
): Promise<Answer<{ resultType: "matrix"; result: Series[] }>> {
  return ask("/api/v1/query_range", { query, start: range.start, end: range.end, step }, signal);
}

export function query(text: string, time: number, signal: AbortSignal): Promise<Answer<Result>> {
  return ask("/api/v1/query", { query: text, time }, signal);
}

/** Values of a label among what the selectors select; at most `limit`. */
export async function labelValues(
  label: string,
  match: readonly string[],
  range: Range,
  limit: number,
  signal: AbortSignal,
): Promise<string[]> {
  const path = `/api/v1/label/${encodeURIComponent(label)}/values`;
  const params = { "match[]": match, start: range.start, end: range.end, limit };
  return (await ask<string[]>(path, params, signal)).data;
}

/** Names of metrics that begin or go on like this, with what they are. */
export async function metadata(
  signal: AbortSignal,
): Promise<Record<string, { type: string; help: string; unit: string }[]>> {
  return (
    await ask<Record<string, { type: string; help: string; unit: string }[]>>("/api/v1/metadata", {}, signal)
  ).data;
}

export interface SqlAnswer {
  columns: { name: string; type: string }[];
  rows: unknown[][];
}

export async function sql(statement: string, signal: AbortSignal): Promise<SqlAnswer> {
  const response = await send("/api/v1/sql", { query: statement, format: "json" }, signal, true);
  return (await response.json()) as SqlAnswer;
}
