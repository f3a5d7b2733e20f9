import { query, queryRange, type Labels, type Sample, type Series } from "../api/prometheus.ts";
import { useAnswer } from "../api/useAnswer.ts";
import { Chart } from "../chart/Chart.tsx";
import { timesOf } from "../chart/matrix.ts";
import { topLines } from "../chart/topLines.ts";
import { si } from "../format/numbers.ts";
import { localTime, utc } from "../format/time.ts";
import { span } from "../promql/build.ts";
import type { Shared } from "../state/shared.ts";
import { absolute, durationSeconds, stepFor, stepsOf } from "../state/time.ts";
import { Empty, Pending } from "../ui/Pending.tsx";
import { QueryBar } from "./QueryBar.tsx";
import { ResultTable } from "./ResultTable.tsx";

const POINTS = 240;
const LINES = 20;
const STEPS = ["10s", "30s", "1m", "5m", "15m", "1h", "1d"];

const EXAMPLES = [
  { title: "Bytes sent by workload", text: "sum by (namespace, workload) (rate(flow_tx_bytes_total[1m]))" },
  {
    title: "Retransmit rate by workload",
    text: "sum by (workload) (rate(flow_retransmits_total[1m])) / sum by (workload) (rate(flow_tx_packets_total[1m]))",
  },
  {
    title: "RTT p95 by peer",
    text: "histogram_quantile(0.95, sum by (le, peer_workload) (rate(flow_rtt_seconds_bucket[1m])))",
  },
  {
    title: "Failed connects by reason",
    text: "sum by (workload, peer_workload, reason) (increase(flow_connect_failures_total[5m])) > 0",
  },
];

export function PromqlExplorer({ shared }: { shared: Shared }) {
  const { params, range, setParams } = shared;
  const text = params.get("q") ?? "";
  const table = params.get("show") === "table";
  const chosen = durationSeconds(params.get("step") ?? "");
  const step = chosen !== null && chosen > 0 ? chosen : stepFor(range, POINTS);
  const grid = stepsOf(range, step);
  const asked = text === "" ? null : JSON.stringify([text, table, grid, step, range.end]);
  const answer = useAnswer(asked, async (signal) => {
    if (table) {
      const { data, tiers, warnings, infos } = await query(text, range.end, signal);
      return { kind: "table" as const, data, tiers, notes: [...warnings, ...infos] };
    }
    const { data, tiers, warnings, infos } = await queryRange(text, grid, step, signal);
    return { kind: "chart" as const, series: data.result, grid, step, tiers, notes: [...warnings, ...infos] };
  });
  return (
    <>
      <QueryBar
        key="promql"
        language="promql"
        label="PromQL expression"
        text={text}
        examples={EXAMPLES}
        loading={answer.loading}
        cancel={answer.cancel}
        run={(q) => (q === text ? answer.retry() : setParams({ q }))}
      >
        <div class="views" role="group" aria-label="Result as">
          <button type="button" aria-pressed={!table} onClick={() => setParams({ show: null })}>
            Chart
          </button>
          <button type="button" aria-pressed={table} onClick={() => setParams({ show: "table" })}>
            Table
          </button>
        </div>
        {!table && (
          <label>
            <span class="muted">Step</span>{" "}
            <select
              value={params.get("step") ?? ""}
              onChange={(event) => setParams({ step: event.currentTarget.value || null }, true)}
            >
              <option value="">auto ({span(stepFor(range, POINTS))})</option>
              {STEPS.map((one) => (
                <option key={one} value={one}>
                  {one}
                </option>
              ))}
            </select>
          </label>
        )}
      </QueryBar>
      {text === "" ? (
        <Empty title="Write an expression, or take an example">
          <p>Ctrl-Enter runs it. Ctrl-Space offers metrics, labels and values.</p>
        </Empty>
      ) : (
        <section class="card" aria-label="Result">
          <Pending of={answer} what="the result" height={340}>
            {(data) => (
              <>
                <p class="provenance">
                  {data.tiers.length > 0 && (
                    <span>
                      from <code>{data.tiers.map(tableOf).join(", ")}</code>
                    </span>
                  )}
                  {data.notes.map((note) => (
                    <span key={note} class="warn">
                      {note}
                    </span>
                  ))}
                </p>
                {data.kind === "chart" ? (
                  <Drawn data={data} shared={shared} />
                ) : (
                  <Instant data={data.data} time={range.end} />
                )}
              </>
            )}
          </Pending>
        </section>
      )}
    </>
  );
}

/** The table that a tier of an answer's header is. */
function tableOf(tier: string): string {
  return tier === "raw" ? "flows" : `flows_${tier}`;
}

function name(labels: Labels): string {
  const { __name__: metric = "", ...rest } = labels;
  const inner = Object.entries(rest).map(([label, value]) => `${label}="${value}"`);
  return inner.length === 0 ? metric || "value" : `${metric}{${inner.join(", ")}}`;
}

function Drawn(props: {
  data: {
    series: Parameters<typeof topLines>[0];
    grid: { start: number; end: number };
    step: number;
  };
  shared: Shared;
}) {
  const { series, grid, step } = props.data;
  if (series.length === 0) return <Empty title="No series in this range" />;
  const { lines, more } = topLines(series, grid, step, LINES, name);
  return (
    <>
      <Chart
        name="Result"
        times={timesOf(grid, step)}
        lines={lines}
        unit=""
        height={320}
        legend={LINES}
        range={props.shared.range}
        zoom={(range) => props.shared.setTime(absolute(range))}
      />
      {more > 0 && (
        <p class="muted">
          {series.length} series; the {LINES} with the highest mean are drawn. The table has all of them.
        </p>
      )}
    </>
  );
}

function Instant({ data, time }: { data: Awaited<ReturnType<typeof query>>["data"]; time: number }) {
  if (data.resultType === "scalar" || data.resultType === "string") {
    return <p class="scalar">{data.result[1]}</p>;
  }
  const result = data.result as readonly (Sample | Series)[];
  if (result.length === 0) return <Empty title={`No series at ${localTime(time)}`} />;
  const labels = [...new Set(result.flatMap((one) => Object.keys(one.metric)))].sort();
  const rows = result.map((one): unknown[] => {
    const value = "value" in one ? Number(one.value[1]) : `${one.values.length} samples`;
    return [...labels.map((label) => one.metric[label] ?? null), value];
  });
  return (
    <>
      <p class="muted" title={utc(time)}>
        {result.length} series at {localTime(time)}
      </p>
      <ResultTable
        columns={[
          ...labels.map((label) => ({ name: label, number: false })),
          { name: "value", number: true },
        ]}
        rows={rows}
        format={(value) => (Number.isFinite(value) ? si(value) : String(value))}
      />
    </>
  );
}
