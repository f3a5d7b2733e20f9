/**
 * Places cells anew.
 *
 * ```text
 * in each box      columns by rank, order by few crossings       -> size of the box
 * of the boxes     the same, one level up
 * heights          boxes and cells in turn move towards what they are linked to
 * ```
 *
 * A layered layout of our own, because a map has two levels whose boxes must not overlap, has cycles everywhere,
 * and has to be there in a moment for thousands of edges: general libraries for compound graphs take minutes
 * for that, or give another picture each time.
 */
import { pairs, type Box, type Cells } from "./cells.ts";
import { order, stack } from "./order.ts";
import { ranks, type Link } from "./ranks.ts";
import { BETWEEN, BOX, CARD, INSIDE, type Placement, type Rect } from "./types.ts";

/** Width over height of the screen that the whole map is meant for. */
const ASPECT = 1.7;
const ROUNDS = 8;

interface Inner {
  columns: number[][];
  w: number;
  h: number;
}

export function place(graph: Cells): Placement {
  const { cells, boxes, links } = graph;
  const heights = cells.map((cell) => cell.h);
  const boxOf = cells.map((cell) => cell.box);
  const boxLinks = pairs(links, boxOf);
  const inner = boxes.map((box) => arrangeBox(box, graph));

  // Boxes into columns.
  const area = inner.reduce((sum, one) => sum + (one.w + BETWEEN.x) * (one.h + BETWEEN.y), 0);
  const widest = Math.max(...inner.map((one) => one.w), 1);
  const fitting = Math.max(2, Math.round(Math.sqrt(area * ASPECT) / (widest + BETWEEN.x)));
  const most = boxes.length <= 8 ? 8 : Math.max(fitting, 3);
  const rank = ranks(
    boxes.length,
    boxLinks,
    most,
    inner.map((one) => one.h + BETWEEN.y),
  );
  const tall = Math.max(1.5 * Math.sqrt(area / ASPECT), ...inner.map((one) => one.h));
  const columns = order(
    wrap(byRank(rank), (box) => inner[box]!.h + BETWEEN.y, tall),
    boxLinks,
    boxes.length,
  );

  // Cells towards the boxes that they are linked to.
  const place = new Float64Array(boxes.length);
  for (const column of columns) column.forEach((box, i) => (place[box] = (i + 0.5) / column.length));
  boxes.forEach((box, i) => {
    inner[i]!.columns = orderCells(box, graph, inner[i]!.columns, (cell) => place[boxOf[cell]!]!);
  });

  // Heights: y of cells relative to their boxes, and of boxes.
  const near = neighbours(cells.length, links);
  const inside = new Float64Array(cells.length);
  const top = new Float64Array(boxes.length);
  for (const one of inner) for (const column of one.columns) center(column, heights, one, inside);
  for (const column of columns) {
    const tops = stack(
      column.map((box) => inner[box]!.h),
      BETWEEN.y,
      column.map(() => 0),
    );
    column.forEach((box, i) => (top[box] = tops[i]!));
  }
  const middle = (cell: number) => top[boxOf[cell]!]! + inside[cell]! + heights[cell]! / 2;
  for (let round = 0; round < ROUNDS; round++) {
    for (const column of columns) {
      const wish = column.map((box) => {
        const pulls = boxes[box]!.cells.flatMap((cell) =>
          near[cell]!.filter((other) => boxOf[other] !== box).map((other) => middle(other) - middle(cell)),
        );
        const pull = pulls.length === 0 ? 0 : pulls.reduce((a, b) => a + b, 0) / pulls.length;
        return top[box]! + inner[box]!.h / 2 + pull;
      });
      const tops = stack(
        column.map((box) => inner[box]!.h),
        BETWEEN.y,
        wish,
      );
      column.forEach((box, i) => (top[box] = tops[i]!));
    }
    inner.forEach((one, box) => {
      if (!boxes[box]!.framed) return;
      for (const column of one.columns) align(column, one, (cell) => wishOf(cell, near, middle) - top[box]!);
    });
  }

  function align(column: number[], one: Inner, wish: (cell: number) => number): void {
    const low = BOX.title;
    const high = one.h - BOX.pad;
    const tall = column.map((cell) => heights[cell]!);
    const tops = stack(tall, INSIDE.y, column.map(wish));
    let least = low;
    column.forEach((cell, i) => {
      inside[cell] = Math.max(tops[i]!, least);
      least = inside[cell]! + tall[i]! + INSIDE.y;
    });
    let greatest = high;
    for (let i = column.length - 1; i >= 0; i--) {
      const cell = column[i]!;
      inside[cell] = Math.min(inside[cell]!, greatest - tall[i]!);
      greatest = inside[cell]! - INSIDE.y;
    }
  }

  return rectangles(graph, inner, columns, top, inside);
}

function wishOf(
  cell: number,
  near: readonly (readonly number[])[],
  middle: (cell: number) => number,
): number {
  const around = near[cell]!;
  if (around.length === 0) return middle(cell);
  return around.reduce((sum, other) => sum + middle(other), 0) / around.length;
}

function neighbours(count: number, links: readonly Link[]): number[][] {
  const near: number[][] = Array.from({ length: count }, () => []);
  for (const { source, target } of links) {
    near[source]!.push(target);
    near[target]!.push(source);
  }
  return near;
}

function byRank(rank: readonly number[]): number[][] {
  const columns: number[][] = [];
  rank.forEach((column, i) => (columns[column] ??= []).push(i));
  return columns.filter((column) => column.length > 0);
}

/** Cuts columns that are taller than there is room into several. */
function wrap(columns: number[][], height: (one: number) => number, tall: number): number[][] {
  return columns.flatMap((column) => {
    const whole = column.reduce((sum, one) => sum + height(one), 0);
    const count = Math.ceil(whole / tall);
    if (count <= 1) return [column];
    const cut: number[][] = [[]];
    let filled = 0;
    for (const one of column) {
      if (filled + height(one) / 2 > (whole / count) * cut.length && cut.length < count) cut.push([]);
      cut.at(-1)!.push(one);
      filled += height(one);
    }
    return cut;
  });
}

function arrangeBox(box: Box, graph: Cells): Inner {
  const { cells } = graph;
  const count = box.cells.length;
  if (!box.framed)
    return { columns: [[...box.cells]], w: cells[box.cells[0]!]!.w, h: cells[box.cells[0]!]!.h };
  const local = localLinks(box, graph);
  const height = (i: number) => cells[box.cells[i]!]!.h + INSIDE.y;
  const most = Math.max(6, Math.ceil(Math.sqrt(count) * 1.2));
  const rank = ranks(
    count,
    local,
    most,
    box.cells.map((_, i) => height(i)),
  );
  const whole = box.cells.reduce((sum, _, i) => sum + height(i), 0);
  const tall = Math.max(4 * (CARD.h + INSIDE.y), whole / Math.max(1, Math.sqrt(count) * 0.7));
  const columns = wrap(byRank(rank), height, tall).map((column) => column.map((i) => box.cells[i]!));
  const w = columns.reduce((sum, column) => sum + widthOf(column, graph), 0);
  const h = Math.max(
    ...columns.map((column) => column.reduce((sum, cell) => sum + cells[cell]!.h + INSIDE.y, -INSIDE.y)),
  );
  return { columns, w: w + (columns.length - 1) * INSIDE.x + 2 * BOX.pad, h: h + BOX.title + BOX.pad };
}

function localLinks(box: Box, graph: Cells): Link[] {
  const at = new Map(box.cells.map((cell, i) => [cell, i]));
  return graph.links.flatMap(({ source, target }) => {
    const a = at.get(source);
    const b = at.get(target);
    return a === undefined || b === undefined ? [] : [{ source: a, target: b }];
  });
}

function orderCells(
  box: Box,
  graph: Cells,
  columns: readonly number[][],
  placeOf: (cell: number) => number,
): number[][] {
  if (box.cells.length < 2) return columns.map((column) => [...column]);
  const at = new Map(box.cells.map((cell, i) => [cell, i]));
  const sum = new Float64Array(box.cells.length);
  const count = new Float64Array(box.cells.length);
  for (const { source, target } of graph.links) {
    for (const [here, there] of [
      [source, target],
      [target, source],
    ] as const) {
      const i = at.get(here);
      if (i === undefined || at.has(there)) continue;
      sum[i]! += placeOf(there);
      count[i]! += 1;
    }
  }
  const pull = box.cells.map((_, i) => (count[i]! > 0 ? sum[i]! / count[i]! : null));
  const local = columns.map((column) => column.map((cell) => at.get(cell)!));
  return order(local, localLinks(box, graph), box.cells.length, pull).map((column) =>
    column.map((i) => box.cells[i]!),
  );
}

function widthOf(column: readonly number[], graph: Cells): number {
  return Math.max(...column.map((cell) => graph.cells[cell]!.w));
}

function center(
  column: readonly number[],
  heights: readonly number[],
  box: { h: number },
  inside: Float64Array,
): void {
  const whole = column.reduce((sum, cell) => sum + heights[cell]! + INSIDE.y, -INSIDE.y);
  const room = box.h - BOX.title - BOX.pad;
  let y = column.length === 1 && box.h <= heights[column[0]!]! ? 0 : BOX.title + (room - whole) / 2;
  for (const cell of column) {
    inside[cell] = y;
    y += heights[cell]! + INSIDE.y;
  }
}

function rectangles(
  graph: Cells,
  inner: readonly Inner[],
  columns: readonly number[][],
  top: Float64Array,
  inside: Float64Array,
): Placement {
  const boxes: Record<string, Rect> = {};
  const cells: Record<string, Rect> = {};
  let x = 0;
  for (const column of columns) {
    const width = Math.max(...column.map((box) => inner[box]!.w));
    for (const box of column) {
      const { w, h, columns: of } = inner[box]!;
      const left = x + (width - w) / 2;
      const named = graph.boxes[box]!;
      boxes[named.id] = round({ x: left, y: top[box]!, w, h });
      let inX = named.framed ? left + BOX.pad : left;
      for (const rows of of) {
        const wide = widthOf(rows, graph);
        for (const cell of rows) {
          const { w: cw, h: ch, id } = graph.cells[cell]!;
          cells[id] = round({ x: inX + (wide - cw) / 2, y: top[box]! + inside[cell]!, w: cw, h: ch });
        }
        inX += wide + INSIDE.x;
      }
    }
    x += width + BETWEEN.x;
  }
  return { boxes, cells };
}

function round(rect: Rect): Rect {
  return { x: Math.round(rect.x), y: Math.round(rect.y), w: Math.round(rect.w), h: Math.round(rect.h) };
}
