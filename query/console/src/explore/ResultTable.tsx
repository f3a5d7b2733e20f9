/** Rows of an answer, sorted by whichever column the user chooses. */
import { useMemo, useState } from "preact/hooks";

/** Most rows that are drawn; more would make the page slow. */
const DRAWN = 1000;

export interface ResultColumn {
  name: string;
  number: boolean;
}

export function ResultTable(props: {
  columns: readonly ResultColumn[];
  rows: readonly unknown[][];
  format(value: number): string;
}) {
  const { columns, rows } = props;
  const [order, setOrder] = useState<{ column: number; descending: boolean } | null>(null);
  const sorted = useMemo(() => {
    if (order === null) return rows;
    const sign = order.descending ? -1 : 1;
    return [...rows].sort((a, b) => sign * compare(a[order.column], b[order.column]));
  }, [rows, order]);
  return (
    <>
      <div class="scroll result">
        <table>
          <thead>
            <tr>
              {columns.map((column, i) => (
                <th
                  key={i}
                  scope="col"
                  class={column.number ? "number" : ""}
                  aria-sort={
                    order?.column === i ? (order.descending ? "descending" : "ascending") : undefined
                  }
                >
                  <button
                    type="button"
                    class="sort"
                    onClick={() =>
                      setOrder({
                        column: i,
                        descending: order?.column === i ? !order.descending : column.number,
                      })
                    }
                  >
                    {column.name}
                    <span aria-hidden="true">
                      {order?.column === i ? (order.descending ? " ↓" : " ↑") : ""}
                    </span>
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {sorted.slice(0, DRAWN).map((row, i) => (
              <tr key={i}>
                {columns.map((column, j) => {
                  const value = row[j];
                  const isNumber = typeof value === "number";
                  return (
                    <td
                      key={j}
                      class={`${column.number ? "number" : ""} ${value === null ? "muted" : ""}`}
                      title={isNumber ? String(value) : undefined}
                    >
                      {isNumber ? props.format(value) : text(value)}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {rows.length > DRAWN && (
        <p class="muted">
          {rows.length.toLocaleString()} rows; the first {DRAWN.toLocaleString()} are shown.
        </p>
      )}
    </>
  );
}

function text(value: unknown): string {
  if (value === null || value === undefined) return "–";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** Unknown comes last when ascending. */
function compare(a: unknown, b: unknown): number {
  if (a === b) return 0;
  if (a === null || a === undefined) return 1;
  if (b === null || b === undefined) return -1;
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}
