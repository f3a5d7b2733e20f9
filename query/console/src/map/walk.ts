/** Where arrow keys lead: left and right along connections, up and down to what lies there. */
import type { LaidOut } from "./layout/useLayout.ts";
import { rectOf } from "./paint/nodes.ts";

export type Direction = "left" | "right" | "up" | "down";

export function nextNode(laid: LaidOut, from: number | null, direction: Direction): number | null {
  const { graph } = laid;
  const middle = (node: number) => {
    const { x, y, w, h } = rectOf(laid, node);
    return { x: x + w / 2, y: y + h / 2 };
  };
  const all = graph.nodes.map((_, i) => i);
  if (from === null) {
    // The first one is where reading begins.
    return best(all, (i) => middle(i).x + middle(i).y);
  }
  const here = middle(from);
  const sign = direction === "left" || direction === "up" ? -1 : 1;
  const sideways = direction === "left" || direction === "right";
  const ahead = (i: number) => {
    const there = middle(i);
    return sign * (sideways ? there.x - here.x : there.y - here.y);
  };
  const far = (i: number) => {
    const there = middle(i);
    const across = Math.abs(sideways ? there.y - here.y : there.x - here.x);
    return ahead(i) + 2.5 * across;
  };
  const there = all.filter((i) => i !== from && ahead(i) > 4);
  if (!sideways) return best(there, far);
  const linked = new Set(
    graph.nodes[from]!.edges.flatMap((e) => [graph.edges[e]!.source, graph.edges[e]!.target]),
  );
  const near = there.filter((i) => linked.has(i));
  return best(near.length > 0 ? near : there, far);
}

function best(of: readonly number[], far: (i: number) => number): number | null {
  let found: number | null = null;
  for (const i of of) if (found === null || far(i) < far(found)) found = i;
  return found;
}
