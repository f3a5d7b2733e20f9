/** The health of the measurement: who reports, what was lost on the way, what is kept for how long. */
import { completeness, type Completeness, type Stored } from "../api/completeness.ts";
import { useAnswer } from "../api/useAnswer.ts";
import { duration, exact, percent, quantity, si } from "../format/numbers.ts";
import { localMinute, localTime, utc } from "../format/time.ts";
import type { Shared } from "../state/shared.ts";
import { durationSeconds } from "../state/time.ts";
import { Empty, Pending } from "../ui/Pending.tsx";

export function Health({ shared }: { shared: Shared }) {
  const { range } = shared;
  const answer = useAnswer(JSON.stringify(range), (signal) => completeness(range, signal));
  return (
    <section class="card" aria-labelledby="health">
      <h2 id="health">Health of the measurement</h2>
      <Pending of={answer} what="health of the measurement" height={260}>
        {(data) => <Report data={data} />}
      </Pending>
    </section>
  );
}

function Report({ data }: { data: Completeness }) {
  const silent = data.agents.filter((agent) => agent.silent);
  const losses = Object.entries(data.losses).filter(([, count]) => count > 0);
  const sampling = Math.max(0, ...data.agents.map((agent) => agent.sampling_max ?? 0));
  return (
    <div class="health">
      <dl class="facts">
        <div>
          <dt>Complete</dt>
          <dd data-fact="ratio">{data.ratio === null ? "not known" : percent(data.ratio)}</dd>
        </div>
        <div>
          <dt>Agents reporting</dt>
          <dd data-fact="agents">
            {data.agents.length - silent.length} of {data.agents.length}
          </dd>
        </div>
        <div class={losses.length > 0 ? "warn" : ""}>
          <dt>Losses</dt>
          <dd>{losses.length === 0 ? "none" : si(losses.reduce((all, [, count]) => all + count, 0))}</dd>
        </div>
        <div>
          <dt>Sampling</dt>
          <dd>{sampling <= 1 ? "none" : `up to 1 in ${sampling}`}</dd>
        </div>
      </dl>
      {data.notes.map((note) => (
        <p key={note} class="note">
          {note}
        </p>
      ))}
      {losses.length > 0 && (
        <>
          <h3>Losses by reason</h3>
          <ul class="losses">
            {losses.map(([reason, count]) => (
              <li key={reason}>
                <code>{reason}</code> <span class="number">{exact(count, "")}</span>
              </li>
            ))}
          </ul>
        </>
      )}
      {silent.length > 0 && (
        <>
          <h3>Silent agents</h3>
          <ul class="losses">
            {silent.map((agent) => (
              <li key={agent.agent}>
                <span>⚠ {agent.node ?? agent.agent}</span>{" "}
                <span class="muted" title={agent.last === null ? undefined : utc(agent.last)}>
                  {agent.last === null ? "never heard of" : `last heard of ${localTime(agent.last)}`}
                </span>
              </li>
            ))}
          </ul>
        </>
      )}
      <h3>Storage</h3>
      {data.storage.length === 0 ? (
        <Empty title="Nothing is stored yet" />
      ) : (
        <Storage tables={data.storage} />
      )}
    </div>
  );
}

function Storage({ tables }: { tables: readonly Stored[] }) {
  return (
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">Table</th>
            <th scope="col" class="number">
              Rows
            </th>
            <th scope="col" class="number">
              Bytes
            </th>
            <th scope="col" class="number">
              Since
            </th>
            <th scope="col" class="number">
              Kept
            </th>
          </tr>
        </thead>
        <tbody>
          {tables
            .toSorted((a, b) => a.table.localeCompare(b.table))
            .map((table) => (
              <tr key={table.table}>
                <th scope="row">
                  <code>{table.table}</code>
                </th>
                <td
                  class="number"
                  title={`${exact(table.rows, "")} in files, ${exact(table.rows_in_memory, "")} in memory`}
                >
                  {quantity((table.rows ?? 0) + (table.rows_in_memory ?? 0), "")}
                </td>
                <td class="number" title={exact(table.bytes, "bytes")}>
                  {quantity(table.bytes, "bytes")}
                </td>
                <td class="number" title={table.oldest === null ? undefined : utc(table.oldest)}>
                  {table.oldest === null ? "–" : localMinute(Math.floor(table.oldest))}
                </td>
                <td class="number">{kept(table.retention)}</td>
              </tr>
            ))}
        </tbody>
      </table>
    </div>
  );
}

function kept(retention: string | number | null): string {
  if (retention === null) return "always";
  const seconds = typeof retention === "number" ? retention : durationSeconds(retention);
  return seconds === null ? String(retention) : duration(seconds);
}
