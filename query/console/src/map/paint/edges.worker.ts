/** Paints many edges off the page's own thread, so that moving the map never waits for them. */
import type { Camera, Size } from "./camera.ts";
import { paintEdges, visible, type EdgePalette } from "./edges.ts";
import type { Scene } from "./scene.ts";

export interface Wanted {
  /** Counts scenes: a picture of an older one is of no use. */
  version: number;
  camera: Camera;
  screen: Size;
  scale: number;
}

export type ToPainter =
  { kind: "scene"; version: number; scene: Scene; palette: EdgePalette } | ({ kind: "paint" } & Wanted);

export interface Picture extends Wanted {
  bitmap: ImageBitmap;
}

let version = -1;
let scene: Scene | null = null;
let palette: EdgePalette | null = null;
let wanted: Wanted | null = null;
let canvas: OffscreenCanvas | null = null;

self.onmessage = ({ data }: MessageEvent<ToPainter>) => {
  if (data.kind === "scene") {
    ({ version, scene, palette } = data);
    return;
  }
  // Only the newest wish counts; the ones before it are still in the queue of messages.
  const idle = wanted === null;
  wanted = data;
  if (idle) setTimeout(paint, 0);
};

function paint(): void {
  const now = wanted;
  wanted = null;
  if (!now || !scene || !palette || now.version !== version) return;
  const w = Math.max(1, Math.round(now.screen.w * now.scale));
  const h = Math.max(1, Math.round(now.screen.h * now.scale));
  if (canvas?.width !== w || canvas.height !== h) canvas = new OffscreenCanvas(w, h);
  const context = canvas.getContext("2d");
  if (!context) return;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, w, h);
  paintEdges(context, scene, visible(scene, now.camera, now.screen), now.camera, now.scale, palette);
  const bitmap = canvas.transferToImageBitmap();
  self.postMessage({ ...now, bitmap } satisfies Picture, { transfer: [bitmap] });
}
