import { expect, it } from "vitest";
import { sides } from "./side.ts";

it("turns both ends for what the server measured", () => {
  const { near, far } = sides("cluster", [
    { field: "workload", operator: "=", value: "orders" },
    { field: "peer_workload", operator: "=", value: "products" },
  ]);
  const inside = { field: "peer_scope", operator: "!~", value: "cloud|external" };
  expect(near).toEqual([
    [
      { field: "workload", operator: "=", value: "orders" },
      { field: "peer_workload", operator: "=", value: "products" },
      inside,
      { field: "role", operator: "!=", value: "server" },
    ],
  ]);
  expect(far).toEqual([
    [
      { field: "peer_workload", operator: "=", value: "orders" },
      { field: "workload", operator: "=", value: "products" },
      inside,
      { field: "role", operator: "=", value: "server" },
    ],
  ]);
});

it("has no far side where only one end knows a label, or only one is measured", () => {
  expect(sides("cluster", [{ field: "peer_service", operator: "=", value: "shop/db" }]).far).toBeNull();
  expect(sides("external", []).far).toBeNull();
});
