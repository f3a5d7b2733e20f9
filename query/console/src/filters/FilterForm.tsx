import { useMemo, useState } from "preact/hooks";
import { OPERATORS, OPERATOR_NAMES, type Filter, type Operator } from "../state/filters.ts";
import { ENDS, FLOW, PEER, labelName } from "../state/labels.ts";
import type { Range } from "../state/time.ts";
import { Combobox } from "../ui/Combobox.tsx";
import { useValues } from "./useValues.ts";

const GROUPS: readonly { name: string; fields: readonly string[] }[] = [
  { name: "Either end", fields: ENDS.map((end) => `either_${end}`) },
  { name: "Local end", fields: ENDS },
  { name: "Peer", fields: [...ENDS.map((end) => `peer_${end}`), ...PEER] },
  { name: "Flow", fields: FLOW },
];

/** Most values that are offered at a time. */
const OFFERED = 12;

/** Field, operator and value of one filter. */
export function FilterForm(props: {
  start: Filter;
  others: readonly Filter[];
  range: Range;
  done(filter: Filter): void;
}) {
  const [field, setField] = useState(props.start.field);
  const [operator, setOperator] = useState<Operator>(props.start.operator);
  const [value, setValue] = useState(props.start.value);
  const values = useValues(field, props.others, props.range, true);
  const known = values.data;
  const offered = useMemo(() => {
    const typed = value.toLowerCase();
    const all = (known ?? []).filter((one) => one.toLowerCase().includes(typed));
    return (all.length === 1 && all[0] === value ? (known ?? []) : all).slice(0, OFFERED);
  }, [known, value]);
  return (
    <form
      class="filter-form"
      onSubmit={(event) => {
        event.preventDefault();
        props.done({ field, operator, value });
      }}
    >
      <label>
        <span class="hidden">Field</span>
        <select value={field} onChange={(event) => setField(event.currentTarget.value)}>
          {GROUPS.map((group) => (
            <optgroup key={group.name} label={group.name}>
              {group.fields.map((one) => (
                <option key={one} value={one}>
                  {labelName(one)}
                </option>
              ))}
            </optgroup>
          ))}
        </select>
      </label>
      <label>
        <span class="hidden">Operator</span>
        <select value={operator} onChange={(event) => setOperator(event.currentTarget.value as Operator)}>
          {OPERATORS.map((one) => (
            <option key={one} value={one}>
              {OPERATOR_NAMES[one]}
            </option>
          ))}
        </select>
      </label>
      <Combobox
        label="Value"
        autofocus
        placeholder={operator.includes("~") ? "regular expression" : "value; empty: absent"}
        value={value}
        options={offered}
        loading={values.loading && known === null}
        set={setValue}
      />
      <button type="submit" class="primary">
        Apply
      </button>
      {values.error && <p class="wrong">Values cannot be offered: {values.error.message}</p>}
    </form>
  );
}
