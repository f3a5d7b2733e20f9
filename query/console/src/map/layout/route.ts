/**
 * Curves of the links: out of a side of the client's card, into a side of the server's, around cards that lie
 * between. Links of a card are spread along its side in the order of where they go, so that they do not cross
 * there. Numbers of traffic play no part: a curve stays where it is when they change.
 */
import type { Rect } from "./types.ts";

/** How near to a card's corner a link may begin. */
const CORNER = 7;
/** Between two links of a card, at most. */
const APART = 9;
/** From a card to a link that goes around it. */
const CLEAR = 9;
const RUN_UP = 26;

type Side = "left" | "right";

interface End {
  link: number;
  /** Where the other end is. */
  towards: number;
}

export function route(
  rects: readonly Rect[],
  links: Uint32Array,
): { curves: Float32Array; starts: Uint32Array } {
  const count = links.length / 2;
  const sides: [Side, Side][] = [];
  const ends = new Map<string, End[]>();
  for (let i = 0; i < count; i++) {
    const a = links[2 * i]!;
    const b = links[2 * i + 1]!;
    const pair = sidesOf(rects[a]!, rects[b]!);
    sides.push(pair);
    join(ends, `${a}${pair[0]}`, { link: i, towards: rects[b]!.y + rects[b]!.h / 2 });
    join(ends, `${b}${pair[1]}`, { link: i, towards: rects[a]!.y + rects[a]!.h / 2 });
  }
  const offset = new Map<string, number>();
  for (const [key, list] of ends) {
    const rect = rects[Number.parseInt(key, 10)]!;
    list.sort((a, b) => a.towards - b.towards || a.link - b.link);
    const step = Math.min(APART, (rect.h - 2 * CORNER) / Math.max(1, list.length - 1));
    list.forEach((end, i) => offset.set(`${key}${end.link}`, (i - (list.length - 1) / 2) * step));
  }

  const obstacles = rects.map((rect, i) => ({ rect, i })).sort((a, b) => a.rect.x - b.rect.x);
  const out: number[] = [];
  const starts = new Uint32Array(count + 1);
  for (let i = 0; i < count; i++) {
    starts[i] = out.length;
    const a = links[2 * i]!;
    const b = links[2 * i + 1]!;
    const [sideA, sideB] = sides[i]!;
    const from = port(rects[a]!, sideA, offset.get(`${a}${sideA}${i}`) ?? 0);
    const to = port(rects[b]!, sideB, offset.get(`${b}${sideB}${i}`) ?? 0);
    out.push(from.x, from.y);
    if (a === b) loop(out, rects[a]!);
    else if (sideA === sideB) bow(out, from, to, sideA);
    else flow(out, from, to, around(from, to, a, b, obstacles));
  }
  starts[count] = out.length;
  return { curves: Float32Array.from(out), starts };
}

function join(ends: Map<string, End[]>, key: string, end: End): void {
  const known = ends.get(key);
  if (known) known.push(end);
  else ends.set(key, [end]);
}

function sidesOf(a: Rect, b: Rect): [Side, Side] {
  if (b.x >= a.x + a.w) return ["right", "left"];
  if (b.x + b.w <= a.x) return ["left", "right"];
  return ["right", "right"];
}

function port(rect: Rect, side: Side, offset: number): { x: number; y: number } {
  return { x: side === "right" ? rect.x + rect.w : rect.x, y: rect.y + rect.h / 2 + offset };
}

interface Point {
  x: number;
  y: number;
}

/** From a card to itself, over its right upper corner. */
function loop(out: number[], rect: Rect): void {
  const right = rect.x + rect.w;
  out.push(right + 34, rect.y + rect.h / 2, right + 10, rect.y - 30, right - 18, rect.y);
}

/** Between cards above each other. */
function bow(out: number[], from: Point, to: Point, side: Side): void {
  const reach = Math.min(64, 26 + Math.abs(to.y - from.y) * 0.12) * (side === "right" ? 1 : -1);
  out.push(from.x + reach, from.y, to.x + reach, to.y, to.x, to.y);
}

/** Through all points with horizontal tangents. */
function flow(out: number[], from: Point, to: Point, by: readonly Point[]): void {
  let at = from;
  for (const next of [...by, to]) {
    const half = (next.x - at.x) / 2;
    out.push(at.x + half, at.y, next.x - half, next.y, next.x, next.y);
    at = next;
  }
}

/** Points that lead around the cards in between: one before and one behind each that is in the way. */
function around(
  from: Point,
  to: Point,
  a: number,
  b: number,
  obstacles: readonly { rect: Rect; i: number }[],
): Point[] {
  const forth = to.x >= from.x;
  const least = Math.min(from.x, to.x);
  const most = Math.max(from.x, to.x);
  const between = obstacles.filter(
    ({ rect, i }) => i !== a && i !== b && rect.x > least + 4 && rect.x + rect.w < most - 4,
  );
  if (!forth) between.reverse();
  const points: Point[] = [];
  let at = from;
  for (const { rect } of between) {
    const near = forth ? rect.x : rect.x + rect.w;
    const far = forth ? rect.x + rect.w : rect.x;
    const half = to.x === at.x ? 0 : ((near + far) / 2 - at.x) / (to.x - at.x);
    // Where the curve is by then; it goes up or down in the middle of its way.
    const t = Math.min(1, Math.max(0, half));
    const y = at.y + (to.y - at.y) * t * t * (3 - 2 * t);
    if (y < rect.y - CLEAR + 2 || y > rect.y + rect.h + CLEAR - 2) continue;
    const above = rect.y - CLEAR;
    const below = rect.y + rect.h + CLEAR;
    const side = lane(y, above, below, rect, between);
    const run = forth ? RUN_UP : -RUN_UP;
    if (forth ? near - run <= at.x : near - run >= at.x) continue;
    points.push({ x: near - run / 2, y: side }, { x: far + run / 2, y: side });
    at = points.at(-1)!;
  }
  return points;
}

/** The nearer side of a card that no other card of its column covers. */
function lane(
  y: number,
  above: number,
  below: number,
  rect: Rect,
  others: readonly { rect: Rect }[],
): number {
  const free = (lane: number) =>
    !others.some(
      ({ rect: other }) =>
        other !== rect &&
        other.x < rect.x + rect.w &&
        rect.x < other.x + other.w &&
        lane > other.y - 2 &&
        lane < other.y + other.h + 2,
    );
  const [first, second] = y - above <= below - y ? [above, below] : [below, above];
  return free(first) || !free(second) ? first : second;
}
