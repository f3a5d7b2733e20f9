import { expect, it } from "vitest";
import { matcher, parseMatcher, selectors, type Filter } from "./filters.ts";

const HARD: Filter[] = [
  { field: "namespace", operator: "=", value: "shop" },
  { field: "peer_workload", operator: "!~", value: 'a"b\\d+|x\ny' },
  { field: "either_pod", operator: "=~", value: "" },
  { field: "workload", operator: "!=", value: "a,b}=~" },
];

it("reads back what it wrote", () => {
  for (const filter of HARD) expect(parseMatcher(matcher(filter))).toEqual(filter);
});

it("reads nothing else", () => {
  for (const text of ["", "namespace", 'namespace="a', 'a="b" or 1', '9a="b"']) {
    expect(parseMatcher(text)).toBeNull();
  }
});

it("makes one selector of all filters", () => {
  expect(selectors([])).toEqual([]);
  expect(selectors(HARD.slice(0, 2))).toEqual(['{namespace="shop",peer_workload!~"a\\"b\\\\d+|x\\ny"}']);
});
