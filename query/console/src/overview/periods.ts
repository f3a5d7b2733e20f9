/** A period and the one of the same length before it, on one grid. */
import { queryRange, type Series } from "../api/prometheus.ts";
import { onGrid, timesOf } from "../chart/matrix.ts";
import { stepFor, stepsOf, type Range } from "../state/time.ts";

export interface Periods {
  times: number[];
  now: (number | null)[];
  before: (number | null)[];
}

const POINTS = 180;

export interface Grid {
  step: number;
  now: Range;
  before: Range;
}

export function gridOf(range: Range): Grid {
  const step = stepFor(range, POINTS);
  const now = stepsOf(range, step);
  const length = now.end - now.start + step;
  return { step, now, before: { start: now.start - length, end: now.end - length } };
}

/** One request for both: the previous period is the first half of its answer. */
export async function periods(expression: string, grid: Grid, signal: AbortSignal): Promise<Periods> {
  const whole = { start: grid.before.start, end: grid.now.end };
  const series = (await queryRange(expression, whole, grid.step, signal)).data.result[0];
  return {
    times: timesOf(grid.now, grid.step),
    now: onGrid(series, grid.now, grid.step),
    before: onGrid(series, grid.before, grid.step),
  };
}

/** Values of whole periods by the key of what they are of: now, and before. */
export type Headlines = Record<string, { now: number | null; before: number | null }>;

/** Several expressions in one request, told apart by a label. */
export async function headlines(
  expressions: Readonly<Record<string, string>>,
  range: Range,
  signal: AbortSignal,
): Promise<Headlines> {
  const length = range.end - range.start;
  const all = Object.entries(expressions).map(
    ([key, expression]) => `label_replace(${expression}, "is", "${key}", "", "")`,
  );
  const ends = { start: range.end - length, end: range.end };
  const answer = await queryRange(all.join(" or "), ends, length, signal);
  const of = (series: Series | undefined) => onGrid(series, ends, length);
  return Object.fromEntries(
    Object.keys(expressions).map((key) => {
      const [before = null, now = null] = of(answer.data.result.find((one) => one.metric["is"] === key));
      return [key, { now, before }];
    }),
  );
}
