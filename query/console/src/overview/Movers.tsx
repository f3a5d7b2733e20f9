/** What changed most between the range and the one before it. */
import { compare, type Cell, type Comparison } from "../api/flows.ts";
import { useAnswer } from "../api/useAnswer.ts";
import { change, quantity, si, type Unit } from "../format/numbers.ts";
import { duration } from "../format/numbers.ts";
import { follow } from "../shell/Header.tsx";
import { selectors, type Filter } from "../state/filters.ts";
import type { Shared } from "../state/shared.ts";
import { Empty, Pending } from "../ui/Pending.tsx";

const BY = ["namespace", "workload", "peer_namespace", "peer_workload", "peer_scope"];
const ORDERS = [
  { measure: "bytes", label: "Bytes" },
  { measure: "retransmits", label: "Retransmits" },
  { measure: "timeouts", label: "Timeouts" },
  { measure: "connect_failures", label: "Failed connects" },
  { measure: "rtt_p95", label: "RTT p95" },
];

export function Movers({ shared }: { shared: Shared }) {
  const wanted = shared.params.get("movers");
  const order = ORDERS.find((one) => one.measure === wanted)?.measure ?? "bytes";
  const question = {
    view: "all" as const,
    range: shared.range,
    match: selectors(shared.filters),
    by: BY,
    measures: [order],
    order,
    limit: 10,
  };
  const answer = useAnswer(JSON.stringify(question), (signal) => compare(question, signal));
  return (
    <section class="card" aria-labelledby="movers">
      <header class="row">
        <h2 id="movers">What changed most</h2>
        <span class="muted">against the {duration(shared.range.end - shared.range.start)} before</span>
        <label class="push">
          by{" "}
          <select value={order} onChange={(event) => shared.setParams({ movers: event.currentTarget.value })}>
            {ORDERS.map((one) => (
              <option key={one.measure} value={one.measure}>
                {one.label}
              </option>
            ))}
          </select>
        </label>
      </header>
      <Pending of={answer} what="what changed most" height={260}>
        {(data) => <Table data={data} shared={shared} measure={order} />}
      </Pending>
    </section>
  );
}

function Table({ data, shared, measure }: { data: Comparison; shared: Shared; measure: string }) {
  if (data.rows.length === 0)
    return (
      <Empty title="No traffic in either period">
        <p>
          Choose another time range, take filters out, or start an agent that measures:{" "}
          <code>weir-agent --server {window.location.origin}</code>.
        </p>
      </Empty>
    );
  const labels = data.columns.filter((column) => column.kind === "label").map((column) => column.name);
  const measures = data.columns.filter((column) => column.kind === "measure");
  const column = Math.max(
    0,
    measures.findIndex((one) => one.name === measure),
  );
  const unit: Unit = measures[column]?.unit ?? "";
  const number = (cells: readonly Cell[]) => {
    const value = cells[column];
    return typeof value === "number" ? value : null;
  };
  const most = Math.max(...data.rows.map((row) => Math.abs(number(row.change) ?? 0)), Number.MIN_VALUE);
  return (
    <div class="scroll">
      <table class="movers">
        <thead>
          <tr>
            <th scope="col">From</th>
            <th scope="col">To</th>
            <th scope="col" class="number before">
              Before
            </th>
            <th scope="col" class="number">
              Now
            </th>
            <th scope="col" colSpan={2} class="number">
              Change
            </th>
          </tr>
        </thead>
        <tbody>
          {data.rows.map((row) => {
            const of = (name: string) => row.labels[labels.indexOf(name)] ?? null;
            const [now, before, moved] = [number(row.now), number(row.before), number(row.change)];
            const filters = labels.flatMap((name): Filter[] => {
              const value = of(name);
              return name === "peer_scope" || value === null
                ? []
                : [{ field: name, operator: "=", value: String(value) }];
            });
            const href = shared.href("flows", {}, [...shared.filters, ...filters]);
            return (
              <tr key={JSON.stringify(row.labels)}>
                <th scope="row">
                  <a href={href} onClick={follow}>
                    {end(of("namespace"), of("workload"), null)}
                  </a>
                </th>
                <td>{end(of("peer_namespace"), of("peer_workload"), of("peer_scope"))}</td>
                <td class="number before">{quantity(before, unit)}</td>
                <td class="number">{quantity(now, unit)}</td>
                <td class="number">
                  {moved !== null && moved > 0 ? "+" : ""}
                  {unit === "" ? si(moved ?? Number.NaN) : quantity(moved, unit)}
                </td>
                <td class="number mover">
                  <span
                    class="bar"
                    style={{ width: `${(Math.abs(moved ?? 0) / most) * 40}px` }}
                    aria-hidden="true"
                  />
                  {change(now, before)}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

function end(namespace: Cell, workload: Cell, scope: Cell): string {
  if (workload === null && namespace === null) return scope === null ? "not known" : `(${scope})`;
  return namespace === null ? String(workload) : `${namespace}/${workload ?? "?"}`;
}
