/** The whole layout: a pure function, the same for the same graph. */
import { cellsOf } from "./cells.ts";
import { keep } from "./keep.ts";
import { place } from "./place.ts";
import { route } from "./route.ts";
import { CELL, POD, type Item, type Layout, type Placement, type Rect, type Request } from "./types.ts";

export function layout({ items, links, kept }: Request): Layout {
  if (items.length === 0) {
    return {
      placement: { boxes: {}, cells: {} },
      rects: new Float32Array(),
      curves: new Float32Array(),
      starts: new Uint32Array(1),
    };
  }
  const graph = cellsOf(items, links);
  const placement = (kept && keep(graph, kept)) ?? place(graph);
  const rects = itemRects(items, placement);
  const { curves, starts } = route(rects, links);
  return { placement, rects: Float32Array.from(rects.flatMap((r) => [r.x, r.y, r.w, r.h])), curves, starts };
}

/** Where each item is in its cell: pods below each other, by id. */
function itemRects(items: readonly Item[], placement: Placement): Rect[] {
  const below = new Map<string, number>();
  const order = items.map((_, i) => i).sort((a, b) => (items[a]!.id < items[b]!.id ? -1 : 1));
  const rects: Rect[] = [];
  for (const i of order) {
    const { cell, pod, box } = items[i]!;
    const at = placement.cells[cell]!;
    if (!pod || box === null) {
      rects[i] = at;
      continue;
    }
    const y = below.get(cell) ?? at.y + CELL.title;
    rects[i] = { x: at.x + CELL.pad, y, w: POD.w, h: POD.h };
    below.set(cell, y + POD.h + POD.gap);
  }
  return rects;
}
