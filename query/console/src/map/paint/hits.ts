/** What is under the pointer: edges by a grid of what passes through each of its squares. */
import type { Scene } from "./scene.ts";
import { pointAt } from "./scene.ts";

const SQUARE = 64;
/** Straight pieces that stand for one curve. */
const PIECES = 10;

export class Hits {
  private readonly squares = new Map<number, number[]>();
  /** x, y of the points of each edge's line. */
  private readonly lines: Float32Array[] = [];

  constructor(private readonly scene: Scene) {
    for (const edge of scene.order) this.add(edge);
  }

  private add(edge: number): void {
    const curves = (this.scene.starts[edge + 1]! - this.scene.starts[edge]! - 2) / 6;
    const count = curves * PIECES;
    const line = new Float32Array((count + 1) * 2);
    for (let i = 0; i <= count; i++) {
      const { x, y } = pointAt(this.scene, edge, i / count);
      line[2 * i] = x;
      line[2 * i + 1] = y;
    }
    this.lines[edge] = line;
    for (let i = 0; i < count; i++) {
      const x0 = line[2 * i]!;
      const y0 = line[2 * i + 1]!;
      const dx = line[2 * i + 2]! - x0;
      const dy = line[2 * i + 3]! - y0;
      const steps = Math.max(1, Math.ceil(Math.hypot(dx, dy) / (SQUARE / 2)));
      for (let s = 0; s <= steps; s++) {
        const key = square(x0 + (dx * s) / steps, y0 + (dy * s) / steps);
        const known = this.squares.get(key);
        if (!known) this.squares.set(key, [edge]);
        else if (known.at(-1) !== edge) known.push(edge);
      }
    }
  }

  /** The edge nearest to a point of the map, at most `reach` from its rim. */
  edgeAt(x: number, y: number, reach: number): number | null {
    let best: number | null = null;
    let least = reach;
    const seen = new Set<number>();
    const around = Math.min(6, Math.ceil((reach + 6) / SQUARE));
    for (let i = -around; i <= around; i++) {
      for (let j = -around; j <= around; j++) {
        for (const edge of this.squares.get(square(x + i * SQUARE, y + j * SQUARE)) ?? []) {
          if (seen.has(edge)) continue;
          seen.add(edge);
          const far = Math.max(0, distance(this.lines[edge]!, x, y) - this.scene.width[edge]! / 2);
          // Of two as near, the one that is painted above.
          if (
            far < least ||
            (far === least && best !== null && this.scene.tone[edge]! >= this.scene.tone[best]!)
          ) {
            best = edge;
            least = far;
          }
        }
      }
    }
    return best;
  }
}

function square(x: number, y: number): number {
  return (Math.floor(x / SQUARE) + 0x8000) * 0x1_0000 + (Math.floor(y / SQUARE) + 0x8000);
}

function distance(line: Float32Array, x: number, y: number): number {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i + 3 < line.length; i += 2) {
    const dx = line[i + 2]! - line[i]!;
    const dy = line[i + 3]! - line[i + 1]!;
    const length = dx * dx + dy * dy;
    const t =
      length === 0 ? 0 : Math.min(1, Math.max(0, ((x - line[i]!) * dx + (y - line[i + 1]!) * dy) / length));
    least = Math.min(least, Math.hypot(x - line[i]! - t * dx, y - line[i + 1]! - t * dy));
  }
  return least;
}
