/** The two ends of an edge pod by pod: one bad pod is a row or a column of its own. */
import { useMemo } from "preact/hooks";
import type { FlowTable } from "../../api/flows.ts";
import { finding, pairRatio, pairsOf, type Pair } from "../../flows/verdict/pods.ts";
import { exact, quantity } from "../../format/numbers.ts";
import { shortPod } from "../podName.ts";

export function PodByPod(props: {
  table: FlowTable;
  turned: boolean;
  /** Of the client and of the server. */
  workloads: readonly [string | null, string | null];
}) {
  const { table, turned, workloads } = props;
  const pairs = useMemo(() => pairsOf(table, turned), [table, turned]);
  return (
    <section class="pods" aria-labelledby="pods">
      <h3 id="pods">Pod by pod</h3>
      <Pods pairs={pairs} workloads={workloads} />
      {table.groups > table.rows.length && (
        <p class="hint">
          {table.rows.length} of {table.groups} pairs, the worst
        </p>
      )}
    </section>
  );
}

interface Column {
  name: string;
  title: string;
  of(pair: Pair): number | null;
}

function both(pair: Pair, measure: string): number | null {
  const client = pair.of(measure);
  const server = pair.of(`server_${measure}`);
  return client === null && server === null ? null : (client ?? 0) + (server ?? 0);
}

/** Counts that are shown if any pair has one. */
const COUNTS: readonly Column[] = [
  { name: "timeouts", title: "Retransmission timeouts of both ends", of: (pair) => both(pair, "timeouts") },
  { name: "drops", title: "Packets of both ends that kernels dropped", of: (pair) => both(pair, "drops") },
  { name: "failed", title: "Failed connects", of: (pair) => pair.of("connect_failures") },
];

function Pods({ pairs, workloads }: { pairs: Pair[]; workloads: readonly [string | null, string | null] }) {
  const found = useMemo(() => finding(pairs), [pairs]);
  const sorted = useMemo(
    () =>
      [...pairs].sort(
        (a, b) => (pairRatio(b) ?? -1) - (pairRatio(a) ?? -1) || (b.of("bytes") ?? 0) - (a.of("bytes") ?? 0),
      ),
    [pairs],
  );
  const counts = COUNTS.filter(({ of }) => pairs.some((pair) => (of(pair) ?? 0) > 0));
  const roomy = counts.length < 2;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Pods of the client and of the server">
      <table class="pod-table">
        <thead>
          <tr>
            <th scope="col">Client pod</th>
            <th scope="col">Server pod</th>
            <th
              scope="col"
              class="number"
              title="Retransmits of an end, of the segments that it sent; of the two ends the worse one"
            >
              retransmits
            </th>
            {counts.map(({ name, title }) => (
              <th key={name} scope="col" class="number" title={title}>
                {name}
              </th>
            ))}
            <th scope="col" class="number">
              RTT p95
            </th>
            {roomy && (
              <th scope="col" class="number">
                bytes
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {sorted.map((pair) => {
            const ratio = pairRatio(pair);
            const high = ratio !== null && ratio >= 0.01;
            const end = (which: "client" | "server", workload: string | null) => {
              const pod = pair[which];
              const node = pair[`${which}Node`];
              return (
                <td
                  class={found?.end === which && pod === found.pod ? "suspect" : undefined}
                  title={pod === null ? "not known" : `${pod}${node === null ? "" : ` on ${node}`}`}
                >
                  {pod === null ? "–" : shortPod(pod, workload, roomy ? 16 : 13)}
                </td>
              );
            };
            return (
              <tr key={`${pair.client} ${pair.server}`} data-client={pair.client} data-server={pair.server}>
                {end("client", workloads[0])}
                {end("server", workloads[1])}
                <td class={`number ${high ? "grade high" : ""}`}>
                  {high && <span aria-hidden="true">▲ </span>}
                  {quantity(ratio, "ratio")}
                </td>
                {counts.map(({ name, of }) => (
                  <td key={name} class={`number ${(of(pair) ?? 0) > 0 ? "grade high" : "muted"}`}>
                    {quantity(of(pair), "")}
                  </td>
                ))}
                <td class="number">{quantity(pair.of("rtt_p95"), "seconds")}</td>
                {roomy && (
                  <td class="number" title={exact(pair.of("bytes"), "bytes")}>
                    {quantity(pair.of("bytes"), "bytes")}
                  </td>
                )}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
