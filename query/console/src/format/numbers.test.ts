import { expect, it } from "vitest";
import { change, duration, percent, quantity, seconds, si } from "./numbers.ts";

it("scales by thousands to three digits", () => {
  expect([0, 7, 999, 1000, 1234, 999_499, 999_950, 1.5e9, -2048].map((n) => si(n))).toEqual([
    "0",
    "7",
    "999",
    "1.00 k",
    "1.23 k",
    "999 k",
    "1.00 M",
    "1.50 G",
    "-2.05 k",
  ]);
  expect(si(0.25)).toBe("0.25");
});

it("writes times from nanoseconds to days", () => {
  expect([0, 0.000_000_5, 0.000_27, 0.0123, 1, 119, 3600, 93_600].map(seconds)).toEqual([
    "0 s",
    "500 ns",
    "270 µs",
    "12.3 ms",
    "1.00 s",
    "119 s",
    "1 h",
    "1 d 2 h",
  ]);
  expect(duration(3661)).toBe("1 h 1 min");
});

it("never shows unknown as a number", () => {
  expect(quantity(null, "bytes")).toBe("–");
  expect(quantity(Number.NaN, "ratio")).toBe("–");
  expect(quantity(0, "ratio")).toBe("0 %");
});

it("keeps small ratios apart from none", () => {
  expect([0, 0.000_001, 0.000_02, 0.0034, 0.021, 0.5, 1].map(percent)).toEqual([
    "0 %",
    "<0.001 %",
    "0.002 %",
    "0.34 %",
    "2.10 %",
    "50.0 %",
    "100 %",
  ]);
});

it("tells changes in words where a ratio says nothing", () => {
  expect(change(5, 0)).toBe("new");
  expect(change(0, 5)).toBe("gone");
  expect(change(150, 100)).toBe("+50.0 %");
  expect(change(50, 100)).toBe("−50.0 %");
  expect(change(100, 5)).toBe("×20.0");
  expect(change(null, 5)).toBe("–");
});
