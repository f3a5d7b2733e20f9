/** One sentence on a conversation, made of its numbers: what happened, which way, when, and at which pod. */
import { useMemo } from "preact/hooks";
import type { FlowTable, FlowView } from "../../api/flows.ts";
import { query, queryRange } from "../../api/prometheus.ts";
import { useAnswer } from "../../api/useAnswer.ts";
import { onGrid } from "../../chart/matrix.ts";
import { percent, quantity } from "../../format/numbers.ts";
import { localTime } from "../../format/time.ts";
import { span as window, sum } from "../../promql/build.ts";
import { matcher, type Filter } from "../../state/filters.ts";
import type { Shared } from "../../state/shared.ts";
import { stepFor, stepsOf, type Range } from "../../state/time.ts";
import { sides } from "../side.ts";
import { judge, span, type Judgement, type Way } from "./judge.ts";
import { dropsByNode, finding, pairsOf, type Finding } from "./pods.ts";
import { totalOf } from "./usePods.ts";

const POINTS = 120;

export interface Ends {
  /** The end whose rows these are, and the other. */
  near: string;
  far: string;
}

export function Verdict(props: {
  shared: Shared;
  view: FlowView;
  filters: readonly Filter[];
  ends: Ends;
  /** Whether the near end is the server. */
  turned: boolean;
  pods: FlowTable;
}) {
  const { shared, view, filters, ends, turned, pods } = props;
  const pairs = useMemo(() => pairsOf(pods, turned), [pods, turned]);
  const of = totalOf(pods);
  const judged = judge(of, view !== "cluster");
  const worst = judged[0];
  const when = useWhen(shared.range, view, filters, worst?.kind ?? null);
  const found = worst?.kind === "lost" || worst?.kind === "retransmitted" ? finding(pairs) : null;
  if (worst === undefined) {
    const rtt = of("rtt_p95");
    return (
      <p class="finding calm">
        Nothing stands out: hardly a retransmit, no failed connects
        {rtt === null ? "" : `, RTT p95 ${quantity(rtt, "seconds")}`}.
      </p>
    );
  }
  const high = worst.kind === "failed" || ("high" in worst && worst.high);
  return (
    <p class={`finding ${high ? "high" : "raised"}`}>
      <strong>
        {high && "▲ "}
        {told(worst, ends)}
      </strong>
      {when}
      {found === null ? "." : <At found={found} />}
      {judged.slice(1).map((one) => ` ${told(one, ends)}.`)}
      <Dropped range={shared.range} by={dropsByNode(pairs)} />
    </p>
  );
}

function told(one: Judgement, ends: Ends): string {
  switch (one.kind) {
    case "lost":
      return `Packets were lost ${way(one.ways, ends)}`;
    case "retransmitted":
      return `${percent(one.ratio)} of the segments ${way(one.ways, ends)} were retransmitted`;
    case "failed":
      return `${quantity(one.count, "")} connects failed${
        one.reason === "refused"
          ? ": the server refused them"
          : one.reason === "timed out"
            ? ": no answer came"
            : one.reason === "unreachable"
              ? ": there is no way to the server"
              : ""
      }`;
    case "slow":
      return `Round trips are slow: one of 20 takes more than ${quantity(one.rtt, "seconds")}`;
  }
}

function way(ways: readonly Way[], { near, far }: Ends): string {
  if (ways.length > 1) return "in both directions";
  return ways[0] === "out" ? `from ${near} to ${far}` : `from ${far} to ${near}`;
}

function At({ found }: { found: Finding }) {
  return (
    <>
      , at {found.end} pod <strong>{found.pod}</strong>
      {found.node !== null && (
        <>
          {" "}
          on <span class="node">{found.node}</span>
        </>
      )}
      : {percent(found.trouble)} of the retransmits are between it and its peers, and {percent(found.traffic)}{" "}
      of the segments.
    </>
  );
}

/** From the first to the last bad point of the series, as words; empty while it is not known. */
function useWhen(
  range: Range,
  view: FlowView,
  filters: readonly Filter[],
  kind: Judgement["kind"] | null,
): string {
  const step = stepFor(range, POINTS);
  const grid = stepsOf(range, step);
  const { near, far } = sides(view, filters);
  const count = (metric: string, of: typeof near) => sum(metric, of, step, [], "increase");
  const expression =
    kind === "failed"
      ? count("flow_connect_failures_total", near)
      : far === null
        ? count("flow_retransmits_total", near)
        : `label_replace(${count("flow_retransmits_total", near)}, "is", "near", "", "") or label_replace(${count("flow_retransmits_total", far)}, "is", "far", "", "")`;
  const asked = kind === null || kind === "slow" ? null : JSON.stringify([expression, grid, step]);
  const { data } = useAnswer(asked, async (signal) => {
    const answer = await queryRange(expression, grid, step, signal);
    const lines = answer.data.result.map((one) => onGrid(one, grid, step));
    return (lines[0] ?? []).map((_, i) => lines.reduce((all, line) => all + (line[i] ?? 0), 0));
  });
  const bad = data === null ? null : span(data);
  if (bad === null || data === null) return "";
  const [first, last] = bad;
  if (first === 0 && last === data.length - 1) return " throughout this range";
  const from = Math.max(range.start, grid.start + (first - 1) * step);
  const to = last === data.length - 1 ? range.end : grid.start + last * step;
  return ` from ${localTime(from)} to ${localTime(to)}`;
}

/** What kernels call a reason, for those that say nothing to who has not read them. */
const REASONS: Record<string, string> = {
  NETFILTER_DROP: "a firewall rule",
  NO_SOCKET: "nobody listens",
  SOCKET_RCVBUFF: "the receive buffer of the socket was full",
  SOCKET_BACKLOG: "the backlog of the socket was full",
  QDISC_DROP: "the queue of an interface was full",
  TCP_CSUM: "wrong checksums",
};

/** Which kernels dropped packets of the conversation, and what the worst of them dropped packets for at that time. */
function Dropped({ range, by }: { range: Range; by: readonly [string, number][] }) {
  const [worst] = by;
  const own = worst ? matcher({ field: "node", operator: "=", value: worst[0] }) : "";
  const length = window(Math.max(1, Math.round(range.end - range.start)));
  const expression = `sum by (reason) (increase(weir_node_drops_total{${own}}[${length}])) > 0`;
  const { data } = useAnswer(worst ? JSON.stringify([expression, range.end]) : null, async (signal) => {
    const answer = await query(expression, range.end, signal);
    if (answer.data.resultType !== "vector") return [];
    return answer.data.result
      .map(({ metric, value }) => ({ reason: metric["reason"] ?? "", count: Number(value[1]) }))
      .sort((a, b) => b.count - a.count);
  });
  if (!worst) return null;
  const reasons = (data ?? []).slice(0, 2).map(({ reason }) => reason);
  return (
    <>
      {" "}
      <strong>
        The kernel of{" "}
        {by.map(([node, count], i) => (
          <>
            {i > 0 && ", that of "}
            <span class="node">{node}</span> dropped {quantity(count, "")} of its packets
          </>
        ))}
      </strong>
      {reasons.length > 0 && (
        <>
          {" "}
          (its {reasons.length === 1 ? "reason" : "reasons"} for drops at that time:{" "}
          {reasons.map((reason, i) => (
            <>
              {i > 0 && ", "}
              <code>{reason}</code>
              {REASONS[reason] !== undefined && `, ${REASONS[reason]}`}
            </>
          ))}
          )
        </>
      )}
      .
    </>
  );
}
