/** Values of a field that rows of the range have, for completion. */
import { labelValues } from "../api/prometheus.ts";
import { useAnswer, type Pending } from "../api/useAnswer.ts";
import { selectors, type Filter } from "../state/filters.ts";
import type { Range } from "../state/time.ts";

const MOST = 1000;

export function useValues(
  field: string,
  others: readonly Filter[],
  range: Range,
  wanted: boolean,
): Pending<string[]> {
  const labels = field.startsWith("either_")
    ? [field.slice("either_".length), `peer_${field.slice("either_".length)}`]
    : [field];
  // A match on either end is not one selector; without it more is offered, never less.
  const match = selectors(others.filter((one) => !one.field.startsWith("either_")));
  const of = match.length > 0 ? match : ['{__name__="flow_tx_bytes_total"}'];
  const key = wanted ? JSON.stringify([labels, of, range]) : null;
  return useAnswer(key, async (signal) => {
    const all = await Promise.all(labels.map((label) => labelValues(label, of, range, MOST, signal)));
    return [...new Set(all.flat())].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  });
}
