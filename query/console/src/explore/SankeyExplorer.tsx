/** Where traffic goes, through any two to four labels. */
import { useEffect, useState } from "preact/hooks";
import { flows, type FlowQuestion } from "../api/flows.ts";
import { useAnswer } from "../api/useAnswer.ts";
import { FilterBar } from "../filters/FilterBar.tsx";
import { MEASURES } from "../flows/measures.ts";
import { selectors } from "../state/filters.ts";
import { LABELS, labelName } from "../state/labels.ts";
import type { Shared } from "../state/shared.ts";
import { Empty, Pending } from "../ui/Pending.tsx";
import { Provenance } from "../ui/Provenance.tsx";

const STANDARD = ["workload", "peer_workload"];
const MOST_DIMENSIONS = 4;
/** Groups that are drawn on their own; the rest is one stream. */
const GROUPS = 60;

/** Measures that add up, which widths have to. */
const ADDITIVE = [
  "bytes",
  "tx_bytes",
  "rx_bytes",
  "tx_packets",
  "rx_packets",
  "retransmits",
  "timeouts",
  "connects",
  "connect_failures",
  "resets",
  "drops",
  "cost",
];

export function SankeyExplorer({ shared }: { shared: Shared }) {
  const { params, range, filters, setParams } = shared;
  const named =
    params
      .get("dims")
      ?.split(",")
      .filter((one) => LABELS.includes(one)) ?? [];
  const dimensions = named.length >= 2 ? named.slice(0, MOST_DIMENSIONS) : STANDARD;
  const wanted = params.get("measure") ?? "bytes";
  const measure = ADDITIVE.includes(wanted) ? wanted : "bytes";
  const asked: FlowQuestion = {
    view: "all",
    range,
    match: selectors(filters),
    by: dimensions,
    measures: [measure],
    order: `-${measure}`,
    limit: GROUPS,
  };
  const answer = useAnswer(JSON.stringify(asked), (signal) => flows(asked, signal));
  const set = (index: number, label: string) => {
    const next = [...dimensions];
    if (label === "") next.splice(index, 1);
    else next[index] = label;
    setParams({ dims: next.join(",") });
  };
  return (
    <>
      <FilterBar shared={shared} />
      <div class="toolbar">
        {dimensions.map((dimension, i) => (
          <label key={i} class="dimension">
            {i > 0 && <span aria-hidden="true">→ </span>}
            <select
              aria-label={`Dimension ${i + 1}`}
              value={dimension}
              onChange={(event) => set(i, event.currentTarget.value)}
            >
              {dimensions.length > 2 && <option value="">take out</option>}
              {LABELS.filter((label) => label === dimension || !dimensions.includes(label)).map((label) => (
                <option key={label} value={label}>
                  {labelName(label)}
                </option>
              ))}
            </select>
          </label>
        ))}
        {dimensions.length < MOST_DIMENSIONS && (
          <button
            type="button"
            onClick={() =>
              set(dimensions.length, LABELS.find((label) => !dimensions.includes(label)) ?? "protocol")
            }
          >
            + Dimension
          </button>
        )}
        <label class="push">
          <span class="muted">Width</span>{" "}
          <select value={measure} onChange={(event) => setParams({ measure: event.currentTarget.value })}>
            {ADDITIVE.map((one) => (
              <option key={one} value={one}>
                {MEASURES[one]?.short ?? one}
              </option>
            ))}
          </select>
        </label>
      </div>
      <section class="card" aria-label="Sankey diagram">
        <Pending of={answer} what="flows" height={480}>
          {(data) =>
            data.rows.length === 0 ? (
              <Empty title="No flows in this range" />
            ) : (
              <>
                <Provenance tiers={data.tiers} completeness={data.completeness} notes={data.notes} />
                <Diagram {...{ data, dimensions }} />
              </>
            )
          }
        </Pending>
      </section>
    </>
  );
}

type DiagramProps = import("./sankey/Diagram.tsx").DiagramProps;

/** The diagram, with the library that lays it out, once somebody looks at one. */
function Diagram(props: DiagramProps) {
  const [Loaded, setLoaded] = useState<((props: DiagramProps) => preact.JSX.Element) | null>(null);
  useEffect(() => {
    let gone = false;
    void import("./sankey/Diagram.tsx").then((module) => {
      if (!gone) setLoaded(() => module.Diagram);
    });
    return () => {
      gone = true;
    };
  }, []);
  return Loaded === null ? <div class="placeholder" style={{ height: "480px" }} /> : <Loaded {...props} />;
}
