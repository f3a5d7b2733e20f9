/** What the PromQL editor completes with: metrics, labels and values of the last hours, and what metrics are. */
import type { PrometheusClient } from "@prometheus-io/codemirror-promql";
import { EqlRegex, Neq, NeqRegex } from "@prometheus-io/lezer-promql";
import { ask, type Params } from "../../api/client.ts";

type Matchers = Parameters<PrometheusClient["series"]>[1];

/** Completion looks back this far, seconds. */
const LOOKBACK = 6 * 3600;
const MOST = 5000;

function selector(metric: string | undefined, matchers: Matchers): string[] {
  if (metric === undefined || metric === "") return [];
  const inner = (matchers ?? [])
    // A matcher that is still being written would select nothing.
    .filter((one) => one.name !== "" && one.value !== "")
    .map((one) => `${one.name}${operator(one)}${JSON.stringify(one.value)}`);
  return [`${metric}{${inner.join(",")}}`];
}

function operator({ type }: NonNullable<Matchers>[number]): string {
  if (type === Neq) return "!=";
  if (type === EqlRegex) return "=~";
  return type === NeqRegex ? "!~" : "=";
}

async function get<T>(path: string, params: Params, otherwise: T): Promise<T> {
  const start = Math.floor(Date.now() / 1000) - LOOKBACK;
  try {
    return (await ask<T>(path, { start, ...params }, new AbortController().signal)).data;
  } catch {
    // Without an answer there is no completion; the query itself will say what is wrong.
    return otherwise;
  }
}

export function client(): PrometheusClient {
  const names = get<string[]>("/api/v1/label/__name__/values", { limit: MOST }, []);
  return {
    metricNames: () => names,
    labelNames: (metric) => get("/api/v1/labels", { "match[]": selector(metric, []), limit: MOST }, []),
    labelValues: (label, metric, matchers) =>
      get(
        `/api/v1/label/${encodeURIComponent(label)}/values`,
        { "match[]": selector(metric, matchers), limit: MOST },
        [],
      ),
    metricMetadata: () => get("/api/v1/metadata", {}, {}),
    // Asked for by the completion of binary operations only, where names do.
    series: () => Promise.resolve([]),
    flags: () => Promise.resolve({}),
  };
}
