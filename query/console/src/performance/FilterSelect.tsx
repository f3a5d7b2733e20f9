/** One value of a label, or all of them. */
import { labelValues } from "../api/prometheus.ts";
import { useAnswer } from "../api/useAnswer.ts";
import type { Range } from "../state/time.ts";

const MOST = 1000;

export function FilterSelect(props: {
  label: string;
  all: string;
  match: string;
  field: string;
  range: Range;
  value: string | null;
  set(value: string | null): void;
}) {
  const { match, field, range, value } = props;
  const answer = useAnswer(JSON.stringify([match, field, range]), (signal) =>
    labelValues(field, [match], range, MOST, signal),
  );
  const known = answer.data ?? [];
  const offered = value === null || known.includes(value) ? known : [value, ...known];
  return (
    <label>
      <span class="muted">{props.label}</span>{" "}
      <select
        aria-busy={answer.loading}
        value={value ?? ""}
        onChange={(event) => props.set(event.currentTarget.value === "" ? null : event.currentTarget.value)}
      >
        <option value="">{props.all}</option>
        {offered.map((one) => (
          <option key={one} value={one}>
            {one}
          </option>
        ))}
      </select>
    </label>
  );
}
