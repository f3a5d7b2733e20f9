/** One row of the table: over time, from both ends, and narrower. */
import { useEffect, useRef } from "preact/hooks";
import type { Cell } from "../api/flows.ts";
import { follow } from "../shell/Header.tsx";
import type { Filter } from "../state/filters.ts";
import { labelName } from "../state/labels.ts";
import type { Shared } from "../state/shared.ts";
import { Pending } from "../ui/Pending.tsx";
import { BothEnds } from "./BothEnds.tsx";
import { ConversationCharts } from "./ConversationCharts.tsx";
import { rowName } from "./ends.ts";
import { MEASURES } from "./measures.ts";
import type { TableState } from "./state.ts";
import { totalOf, usePods } from "./verdict/usePods.ts";
import { Verdict } from "./verdict/Verdict.tsx";

/** Labels that split a row further, with what the link says. */
const NARROWER: readonly { label: string; by: readonly string[] }[] = [
  { label: "pod to pod", by: ["pod", "peer_pod"] },
  { label: "node to node", by: ["node", "peer_node"] },
  { label: "port", by: ["peer_port", "protocol"] },
  { label: "zone crossing", by: ["zone", "peer_zone", "crossing"] },
  { label: "address", by: ["peer_address"] },
];

export function Details(props: { shared: Shared; state: TableState; row: readonly Filter[] }) {
  const { shared, state, row } = props;
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);
  const label = (name: string): Cell => row.find((one) => one.field === name)?.value || null;
  const [near, far] = rowName(label, row);
  const own = row.filter(
    (one) =>
      !shared.filters.some((f) => f.field === one.field && f.value === one.value && f.operator === "="),
  );
  const filters = [...shared.filters, ...own];
  const pods = usePods(shared, state.view, filters);
  const close = () => {
    // Back to the row, while the table still says which one it is.
    document.querySelector<HTMLElement>('.flow-table [aria-selected="true"] [data-row]')?.focus();
    shared.setParams({ row: null });
  };
  const known = row.filter((one) => one.value !== "");
  const view = state.view === "cluster" ? null : state.view;
  // Another grouping keeps the columns that were chosen and, by one of them, the order.
  const columns = {
    cols: shared.params.get("cols"),
    order: state.order.replace(/^-/, "") in MEASURES ? shared.params.get("order") : null,
    limit: shared.params.get("limit"),
  };

  return (
    <aside
      class="card details"
      aria-labelledby="details"
      onKeyDown={(event) => {
        if (event.key === "Escape") close();
      }}
    >
      <header class="row">
        <h2 id="details" ref={heading} tabIndex={-1}>
          {near}
          {far !== null && (
            <>
              {" "}
              <span aria-label="to">→</span> {far}
            </>
          )}
        </h2>
        <button type="button" class="quiet push" aria-label="Close details" onClick={close}>
          ×
        </button>
      </header>
      <Pending of={pods} what="both ends" height={190}>
        {(table) => (
          <>
            <Verdict
              shared={shared}
              view={state.view}
              filters={filters}
              ends={
                state.view === "cluster"
                  ? { near: "client", far: "server" }
                  : { near: "the workload", far: "its peers" }
              }
              turned={false}
              pods={table}
            />
            {state.view === "cluster" && <BothEnds of={totalOf(table)} id="details-ends" />}
            {table.notes.map((note) => (
              <p key={note} class="hint">
                {note}
              </p>
            ))}
          </>
        )}
      </Pending>
      <ul class="labels">
        {known.map((one) => (
          <li key={one.field}>
            <span class="muted">{labelName(one.field)}</span> <strong>{one.value}</strong>
            <button
              type="button"
              title="Only this"
              aria-label={`Only ${labelName(one.field)} ${one.value}`}
              onClick={() => shared.setFilters([...shared.filters, one])}
            >
              =
            </button>
            <button
              type="button"
              title="All but this"
              aria-label={`All but ${labelName(one.field)} ${one.value}`}
              onClick={() => shared.setFilters([...shared.filters, { ...one, operator: "!=" }])}
            >
              ≠
            </button>
          </li>
        ))}
      </ul>
      <nav class="row narrower" aria-label="Narrower">
        <span class="muted">Split by</span>
        {NARROWER.filter(({ by }) => by.some((one) => !state.by.includes(one))).map(({ label: name, by }) => (
          <a
            key={name}
            href={shared.href("flows", { ...columns, view, by: by.join(",") }, filters)}
            onClick={follow}
          >
            {name}
          </a>
        ))}
        <a
          class="push"
          href={shared.href(
            "map",
            {},
            filters.filter(({ value }) => value !== ""),
          )}
          onClick={follow}
        >
          Show on map
        </a>
      </nav>
      <ConversationCharts shared={shared} view={state.view} filters={filters} />
    </aside>
  );
}
