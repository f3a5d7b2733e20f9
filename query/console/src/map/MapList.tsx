/** The map as two tables: the same nodes and edges, in words. */
import { useMemo, useState } from "preact/hooks";
import { quantity } from "../format/numbers.ts";
import { matches, type Graph } from "./graph.ts";
import { written, type Measure } from "./measures.ts";
import type { Selection } from "./state.ts";
import { nodeName } from "./words.ts";

const PAGE = 200;

export function MapList(props: {
  graph: Graph;
  measure: Measure;
  find: string;
  selection: Selection | null;
  select(selection: Selection): void;
}) {
  const { graph, measure, selection, find } = props;
  const [most, setMost] = useState(PAGE);
  const edges = useMemo(() => {
    const named = (i: number) => matches(graph.nodes[i]!.at, find);
    return graph.edges
      .filter((edge) => edge.drawn && (find === "" || named(edge.source) || named(edge.target)))
      .sort((a, b) => (b.value ?? -1) - (a.value ?? -1) || b.at.bytes - a.at.bytes);
  }, [graph, find]);
  const nodes = useMemo(
    () =>
      graph.nodes
        .filter((node) => find === "" || matches(node.at, find))
        .sort((a, b) => b.at.tx_bytes + b.at.rx_bytes - a.at.tx_bytes - a.at.rx_bytes),
    [graph, find],
  );
  return (
    <div class="map-list" role="region" aria-label="Map as a list" tabIndex={0}>
      <table>
        <caption>Connections {edges.length}</caption>
        <thead>
          <tr>
            <th scope="col">Client → server</th>
            <th scope="col" class="number">
              {measure.name}
            </th>
            <th scope="col" class="number">
              Bytes
            </th>
            <th scope="col">Crosses</th>
          </tr>
        </thead>
        <tbody data-list="edges">
          {edges.slice(0, most).map((edge) => {
            const chosen =
              selection?.kind === "edge" &&
              selection.source === edge.at.source &&
              selection.target === edge.at.target;
            return (
              <tr key={edge.at.id} class={chosen ? "chosen" : undefined}>
                <th scope="row">
                  <button
                    type="button"
                    class="link"
                    aria-current={chosen ? "true" : undefined}
                    onClick={() =>
                      props.select({ kind: "edge", source: edge.at.source, target: edge.at.target })
                    }
                  >
                    {nodeName(graph.nodes[edge.source]!.at)} → {nodeName(graph.nodes[edge.target]!.at)}
                  </button>
                </th>
                <td class={`number grade ${edge.grade}`}>
                  {edge.grade === "high" ? "▲ " : ""}
                  {written(measure, edge.value)}
                </td>
                <td class="number">{quantity(edge.at.bytes, "bytes")}</td>
                <td>{edge.crossing ? edge.crossing.kind : ""}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {edges.length > most && (
        <button type="button" onClick={() => setMost(most + PAGE)}>
          {Math.min(PAGE, edges.length - most)} more
        </button>
      )}
      <table>
        <caption>Workloads and peers {nodes.length}</caption>
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">Kind</th>
            <th scope="col" class="number">
              Sent
            </th>
            <th scope="col" class="number">
              Received
            </th>
          </tr>
        </thead>
        <tbody data-list="nodes">
          {nodes.map(({ at }) => {
            const chosen = selection?.kind === "node" && selection.id === at.id;
            return (
              <tr key={at.id} class={chosen ? "chosen" : undefined}>
                <th scope="row">
                  <button
                    type="button"
                    class="link"
                    aria-current={chosen ? "true" : undefined}
                    onClick={() => props.select({ kind: "node", id: at.id })}
                  >
                    {nodeName(at)}
                  </button>
                </th>
                <td>{at.workload_kind ?? at.kind}</td>
                <td class="number">{quantity(at.tx_bytes, "bytes")}</td>
                <td class="number">{quantity(at.rx_bytes, "bytes")}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
