import { useState } from "preact/hooks";
import { MOST_ROWS, flowsFile, type FlowQuestion, type FlowTable, type FlowView } from "../api/flows.ts";
import { ApiError } from "../api/client.ts";
import { follow } from "../shell/Header.tsx";
import { LABELS, labelName } from "../state/labels.ts";
import type { Shared } from "../state/shared.ts";
import { Chooser } from "../ui/Chooser.tsx";
import { CopyButton } from "../ui/CopyButton.tsx";
import { Popover } from "../ui/Popover.tsx";
import { FLOW_VIEWS, measureName, measuresOf } from "./measures.ts";
import { LIMITS, toView, type TableState } from "./state.ts";

export function Toolbar(props: {
  shared: Shared;
  state: TableState;
  asked: FlowQuestion;
  answer: FlowTable | null;
}) {
  const { shared, state, answer } = props;
  const { setParams } = shared;
  return (
    <div class="toolbar">
      <div class="views" role="group" aria-label="Peers">
        {(Object.keys(FLOW_VIEWS) as FlowView[]).map((view) => (
          <button
            key={view}
            type="button"
            aria-pressed={view === state.view}
            title={FLOW_VIEWS[view].title}
            onClick={() => setParams(toView(view))}
          >
            {FLOW_VIEWS[view].label}
          </button>
        ))}
      </div>
      <Popover
        name="Group by"
        label={`Group by ${state.by.length === 0 ? "nothing" : `(${state.by.length})`}`}
      >
        {() => (
          <Chooser
            name="labels"
            all={LABELS}
            chosen={state.by}
            label={labelName}
            set={(by) => setParams({ by: by.length === 0 ? "," : by.join(","), row: null })}
          />
        )}
      </Popover>
      <Popover name="Columns" label={`Columns (${state.measures.length})`}>
        {() => (
          <Chooser
            name="measures"
            all={measuresOf(state.view)}
            chosen={state.measures}
            least={1}
            label={(one) => measureName(one, state.view).short}
            title={(one) => measureName(one, state.view).title}
            set={(measures) => setParams({ cols: measures.join(",") })}
          />
        )}
      </Popover>
      <label>
        <span class="hidden">Rows</span>
        <select
          value={String(state.limit)}
          onChange={(event) => setParams({ limit: event.currentTarget.value })}
          aria-label="Rows shown"
        >
          {LIMITS.map((limit) => (
            <option key={limit} value={String(limit)}>
              top {limit}
            </option>
          ))}
        </select>
      </label>
      <div class="push row">
        <CopyButton
          text={answer?.promql ?? null}
          title="The expression of the column that the table is ordered by"
        >
          Copy as PromQL
        </CopyButton>
        <CopyButton
          text={answer?.sql ?? null}
          title="The statement that gives this table, without the measures that SQL has no function for"
        >
          Copy as SQL
        </CopyButton>
        {answer?.sql != null && (
          <a
            href={shared.href("explore", { lang: "sql", q: answer.sql }, [])}
            onClick={follow}
            title="Open the statement in Explore"
          >
            Explore
          </a>
        )}
        <Export asked={props.asked} />
      </div>
    </div>
  );
}

function Export({ asked }: { asked: FlowQuestion }) {
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState<string | null>(null);
  const download = async (format: "csv" | "parquet") => {
    setBusy(true);
    setWrong(null);
    try {
      const file = await flowsFile(asked, format, new AbortController().signal);
      const anchor = document.createElement("a");
      anchor.href = URL.createObjectURL(file);
      anchor.download = `flows-${asked.view}-${new Date(asked.range.end * 1000).toISOString().slice(0, 19).replaceAll(":", "")}.${format}`;
      anchor.click();
      URL.revokeObjectURL(anchor.href);
    } catch (error) {
      setWrong(error instanceof ApiError ? error.message : String(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <Popover name="Export" label={busy ? "Exporting…" : "Export"} align="end">
      {(close) => (
        <div class="export">
          <p class="hint">All groups of these columns, at most {MOST_ROWS.toLocaleString()}.</p>
          {(["csv", "parquet"] as const).map((format) => (
            <button
              key={format}
              type="button"
              disabled={busy}
              onClick={() => {
                void download(format).then(close);
              }}
            >
              {format === "csv" ? "CSV" : "Parquet"}
            </button>
          ))}
          {wrong !== null && (
            <p class="wrong" role="alert">
              {wrong}
            </p>
          )}
        </div>
      )}
    </Popover>
  );
}
