/** A conversation over time, from both of its ends. */
import { useMemo } from "preact/hooks";
import { queryRange } from "../api/prometheus.ts";
import type { FlowView } from "../api/flows.ts";
import { useAnswer } from "../api/useAnswer.ts";
import { Chart, type Line } from "../chart/Chart.tsx";
import { onGrid, timesOf } from "../chart/matrix.ts";
import type { Unit } from "../format/numbers.ts";
import { sum, type Case } from "../promql/build.ts";
import type { Filter } from "../state/filters.ts";
import type { Shared } from "../state/shared.ts";
import { absolute, stepFor, stepsOf } from "../state/time.ts";
import { Pending } from "../ui/Pending.tsx";
import { sides } from "./side.ts";

interface Drawn {
  title: string;
  unit: Unit;
  lines: readonly { name: string; expression: string; dash?: number[] }[];
}

const POINTS = 120;

export function ConversationCharts(props: { shared: Shared; view: FlowView; filters: readonly Filter[] }) {
  const { shared, view, filters } = props;
  const { range } = shared;
  const step = stepFor(range, POINTS);
  const grid = stepsOf(range, step);
  const key = JSON.stringify([view, filters, step]);
  const charts = useMemo(() => chartsOf(view, filters, step), [key]);
  return (
    <div class="conversation">
      {charts.map((chart) => (
        <OneChart key={chart.title} chart={chart} shared={shared} grid={grid} step={step} />
      ))}
    </div>
  );
}

function OneChart(props: {
  chart: Drawn;
  shared: Shared;
  grid: { start: number; end: number };
  step: number;
}) {
  const { chart, shared, grid, step } = props;
  // One request a chart: lines are told apart by a label.
  const expression = chart.lines
    .map((line) => `label_replace(${line.expression}, "is", "${line.name}", "", "")`)
    .join(" or ");
  const answer = useAnswer(JSON.stringify([expression, grid, step]), async (signal) => {
    const { data } = await queryRange(expression, grid, step, signal);
    return { series: data.result, times: timesOf(grid, step), grid, step };
  });
  return (
    <section>
      <h3>{chart.title}</h3>
      <Pending of={answer} what={chart.title} height={120}>
        {({ series, times, grid: of, step: width }) => (
          <Chart
            name={chart.title}
            times={times}
            unit={chart.unit}
            height={110}
            range={shared.range}
            sync="conversation"
            zoom={(range) => shared.setTime(absolute(range))}
            lines={chart.lines.map((line, i): Line => ({
              name: line.name,
              values: onGrid(
                series.find((one) => one.metric["is"] === line.name),
                of,
                width,
              ),
              colour: `series-${i + 1}`,
              ...(line.dash ? { dash: line.dash } : {}),
            }))}
          />
        )}
      </Pending>
    </section>
  );
}

function chartsOf(view: FlowView, filters: readonly Filter[], step: number): Drawn[] {
  const { near, far } = sides(view, filters);
  const [client, server] = view === "cluster" ? ["client", "server"] : ["the measured end", ""];
  const ratio = (of: readonly Case[]) =>
    `${sum("flow_retransmits_total", of, step)} / ${sum("flow_tx_packets_total", of, step)}`;
  const rtt = (quantile: number) =>
    `histogram_quantile(${quantile}, ${sum("flow_rtt_seconds_bucket", near, step, ["le"])})`;
  const minute = (metric: string, of: readonly Case[]) => `60 * ${sum(metric, of, step)}`;
  const both = (name: string, expression: (of: readonly Case[]) => string, dash: number[]) => [
    { name: `${name}${client}`, expression: expression(near) },
    ...(far === null ? [] : [{ name: `${name}${server}`, expression: expression(far), dash }]),
  ];
  return [
    {
      title: "Traffic",
      unit: "bits/s",
      lines: [
        { name: "sent", expression: `8 * ${sum("flow_tx_bytes_total", near, step)}` },
        { name: "received", expression: `8 * ${sum("flow_rx_bytes_total", near, step)}`, dash: [6, 3] },
      ],
    },
    { title: "Retransmits, of the segments sent", unit: "ratio", lines: both("by ", ratio, [6, 3]) },
    {
      title: "Round-trip time",
      unit: "seconds",
      lines: [
        { name: "p50", expression: rtt(0.5) },
        { name: "p95", expression: rtt(0.95), dash: [6, 3] },
        { name: "p99", expression: rtt(0.99), dash: [2, 3] },
      ],
    },
    {
      title: "Timeouts and failed connects, a minute",
      unit: "",
      lines: [
        ...both("timeouts, ", (of) => minute("flow_timeouts_total", of), [6, 3]),
        { name: "failed connects", expression: minute("flow_connect_failures_total", near), dash: [2, 3] },
      ],
    },
  ];
}
