/**
 * Columns from clients on the left to servers on the right.
 *
 * Who is left of whom is a node's trophic level (MacKay, Johnson, Sansom: "How directed is a directed network?",
 * 2020): the levels for which links go up by one as nearly as they can, cycles or not. Links that go up by
 * level make a graph without cycles, whose longest paths are the columns; where that gives more columns than a
 * screen has room for, as in dense graphs, levels are cut into equal parts instead.
 */

export interface Link {
  source: number;
  target: number;
}

const ROUNDS = 300;

/** Solved by Gauss-Seidel, always in the same order: the same graph has the same levels. */
export function levels(count: number, links: readonly Link[]): Float64Array {
  const near: { other: number; step: number }[][] = Array.from({ length: count }, () => []);
  for (const { source, target } of links) {
    if (source === target) continue;
    near[source]!.push({ other: target, step: -1 });
    near[target]!.push({ other: source, step: 1 });
  }
  const level = new Float64Array(count);
  for (let round = 0; round < ROUNDS; round++) {
    let moved = 0;
    for (let i = 0; i < count; i++) {
      const around = near[i]!;
      if (around.length === 0) continue;
      let sum = 0;
      for (const { other, step } of around) sum += level[other]! + step;
      const next = sum / around.length;
      moved = Math.max(moved, Math.abs(next - level[i]!));
      level[i] = next;
    }
    if (moved < 1e-6) break;
  }
  // Each connected part begins at 0.
  const part = parts(count, near);
  const least = new Map<number, number>();
  for (let i = 0; i < count; i++) {
    const of = part[i]!;
    least.set(of, Math.min(least.get(of) ?? Number.POSITIVE_INFINITY, level[i]!));
  }
  return level.map((value, i) => value - least.get(part[i]!)!);
}

function parts(count: number, near: readonly (readonly { other: number }[])[]): Int32Array {
  const part = new Int32Array(count).fill(-1);
  for (let first = 0; first < count; first++) {
    if (part[first] !== -1) continue;
    part[first] = first;
    const open = [first];
    for (let i = open.pop(); i !== undefined; i = open.pop()) {
      for (const { other } of near[i]!) {
        if (part[other] !== -1) continue;
        part[other] = first;
        open.push(other);
      }
    }
  }
  return part;
}

/** Column of each node, from 0 on, at most `most` of them; `size` is how much room each takes in its column. */
export function ranks(
  count: number,
  links: readonly Link[],
  most: number,
  size: readonly number[],
): number[] {
  const level = levels(count, links);
  const order = Array.from({ length: count }, (_, i) => i).sort((a, b) => level[a]! - level[b]! || a - b);
  const place = new Int32Array(count);
  order.forEach((node, i) => (place[node] = i));
  const out: number[][] = Array.from({ length: count }, () => []);
  const linked = new Uint8Array(count);
  for (const { source, target } of links) {
    if (source === target) continue;
    const forward = place[source]! < place[target]!;
    out[forward ? source : target]!.push(forward ? target : source);
    linked[source] = linked[target] = 1;
  }
  const rank: number[] = Array.from<number>({ length: count }).fill(0);
  for (const node of order) {
    for (const next of out[node]!) rank[next] = Math.max(rank[next]!, rank[node]! + 1);
  }
  if (Math.max(0, ...rank) >= most) return cut(order, most, size);
  // What nobody calls stands just before the first that it calls.
  const called = new Uint8Array(count);
  for (const nexts of out) for (const next of nexts) called[next] = 1;
  for (const node of order) {
    if (called[node] || out[node]!.length === 0) continue;
    rank[node] = Math.min(...out[node]!.map((next) => rank[next]!)) - 1;
  }
  return spread(rank, linked);
}

/** What has no links fills the columns that there are. */
function spread(rank: number[], linked: Uint8Array): number[] {
  const columns = Math.max(1, ...rank.map((column) => column + 1));
  let next = 0;
  return rank.map((column, i) => (linked[i] ? column : next++ % columns));
}

function cut(order: readonly number[], columns: number, size: readonly number[]): number[] {
  const whole = size.reduce((sum, one) => sum + one, 0);
  const rank = Array.from<number>({ length: size.length }).fill(0);
  let before = 0;
  for (const node of order) {
    const middle = before + size[node]! / 2;
    rank[node] = Math.min(columns - 1, Math.floor((middle / whole) * columns));
    before += size[node]!;
  }
  return rank;
}
