/**
 * Expressions over flow metrics.
 *
 * A filter on either end selects two sets of rows; so does counting each byte once. Such a selection is a list of
 * cases that no row meets two of, and a sum over it is the sum of one aggregate a case. Each aggregate stays of
 * the form that the server computes without expanding series.
 */
import { matcher, type Filter } from "../state/filters.ts";

export type Case = readonly Filter[];

const EITHER = "either_";

/** Cases of rows that meet all filters; no row is in two of them. */
export function cases(filters: readonly Filter[]): Case[] {
  let all: Case[] = [[]];
  for (const { field, operator, value } of filters) {
    if (!field.startsWith(EITHER)) {
      all = all.map((one) => [...one, { field, operator, value }]);
      continue;
    }
    const near = { field: field.slice(EITHER.length), operator, value };
    const far = { ...near, field: `peer_${near.field}` };
    if (operator === "!=" || operator === "!~") {
      all = all.map((one) => [...one, near, far]);
    } else {
      const not = { ...near, operator: operator === "=" ? ("!=" as const) : ("!~" as const) };
      all = all.flatMap((one) => [
        [...one, near],
        [...one, not, far],
      ]);
    }
  }
  return all;
}

/** The cases in which each byte counts once: at the client, and at whichever end of others is measured. */
export function eachByteOnce(filters: readonly Filter[]): Case[] {
  return cases(filters).flatMap((one) => [
    [...one, { field: "role", operator: "!=", value: "server" }],
    [
      ...one,
      { field: "role", operator: "=", value: "server" },
      { field: "peer_scope", operator: "=~", value: "cloud|external" },
    ],
  ]);
}

/** `sum by (by) (function(metric{case}[window]))` over all cases. */
export function sum(
  metric: string,
  of: readonly Case[],
  window: number,
  by: readonly string[] = [],
  fn: "rate" | "increase" = "rate",
): string {
  const grouping = by.length === 0 ? "" : ` by (${by.join(", ")})`;
  const parts = of.map((one) => {
    const selector = one.length === 0 ? metric : `${metric}{${one.map(matcher).join(",")}}`;
    return `sum${grouping} (${fn}(${selector}[${span(window)}]))`;
  });
  if (parts.length === 1) return parts[0]!;
  // A label keeps the parts apart until they are added, since `or` takes one of two that have the same labels.
  const apart = parts.map((part, i) => `label_replace(${part}, "part", "${i}", "", "")`);
  return `sum${grouping} (${apart.join(" or ")})`;
}

/** A length of time in the largest unit that it is whole in. */
export function span(seconds: number): string {
  for (const [length, unit] of [
    [86_400, "d"],
    [3600, "h"],
    [60, "m"],
  ] as const) {
    if (seconds % length === 0) return `${seconds / length}${unit}`;
  }
  return Number.isInteger(seconds) ? `${seconds}s` : `${Math.round(seconds * 1000)}ms`;
}
