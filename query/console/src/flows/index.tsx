/** The flow table: who talks to whom, by any labels, with any measures. */
import { useMemo } from "preact/hooks";
import { flows } from "../api/flows.ts";
import { useAnswer } from "../api/useAnswer.ts";
import { FilterBar } from "../filters/FilterBar.tsx";
import { matcher } from "../state/filters.ts";
import type { Shared } from "../state/shared.ts";
import { Pending } from "../ui/Pending.tsx";
import { Provenance } from "../ui/Provenance.tsx";
import { useTitle } from "../ui/useTitle.ts";
import { Details } from "./Details.tsx";
import { FlowTable } from "./FlowTable.tsx";
import { Toolbar } from "./Toolbar.tsx";
import { question, tableState } from "./state.ts";
import "./flows.css";

export function Flows(shared: Shared) {
  useTitle("Flows");
  const { params, setParams } = shared;
  const state = useMemo(() => tableState(params), [params]);
  const asked = question(shared, state);
  const answer = useAnswer(JSON.stringify(asked), (signal) => flows(asked, signal));
  return (
    <div class="flows">
      <header class="view-head">
        <h1>Flows</h1>
      </header>
      <FilterBar shared={shared} />
      <Toolbar shared={shared} state={state} asked={asked} answer={answer.data} />
      <div class={state.row === null ? "flows-body" : "flows-body split"}>
        <section class="card" aria-label="Flow table">
          <Pending of={answer} what="flows" height={420}>
            {(data) => (
              <>
                <Provenance tiers={data.tiers} completeness={data.completeness} notes={data.notes} />
                <FlowTable
                  data={data}
                  order={state.order}
                  selected={state.row}
                  setOrder={(order) => setParams({ order: order === "-bytes" ? null : order })}
                  select={(row) => setParams({ row: row === null ? null : row.map(matcher) })}
                  hrefOf={(row) => shared.href("flows", { ...kept(params), row: row.map(matcher) })}
                />
              </>
            )}
          </Pending>
        </section>
        {state.row !== null && (
          <Details key={JSON.stringify(state.row)} shared={shared} state={state} row={state.row} />
        )}
      </div>
    </div>
  );
}

/** Parameters of this view, for links to other rows of it. */
function kept(params: URLSearchParams): Record<string, string> {
  const own: Record<string, string> = {};
  for (const name of ["view", "by", "cols", "order", "limit"]) {
    const value = params.get(name);
    if (value !== null) own[name] = value;
  }
  return own;
}
