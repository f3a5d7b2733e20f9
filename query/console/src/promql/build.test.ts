import { expect, it } from "vitest";
import { cases, eachByteOnce, span, sum } from "./build.ts";

it("splits a match on either end into sets without a common row", () => {
  expect(cases([{ field: "either_namespace", operator: "=", value: "shop" }])).toEqual([
    [{ field: "namespace", operator: "=", value: "shop" }],
    [
      { field: "namespace", operator: "!=", value: "shop" },
      { field: "peer_namespace", operator: "=", value: "shop" },
    ],
  ]);
  // Neither end.
  expect(cases([{ field: "either_pod", operator: "!~", value: "x.*" }])).toEqual([
    [
      { field: "pod", operator: "!~", value: "x.*" },
      { field: "peer_pod", operator: "!~", value: "x.*" },
    ],
  ]);
});

it("writes one aggregate a case", () => {
  expect(sum("flow_tx_bytes_total", cases([]), 300)).toBe("sum (rate(flow_tx_bytes_total[5m]))");
  expect(sum("flow_tx_bytes_total", eachByteOnce([]), 90, ["le"], "increase")).toBe(
    'sum by (le) (label_replace(sum by (le) (increase(flow_tx_bytes_total{role!="server"}[90s])), "part", "0", "", "") or ' +
      'label_replace(sum by (le) (increase(flow_tx_bytes_total{role="server",peer_scope=~"cloud|external"}[90s])), "part", "1", "", ""))',
  );
});

it("writes windows", () => {
  expect([15, 60, 7200, 86_400, 0.5].map(span)).toEqual(["15s", "1m", "2h", "1d", "500ms"]);
});
