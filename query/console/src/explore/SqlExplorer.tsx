import { sql, type SqlAnswer } from "../api/prometheus.ts";
import { useAnswer } from "../api/useAnswer.ts";
import { Chart } from "../chart/Chart.tsx";
import type { Shared } from "../state/shared.ts";
import type { Range } from "../state/time.ts";
import { Empty, Pending } from "../ui/Pending.tsx";
import { QueryBar } from "./QueryBar.tsx";
import { ResultTable } from "./ResultTable.tsx";
import { timeLines } from "./timeLines.ts";

const WITHIN = `"end" > $start AND "end" <= $end`;

const EXAMPLES = [
  {
    title: "Who sends most to whom",
    text: `SELECT namespace, workload, peer_namespace, peer_workload, sum(tx_bytes) AS sent\nFROM flows\nWHERE ${WITHIN} AND role = 'client'\nGROUP BY 1, 2, 3, 4\nORDER BY sent DESC\nLIMIT 20`,
  },
  {
    title: "Retransmits a minute, by workload",
    text: `SELECT date_trunc('minute', "end") AS minute, workload, sum(retransmits) AS retransmits\nFROM flows\nWHERE ${WITHIN}\nGROUP BY 1, 2\nORDER BY 1`,
  },
  {
    title: "Lost between two ends",
    text: `SELECT client_workload, server_workload, sum(lost_to_server) AS lost_to_server, sum(lost_to_client) AS lost_to_client\nFROM edges\nWHERE time > $start AND time <= $end\nGROUP BY 1, 2\nORDER BY 3 DESC\nLIMIT 20`,
  },
  { title: "What agents could not measure", text: "SELECT * FROM agent_loss LIMIT 100" },
];

/** The statement with the bounds of the time range in the place of `$start` and `$end`. */
export function withRange(statement: string, range: Range): string {
  return statement
    .replaceAll(/\$start\b/g, `to_timestamp(${range.start})`)
    .replaceAll(/\$end\b/g, `to_timestamp(${range.end})`);
}

export function SqlExplorer({ shared }: { shared: Shared }) {
  const { params, range, setParams } = shared;
  const text = params.get("q") ?? "";
  const chart = params.get("show") === "chart";
  const statement = withRange(text, range);
  const answer = useAnswer(text === "" ? null : statement, (signal) => sql(statement, signal));
  return (
    <>
      <QueryBar
        key="sql"
        language="sql"
        label="SQL statement"
        text={text}
        examples={EXAMPLES}
        loading={answer.loading}
        cancel={answer.cancel}
        run={(q) => (q === text ? answer.retry() : setParams({ q }))}
      >
        <div class="views" role="group" aria-label="Result as">
          <button type="button" aria-pressed={!chart} onClick={() => setParams({ show: null })}>
            Table
          </button>
          <button type="button" aria-pressed={chart} onClick={() => setParams({ show: "chart" })}>
            Chart
          </button>
        </div>
        <span class="hint">
          <code>$start</code> and <code>$end</code> are the bounds of the time range
        </span>
      </QueryBar>
      {text === "" ? (
        <Empty title="Write a statement, or take an example">
          <p>
            Tables: <code>flows</code>, <code>flows_5m</code>, <code>flows_1h</code>, <code>edges</code>,{" "}
            <code>samples</code>, <code>agent_loss</code>, <code>names</code>. Ctrl-Enter runs it.
          </p>
        </Empty>
      ) : (
        <section class="card" aria-label="Result">
          <Pending of={answer} what="the result" height={340}>
            {(data) => (chart ? <AsChart data={data} /> : <AsTable data={data} />)}
          </Pending>
        </section>
      )}
    </>
  );
}

const NUMERIC = /^(U?Int|Float|Decimal)/;

function AsTable({ data }: { data: SqlAnswer }) {
  if (data.rows.length === 0) return <Empty title="No rows" />;
  const columns = data.columns.map(({ name, type }) => ({ name, number: NUMERIC.test(type) }));
  return (
    <>
      <p class="muted">{data.rows.length.toLocaleString()} rows</p>
      <ResultTable columns={columns} rows={data.rows} format={plain} />
    </>
  );
}

/** Numbers of SQL as they are, with their thousands apart. */
function plain(value: number): string {
  return Number.isInteger(value) ? value.toLocaleString() : String(Number(value.toPrecision(6)));
}

function AsChart({ data }: { data: SqlAnswer }) {
  const drawn = timeLines(data);
  if (typeof drawn === "string") return <Empty title={drawn} />;
  return (
    <>
      <Chart name="Result" times={drawn.times} lines={drawn.lines} unit="" height={320} legend={20} />
      {drawn.more > 0 && <p class="muted">and {drawn.more} more with less</p>}
    </>
  );
}
