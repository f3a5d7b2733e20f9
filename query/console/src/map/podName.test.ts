import { expect, it } from "vitest";
import { shortPod } from "./podName.ts";

it("keeps what tells a pod from those of other workloads and from its siblings", () => {
  expect(shortPod("orders-66f8b7c5d9-q2x4v", "orders", 15)).toBe("orders…-q2x4v");
  expect(shortPod("products-58c7f6d94b-q2x4v", "products", 12)).toBe("produ…-q2x4v");
  expect(shortPod("database-0", "database", 12)).toBe("database-0");
  expect(shortPod("a-name-without-a-workload-x1", null, 12)).toBe("a-name-w…-x1");
  expect(shortPod("onewordthatislong", null, 8)).toBe("oneword…");
});
