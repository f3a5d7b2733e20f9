import { describe, expect, it } from "vitest";
import { touch } from "./keep.ts";
import { layout } from "./layout.ts";
import { stack } from "./order.ts";
import { ranks } from "./ranks.ts";
import type { Item, Rect } from "./types.ts";

const item = (id: string, box: string | null = "shop"): Item => ({ id, box, cell: id, pod: false });
const SHOP = ["front", "gateway", "orders", "products", "db"].map((id) => item(id));
const CALLS = Uint32Array.from([0, 1, 1, 2, 1, 3, 2, 3, 2, 4, 3, 4]);

function rects(of: { rects: Float32Array }): Rect[] {
  return Array.from({ length: of.rects.length / 4 }, (_, i) => {
    const [x, y, w, h] = of.rects.subarray(4 * i, 4 * i + 4);
    return { x: x!, y: y!, w: w!, h: h! };
  });
}

/** A graph of many boxes with random links, the same each time. */
function random(count: number, boxes: number, links: number): { items: Item[]; links: Uint32Array } {
  let seed = 7;
  const next = (below: number) => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return (seed >>> 8) % below;
  };
  const items = Array.from({ length: count }, (_, i) => item(`w${i}`, i % 17 === 0 ? null : `n${i % boxes}`));
  return { items, links: Uint32Array.from({ length: 2 * links }, () => next(count)) };
}

describe("columns", () => {
  it("go from clients to servers, also where there are cycles", () => {
    const chain = [0, 1, 2, 3].map((i) => ({ source: i, target: i + 1 }));
    expect(ranks(5, chain, 8, [1, 1, 1, 1, 1])).toEqual([0, 1, 2, 3, 4]);
    const back = [...chain, { source: 4, target: 0 }, { source: 1, target: 3 }];
    const found = ranks(5, back, 8, [1, 1, 1, 1, 1]);
    expect(found[0]!).toBeLessThan(found[3]!);
  });

  it("are no more than asked for", () => {
    const chain = Array.from({ length: 40 }, (_, i) => ({ source: i, target: i + 1 }));
    const found = ranks(41, chain, 6, Array.from<number>({ length: 41 }).fill(1));
    expect(Math.max(...found)).toBe(5);
    expect(found).toEqual([...found].sort((a, b) => a - b));
  });
});

describe("heights", () => {
  it("are as wished where there is room, else as near as the order allows", () => {
    expect(stack([10, 10], 5, [0, 100])).toEqual([-5, 95]);
    expect(stack([10, 10], 5, [50, 50])).toEqual([37.5, 52.5]);
  });
});

describe("layout", () => {
  it("is the same for the same graph", () => {
    const graph = random(120, 8, 500);
    expect(layout({ ...graph, kept: null })).toEqual(layout({ ...graph, kept: null }));
  });

  it("puts callers left of what they call", () => {
    const at = rects(layout({ items: SHOP, links: CALLS, kept: null }));
    for (let i = 0; i < CALLS.length; i += 2) expect(at[CALLS[i]!]!.x).toBeLessThan(at[CALLS[i + 1]!]!.x);
  });

  it("lets nothing overlap and keeps cards within their boxes", () => {
    for (const graph of [random(60, 5, 200), random(500, 30, 3000)]) {
      const made = layout({ ...graph, kept: null });
      const boxes = Object.values(made.placement.boxes);
      boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b) => expect(touch(a, b, 4)).toBe(false)));
      const at = rects(made);
      at.forEach((a, i) => at.slice(i + 1).forEach((b) => expect(touch(a, b, 4)).toBe(false)));
      graph.items.forEach(({ box }, i) => {
        if (box === null) return;
        const frame = made.placement.boxes[box]!;
        expect(at[i]!.x).toBeGreaterThan(frame.x);
        expect(at[i]!.y + at[i]!.h).toBeLessThan(frame.y + frame.h);
      });
    }
  });

  it("moves nothing when something comes or goes, and places what is new nearby", () => {
    const first = layout({ items: SHOP, links: CALLS, kept: null });
    const before = rects(first);
    const more = [...SHOP, item("cache"), item("payment", null), item("scraper", "monitoring")];
    const calls = Uint32Array.from([...CALLS, 3, 5, 2, 6, 7, 0]);
    const second = layout({ items: more, links: calls, kept: first.placement });
    const after = rects(second);
    expect(after.slice(0, SHOP.length)).toEqual(before);
    after.forEach((a, i) => after.slice(i + 1).forEach((b) => expect(touch(a, b, 4)).toBe(false)));
    const boxes = Object.values(second.placement.boxes);
    boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b) => expect(touch(a, b, 1)).toBe(false)));
    const back = layout({ items: SHOP.slice(1), links: new Uint32Array(), kept: second.placement });
    expect(rects(back)).toEqual(before.slice(1));
  });

  it("stacks pods in the place of their workload, in the same order of columns", () => {
    const pods = ["a", "b", "c"].map((p) => ({
      id: `products/${p}`,
      box: "shop",
      cell: "products",
      pod: true,
    }));
    const items = [...SHOP.filter((one) => one.id !== "products"), ...pods];
    const links = Uint32Array.from([0, 1, 1, 2, 2, 3, 2, 4, 2, 5, 2, 6, 4, 3]);
    const at = rects(layout({ items, links, kept: null }));
    expect(new Set(at.slice(4).map((r) => r.x)).size).toBe(1);
    expect(at[5]!.y).toBeGreaterThan(at[4]!.y + at[4]!.h);
    expect(at[4]!.x).toBeGreaterThan(at[2]!.x);
  });

  it("starts and ends each curve at the cards of its link", () => {
    const graph = random(80, 6, 300);
    const made = layout({ ...graph, kept: null });
    const at = rects(made);
    for (let i = 0; i < 300; i++) {
      const curve = made.curves.subarray(made.starts[i], made.starts[i + 1]);
      expect((curve.length - 2) % 6).toBe(0);
      const a = at[graph.links[2 * i]!]!;
      expect([a.x, a.x + a.w]).toContain(curve[0]);
      const b = at[graph.links[2 * i + 1]!]!;
      expect(curve.at(-1)).toBeGreaterThanOrEqual(b.y);
      expect(curve.at(-1)).toBeLessThanOrEqual(b.y + b.h);
    }
  });
});
