/** What deserves a look first: the worst edges by the chosen measure, drawn or not. */
import { quantity } from "../../format/numbers.ts";
import { hottest, type Graph } from "../graph.ts";
import { written, type Measure } from "../measures.ts";
import type { Selection } from "../state.ts";
import { nodeName } from "../words.ts";

const MOST = 12;

export function HotEdges(props: { graph: Graph; measure: Measure; select(selection: Selection): void }) {
  const { graph, measure } = props;
  const edges = hottest(graph, MOST);
  const alarms = graph.edges.filter((edge) => edge.grade === "high" || edge.grade === "raised").length;
  return (
    <aside class="card map-panel" aria-labelledby="hot">
      <h2 id="hot">Highest {measure.id === "rtt" ? measure.name : measure.name.toLowerCase()}</h2>
      <p class="muted">
        {alarms === 0
          ? "No connection is raised."
          : `${alarms} of ${graph.edges.length} connections ${alarms === 1 ? "is" : "are"} raised or high.`}{" "}
        Choose one to see which pods it is.
      </p>
      <ol class="edge-list hot">
        {edges.map((edge) => (
          <li key={edge.at.id}>
            <button
              type="button"
              onClick={() => props.select({ kind: "edge", source: edge.at.source, target: edge.at.target })}
            >
              <span class="edge-name">
                {nodeName(graph.nodes[edge.source]!.at)} <span aria-label="to">→</span>{" "}
                {nodeName(graph.nodes[edge.target]!.at)}
              </span>
              <span class="muted number">{quantity(edge.at.bytes, "bytes")}</span>
              <span class={`number grade ${edge.grade}`}>
                {edge.grade === "high" ? "▲ " : ""}
                {written(measure, edge.value)}
              </span>
            </button>
          </li>
        ))}
      </ol>
      {edges.length === 0 && <p class="muted">Nothing but zeros.</p>}
    </aside>
  );
}
