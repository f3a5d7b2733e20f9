/** Which part of the map is on the screen, and how large. Pixels of the screen are CSS pixels. */
import type { Rect } from "../layout/types.ts";

export interface Camera {
  /** Point of the map in the left upper corner of the screen. */
  x: number;
  y: number;
  zoom: number;
}

export interface Size {
  w: number;
  h: number;
}

export const ZOOM = { least: 0.04, most: 2.5 };
/** The whole of a small map is not blown up beyond this. */
const FIT_MOST = 1.3;
const MARGIN = 16;

export function fit(bounds: Rect, screen: Size): Camera {
  const zoom = Math.min(
    FIT_MOST,
    Math.max(
      ZOOM.least,
      Math.min(
        (screen.w - 2 * MARGIN) / Math.max(1, bounds.w),
        (screen.h - 2 * MARGIN) / Math.max(1, bounds.h),
      ),
    ),
  );
  return {
    x: bounds.x + bounds.w / 2 - screen.w / 2 / zoom,
    y: bounds.y + bounds.h / 2 - screen.h / 2 / zoom,
    zoom,
  };
}

/** Zooms so that the point of the map under a point of the screen stays there. */
export function zoomAt(camera: Camera, at: { x: number; y: number }, by: number): Camera {
  const zoom = Math.min(ZOOM.most, Math.max(ZOOM.least, camera.zoom * by));
  const x = camera.x + at.x / camera.zoom;
  const y = camera.y + at.y / camera.zoom;
  return { x: x - at.x / zoom, y: y - at.y / zoom, zoom };
}

export function pan(camera: Camera, dx: number, dy: number): Camera {
  return { ...camera, x: camera.x - dx / camera.zoom, y: camera.y - dy / camera.zoom };
}

/** The camera moved as little as possible so that a rectangle is on the screen. */
export function reveal(camera: Camera, rect: Rect, screen: Size): Camera {
  const pad = MARGIN / camera.zoom;
  const shift = (from: number, to: number, start: number, length: number) => {
    if (from - pad < start) return from - pad - start;
    return to + pad > start + length ? Math.min(to + pad - start - length, from - pad - start) : 0;
  };
  return {
    ...camera,
    x: camera.x + shift(rect.x, rect.x + rect.w, camera.x, screen.w / camera.zoom),
    y: camera.y + shift(rect.y, rect.y + rect.h, camera.y, screen.h / camera.zoom),
  };
}

export function between(a: Camera, b: Camera, part: number): Camera {
  // Zoom changes by ratios, or it would rush at the small end.
  const zoom = a.zoom * (b.zoom / a.zoom) ** part;
  const x = a.x + (b.x - a.x) * part;
  const y = a.y + (b.y - a.y) * part;
  return { x, y, zoom };
}
