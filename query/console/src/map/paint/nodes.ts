/** Paints boxes and cards. */
import { quantity } from "../../format/numbers.ts";
import { expandable } from "../graph.ts";
import type { LaidOut } from "../layout/useLayout.ts";
import { CARD, type Rect } from "../layout/types.ts";
import type { Camera, Size } from "./camera.ts";
import { shortPod } from "../podName.ts";
import type { Palette } from "./colours.ts";

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';
/** Below this zoom text is too small to be read. */
const LEGIBLE = 0.36;

/** Characters of a pod's name that tell it from others. */
const NAMED = 14;

/** Below this one round corners cannot be seen, and take time. */
const SQUARE = 0.3;

export interface Looks {
  selected: number | null;
  cursor: number | null;
  hovered: number | null;
  /** Nodes that are not dimmed; null: all. */
  lit: ReadonlySet<number> | null;
  found: ReadonlySet<number>;
}

export function rectOf(laid: LaidOut, node: number): Rect {
  const r = laid.layout.rects;
  return { x: r[4 * node]!, y: r[4 * node + 1]!, w: r[4 * node + 2]!, h: r[4 * node + 3]! };
}

/** Where the sign that expands a workload is on its card. */
export function expander(rect: Rect): Rect {
  return { x: rect.x + rect.w - 24, y: rect.y + rect.h / 2 - 9, w: 18, h: 18 };
}

export function paintBoxes(
  context: CanvasRenderingContext2D,
  laid: LaidOut,
  camera: Camera,
  p: Palette,
): void {
  const present = new Set(laid.graph.nodes.map((node) => node.box));
  for (const [name, rect] of Object.entries(laid.layout.placement.boxes)) {
    if (!present.has(name)) continue;
    context.fillStyle = p.frame;
    context.strokeStyle = p.frameLine;
    context.lineWidth = 1 / Math.min(1, camera.zoom);
    context.beginPath();
    context.roundRect(rect.x, rect.y, rect.w, rect.h, 12);
    context.fill();
    context.stroke();
  }
}

/** Names of boxes lie above edges, and stay legible when the map is small. */
export function paintTitles(
  context: CanvasRenderingContext2D,
  laid: LaidOut,
  camera: Camera,
  p: Palette,
): void {
  const present = new Set(laid.graph.nodes.map((node) => node.box));
  const size = Math.min(40, Math.max(12, 11 / camera.zoom));
  context.font = `600 ${size}px ${FONT}`;
  context.textBaseline = "middle";
  context.textAlign = "left";
  context.lineJoin = "round";
  context.lineWidth = size / 3;
  context.strokeStyle = p.frame;
  context.fillStyle = p.muted;
  for (const [name, rect] of Object.entries(laid.layout.placement.boxes)) {
    if (!present.has(name)) continue;
    const y = size > 20 ? rect.y - size * 0.6 : rect.y + 16;
    const text = fitted(context, name, rect.w - 16);
    if (size <= 20) context.strokeText(text, rect.x + 14, y);
    context.fillText(text, rect.x + 14, y);
  }
}

export function paintNodes(
  context: CanvasRenderingContext2D,
  laid: LaidOut,
  camera: Camera,
  screen: Size,
  p: Palette,
  looks: Looks,
): void {
  const { graph } = laid;
  const right = camera.x + screen.w / camera.zoom;
  const bottom = camera.y + screen.h / camera.zoom;
  const cells = new Map<string, { most: number; count: number; namespace: string }>();
  for (const { at, cell } of graph.nodes) {
    if (at.kind !== "pod") continue;
    const known = cells.get(cell) ?? { most: 0, count: 0, namespace: cell };
    known.most = Math.max(known.most, at.tx_bytes + at.rx_bytes);
    known.count += 1;
    cells.set(cell, known);
  }
  for (const [cell, { count }] of cells) {
    const rect = laid.layout.placement.cells[cell];
    if (rect) paintCell(context, rect, `${cell.slice(cell.indexOf("/") + 1)} · ${count} pods`, camera, p);
  }
  graph.nodes.forEach((node, i) => {
    const rect = rectOf(laid, i);
    if (rect.x > right || rect.x + rect.w < camera.x || rect.y > bottom || rect.y + rect.h < camera.y) return;
    const { at } = node;
    context.globalAlpha = looks.lit !== null && !looks.lit.has(i) ? 0.28 : 1;
    const chosen = looks.selected === i;
    const found = looks.found.has(i);
    context.fillStyle = chosen ? p.accentGround : p.card;
    context.strokeStyle = chosen || found || looks.hovered === i ? p.accent : p.cardLine;
    context.lineWidth = (chosen || found ? 2.4 : 1) / Math.min(1, camera.zoom * 1.2);
    // Peers outside of the cluster have round ends and, if nobody knows more of them, a broken rim.
    const round = node.box === null ? rect.h / 2 : at.kind === "pod" ? 5 : 8;
    context.setLineDash(at.kind === "external" ? [5, 3] : []);
    if (camera.zoom < SQUARE && at.kind !== "pod" && looks.cursor !== i) {
      context.fillRect(rect.x, rect.y, rect.w, rect.h);
      context.strokeRect(rect.x, rect.y, rect.w, rect.h);
      return;
    }
    context.beginPath();
    context.roundRect(rect.x, rect.y, rect.w, rect.h, round);
    context.fill();
    if (at.kind === "pod") {
      const most = cells.get(node.cell)?.most ?? 0;
      const part = most > 0 ? (at.tx_bytes + at.rx_bytes) / most : 0;
      context.save();
      context.clip();
      context.fillStyle = p.load;
      context.fillRect(rect.x, rect.y + rect.h - 5, rect.w * part, 5);
      context.restore();
    }
    context.stroke();
    context.setLineDash([]);
    if (looks.cursor === i) {
      context.strokeStyle = p.accent;
      context.lineWidth = 2 / camera.zoom;
      context.beginPath();
      context.roundRect(rect.x - 4, rect.y - 4, rect.w + 8, rect.h + 8, round + 4);
      context.stroke();
    }
    if (camera.zoom < LEGIBLE) return;
    write(context, at.kind === "pod", rect, at, p, camera.zoom);
  });
  context.globalAlpha = 1;
}

function write(
  context: CanvasRenderingContext2D,
  pod: boolean,
  rect: Rect,
  at: LaidOut["graph"]["nodes"][number]["at"],
  p: Palette,
  zoom: number,
): void {
  context.textBaseline = "middle";
  context.textAlign = "left";
  context.fillStyle = p.text;
  // Text grows while the map shrinks, as far as the card has room.
  const size = Math.min(21, Math.max(13, 11 / zoom));
  const small = Math.min(17, Math.max(11, 9.5 / zoom));
  const bytes = quantity(at.tx_bytes + at.rx_bytes, "bytes");
  if (pod) {
    const size = Math.min(18, Math.max(11, 9.5 / zoom));
    context.font = `${size}px ${FONT}`;
    const wide = (text: string) => context.measureText(text).width;
    // A name that says little is worth less than the amount, which the bar shows too.
    const beside = rect.w - 26 - wide(bytes);
    const both = wide(shortPod(at.label, at.workload, NAMED)) <= beside;
    const room = both ? beside : rect.w - 16;
    if (both) {
      context.textAlign = "right";
      context.fillStyle = p.muted;
      context.fillText(bytes, rect.x + rect.w - 8, rect.y + 14);
      context.textAlign = "left";
      context.fillStyle = p.text;
    }
    let most = at.label.length;
    let name = at.label;
    while (most > 8 && wide(name) > room) name = shortPod(at.label, at.workload, --most);
    context.fillText(fitted(context, name, room), rect.x + 8, rect.y + 14);
    return;
  }
  const outside = at.kind === "cloud" || at.kind === "external";
  const inset = outside ? 16 : 10;
  const right = expandable(at) === null ? inset : 26;
  let large = size;
  do context.font = `600 ${large}px ${FONT}`;
  while (
    large > Math.max(13, size - 5) &&
    context.measureText(at.label).width > rect.w - inset - right &&
    --large
  );
  context.fillText(fitted(context, at.label, rect.w - inset - right), rect.x + inset, rect.y + 20);
  context.font = `${small}px ${FONT}`;
  context.fillStyle = p.muted;
  // Its rim and its round ends say that a peer is outside.
  const what = at.kind === "cloud" ? (at.region ?? "cloud") : "";
  const room = rect.w - inset - right;
  const long = what === "" ? bytes : `${what} · ${bytes}`;
  const second = context.measureText(long).width <= room ? long : what === "" ? bytes : what;
  context.fillText(fitted(context, second, room), rect.x + inset, rect.y + 42);
  if (expandable(at) === null) return;
  const sign = expander(rect);
  context.strokeStyle = p.muted;
  context.lineWidth = 1.4;
  context.beginPath();
  const mx = sign.x + 9;
  const my = sign.y + 9;
  context.moveTo(mx - 4, my);
  context.lineTo(mx + 4, my);
  context.moveTo(mx, my - 4);
  context.lineTo(mx, my + 4);
  context.stroke();
}

function paintCell(
  context: CanvasRenderingContext2D,
  rect: Rect,
  title: string,
  camera: Camera,
  p: Palette,
): void {
  context.fillStyle = p.frame;
  context.strokeStyle = p.cardLine;
  context.lineWidth = 1;
  context.beginPath();
  context.roundRect(rect.x, rect.y, rect.w, rect.h, 8);
  context.fill();
  context.stroke();
  if (camera.zoom < LEGIBLE) return;
  context.font = `600 ${Math.min(17, Math.max(12, 10 / camera.zoom))}px ${FONT}`;
  context.fillStyle = p.text;
  context.textBaseline = "middle";
  context.textAlign = "left";
  context.fillText(fitted(context, title, rect.w - 40), rect.x + 10, rect.y + 13);
  const sign = collapser(rect);
  context.strokeStyle = p.muted;
  context.lineWidth = 1.4;
  context.beginPath();
  context.moveTo(sign.x + 5, sign.y + 9);
  context.lineTo(sign.x + 13, sign.y + 9);
  context.stroke();
}

/** Where the sign that folds a workload's pods is on their cell. */
export function collapser(cell: Rect): Rect {
  return { x: cell.x + cell.w - 24, y: cell.y + 4, w: 18, h: 18 };
}

/** Text cut to a width; as wide as a card at most. */
function fitted(context: CanvasRenderingContext2D, text: string, width: number): string {
  const room = Math.max(width, CARD.h / 2);
  if (text.length * 8 < room || context.measureText(text).width <= room) return text;
  let low = 0;
  let high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(`${text.slice(0, middle)}…`).width <= room) low = middle;
    else high = middle - 1;
  }
  return `${text.slice(0, low)}…`;
}

export interface Label {
  /** Places on the edge where it may stand, the best first. */
  places: readonly { x: number; y: number }[];
  /** What it says, the longest first. */
  texts: readonly string[];
  tone: number;
  /** Whether it is shown even if there is no room for it. */
  forced: boolean;
}

/**
 * Numbers on edges, the worst first. None covers another or a card, if there is any other way: what stands out
 * is shown in any case, the rest only where there is room.
 */
export function paintLabels(
  context: CanvasRenderingContext2D,
  labels: readonly Label[],
  cards: readonly Rect[],
  camera: Camera,
  scale: number,
  p: Palette,
): void {
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.textAlign = "center";
  context.textBaseline = "middle";
  const onScreen = (x: number, y: number) => ({
    x: (x - camera.x) * camera.zoom,
    y: (y - camera.y) * camera.zoom,
  });
  const blocked = cards.map(({ x, y, w, h }): Rect => ({
    ...onScreen(x, y),
    w: w * camera.zoom,
    h: h * camera.zoom,
  }));
  const taken: Rect[] = [];
  for (const { places, texts, tone, forced } of labels) {
    const font = `${tone > 1 ? "600 " : ""}11px ${FONT}`;
    context.font = font;
    const spots = texts.flatMap((text) => {
      const w = context.measureText(text).width + 12;
      return places.map((place): { text: string; rect: Rect } => {
        const { x, y } = onScreen(place.x, place.y);
        return { text, rect: { x: x - w / 2, y: y - 9, w, h: 18 } };
      });
    });
    const free = (others: readonly Rect[], up: number) =>
      spots
        .map(({ text, rect }) => ({ text, rect: { ...rect, y: rect.y + up } }))
        .find(({ rect }) => !others.some((other) => overlap(rect, other)));
    const all = [...taken, ...blocked];
    // Between cards that are close to each other there is no room: what stands out goes above or below them.
    const beside = () => free(all, -34) ?? free(all, 34) ?? free(taken, 0);
    const spot = free(all, 0) ?? (forced ? beside() : undefined);
    if (!spot) continue;
    const { rect, text } = spot;
    taken.push(rect);
    const colour = tone === 3 ? p.bad : tone === 2 ? p.warn : p.muted;
    context.fillStyle = p.card;
    context.strokeStyle = tone > 1 ? colour : p.frameLine;
    context.lineWidth = tone > 1 ? 1.5 : 1;
    context.beginPath();
    context.roundRect(rect.x, rect.y, rect.w, rect.h, 9);
    context.fill();
    context.stroke();
    context.fillStyle = colour;
    context.fillText(text, rect.x + rect.w / 2, rect.y + 9.5);
  }
}

function overlap(a: Rect, b: Rect): boolean {
  return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
}
