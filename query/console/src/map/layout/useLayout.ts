/** The layout of a graph, made by a worker; the one before while it is made. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { Graph } from "../graph.ts";
import type { Asked } from "./layout.worker.ts";
import type { Layout, Placement } from "./types.ts";

export interface LaidOut {
  graph: Graph;
  layout: Layout;
  /** Counts the layouts that were made anew: the picture is another one. */
  generation: number;
}

/**
 * `context` is what the user chose; while it stays, things stay where they are. `again` counts the wishes to
 * have everything placed anew.
 */
export function useLayout(graph: Graph | null, context: string, again: number): LaidOut | null {
  const [done, setDone] = useState<LaidOut | null>(null);
  const worker = useRef<Worker | null>(null);
  const turn = useRef(0);
  const kept = useRef<{ key: string; placement: Placement; generation: number } | null>(null);

  useEffect(() => {
    const made = new Worker(new URL("./layout.worker.ts", import.meta.url), { type: "module" });
    worker.current = made;
    return () => made.terminate();
  }, []);

  useEffect(() => {
    const to = worker.current;
    if (!graph || !to) return;
    const key = `${again} ${context}`;
    const before = kept.current?.key === key ? kept.current : null;
    const asked: Asked = {
      turn: ++turn.current,
      request: {
        items: graph.nodes.map(({ at, box, cell }) => ({ id: at.id, box, cell, pod: at.kind === "pod" })),
        links: Uint32Array.from(graph.edges.flatMap((edge) => [edge.source, edge.target])),
        kept: before?.placement ?? null,
      },
    };
    const answered = ({ data }: MessageEvent<{ turn: number; layout: Layout }>) => {
      if (data.turn !== asked.turn) return;
      const generation = before ? before.generation : (kept.current?.generation ?? 0) + 1;
      kept.current = { key, placement: data.layout.placement, generation };
      setDone({ graph, layout: data.layout, generation });
    };
    to.addEventListener("message", answered);
    to.postMessage(asked);
    return () => to.removeEventListener("message", answered);
  }, [graph, context, again]);

  return done;
}
