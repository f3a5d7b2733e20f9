/** Rows of groups as streams between the values of neighbouring dimensions. */
import type { FlowTable } from "../../api/flows.ts";

export interface SankeyNode {
  /** Dimension and value. */
  id: string;
  name: string;
  dimension: number;
}

export interface SankeyLink {
  source: string;
  target: string;
  value: number;
}

export interface Graph {
  nodes: SankeyNode[];
  links: SankeyLink[];
}

/** What a group without this label is called. */
const ABSENT = "–";
/** All groups beyond those that are shown. */
const OTHER = "other";

export function graph(data: Pick<FlowTable, "rows" | "other">, dimensions: number): Graph {
  const nodes = new Map<string, SankeyNode>();
  const links = new Map<string, SankeyLink>();
  const add = (names: readonly string[], value: number) => {
    const ids = names.map((name, dimension) => {
      const id = `${dimension}:${name}`;
      if (!nodes.has(id)) nodes.set(id, { id, name, dimension });
      return id;
    });
    for (let i = 0; i + 1 < ids.length; i += 1) {
      const [source, target] = [ids[i]!, ids[i + 1]!];
      const link = links.get(`${source}\n${target}`);
      if (link) link.value += value;
      else links.set(`${source}\n${target}`, { source, target, value });
    }
  };
  for (const row of data.rows) {
    const value = row[dimensions];
    if (typeof value !== "number" || value <= 0) continue;
    add(
      row.slice(0, dimensions).map((cell) => (cell === null ? ABSENT : String(cell))),
      value,
    );
  }
  const other = data.other?.[dimensions];
  if (typeof other === "number" && other > 0)
    add(
      Array.from({ length: dimensions }, () => OTHER),
      other,
    );
  return { nodes: [...nodes.values()], links: [...links.values()] };
}
