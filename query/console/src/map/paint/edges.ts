/** Paints edges; the same on the page's thread and in the worker. */
import type { Camera, Size } from "./camera.ts";
import { pointAt, type Scene } from "./scene.ts";

/** Colours by index in `TONES`. */
export interface EdgePalette {
  tones: readonly string[];
  /** What a mark of crossing is drawn in. */
  mark: string;
  ground: string;
}

type Context = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

/** How much of the ground shows through where many edges lie over each other. */
export function alphaOf(count: number): number {
  return count > 1500 ? 0.35 : count > 400 ? 0.5 : 0.75;
}

/** Indices of edges that the screen shows a part of. */
export function visible(scene: Scene, camera: Camera, screen: Size): number[] {
  const right = camera.x + screen.w / camera.zoom;
  const bottom = camera.y + screen.h / camera.zoom;
  const out: number[] = [];
  for (const edge of scene.order) {
    const at = edge * 4;
    if (scene.bounds[at]! > right || scene.bounds[at + 2]! < camera.x) continue;
    if (scene.bounds[at + 1]! > bottom || scene.bounds[at + 3]! < camera.y) continue;
    out.push(edge);
  }
  return out;
}

/** `scale`: pixels of the canvas for one of the screen. */
export function paintEdges(
  context: Context,
  scene: Scene,
  edges: readonly number[],
  camera: Camera,
  scale: number,
  palette: EdgePalette,
  strong = false,
): void {
  const zoom = camera.zoom * scale;
  context.setTransform(zoom, 0, 0, zoom, -camera.x * zoom, -camera.y * zoom);
  const faint = strong ? 1 : alphaOf(scene.order.length);
  const thinnest = 0.7 / camera.zoom;
  const heads = camera.zoom > 0.3 || strong;
  for (const edge of edges) {
    const tone = scene.tone[edge]!;
    const colour = palette.tones[tone]!;
    const width = Math.max(scene.width[edge]! + (strong ? 1.2 : 0), tone > 1 ? 2.2 * thinnest : thinnest);
    context.globalAlpha = tone > 1 ? 1 : faint;
    context.strokeStyle = colour;
    context.lineWidth = width;
    // What nobody measured is no solid line.
    context.setLineDash(tone === 0 ? [3 * width, 2 * width] : []);
    const last = trace(context, scene, edge);
    context.stroke();
    if (heads) head(context, last, width, colour);
  }
  context.setLineDash([]);
  context.globalAlpha = 1;
  if (camera.zoom < 0.25 && !strong) return;
  for (const edge of edges) {
    if (scene.mark[edge]) cross(context, scene, edge, palette, camera.zoom);
  }
}

function trace(context: Context, scene: Scene, edge: number): number[] {
  const { curves, starts } = scene;
  let at = starts[edge]!;
  const end = starts[edge + 1]!;
  context.beginPath();
  context.moveTo(curves[at]!, curves[at + 1]!);
  for (at += 2; at < end; at += 6) {
    context.bezierCurveTo(
      curves[at]!,
      curves[at + 1]!,
      curves[at + 2]!,
      curves[at + 3]!,
      curves[at + 4]!,
      curves[at + 5]!,
    );
  }
  return [curves[end - 4]!, curves[end - 3]!, curves[end - 2]!, curves[end - 1]!];
}

/** The tip at the server's end. */
function head(context: Context, [cx, cy, x, y]: number[], width: number, colour: string): void {
  const length = Math.hypot(x! - cx!, y! - cy!) || 1;
  const dx = (x! - cx!) / length;
  const dy = (y! - cy!) / length;
  const long = 5 + width;
  const half = 2.4 + width * 0.62;
  const bx = x! - dx * long;
  const by = y! - dy * long;
  context.fillStyle = colour;
  context.beginPath();
  context.moveTo(x!, y!);
  context.lineTo(bx - dy * half, by + dx * half);
  context.lineTo(bx + dy * half, by - dx * half);
  context.fill();
}

/** Strokes across an edge: two where it leaves the zone, three where it leaves the region. */
function cross(context: Context, scene: Scene, edge: number, palette: EdgePalette, zoom: number): void {
  const { x, y, dx, dy } = pointAt(scene, edge, 0.22);
  const length = Math.hypot(dx, dy) || 1;
  const ux = dx / length;
  const uy = dy / length;
  const size = Math.min(1.6, Math.max(1, 0.6 / zoom));
  const half = (scene.width[edge]! / 2 + 4.5) * size;
  const count = scene.mark[edge] === 1 ? 2 : 3;
  context.beginPath();
  for (let i = 0; i < count; i++) {
    const along = (i - (count - 1) / 2) * 5 * size;
    const mx = x + ux * along;
    const my = y + uy * along;
    // Slanted, so that they are not taken for the side of a card.
    context.moveTo(mx - uy * half - ux * 2, my + ux * half - uy * 2);
    context.lineTo(mx + uy * half + ux * 2, my - ux * half + uy * 2);
  }
  context.lineCap = "round";
  context.strokeStyle = palette.ground;
  context.lineWidth = 4 * size;
  context.stroke();
  context.strokeStyle = palette.mark;
  context.lineWidth = 1.7 * size;
  context.stroke();
  context.lineCap = "butt";
}
