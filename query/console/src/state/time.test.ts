import { describe, expect, it } from "vitest";
import { absolute, durationSeconds, resolve, stepFor, stepsOf } from "./time.ts";

const NOW = Date.parse("2026-01-31T14:00:07Z") / 1000;

describe("bounds", () => {
  it("reads relative and absolute ones", () => {
    expect(resolve({ from: "now-1h30m", to: "now" }, NOW)).toEqual({ start: NOW - 5400, end: NOW });
    expect(resolve({ from: "2026-01-31T12:00:00Z", to: "1769864400" }, NOW)).toEqual({
      start: 1769860800,
      end: 1769864400,
    });
  });

  it("says which bound is wrong", () => {
    expect(resolve({ from: "now-1x", to: "now" }, NOW)).toContain("now-1x");
    expect(resolve({ from: "now", to: "soon" }, NOW)).toContain("soon");
    expect(resolve({ from: "now", to: "now-1h" }, NOW)).toContain("before");
    expect(durationSeconds("1h 5m")).toBeNull();
  });

  it("writes absolute bounds that mean the same moment", () => {
    const range = { start: NOW - 3600, end: NOW };
    expect(resolve(absolute(range), 0)).toEqual(range);
  });
});

describe("steps", () => {
  it("gives no more points than asked for, on multiples of the step", () => {
    for (const length of [60, 3600, 86_400, 31_536_000, 400_000_000]) {
      const range = { start: NOW - length, end: NOW };
      const step = stepFor(range, 240);
      const grid = stepsOf(range, step);
      expect(length / step).toBeLessThanOrEqual(240);
      expect(grid.start % step).toBe(0);
      expect(grid.end % step).toBe(0);
      // The windows (t - step, t] of all points leave out less than one step at the end.
      expect(grid.start - step).toBeLessThanOrEqual(range.start);
      expect(grid.end).toBeLessThanOrEqual(range.end);
      expect(grid.end).toBeGreaterThan(range.end - step);
    }
  });
});
