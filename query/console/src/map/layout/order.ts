/** Order within columns that lets few links cross, and heights that make them straight. */
import type { Link } from "./ranks.ts";

const SWEEPS = 12;
/** Above this many links crossings are not counted: the last sweep is taken. */
const COUNTED = 400;

/**
 * Orders each column by the mean place of neighbours (Sugiyama, Tagawa, Toda 1981), to and fro; `outside` pulls
 * a node towards what is not among the columns, as a place from 0 to 1.
 */
export function order(
  columns: number[][],
  links: readonly Link[],
  count: number,
  outside?: readonly (number | null)[],
): number[][] {
  const near: number[][] = Array.from({ length: count }, () => []);
  for (const { source, target } of links) {
    if (source === target) continue;
    near[source]!.push(target);
    near[target]!.push(source);
  }
  const column = new Int32Array(count);
  const place = new Float64Array(count);
  const settle = (of: number[], x: number) =>
    of.forEach((node, i) => {
      column[node] = x;
      place[node] = (i + 0.5) / of.length;
    });
  let current = columns.map((of) => [...of]);
  current.forEach(settle);
  let best = current;
  let fewest = Number.POSITIVE_INFINITY;
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const forth = sweep % 2 === 0;
    const turn = current.map((_, x) => (forth ? x : current.length - 1 - x));
    for (const x of turn) {
      const wish = new Map<number, number>();
      for (const node of current[x]!) {
        let sum = 0;
        let weight = 0;
        for (const other of near[node]!) {
          const across = Math.abs(column[other]! - x);
          if (across === 0) continue;
          // What lies on the side that was just ordered counts more.
          const w = (column[other]! < x === forth ? 1 : 0.2) / across;
          sum += place[other]! * w;
          weight += w;
        }
        const pull = outside?.[node];
        if (pull !== null && pull !== undefined) {
          sum += pull;
          weight += 1;
        }
        wish.set(node, weight > 0 ? sum / weight : place[node]!);
      }
      const was = new Map(current[x]!.map((node, i) => [node, i]));
      current[x]!.sort((a, b) => wish.get(a)! - wish.get(b)! || was.get(a)! - was.get(b)!);
      settle(current[x]!, x);
    }
    if (links.length > COUNTED) continue;
    const count = crossings(links, column, place);
    if (count < fewest) {
      fewest = count;
      best = current.map((of) => [...of]);
    }
  }
  if (links.length > COUNTED) best = current;
  return best;
}

/** Pairs of links between the same sides that cross, by where they begin and end. */
function crossings(links: readonly Link[], column: Int32Array, place: Float64Array): number {
  const lines = links
    .filter(({ source, target }) => column[source] !== column[target])
    .map(({ source, target }) =>
      column[source]! < column[target]! ? { a: source, b: target } : { a: target, b: source },
    );
  let count = 0;
  for (let i = 0; i < lines.length; i++) {
    for (let j = i + 1; j < lines.length; j++) {
      const one = lines[i]!;
      const two = lines[j]!;
      const from = Math.max(column[one.a]!, column[two.a]!);
      const to = Math.min(column[one.b]!, column[two.b]!);
      if (from >= to) continue;
      const at = (line: { a: number; b: number }, x: number) => {
        const part = (x - column[line.a]!) / (column[line.b]! - column[line.a]!);
        return place[line.a]! + part * (place[line.b]! - place[line.a]!);
      };
      if ((at(one, from) - at(two, from)) * (at(one, to) - at(two, to)) < 0) count += 1;
    }
  }
  return count;
}

/**
 * Tops of stacked things whose middles lie as near to `wish` as their order and gaps allow: neighbours that push
 * each other become a block at the mean of their wishes (pool adjacent violators).
 */
export function stack(heights: readonly number[], gap: number, wish: readonly number[]): number[] {
  interface Block {
    first: number;
    last: number;
    /** Mean of the tops that the members wish the block had. */
    top: number;
    height: number;
    weight: number;
  }
  const blocks: Block[] = [];
  heights.forEach((height, i) => {
    let block: Block = { first: i, last: i, top: wish[i]! - height / 2, height, weight: 1 };
    for (let above = blocks.at(-1); above; above = blocks.at(-1)) {
      if (above.top + above.height + gap <= block.top) break;
      blocks.pop();
      const shifted = block.top - above.height - gap;
      const weight = above.weight + block.weight;
      block = {
        first: above.first,
        last: block.last,
        top: (above.top * above.weight + shifted * block.weight) / weight,
        height: above.height + gap + block.height,
        weight,
      };
    }
    blocks.push(block);
  });
  const tops = Array.from<number>({ length: heights.length }).fill(0);
  for (const block of blocks) {
    let y = block.top;
    for (let i = block.first; i <= block.last; i++) {
      tops[i] = y;
      y += heights[i]! + gap;
    }
  }
  return tops;
}
