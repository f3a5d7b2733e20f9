/** Items as cells in boxes, and the links between those: what is placed. */
import { CARD, cellSize, type Item } from "./types.ts";
import type { Link } from "./ranks.ts";

export interface Cell {
  id: string;
  /** Index of its box. */
  box: number;
  w: number;
  h: number;
}

export interface Box {
  /** The namespace, or the cell that stands alone. */
  id: string;
  framed: boolean;
  /** Indices of cells, by id. */
  cells: number[];
}

export interface Cells {
  cells: Cell[];
  boxes: Box[];
  /** Between cells, each pair once. */
  links: Link[];
  cellOf: Int32Array;
}

/** A name that no namespace has. */
const ALONE = "\u0000";

export function cellsOf(items: readonly Item[], links: Uint32Array): Cells {
  const pods = new Map<string, number>();
  const boxed = new Map<string, string>();
  for (const item of items) {
    pods.set(item.cell, (pods.get(item.cell) ?? 0) + (item.pod ? 1 : 0));
    boxed.set(item.cell, item.box ?? ALONE + item.cell);
  }
  const names = [...pods.keys()].sort();
  const boxNames = [...new Set(boxed.values())].sort();
  const boxAt = new Map(boxNames.map((name, i) => [name, i]));
  const boxes: Box[] = boxNames.map((name) => ({ id: name, framed: !name.startsWith(ALONE), cells: [] }));
  const cells = names.map((id, i): Cell => {
    const box = boxAt.get(boxed.get(id)!)!;
    boxes[box]!.cells.push(i);
    return { id, box, ...(boxes[box]!.framed ? cellSize(pods.get(id)!) : CARD) };
  });
  const cellAt = new Map(names.map((id, i) => [id, i]));
  const cellOf = Int32Array.from(items, (item) => cellAt.get(item.cell)!);
  return { cells, boxes, links: pairs(links, cellOf), cellOf };
}

/** Links between groups of what is linked, each once, none within a group; in a fixed order. */
export function pairs(links: Uint32Array | readonly Link[], groupOf: ArrayLike<number>): Link[] {
  const seen = new Set<number>();
  const add = (a: number, b: number) => {
    const source = groupOf[a]!;
    const target = groupOf[b]!;
    if (source !== target) seen.add(source * 0x100_0000 + target);
  };
  if (links instanceof Uint32Array) {
    for (let i = 0; i + 1 < links.length; i += 2) add(links[i]!, links[i + 1]!);
  } else {
    for (const { source, target } of links) add(source, target);
  }
  return [...seen]
    .sort((a, b) => a - b)
    .map((key) => ({ source: Math.floor(key / 0x100_0000), target: key % 0x100_0000 }));
}
