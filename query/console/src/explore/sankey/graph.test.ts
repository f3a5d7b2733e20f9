import { expect, it } from "vitest";
import { graph } from "./graph.ts";

const ROWS = [
  ["web", "api", "same-zone", 10],
  ["web", "api", "cross-zone", 5],
  ["api", "db", "same-zone", 7],
  ["api", null, null, 0],
];

it("adds streams up between neighbouring dimensions", () => {
  const { nodes, links } = graph({ rows: ROWS, other: [null, null, null, 3] }, 3);
  expect(links).toContainEqual({ source: "0:web", target: "1:api", value: 15 });
  expect(links).toContainEqual({ source: "1:api", target: "2:cross-zone", value: 5 });
  expect(links).toContainEqual({ source: "0:other", target: "1:other", value: 3 });
  // The same name in two dimensions is two nodes; a group of nothing is none.
  expect(nodes.map((node) => node.id).sort()).toEqual(
    [
      "0:web",
      "1:api",
      "2:same-zone",
      "2:cross-zone",
      "0:api",
      "1:db",
      "0:other",
      "1:other",
      "2:other",
    ].sort(),
  );
  for (const dimension of [0, 1]) {
    const out = links.filter((link) => link.source.startsWith(`${dimension}:`));
    expect(out.reduce((sum, link) => sum + link.value, 0)).toBe(25);
  }
});
