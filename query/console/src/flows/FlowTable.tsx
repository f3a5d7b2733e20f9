/** Rows, what is beyond them, and their total. */
import { useRef, useState } from "preact/hooks";
import type { Cell, Column, FlowTable as Answer, FlowView } from "../api/flows.ts";
import { Sparkline } from "../chart/Sparkline.tsx";
import { exact, quantity } from "../format/numbers.ts";
import { matcher, type Filter } from "../state/filters.ts";
import { labelName } from "../state/labels.ts";
import { Empty } from "../ui/Pending.tsx";
import { lossOf, lossText, lossTitle } from "./loss.ts";
import { measureName } from "./measures.ts";
import { useMore } from "./useMore.ts";

/** From here on a share of retransmits is set off: throughput of loss-based congestion control suffers. */
const MUCH = 0.01;

export function FlowTable(props: {
  data: Answer;
  order: string;
  selected: readonly Filter[] | null;
  setOrder(order: string): void;
  select(row: readonly Filter[] | null): void;
  hrefOf(row: readonly Filter[]): string;
}) {
  const { data, order } = props;
  const body = useRef<HTMLTableSectionElement>(null);
  const around = useRef<HTMLDivElement>(null);
  const more = useMore(around, data);
  // The one row that Tab reaches; arrows go from it to the others.
  const [reached, setReached] = useState(0);
  const labels = data.columns.filter((column) => column.kind === "label");
  const chosen = props.selected === null ? null : props.selected.map(matcher).join("\n");
  const { spark } = data;

  if (data.rows.length === 0) {
    return (
      <Empty title="No flows in this range">
        <p>
          Widen the time range, take a filter out, choose another view of peers, or start an agent that
          measures: <code>weir-agent --server {window.location.origin}</code>.
        </p>
      </Empty>
    );
  }

  const rowFilters = (row: readonly Cell[]): Filter[] =>
    data.columns.flatMap((column, i) =>
      column.kind === "label"
        ? [{ field: column.name, operator: "=" as const, value: String(row[i] ?? "") }]
        : [],
    );
  const to = (index: number) => {
    const next = Math.max(0, Math.min(data.rows.length - 1, index));
    setReached(next);
    body.current?.querySelectorAll<HTMLElement>("[data-row]")[next]?.focus();
  };
  const key = (event: KeyboardEvent, index: number) => {
    const by: Record<string, number> = {
      ArrowDown: index + 1,
      ArrowUp: index - 1,
      Home: 0,
      End: data.rows.length - 1,
      PageDown: index + 10,
      PageUp: index - 10,
    };
    const next = by[event.key];
    if (next !== undefined) {
      event.preventDefault();
      to(next);
    } else if (event.key === "Escape" && chosen !== null) {
      props.select(null);
    }
  };
  const tabbable = Math.min(reached, data.rows.length - 1);

  return (
    <div class={more ? "flow-frame more" : "flow-frame"}>
      <div class="scroll flow-table" ref={around}>
        <table>
          <caption class="hidden">
            {data.groups} groups. Arrow keys move from row to row, Enter shows a row's details.
          </caption>
          <thead>
            <tr>
              {data.columns.map((column, i) => (
                <Head
                  key={column.name}
                  column={column}
                  order={order}
                  setOrder={props.setOrder}
                  spark={spark !== null && i === labels.length ? spark.measure : null}
                  view={data.view}
                />
              ))}
            </tr>
          </thead>
          <tbody ref={body}>
            {data.rows.map((row, index) => {
              const filters = rowFilters(row);
              const id = filters.map(matcher).join("\n");
              return (
                <tr
                  key={id}
                  aria-selected={id === chosen}
                  class={id === chosen ? "chosen" : ""}
                  onClick={(event) => {
                    // The link in the row does its own; text that is being selected is no click.
                    if (event.target instanceof Element && event.target.closest("a")) return;
                    if (window.getSelection()?.isCollapsed !== false)
                      props.select(id === chosen ? null : filters);
                  }}
                >
                  {data.columns.map((column, i) => {
                    const cell = row[i] ?? null;
                    const first = i === 0;
                    const before =
                      spark !== null && i === labels.length ? (
                        <td key="spark" class="spark-cell">
                          <Sparkline
                            values={spark.values[index] ?? []}
                            name={`${measureName(spark.measure, data.view).short} over time`}
                          />
                        </td>
                      ) : null;
                    const content = first ? (
                      <a
                        data-row={index}
                        href={props.hrefOf(filters)}
                        tabIndex={index === tabbable ? 0 : -1}
                        onFocus={() => setReached(index)}
                        onKeyDown={(event) => key(event, index)}
                        onClick={(event) => {
                          if (event.metaKey || event.ctrlKey || event.shiftKey) return;
                          event.preventDefault();
                          props.select(id === chosen ? null : filters);
                        }}
                      >
                        {column.kind === "label" ? text(cell) : quantity(number(cell), column.unit)}
                      </a>
                    ) : null;
                    return [
                      before,
                      <Value
                        key={column.name}
                        column={column}
                        cell={cell}
                        content={content}
                        first={first}
                        of={valueOf(data.columns, row)}
                      />,
                    ];
                  })}
                </tr>
              );
            })}
          </tbody>
          <tfoot>
            {data.other !== null && (
              <Sum
                name={`other (${groups(data.groups - data.rows.length)})`}
                kind="other"
                row={data.other}
                columns={data.columns}
                spark={spark === null ? null : []}
              />
            )}
            <Sum
              name={`total (${groups(data.groups)})`}
              kind="total"
              row={data.total}
              columns={data.columns}
              spark={spark === null ? null : spark.total}
            />
          </tfoot>
        </table>
      </div>
    </div>
  );
}

function Head(props: {
  column: Column;
  order: string;
  setOrder(order: string): void;
  spark: string | null;
  view: FlowView;
}) {
  const { column, order } = props;
  const descending = order.startsWith("-");
  const sorted = order.replace(/^-/, "") === column.name;
  const measure = column.kind === "measure";
  const name = measure ? measureName(column.name, props.view).short : labelName(column.name);
  // Measures begin with the most, labels with A.
  const next = sorted
    ? descending
      ? column.name
      : `-${column.name}`
    : measure
      ? `-${column.name}`
      : column.name;
  return (
    <>
      {props.spark !== null && (
        <th scope="col" class="spark-cell">
          {measureName(props.spark, props.view).short} over time
        </th>
      )}
      <th
        scope="col"
        class={measure ? "number" : ""}
        aria-sort={sorted ? (descending ? "descending" : "ascending") : undefined}
      >
        <button
          type="button"
          class="sort"
          title={measure ? measureName(column.name, props.view).title : undefined}
          onClick={() => props.setOrder(next)}
        >
          {name}
          <span aria-hidden="true">{sorted ? (descending ? " ↓" : " ↑") : ""}</span>
        </button>
      </th>
    </>
  );
}

/** Measures of one end that are nothing but trouble. */
const TROUBLE = new Set(["timeouts", "server_timeouts", "drops", "server_drops", "connect_failures"]);
/** The retransmits that tell whether a difference between both ends is a loss. */
const SENDER: Record<string, string> = { lost_tx: "retransmits", lost_rx: "server_retransmits" };

type Of = (measure: string) => number | null;

function valueOf(columns: readonly Column[], row: readonly Cell[]): Of {
  return (measure) => number(row[columns.findIndex((column) => column.name === measure)] ?? null);
}

function Value(props: {
  column: Column;
  cell: Cell;
  content: preact.ComponentChild;
  first: boolean;
  of: Of;
}) {
  const { column, cell, content, first } = props;
  if (column.kind === "label") {
    const shown = content ?? text(cell);
    return first ? (
      <th scope="row" title={cell === null ? "absent" : String(cell)}>
        {shown}
      </th>
    ) : (
      <td class={cell === null ? "muted" : ""} title={cell === null ? "absent" : String(cell)}>
        {shown}
      </td>
    );
  }
  const value = number(cell);
  const sender = SENDER[column.name];
  if (sender !== undefined) {
    const loss = lossOf(value, props.of(sender));
    return (
      <td
        class={`number ${loss === "lost" ? "much" : "muted"}`}
        title={lossTitle(value, loss)}
        data-column={column.name}
      >
        {content ?? lossText(value)}
      </td>
    );
  }
  const much =
    value !== null &&
    (column.name.endsWith("retransmit_ratio") ? value >= MUCH : TROUBLE.has(column.name) && value > 0);
  return (
    <td
      class={`number ${value === null || value === 0 ? "muted" : ""} ${much ? "much" : ""}`}
      title={exact(value, column.unit)}
      data-column={column.name}
    >
      {content ?? quantity(value, column.unit)}
    </td>
  );
}

function Sum(props: {
  name: string;
  kind: string;
  row: readonly Cell[];
  columns: readonly Column[];
  spark: readonly (number | null)[] | null;
}) {
  const labels = props.columns.filter((column) => column.kind === "label").length;
  return (
    <tr class={props.kind} data-sum={props.kind}>
      {labels > 0 && (
        <th scope="row" colSpan={labels}>
          {props.name}
        </th>
      )}
      {props.spark !== null && (
        <td class="spark-cell">
          {props.spark.length > 0 && <Sparkline values={props.spark} name={`${props.name} over time`} />}
        </td>
      )}
      {props.columns.map((column, i) =>
        column.kind === "measure" ? (
          <Value
            key={column.name}
            column={column}
            cell={props.row[i] ?? null}
            content={null}
            first={false}
            of={valueOf(props.columns, props.row)}
          />
        ) : null,
      )}
    </tr>
  );
}

function groups(count: number): string {
  return `${count.toLocaleString()} ${count === 1 ? "group" : "groups"}`;
}

function text(cell: Cell): string {
  return cell === null ? "–" : String(cell);
}

function number(cell: Cell): number | null {
  return typeof cell === "number" ? cell : null;
}
