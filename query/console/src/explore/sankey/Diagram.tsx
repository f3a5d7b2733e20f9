import { sankey, sankeyLinkHorizontal } from "d3-sankey";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { FlowTable } from "../../api/flows.ts";
import { seriesColour } from "../../chart/colours.ts";
import { percent, quantity } from "../../format/numbers.ts";
import { labelName } from "../../state/labels.ts";
import { graph, type SankeyLink, type SankeyNode } from "./graph.ts";

export interface DiagramProps {
  data: FlowTable;
  dimensions: readonly string[];
}

const NODE_WIDTH = 10;
/** Between bars: the names of thin ones keep off each other. */
const PADDING = 15;
const TOP = 22;
/** Between dimensions, so that a name has room; on narrow screens the diagram is moved under its frame. */
const LEAST_APART = 170;

export function Diagram({ data, dimensions }: DiagramProps) {
  const place = useRef<HTMLDivElement>(null);
  const [room, setRoom] = useState(0);
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setRoom(element.clientWidth));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const width = room === 0 ? 0 : Math.max(room, LEAST_APART * dimensions.length);
  const laidOut = useMemo(() => {
    const { nodes, links } = graph(data, dimensions.length);
    if (width === 0 || links.length === 0) return null;
    const most = Math.max(...dimensions.map((_, d) => nodes.filter((node) => node.dimension === d).length));
    const height = Math.max(320, Math.min(1400, most * 26));
    const layout = sankey<SankeyNode, SankeyLink>()
      .nodeId((node) => node.id)
      .nodeAlign((node) => node.dimension)
      .nodeWidth(NODE_WIDTH)
      .nodePadding(PADDING)
      .extent([
        [1, TOP],
        [width - 1, height - 4],
      ]);
    // The layout writes into what it is given.
    return {
      ...layout({ nodes: nodes.map((node) => ({ ...node })), links: links.map((link) => ({ ...link })) }),
      height,
    };
  }, [data, dimensions, width]);

  const unit = data.columns.at(-1)?.unit ?? "";
  const sum = data.total.at(-1);
  const total = typeof sum === "number" ? sum : 0;
  const colourOf = useMemo(() => {
    const names = [...new Set(data.rows.map((row) => String(row[0])))];
    return (name: string) => `var(--${seriesColour(Math.max(0, names.indexOf(name)))})`;
  }, [data]);
  const path = sankeyLinkHorizontal();
  return (
    <div ref={place} class="sankey">
      {laidOut === null && width > 0 && <p class="muted none">Nothing to draw: all groups have 0</p>}
      {laidOut && (
        <div
          class="scroll"
          role="region"
          aria-label="Sankey diagram, drawn"
          tabIndex={width > room ? 0 : undefined}
        >
          <svg
            width={width}
            height={laidOut.height}
            role="img"
            aria-label={`Streams through ${dimensions.map(labelName).join(", ")}, ${quantity(total, unit)} in all`}
          >
            {dimensions.map((dimension, i) => {
              const x = laidOut.nodes.find((node) => node.dimension === i)?.x0 ?? 0;
              const right = i === dimensions.length - 1;
              return (
                <text
                  key={dimension}
                  class="sankey-head"
                  x={right ? x + NODE_WIDTH : x}
                  y={12}
                  text-anchor={right ? "end" : "start"}
                >
                  {labelName(dimension)}
                </text>
              );
            })}
            <g fill="none">
              {laidOut.links.map((link) => {
                const { source, target } = link as { source: SankeyNode; target: SankeyNode };
                return (
                  <path
                    key={`${source.id} ${target.id}`}
                    class="sankey-link"
                    d={path(link) ?? ""}
                    stroke-width={Math.max(1, link.width ?? 1)}
                    style={{ stroke: source.dimension === 0 ? colourOf(source.name) : "var(--line-strong)" }}
                  >
                    <title>
                      {source.name} → {target.name}: {quantity(link.value, unit)} (
                      {percent(link.value / total)})
                    </title>
                  </path>
                );
              })}
            </g>
            {laidOut.nodes.map((node) => {
              const { x0 = 0, x1 = 0, y0 = 0, y1 = 0, value = 0 } = node;
              const right = node.dimension === dimensions.length - 1;
              return (
                <g key={node.id}>
                  <rect
                    x={x0}
                    y={y0}
                    width={x1 - x0}
                    height={Math.max(1, y1 - y0)}
                    style={{ fill: node.dimension === 0 ? colourOf(node.name) : "var(--line-strong)" }}
                  >
                    <title>
                      {node.name}: {quantity(value, unit)} ({percent(value / total)})
                    </title>
                  </rect>
                  <text
                    x={right ? x0 - 6 : x1 + 6}
                    y={(y0 + y1) / 2}
                    dy="0.35em"
                    text-anchor={right ? "end" : "start"}
                  >
                    {node.name} <tspan class="sankey-value">{quantity(value, unit)}</tspan>
                  </text>
                </g>
              );
            })}
          </svg>
        </div>
      )}
      <details>
        <summary>As a table</summary>
        <div class="scroll">
          <table>
            <thead>
              <tr>
                {data.columns.map((column) => (
                  <th key={column.name} scope="col" class={column.kind === "measure" ? "number" : ""}>
                    {column.kind === "measure" ? column.name : labelName(column.name)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {data.rows.map((row, i) => (
                <tr key={i}>
                  {row.map((cell, j) => (
                    <td key={j} class={data.columns[j]?.kind === "measure" ? "number" : ""}>
                      {typeof cell === "number" && data.columns[j]?.kind === "measure"
                        ? quantity(cell, unit)
                        : (cell ?? "–")}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </div>
  );
}
