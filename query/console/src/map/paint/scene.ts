/** Edges as numbers that can be painted, on the page's thread or in a worker. */
import type { Grade } from "../measures.ts";
import type { LaidOut } from "../layout/useLayout.ts";

export interface Scene {
  /** As in `Layout`. */
  curves: Float32Array;
  starts: Uint32Array;
  /** Left, top, right, bottom of each edge. */
  bounds: Float32Array;
  /** Pixels at zoom 1. */
  width: Float32Array;
  /** Index in `TONES`. */
  tone: Uint8Array;
  /** 0 within a zone, 1 to another zone, 2 to another region. */
  mark: Uint8Array;
  /** Edges that are drawn, in the order of painting: what stands out comes last. */
  order: Uint32Array;
}

export const TONES: readonly Grade[] = ["unknown", "calm", "raised", "high"];

const THINNEST = 1.2;
const THICKEST = 10;

export function sceneOf({ graph, layout }: LaidOut): Scene {
  const count = graph.edges.length;
  const most = graph.edges.reduce((max, edge) => Math.max(max, edge.at.bytes), 1);
  const width = new Float32Array(count);
  const tone = new Uint8Array(count);
  const mark = new Uint8Array(count);
  graph.edges.forEach((edge, i) => {
    // Areas are read as amounts: the width goes with the root.
    width[i] = THINNEST + (THICKEST - THINNEST) * Math.sqrt(edge.at.bytes / most);
    tone[i] = TONES.indexOf(edge.grade);
    mark[i] = edge.crossing === null ? 0 : edge.crossing.kind === "zone" ? 1 : 2;
  });
  const order = graph.edges
    .map((_, i) => i)
    .filter((i) => graph.edges[i]!.drawn)
    .sort((a, b) => tone[a]! - tone[b]! || width[a]! - width[b]! || a - b);
  const { curves, starts } = layout;
  return {
    curves,
    starts,
    bounds: boundsOf(curves, starts),
    width,
    tone,
    mark,
    order: Uint32Array.from(order),
  };
}

/** Of the control points: a curve never leaves their hull. */
function boundsOf(curves: Float32Array, starts: Uint32Array): Float32Array {
  const bounds = new Float32Array((starts.length - 1) * 4);
  for (let i = 0; i + 1 < starts.length; i++) {
    let left = Number.POSITIVE_INFINITY;
    let top = left;
    let right = Number.NEGATIVE_INFINITY;
    let bottom = right;
    for (let at = starts[i]!; at < starts[i + 1]!; at += 2) {
      const x = curves[at]!;
      const y = curves[at + 1]!;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
    bounds.set([left, top, right, bottom], i * 4);
  }
  return bounds;
}

/** The point of an edge at a part of its way, by its curves' parameter; and its direction. */
export function pointAt(
  scene: Scene,
  edge: number,
  part: number,
): { x: number; y: number; dx: number; dy: number } {
  const from = scene.starts[edge]!;
  const pieces = (scene.starts[edge + 1]! - from - 2) / 6;
  const along = Math.min(pieces - 1e-6, Math.max(0, part * pieces));
  const piece = Math.floor(along);
  const t = along - piece;
  const at = from + piece * 6;
  const c = scene.curves;
  const u = 1 - t;
  const value = (o: number) =>
    u * u * u * c[at + o]! +
    3 * u * u * t * c[at + 2 + o]! +
    3 * u * t * t * c[at + 4 + o]! +
    t * t * t * c[at + 6 + o]!;
  const slope = (o: number) =>
    u * u * (c[at + 2 + o]! - c[at + o]!) +
    2 * u * t * (c[at + 4 + o]! - c[at + 2 + o]!) +
    t * t * (c[at + 6 + o]! - c[at + 4 + o]!);
  return { x: value(0), y: value(1), dx: slope(0), dy: slope(1) };
}
