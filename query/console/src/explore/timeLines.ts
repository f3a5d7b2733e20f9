/** Rows of SQL as lines: one column is the time, numbers are values, and texts name the line. */
import type { SqlAnswer } from "../api/prometheus.ts";
import type { Line } from "../chart/Chart.tsx";
import { seriesColour } from "../chart/colours.ts";

const MOST = 20;

export interface Drawn {
  times: number[];
  lines: Line[];
  /** Lines beyond them. */
  more: number;
}

/** The lines, or why there are none. */
export function timeLines({ columns, rows }: SqlAnswer): Drawn | string {
  const time = columns.findIndex(({ type }) => type.startsWith("Timestamp") || type.startsWith("Date"));
  if (time === -1) return "No column is a time: a chart has one, say date_trunc('minute', \"end\")";
  const numbers = columns.flatMap(({ type }, i) => (/^(U?Int|Float|Decimal)/.test(type) ? [i] : []));
  if (numbers.length === 0) return "No column is a number";
  const texts = columns.flatMap((_, i) => (i !== time && !numbers.includes(i) ? [i] : []));

  const at = (row: readonly unknown[]) => Date.parse(`${String(row[time])}`) / 1000;
  const times = [...new Set(rows.map(at))].filter((t) => !Number.isNaN(t)).sort((a, b) => a - b);
  const index = new Map(times.map((t, i) => [t, i]));
  const found = new Map<string, (number | null)[]>();
  for (const row of rows) {
    const i = index.get(at(row));
    if (i === undefined) continue;
    const group = texts.map((column) => String(row[column] ?? "–")).join(" ");
    for (const column of numbers) {
      const value = row[column];
      const name = [group, numbers.length > 1 || group === "" ? columns[column]!.name : ""]
        .filter((part) => part !== "")
        .join(" ");
      let values = found.get(name);
      if (values === undefined) {
        values = Array.from<number | null>({ length: times.length }).fill(null);
        found.set(name, values);
      }
      if (typeof value === "number") values[i] = value;
    }
  }
  const most = [...found]
    .map(([name, values]) => ({
      name,
      values,
      sum: values.reduce<number>((sum, value) => sum + (value ?? 0), 0),
    }))
    .sort((a, b) => b.sum - a.sum);
  const lines = most.slice(0, MOST).map(({ name, values }, i) => ({ name, values, colour: seriesColour(i) }));
  return { times, lines, more: most.length - lines.length };
}
