/** The two ends of an edge pod by pod: one bad pod is a row or a column of its own. */
import { useMemo } from "preact/hooks";
import { flows } from "../../api/flows.ts";
import { useAnswer } from "../../api/useAnswer.ts";
import { exact, percent, quantity } from "../../format/numbers.ts";
import { selectors, type Filter } from "../../state/filters.ts";
import type { Shared } from "../../state/shared.ts";
import { Pending } from "../../ui/Pending.tsx";
import type { FlowView } from "../../api/flows.ts";
import { podName } from "../paint/nodes.ts";
import { finding, pairRatio, pairsOf, type Finding, type Pair } from "./pods.ts";

const ONE_END = ["bytes", "tx_packets", "retransmits", "timeouts", "connect_failures", "rtt_p95"];
const BOTH_ENDS = [...ONE_END, "server_tx_packets", "server_retransmits", "server_timeouts"];
const MOST = 200;

export function PodByPod(props: {
  shared: Shared;
  view: FlowView;
  filters: readonly Filter[];
  turned: boolean;
  /** Of the client and of the server. */
  workloads: readonly [string | null, string | null];
}) {
  const { shared, view, filters, turned, workloads } = props;
  const asked = {
    view,
    range: shared.range,
    match: selectors(filters),
    by: view === "cluster" ? ["pod", "peer_pod"] : ["pod"],
    measures: view === "cluster" ? BOTH_ENDS : ONE_END,
    order: "-retransmits",
    limit: MOST,
  };
  const answer = useAnswer(JSON.stringify(asked), (signal) => flows(asked, signal));
  return (
    <section class="pods" aria-labelledby="pods">
      <h3 id="pods">Pod by pod</h3>
      <Pending of={answer} what="pods" height={120}>
        {(table) => (
          <>
            <Pods pairs={pairsOf(table, turned)} workloads={workloads} />
            {table.groups > table.rows.length && (
              <p class="hint">
                {table.rows.length} of {table.groups} pairs, those with most segments sent again
              </p>
            )}
          </>
        )}
      </Pending>
    </section>
  );
}

function Pods({ pairs, workloads }: { pairs: Pair[]; workloads: readonly [string | null, string | null] }) {
  const found = useMemo(() => finding(pairs), [pairs]);
  const sorted = useMemo(
    () =>
      [...pairs].sort(
        (a, b) => (pairRatio(b) ?? -1) - (pairRatio(a) ?? -1) || (b.of("bytes") ?? 0) - (a.of("bytes") ?? 0),
      ),
    [pairs],
  );
  const timeouts = (pair: Pair) => (pair.of("timeouts") ?? 0) + (pair.of("server_timeouts") ?? 0);
  return (
    <>
      {found && <Found found={found} />}
      <div class="scroll" tabIndex={0} role="region" aria-label="Pods of the client and of the server">
        <table class="pod-table">
          <thead>
            <tr>
              <th scope="col">Client pod</th>
              <th scope="col">Server pod</th>
              <th scope="col" class="number" title="of the two ends the worse one">
                sent again
              </th>
              <th scope="col" class="number">
                timeouts
              </th>
              <th scope="col" class="number">
                RTT p95
              </th>
              <th scope="col" class="number">
                failed
              </th>
              <th scope="col" class="number">
                bytes
              </th>
            </tr>
          </thead>
          <tbody>
            {sorted.map((pair) => {
              const ratio = pairRatio(pair);
              const high = ratio !== null && ratio >= 0.01;
              const mark = (end: "client" | "server") =>
                found?.end === end && pair[end] === found.pod ? "suspect" : undefined;
              return (
                <tr key={`${pair.client} ${pair.server}`} data-client={pair.client} data-server={pair.server}>
                  <td class={mark("client")} title={pair.client ?? undefined}>
                    {pair.client === null ? "–" : podName(pair.client, workloads[0])}
                  </td>
                  <td class={mark("server")} title={pair.server ?? undefined}>
                    {pair.server === null ? "–" : podName(pair.server, workloads[1])}
                  </td>
                  <td class={`number ${high ? "grade high" : ""}`}>
                    {high && <span aria-hidden="true">▲ </span>}
                    {quantity(ratio, "ratio")}
                  </td>
                  <td class="number">{quantity(timeouts(pair), "")}</td>
                  <td class="number">{quantity(pair.of("rtt_p95"), "seconds")}</td>
                  <td class="number">{quantity(pair.of("connect_failures"), "")}</td>
                  <td class="number" title={exact(pair.of("bytes"), "bytes")}>
                    {quantity(pair.of("bytes"), "bytes")}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </>
  );
}

function Found({ found }: { found: Finding }) {
  return (
    <p class="finding">
      <strong>▲ {found.pod}</strong> stands out: of all segments sent again, {percent(found.trouble)} are
      between this {found.end} pod and its peers, which carry {percent(found.traffic)} of all segments.
    </p>
  );
}
