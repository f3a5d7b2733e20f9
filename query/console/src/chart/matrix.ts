/** Range vectors as columns of a chart. */
import type { Series } from "../api/prometheus.ts";
import type { Range } from "../state/time.ts";

/** Times of a grid: `start`, `start + step`, .., `end`. */
export function timesOf(grid: Range, step: number): number[] {
  const count = Math.round((grid.end - grid.start) / step) + 1;
  return Array.from({ length: count }, (_, i) => grid.start + i * step);
}

/** Values on a grid; null where there is none, or none that is a finite number. */
export function onGrid(series: Series | undefined, grid: Range, step: number): (number | null)[] {
  const count = Math.round((grid.end - grid.start) / step) + 1;
  const values = Array.from<number | null>({ length: count }).fill(null);
  for (const [time, text] of series?.values ?? []) {
    const index = Math.round((time - grid.start) / step);
    const value = Number(text);
    if (index >= 0 && index < count && Number.isFinite(value)) values[index] = value;
  }
  return values;
}
