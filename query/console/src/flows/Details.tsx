/** One row of the table: over time, from both ends, and narrower. */
import { useEffect, useRef } from "preact/hooks";
import { flows, type Cell } from "../api/flows.ts";
import { useAnswer } from "../api/useAnswer.ts";
import { exact, quantity } from "../format/numbers.ts";
import { follow } from "../shell/Header.tsx";
import { selectors, type Filter } from "../state/filters.ts";
import { labelName } from "../state/labels.ts";
import type { Shared } from "../state/shared.ts";
import { Pending } from "../ui/Pending.tsx";
import { ConversationCharts } from "./ConversationCharts.tsx";
import { endName } from "./ends.ts";
import type { TableState } from "./state.ts";

/** Labels that split a row further, with what the link says. */
const NARROWER: readonly { label: string; by: readonly string[] }[] = [
  { label: "pod to pod", by: ["pod", "peer_pod"] },
  { label: "node to node", by: ["node", "peer_node"] },
  { label: "port", by: ["peer_port", "protocol"] },
  { label: "zone crossing", by: ["zone", "peer_zone", "crossing"] },
  { label: "address", by: ["peer_address"] },
];

const COMPARED = [
  "tx_packets",
  "server_rx_packets",
  "lost_tx",
  "server_tx_packets",
  "rx_packets",
  "lost_rx",
  "retransmits",
  "server_retransmits",
  "timeouts",
  "server_timeouts",
];

export function Details(props: { shared: Shared; state: TableState; row: readonly Filter[] }) {
  const { shared, state, row } = props;
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);
  const label = (name: string): Cell => row.find((one) => one.field === name)?.value || null;
  const own = row.filter(
    (one) =>
      !shared.filters.some((f) => f.field === one.field && f.value === one.value && f.operator === "="),
  );
  const filters = [...shared.filters, ...own];
  const close = () => {
    // Back to the row, while the table still says which one it is.
    document.querySelector<HTMLElement>('.flow-table [aria-selected="true"] [data-row]')?.focus();
    shared.setParams({ row: null });
  };
  const known = row.filter((one) => one.value !== "");
  const view = state.view === "cluster" ? null : state.view;

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
          {endName(label, "")} <span aria-label="to">→</span> {endName(label, "peer_")}
        </h2>
        <button type="button" class="quiet push" aria-label="Close details" onClick={close}>
          ×
        </button>
      </header>
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
          <a key={name} href={shared.href("flows", { view, by: by.join(",") }, filters)} onClick={follow}>
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
      {state.view === "cluster" && <BothEnds shared={shared} filters={filters} />}
    </aside>
  );
}

/** What each end counted of the same packets. */
function BothEnds({ shared, filters }: { shared: Shared; filters: readonly Filter[] }) {
  const asked = {
    view: "cluster" as const,
    range: shared.range,
    match: selectors(filters),
    by: ["protocol"],
    measures: COMPARED,
    order: "-tx_packets",
    limit: 1,
  };
  const answer = useAnswer(JSON.stringify(asked), (signal) => flows(asked, signal));
  return (
    <section>
      <h3>Both ends compared</h3>
      <Pending of={answer} what="both ends" height={90}>
        {(data) => {
          const of = (name: string) => {
            const cell = data.total[data.columns.findIndex((column) => column.name === name)];
            return typeof cell === "number" ? cell : null;
          };
          const line = (name: string, cells: readonly (number | null)[]) => (
            <tr>
              <th scope="row">{name}</th>
              {cells.map((cell, i) => (
                <td key={i} class="number" title={exact(cell, "")}>
                  {quantity(cell, "")}
                </td>
              ))}
            </tr>
          );
          return (
            <>
              <table class="both">
                <thead>
                  <tr>
                    <th scope="col">Packets</th>
                    <th scope="col" class="number">
                      sent
                    </th>
                    <th scope="col" class="number">
                      received
                    </th>
                    <th scope="col" class="number">
                      lost
                    </th>
                    <th scope="col" class="number">
                      sent again
                    </th>
                    <th scope="col" class="number">
                      timeouts
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {line("client → server", [
                    of("tx_packets"),
                    of("server_rx_packets"),
                    of("lost_tx"),
                    of("retransmits"),
                    of("timeouts"),
                  ])}
                  {line("server → client", [
                    of("server_tx_packets"),
                    of("rx_packets"),
                    of("lost_rx"),
                    of("server_retransmits"),
                    of("server_timeouts"),
                  ])}
                </tbody>
              </table>
              {data.notes.map((note) => (
                <p key={note} class="hint">
                  {note}
                </p>
              ))}
            </>
          );
        }}
      </Pending>
    </section>
  );
}
