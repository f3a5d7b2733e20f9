/** The series of an answer as lines: those with the most, named by labels. */
import type { Labels, Series } from "../api/prometheus.ts";
import type { Range } from "../state/time.ts";
import type { Line } from "./Chart.tsx";
import { onGrid } from "./matrix.ts";
import { seriesColour } from "./colours.ts";

const DASHES = [undefined, [6, 3], [2, 3], [8, 3, 2, 3]];

export interface Top {
  lines: Line[];
  /** Series beyond them. */
  more: number;
}

/** At most `most` lines, the ones with the highest mean first. */
export function topLines(
  series: readonly Series[],
  grid: Range,
  step: number,
  most: number,
  name: (labels: Labels) => string,
): Top {
  const all = series
    .map((one) => {
      const values = onGrid(one, grid, step);
      const known = values.filter((value) => value !== null);
      const mean = known.length === 0 ? 0 : known.reduce((a, b) => a + b, 0) / known.length;
      return { name: name(one.metric), values, mean };
    })
    .sort((a, b) => b.mean - a.mean || a.name.localeCompare(b.name));
  const lines = all.slice(0, most).map(({ name: title, values }, i): Line => {
    // Eight colours, and then the same again with other strokes; neighbours differ in both.
    const dash = DASHES[(i + Math.floor(i / 8)) % DASHES.length];
    return { name: title, values, colour: seriesColour(i), ...(dash ? { dash } : {}) };
  });
  return { lines, more: all.length - lines.length };
}
