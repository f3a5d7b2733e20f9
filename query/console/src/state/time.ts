/**
 * The time range of a view.
 *
 * A bound is `now`, `now-1h` or a moment. Relative bounds stay relative in links, so that a link to "the last
 * hour" shows the last hour whenever it is opened; absolute ones stay absolute.
 */

/** Bounds as they are in the query string (`from`, `to`). */
export interface TimeChoice {
  from: string;
  to: string;
}

/** `(start, end]` in Unix seconds. */
export interface Range {
  start: number;
  end: number;
}

export const DEFAULT_TIME: TimeChoice = { from: "now-1h", to: "now" };

export const QUICK_RANGES: readonly { from: string; label: string; short: string }[] = [
  { from: "now-1m", label: "Last minute", short: "1 min" },
  { from: "now-5m", label: "Last 5 minutes", short: "5 min" },
  { from: "now-15m", label: "Last 15 minutes", short: "15 min" },
  { from: "now-1h", label: "Last hour", short: "1 h" },
  { from: "now-6h", label: "Last 6 hours", short: "6 h" },
  { from: "now-24h", label: "Last 24 hours", short: "24 h" },
  { from: "now-7d", label: "Last 7 days", short: "7 d" },
  { from: "now-30d", label: "Last 30 days", short: "30 d" },
  { from: "now-1y", label: "Last year", short: "1 y" },
];

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800, y: 31_536_000 };

/** Seconds of `90s`, `5m`, `1h30m`; null if the text is no duration. */
export function durationSeconds(text: string): number | null {
  if (!/^(\d+[smhdwy])+$/.test(text)) return null;
  let sum = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)([smhdwy])/g)) sum += Number(count) * (UNITS[unit!] ?? 0);
  return sum;
}

/** A bound as Unix seconds; null if it is none. */
export function moment(text: string, now: number): number | null {
  if (text === "now") return now;
  const relative = /^now-(.+)$/.exec(text);
  if (relative) {
    const seconds = durationSeconds(relative[1]!);
    return seconds === null ? null : now - seconds;
  }
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  const parsed = Date.parse(text);
  return Number.isNaN(parsed) ? null : parsed / 1000;
}

/** Whether the range moves with the clock. */
export function isRelative(time: TimeChoice): boolean {
  return time.from.startsWith("now") || time.to.startsWith("now");
}

/** The range at this moment, or what is wrong with it. */
export function resolve(time: TimeChoice, now: number): Range | string {
  const start = moment(time.from, now);
  const end = moment(time.to, now);
  if (start === null) return `“${time.from}” is no time: write now-1h, or a date like 2026-01-31 14:00`;
  if (end === null) return `“${time.to}” is no time: write now, now-1h, or a date like 2026-01-31 14:00`;
  if (start >= end) return "the range ends before it starts";
  return { start, end };
}

/** Absolute bounds of a link, in UTC with whole seconds. */
export function absolute(range: Range): TimeChoice {
  const text = (t: number) => new Date(Math.round(t) * 1000).toISOString().replace(".000Z", "Z");
  return { from: text(range.start), to: text(range.end) };
}

/** The range of the same length just before. */
export function before(range: Range): Range {
  return { start: range.start - (range.end - range.start), end: range.start };
}

const STEPS = [
  10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
];

/**
 * The step that gives at most `points` points. Bounds of charts lie on multiples of it, so that a point stays
 * where it is when the range moves, and so that the coarser tiers can answer.
 */
export function stepFor(range: Range, points: number): number {
  const least = (range.end - range.start) / points;
  return STEPS.find((step) => step >= least) ?? Math.ceil(least / 604_800) * 604_800;
}

/**
 * Evaluation times of a chart: multiples of the step whose windows `(t - step, t]` lie in the range. Only the first
 * may begin before it; a window that is not over yet is left out, or every chart would end in a fall.
 */
export function stepsOf(range: Range, step: number): Range {
  const start = Math.floor(range.start / step) * step + step;
  return { start, end: Math.max(start, Math.floor(range.end / step) * step) };
}
