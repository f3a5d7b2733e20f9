/**
 * Places what is new among what stays where it is, so that a refresh moves nothing.
 *
 * A new cell takes the free place in its box that is nearest to what it is linked to; the box grows only where
 * nothing stands in its way. Cells that are gone keep their place for as long as the page is open: they often
 * come back.
 */
import type { Cells } from "./cells.ts";
import { BETWEEN, BOX, CARD, INSIDE, type Placement, type Rect } from "./types.ts";

/** The placement with everything of the graph in it; null if it has to be made anew. */
export function keep(graph: Cells, kept: Placement): Placement | null {
  const boxes: Record<string, Rect> = { ...kept.boxes };
  const cells: Record<string, Rect> = { ...kept.cells };
  const near: number[][] = graph.cells.map(() => []);
  for (const { source, target } of graph.links) {
    near[source]!.push(target);
    near[target]!.push(source);
  }
  for (const cell of graph.cells) {
    const was = cells[cell.id];
    // An expanded workload needs another amount of room.
    if (was && (was.w !== cell.w || was.h !== cell.h)) return null;
  }
  const fresh = graph.cells.map((_, i) => i).filter((i) => !cells[graph.cells[i]!.id]);
  for (const i of fresh) {
    const { id, w, h, box } = graph.cells[i]!;
    const { id: boxId, framed } = graph.boxes[box]!;
    const wish = middleOf(near[i]!, graph, cells);
    const frame = boxes[boxId];
    const found =
      framed && frame
        ? inBox(frame, boxId, cells, boxes, { w, h }, wish)
        : alone(boxes, { w, h }, framed, wish);
    if (!found) return null;
    cells[id] = found.cell;
    boxes[boxId] = found.box;
  }
  return { boxes, cells };
}

interface Point {
  x: number;
  y: number;
}

function middleOf(near: readonly number[], graph: Cells, cells: Record<string, Rect>): Point | null {
  const known = near.flatMap((i) => cells[graph.cells[i]!.id] ?? []);
  if (known.length === 0) return null;
  return {
    x: known.reduce((sum, r) => sum + r.x + r.w / 2, 0) / known.length,
    y: known.reduce((sum, r) => sum + r.y + r.h / 2, 0) / known.length,
  };
}

function inBox(
  frame: Rect,
  boxId: string,
  cells: Record<string, Rect>,
  boxes: Record<string, Rect>,
  size: { w: number; h: number },
  wish: Point | null,
): { cell: Rect; box: Rect } | null {
  const taken = Object.values(cells).filter((cell) => contains(frame, cell));
  const others = Object.entries(boxes).flatMap(([id, rect]) => (id === boxId ? [] : [rect]));
  const left = frame.x + BOX.pad;
  const stepX = CARD.w + INSIDE.x;
  const xs = new Set(taken.map((cell) => cell.x));
  // One column more on either side, and one row more below.
  xs.add(Math.max(left, ...taken.map((cell) => cell.x + stepX)));
  const ys = new Set([frame.y + BOX.title, ...taken.map((cell) => cell.y + cell.h + INSIDE.y)]);
  let best: { cell: Rect; box: Rect; far: number } | null = null;
  for (const x of [...xs].sort((a, b) => a - b)) {
    for (const y of [...ys].sort((a, b) => a - b)) {
      const cell = { x, y, ...size };
      if (taken.some((other) => touch(cell, other, INSIDE.y - 1))) continue;
      const box = around(frame, {
        x: x - BOX.pad,
        y: y - BOX.title,
        w: size.w + 2 * BOX.pad,
        h: size.h + BOX.title + BOX.pad,
      });
      if (others.some((other) => touch(box, other, 8))) continue;
      const growth = box.w - frame.w + box.h - frame.h;
      const far = distance(cell, wish ?? { x: frame.x, y: frame.y + frame.h }) + growth;
      if (best === null || far < best.far) best = { cell, box, far };
    }
  }
  return best;
}

/** A place for a box of one cell, on rings around where it would like to be. */
function alone(
  boxes: Record<string, Rect>,
  size: { w: number; h: number },
  framed: boolean,
  wish: Point | null,
): { cell: Rect; box: Rect } | null {
  const pad = framed ? BOX.pad : 0;
  const title = framed ? BOX.title : 0;
  const w = size.w + 2 * pad;
  const h = size.h + title + pad;
  const all = Object.values(boxes);
  const start = wish ?? {
    x: Math.max(0, ...all.map((box) => box.x + box.w)) + BETWEEN.x + w / 2,
    y: 0,
  };
  const stepX = (w + BETWEEN.x) / 2;
  const stepY = (h + BETWEEN.y) / 2;
  for (let ring = 0; ring < 80; ring++) {
    let best: { box: Rect; far: number } | null = null;
    for (let i = -ring; i <= ring; i++) {
      for (let j = -ring; j <= ring; j++) {
        if (Math.max(Math.abs(i), Math.abs(j)) !== ring) continue;
        const box = {
          x: Math.round(start.x - w / 2 + i * stepX),
          y: Math.round(start.y - h / 2 + j * stepY),
          w,
          h,
        };
        if (all.some((other) => touch(box, other, BETWEEN.y / 2))) continue;
        const far = distance(box, start);
        if (best === null || far < best.far) best = { box, far };
      }
    }
    if (best) return { box: best.box, cell: { x: best.box.x + pad, y: best.box.y + title, ...size } };
  }
  return null;
}

function contains(outer: Rect, inner: Rect): boolean {
  return (
    inner.x >= outer.x &&
    inner.y >= outer.y &&
    inner.x + inner.w <= outer.x + outer.w &&
    inner.y + inner.h <= outer.y + outer.h
  );
}

export function touch(a: Rect, b: Rect, gap: number): boolean {
  return a.x < b.x + b.w + gap && b.x < a.x + a.w + gap && a.y < b.y + b.h + gap && b.y < a.y + a.h + gap;
}

function around(a: Rect, b: Rect): Rect {
  const x = Math.min(a.x, b.x);
  const y = Math.min(a.y, b.y);
  return { x, y, w: Math.max(a.x + a.w, b.x + b.w) - x, h: Math.max(a.y + a.h, b.y + b.h) - y };
}

function distance(rect: Rect, to: Point): number {
  return Math.hypot(rect.x + rect.w / 2 - to.x, rect.y + rect.h / 2 - to.y);
}
