/**
 * Draws the map, one frame at a time and only when something changed.
 *
 * Few edges are drawn in each frame. Many are drawn by a worker into a picture that is larger than the screen;
 * while the map moves, each frame shows the newest picture, moved and stretched to where the camera is, under
 * cards that are always drawn sharp. The next picture follows as fast as the worker can.
 */
import { quantity } from "../../format/numbers.ts";
import { written, type Measure } from "../measures.ts";
import type { LaidOut } from "../layout/useLayout.ts";
import type { Rect } from "../layout/types.ts";
import { between, fit, pan, reveal, zoomAt, type Camera, type Size } from "./camera.ts";
import type { Palette } from "./colours.ts";
import { paintEdges, visible } from "./edges.ts";
import type { Picture, ToPainter, Wanted } from "./edges.worker.ts";
import { Hits } from "./hits.ts";
import { paintBoxes, paintLabels, paintNodes, paintTitles, rectOf, type Looks } from "./nodes.ts";
import { pointAt, sceneOf, type Scene } from "./scene.ts";

/** Edges that one frame has the time for. */
const DIRECT = 220;
/** Part of the screen that a picture goes beyond it, on each side. */
const BEYOND = 0.35;
/** While the map moves, a picture does that is stretched no more than this; when it stands still, none but the exact one. */
const STRETCH = 2;
/** Between two pictures while the map moves, in milliseconds: the worker shares the processor with the frames. */
const REPAINT = 250;
/** Standing still begins so many milliseconds after the last movement. */
const STILL = 140;
/** Edges that are labelled without being asked for. */
const LABELLED = 60;
/** Parts of an edge's way where its label may be. */
const PLACES = [0.5, 0.36, 0.64, 0.22, 0.78];
const GLIDE = 260;

export interface Chosen extends Looks {
  /** Edges that stand out. */
  edges: readonly number[];
}

export class Painter {
  camera: Camera = { x: 0, y: 0, zoom: 1 };
  private readonly context: CanvasRenderingContext2D | null;
  private screen: Size = { w: 1, h: 1 };
  private scale = 1;
  private laid: LaidOut | null = null;
  private scene: Scene | null = null;
  private hits: Hits | null = null;
  private measure: Measure | null = null;
  private palette: Palette | null = null;
  private chosen: Chosen = {
    edges: [],
    selected: null,
    cursor: null,
    hovered: null,
    lit: null,
    found: new Set(),
  };
  private readonly worker: Worker;
  private version = 0;
  private sent = -1;
  private picture: Picture | null = null;
  private asked: Wanted | null = null;
  private waiting = false;
  private frame = 0;
  /** When the camera moved last, and what waits for it to stand still. */
  private moved = 0;
  private still = 0;
  private painted = 0;
  private glide: { from: Camera; to: Camera; since: number } | null = null;

  constructor(private readonly canvas: HTMLCanvasElement) {
    this.context = canvas.getContext("2d");
    this.worker = new Worker(new URL("./edges.worker.ts", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }: MessageEvent<Picture>) => {
      this.waiting = false;
      if (data.version === this.version) {
        this.picture?.bitmap.close();
        this.picture = data;
      } else {
        data.bitmap.close();
      }
      this.draw();
    };
  }

  end(): void {
    this.worker.terminate();
    cancelAnimationFrame(this.frame);
    window.clearTimeout(this.still);
    this.picture?.bitmap.close();
  }

  resize(screen: Size, scale: number): void {
    this.screen = screen;
    this.scale = scale;
    this.canvas.width = Math.max(1, Math.round(screen.w * scale));
    this.canvas.height = Math.max(1, Math.round(screen.h * scale));
    this.draw();
  }

  show(laid: LaidOut, measure: Measure, palette: Palette): void {
    const moved = this.laid?.generation !== laid.generation;
    this.laid = laid;
    this.measure = measure;
    this.palette = palette;
    this.scene = sceneOf(laid);
    this.hits = null;
    this.version += 1;
    if (moved) this.camera = this.fitted();
    this.draw();
  }

  choose(chosen: Chosen): void {
    this.chosen = chosen;
    this.draw();
  }

  private bounds(): Rect {
    const laid = this.laid;
    if (!laid || laid.graph.nodes.length === 0) return { x: 0, y: 0, w: 1, h: 1 };
    const boxes = new Set(laid.graph.nodes.map((node) => node.box));
    const rects = laid.graph.nodes.map((_, i) => rectOf(laid, i));
    for (const [name, rect] of Object.entries(laid.layout.placement.boxes)) {
      if (boxes.has(name)) rects.push(rect);
    }
    const x = Math.min(...rects.map((r) => r.x));
    const y = Math.min(...rects.map((r) => r.y));
    return {
      x,
      y,
      w: Math.max(...rects.map((r) => r.x + r.w)) - x,
      h: Math.max(...rects.map((r) => r.y + r.h)) - y,
    };
  }

  private fitted(): Camera {
    return fit(this.bounds(), this.screen);
  }

  fit(): void {
    this.to(this.fitted());
  }

  zoom(by: number, at = { x: this.screen.w / 2, y: this.screen.h / 2 }): void {
    this.glide = null;
    this.camera = zoomAt(this.camera, at, by);
    this.moved = performance.now();
    this.draw();
  }

  pan(dx: number, dy: number): void {
    this.glide = null;
    this.camera = pan(this.camera, dx, dy);
    this.moved = performance.now();
    this.draw();
  }

  reveal(node: number): void {
    if (this.laid) this.to(reveal(this.camera, rectOf(this.laid, node), this.screen));
  }

  private to(camera: Camera): void {
    if (window.matchMedia("(prefers-reduced-motion: reduce)").matches) this.camera = camera;
    else this.glide = { from: this.camera, to: camera, since: performance.now() };
    this.draw();
  }

  /** Point of the map under a point of the screen. */
  point(at: { x: number; y: number }): { x: number; y: number } {
    return { x: this.camera.x + at.x / this.camera.zoom, y: this.camera.y + at.y / this.camera.zoom };
  }

  /** Where a node is on the screen. */
  onScreen(node: number): Rect | null {
    if (!this.laid) return null;
    const { x, y, w, h } = rectOf(this.laid, node);
    const { zoom } = this.camera;
    return { x: (x - this.camera.x) * zoom, y: (y - this.camera.y) * zoom, w: w * zoom, h: h * zoom };
  }

  edgeMiddle(edge: number): { x: number; y: number } | null {
    if (!this.scene) return null;
    const { x, y } = pointAt(this.scene, edge, 0.5);
    return { x: (x - this.camera.x) * this.camera.zoom, y: (y - this.camera.y) * this.camera.zoom };
  }

  nodeAt(at: { x: number; y: number }): number | null {
    const laid = this.laid;
    if (!laid) return null;
    const { x, y } = this.point(at);
    const pad = 3 / this.camera.zoom;
    for (let i = laid.graph.nodes.length - 1; i >= 0; i--) {
      const r = rectOf(laid, i);
      if (x > r.x - pad && x < r.x + r.w + pad && y > r.y - pad && y < r.y + r.h + pad) return i;
    }
    return null;
  }

  edgeAt(at: { x: number; y: number }, reach: number): number | null {
    if (!this.scene) return null;
    this.hits ??= new Hits(this.scene);
    const { x, y } = this.point(at);
    return this.hits.edgeAt(x, y, reach / this.camera.zoom);
  }

  private draw(): void {
    if (this.frame === 0) this.frame = requestAnimationFrame((now) => this.paint(now));
  }

  private paint(now: number): void {
    this.frame = 0;
    const { context, laid, scene, palette, measure } = this;
    if (!context || !laid || !scene || !palette || !measure) return;
    if (this.glide) {
      const part = Math.min(1, (now - this.glide.since) / GLIDE);
      this.camera = between(this.glide.from, this.glide.to, 1 - (1 - part) ** 3);
      if (part === 1) this.glide = null;
      else this.draw();
    }
    const { camera, screen, scale } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = palette.ground;
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.toMap(context);
    paintBoxes(context, laid, camera, palette);
    const seen = visible(scene, camera, screen);
    const dim = this.chosen.edges.length > 0 || this.chosen.lit !== null;
    // An edge that stands out is drawn once, above the others.
    if (seen.length <= DIRECT) {
      this.direct(context, dim ? seen.filter((e) => !this.chosen.edges.includes(e)) : seen, dim);
    } else {
      this.pictured(context, dim);
    }
    paintEdges(context, scene, this.chosen.edges, camera, scale, palette.edges, true);
    this.toMap(context);
    paintNodes(context, laid, camera, screen, palette, this.chosen);
    paintTitles(context, laid, camera, palette);
    this.label(context, seen);
  }

  private toMap(context: CanvasRenderingContext2D): void {
    const zoom = this.camera.zoom * this.scale;
    context.setTransform(zoom, 0, 0, zoom, -this.camera.x * zoom, -this.camera.y * zoom);
  }

  private direct(context: CanvasRenderingContext2D, edges: readonly number[], dim: boolean): void {
    if (!this.scene || !this.palette) return;
    if (dim) {
      // Faint all at once: colours mixed with the ground.
      const { tones } = this.palette.edges;
      const faint = { ...this.palette.edges, tones: tones.map((tone) => faded(tone)) };
      paintEdges(context, this.scene, edges, this.camera, this.scale, faint);
    } else {
      paintEdges(context, this.scene, edges, this.camera, this.scale, this.palette.edges);
    }
  }

  private pictured(context: CanvasRenderingContext2D, dim: boolean): void {
    const { camera, scale, picture } = this;
    this.ask();
    if (!picture) return;
    const stretch = camera.zoom / picture.camera.zoom;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.globalAlpha = dim ? 0.3 : 1;
    // Smooth once it stands still: while it moves, that takes time that another frame could have.
    context.imageSmoothingEnabled = performance.now() - this.moved >= STILL;
    context.drawImage(
      picture.bitmap,
      (picture.camera.x - camera.x) * camera.zoom,
      (picture.camera.y - camera.y) * camera.zoom,
      picture.screen.w * stretch,
      picture.screen.h * stretch,
    );
    context.globalAlpha = 1;
  }

  /** Asks for a picture of where the camera is, unless one is under way or there. */
  private ask(): void {
    const { camera, screen, scale, version, scene, palette } = this;
    if (!scene || !palette) return;
    if (this.sent !== version) {
      this.worker.postMessage({ kind: "scene", version, scene, palette: palette.edges } satisfies ToPainter);
      this.sent = version;
      this.asked = null;
    }
    if (this.waiting) return;
    const was = this.asked;
    if (was?.version === version && was.scale === scale) {
      const now = performance.now();
      const stretch = camera.zoom / was.camera.zoom;
      const covered = covers(was, camera, screen);
      if (covered && stretch === 1) return;
      const fair = covered && stretch < STRETCH && stretch > 1 / STRETCH;
      if (now - this.moved < STILL && (fair || now - this.painted < REPAINT)) {
        window.clearTimeout(this.still);
        this.still = window.setTimeout(() => this.draw(), STILL);
        return;
      }
    }
    this.painted = performance.now();
    const dx = (screen.w * BEYOND) / camera.zoom;
    const dy = (screen.h * BEYOND) / camera.zoom;
    this.asked = {
      version,
      scale,
      camera: { x: camera.x - dx, y: camera.y - dy, zoom: camera.zoom },
      screen: { w: screen.w * (1 + 2 * BEYOND), h: screen.h * (1 + 2 * BEYOND) },
    };
    this.waiting = true;
    this.worker.postMessage({ kind: "paint", ...this.asked } satisfies ToPainter);
  }

  private label(context: CanvasRenderingContext2D, seen: readonly number[]): void {
    const { scene, laid, measure, palette, camera } = this;
    if (!scene || !laid || !measure || !palette) return;
    const { graph } = laid;
    const own = new Set(this.chosen.edges);
    const few = seen.length <= LABELLED && camera.zoom > 0.5;
    const wanted = [
      ...own,
      // What is calm says nothing until it is asked.
      ...seen.filter((i) => !own.has(i) && this.chosen.lit === null && scene.tone[i]! > 1).reverse(),
    ].slice(0, LABELLED);
    const labels = wanted.map((i) => {
      const edge = graph.edges[i]!;
      const tone = scene.tone[i]!;
      const value = `${tone === 3 ? "▲ " : ""}${written(measure, edge.value)}`;
      const rate = quantity(edge.at.bytes / Math.max(1, graph.seconds), "bytes/s");
      const away =
        edge.crossing === null || !own.has(i)
          ? ""
          : ` · ${edge.crossing.kind === "zone" ? "|| zone" : "||| region"}`;
      const long = `${value} · ${rate}${away}`;
      return {
        places: PLACES.map((part) => pointAt(scene, i, part)),
        texts: own.has(i) || few ? [long, value] : [value],
        tone,
        forced: tone > 1 || own.size === 1,
      };
    });
    const cards = seen.length <= DIRECT ? graph.nodes.map((_, i) => rectOf(laid, i)) : [];
    paintLabels(context, labels, cards, camera, this.scale, palette);
  }
}

/** Whether a picture reaches beyond the screen on all sides: a new one is due before its rim comes into sight. */
function covers(wanted: Wanted, camera: Camera, screen: Size): boolean {
  const zoom = wanted.camera.zoom;
  const slack = { x: (BEYOND / 4) * (screen.w / zoom), y: (BEYOND / 4) * (screen.h / zoom) };
  return (
    camera.x - wanted.camera.x > slack.x &&
    camera.y - wanted.camera.y > slack.y &&
    camera.x + screen.w / camera.zoom < wanted.camera.x + wanted.screen.w / zoom - slack.x &&
    camera.y + screen.h / camera.zoom < wanted.camera.y + wanted.screen.h / zoom - slack.y
  );
}

function faded(rgb: string): string {
  return rgb.replace(/^rgb\((.*)\)$/, "rgba($1, 0.3)");
}
