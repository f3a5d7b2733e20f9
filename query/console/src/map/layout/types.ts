/** What the layout takes and gives; plain data, since it goes to a worker and back. */

/** A node is a card, or one of the pods of an expanded workload. */
export interface Item {
  id: string;
  /** Namespace; null for what stands alone. */
  box: string | null;
  /** Items of one cell are stacked in one place. */
  cell: string;
  pod: boolean;
}

export interface Request {
  items: Item[];
  /** Indices of items, client and server in turn. */
  links: Uint32Array;
  /** Where things were before; what is still there stays. */
  kept: Placement | null;
}

export interface Rect {
  x: number;
  y: number;
  w: number;
  h: number;
}

export interface Placement {
  boxes: Record<string, Rect>;
  /** By cell. */
  cells: Record<string, Rect>;
}

export interface Layout {
  placement: Placement;
  /** x, y, w, h of each item. */
  rects: Float32Array;
  /** Cubic curves of the links: x, y, then c1, c2 and the end of each curve, all links in a row. */
  curves: Float32Array;
  /** Where each link's numbers begin, and the end of the last. */
  starts: Uint32Array;
}

/** Lengths in pixels at zoom 1. */
export const CARD = { w: 150, h: 58 };
export const POD = { w: 176, h: 32, gap: 6 };
/** Around the pods of an expanded workload, and its title. */
export const CELL = { pad: 7, title: 24 };
export const BOX = { pad: 16, title: 30 };
/** Between columns and between rows: inside of boxes, and between them. */
export const INSIDE = { x: 56, y: 40 };
export const BETWEEN = { x: 60, y: 52 };

export function cellSize(pods: number): { w: number; h: number } {
  if (pods === 0) return CARD;
  return { w: POD.w + 2 * CELL.pad, h: CELL.title + pods * (POD.h + POD.gap) - POD.gap + CELL.pad };
}
