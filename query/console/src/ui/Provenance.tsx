/** Where an answer comes from and how complete it is. */
import type { ShortCompleteness, Tier } from "../api/flows.ts";
import { percent } from "../format/numbers.ts";
import { localMinute } from "../format/time.ts";

export function Provenance(props: {
  tiers: readonly Tier[];
  completeness: ShortCompleteness | null | undefined;
  notes: readonly string[];
}) {
  const { tiers, completeness, notes } = props;
  const tables = [...new Set(tiers.map((tier) => tier.table))];
  const ratio = completeness?.ratio ?? null;
  return (
    <div class="provenance">
      <span
        title={tiers.map((t) => `${t.table}: ${localMinute(t.start)} to ${localMinute(t.end)}`).join("\n")}
      >
        from <code>{tables.length === 0 ? "no table" : tables.join(", ")}</code>
      </span>
      <span class={ratio !== null && ratio < 0.999 ? "warn" : ""}>
        {ratio === null ? "completeness not known" : `${percent(ratio)} complete`}
      </span>
      {completeness && completeness.silent > 0 && (
        <span class="warn">
          ⚠ {completeness.silent} of {completeness.agents} agents silent
        </span>
      )}
      {notes.map((note) => (
        <span key={note} class="warn">
          {note}
        </span>
      ))}
    </div>
  );
}
