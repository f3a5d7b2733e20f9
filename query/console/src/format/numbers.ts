/** Numbers as people read them. Unknown is an en dash, never 0. */

export const UNKNOWN = "–";

export type Unit =
  | ""
  | "bytes"
  | "bytes/s"
  | "bits/s"
  | "packets"
  | "segments"
  | "connections"
  | "timeouts"
  | "seconds"
  | "ratio"
  | "currency"
  | "per second";

const SI = ["", "k", "M", "G", "T", "P", "E"];
const SMALL = ["", "m", "µ", "n"];

/** Three significant digits, without trailing zeros beyond them. */
function digits(value: number): string {
  const size = Math.abs(value);
  if (size >= 100 || value === 0) return value.toFixed(0);
  return value.toFixed(size >= 10 ? 1 : 2);
}

/** `1.23 M`: powers of 1000, three significant digits. */
export function si(value: number, unit = ""): string {
  if (!Number.isFinite(value)) return UNKNOWN;
  let scaled = value;
  let power = 0;
  while (Math.abs(scaled) >= 999.5 && power < SI.length - 1) {
    scaled /= 1000;
    power += 1;
  }
  const number = Number.isInteger(value) && power === 0 ? String(value) : digits(scaled);
  const suffix = `${SI[power]}${unit}`;
  return suffix === "" ? number : `${number} ${suffix}`;
}

export function seconds(value: number): string {
  if (!Number.isFinite(value)) return UNKNOWN;
  if (value === 0) return "0 s";
  const size = Math.abs(value);
  if (size < 1) {
    let scaled = value;
    let power = 0;
    while (Math.abs(scaled) < 0.9995 && power < SMALL.length - 1) {
      scaled *= 1000;
      power += 1;
    }
    return `${digits(scaled)} ${SMALL[power]}s`;
  }
  if (size < 120) return `${digits(value)} s`;
  return duration(value);
}

/** `2 d 4 h`: a length of time in its two largest units. */
export function duration(value: number): string {
  const rest = Math.round(Math.abs(value));
  const parts: [number, string][] = [
    [Math.floor(rest / 86_400), "d"],
    [Math.floor((rest % 86_400) / 3600), "h"],
    [Math.floor((rest % 3600) / 60), "min"],
    [rest % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first === -1) return "0 s";
  const shown = parts.slice(first, first + 2).filter(([count]) => count > 0);
  return (value < 0 ? "−" : "") + shown.map(([count, unit]) => `${count} ${unit}`).join(" ");
}

export function percent(ratio: number): string {
  if (!Number.isFinite(ratio)) return UNKNOWN;
  const value = ratio * 100;
  const size = Math.abs(value);
  if (value === 0) return "0 %";
  if (size < 0.001) return `${value < 0 ? "−" : ""}<0.001 %`;
  return `${size >= 99.95 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : size >= 0.1 ? value.toFixed(2) : value.toFixed(3)} %`;
}

/** A value of a column or chart. `null` is unknown. */
export function quantity(value: number | null | undefined, unit: Unit): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return UNKNOWN;
  switch (unit) {
    case "bytes":
      return si(value, "B");
    case "bytes/s":
      return si(value, "B/s");
    case "bits/s":
      return si(value, "bit/s");
    case "seconds":
      return seconds(value);
    case "ratio":
      return percent(value);
    case "currency":
      return value.toLocaleString(undefined, {
        minimumFractionDigits: 2,
        maximumFractionDigits: Math.abs(value) < 1 ? 4 : 2,
      });
    case "per second":
      return `${si(value)}/s`;
    default:
      return si(value);
  }
}

/** A count with its thousands apart, for titles that give the exact number. */
export function exact(value: number | null | undefined, unit: Unit): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "not known";
  const number = value.toLocaleString(undefined, { maximumSignificantDigits: 17 });
  return unit === "" || unit === "ratio" || unit === "currency" ? number : `${number} ${unit}`;
}

/** `+12 %` of what was before; `new` and `gone` where there was or is nothing. */
export function change(now: number | null, before: number | null): string {
  if (now === null || before === null || !Number.isFinite(now) || !Number.isFinite(before)) return UNKNOWN;
  if (now === before) return "±0 %";
  if (before === 0) return "new";
  if (now === 0) return "gone";
  const ratio = now / before;
  if (ratio >= 10) return `×${digits(ratio)}`;
  const relative = (ratio - 1) * 100;
  return `${relative < 0 ? "−" : "+"}${Math.abs(relative) < 0.1 ? "<0.1" : digits(Math.abs(relative))} %`;
}
